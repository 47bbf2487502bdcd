"""The `demo` command: a whole job in the sandbox, without a wallet.

It starts a sandbox studio in this process and the real MCP server in another one, uses the server over stdio as any
host does, and shows each step. The payment is really signed, verified and settled.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio.to_thread
from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from seedance_mcp.app.local_sandbox import EXAMPLE_IMAGE, prepare_wallet, start_sandbox
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.error_base import SeedanceError

T = TypeVar("T")

CALLS_MAX = 20
"""Most calls of one demo; one that needs more is stuck."""
PLAY_LIMIT = "1000"
"""Limit of a demo in US dollars of play money: it shows a purchase, so no limit for real money may end it."""
_LIMITS = tuple(
    f"SEEDANCE_{name}"
    for name in ("MAX_PRICE_PER_VIDEO", "MAX_PER_DAY", "MAX_PER_WEEK", "MAX_PER_MONTH", "MAX_TOTAL", "ASK_ABOVE")
)


class DemoError(SeedanceError):
    """A tool of the demo's server failed; the text is the tool's."""

    code = "demo"

    def __str__(self) -> str:
        return self.what


async def run_demo(
    arguments: Mapping[str, object], *, contract: str, rails: tuple[str, ...], job_seconds: float, quiet: bool
) -> dict[str, object]:
    """Animate a picture in the sandbox over MCP. Its job and its video are among those of the other sandbox commands.

    Args:
        arguments: The arguments of `animate_image`; without `image`, a bundled picture is used.
        contract: The dialect of the sandbox.
        rails: The rails that it offers.
        job_seconds: How long its job takes.
        quiet: Print nothing.

    Returns:
        `job_id`, `file`, `price_micro_usdc`, `rail`, `receipt`, `seconds`.

    Raises:
        SeedanceError: With the tool's text.
    """
    words = Console(stderr=True, highlight=False, quiet=quiet, soft_wrap=True)
    started_at = time.monotonic()
    job = await _run(arguments, words, contract=contract, rails=rails, job_seconds=job_seconds)
    seconds = round(time.monotonic() - started_at, 1)
    words.print(f"\nDone in {seconds} s. Your video:")
    words.print(Text(job["file"], style=f"bold link {Path(job['file']).as_uri()}"))
    shown: dict[str, object] = {name: job[name] for name in ("job_id", "file", "price_micro_usdc", "rail", "receipt")}
    return {**shown, "seconds": seconds}


async def _run(
    arguments: Mapping[str, object],
    words: Console,
    *,
    contract: str,
    rails: tuple[str, ...],
    job_seconds: float,
) -> dict[str, Any]:
    """Run the sandbox, the server and the job, and return the finished job."""
    environ = {**_own_environ(), "SEEDANCE_PROFILE": "sandbox"}
    wallet_file = read_settings(environ, blocking=True).data_dir / "wallet.json"
    address = await _in_thread(lambda: prepare_wallet(None, wallet_file))
    requested: dict[str, Any] = {"wallet": address, "contract": contract, "rails": rails, "job_seconds": job_seconds}
    sandbox = await _in_thread(lambda: start_sandbox(**requested))
    arguments = dict(arguments)
    if "image" not in arguments:
        arguments["image"] = str(EXAMPLE_IMAGE)
    server = _describe_server(arguments, environ, wallet_file, sandbox.url)
    words.print(
        f"Sandbox studio ({contract} dialect, {' and '.join(rails)}) at {sandbox.url}\n"
        f"Wallet {address} with $100 of play money"
    )
    failure: SeedanceError | None = None
    job: dict[str, Any] = {}
    try:
        async with Client(server) as client:
            try:
                job = await _notify(client, arguments, words)
            except DemoError as exc:  # passed around the client's task group, which would wrap it
                failure = exc
    finally:
        await _in_thread(sandbox.stop)
    if failure is not None:
        raise failure
    if job["file"] is None:
        raise DemoError(f"The job ended as {job['status']}: {job['error'] or job['next_step']}")
    return job


def _describe_server(
    arguments: Mapping[str, object], environ: Mapping[str, str], wallet_file: Path, studio_url: str
) -> StdioServerParameters:
    """Return how to start the server of this run; it may read the folders of the run's pictures only."""
    folders = {str(Path(str(arguments[name])).parent) for name in ("image", "last_image") if name in arguments}
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "seedance_mcp"],
        env={
            **environ,
            **dict.fromkeys(_LIMITS, PLAY_LIMIT),
            "SEEDANCE_STUDIO_URL": studio_url,
            "SEEDANCE_WALLET_FILE": str(wallet_file),
            "SEEDANCE_IMAGE_DIRS": os.pathsep.join(sorted(folders)),
        },
    )


async def _notify(client: Client, arguments: Mapping[str, object], words: Console) -> dict[str, Any]:
    """Run the whole job over MCP, and print each step."""
    quote = await _call(client, "quote_price", arguments)
    source = "" if quote["exact"] else " (from the price table)"
    words.print(f"quote_price    ${quote['price_usd']}{source}, upload ${quote['upload_price_usd']}")
    upload = await _call(client, "upload_image", {"image": arguments["image"]})
    words.print(f"upload_image   ${upload['price_usd']}, {upload['size_bytes']} bytes, {upload['media_type']}")
    job = await _watch(client, arguments, words)
    if job["status"] == "complete":
        words.print(f"animate_image  ${job['price_usd']} on {job['rail']}, receipt {job['receipt']['transaction']}")
    return job


async def _watch(client: Client, arguments: Mapping[str, object], words: Console) -> dict[str, Any]:
    """Pay and wait, with a progress bar."""
    columns = (TextColumn("animate_image "), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=words, transient=True) as bar:
        task = bar.add_task("", total=100)

        async def show(progress: float, total: float | None, message: str | None) -> None:
            bar.update(task, completed=progress, total=total, description=message or "")

        job = await _call(client, "animate_image", arguments, show)
        for _ in range(CALLS_MAX):
            if job["status"] in ("complete", "failed") and (job["file"] or job["status"] == "failed"):
                break
            again = ("get_job", {"job_id": job["job_id"]}) if job["job_id"] else ("animate_image", arguments)
            job = await _call(client, *again, show)
    return job


async def _call(client: Client, tool: str, arguments: Mapping[str, object], show: Any = None) -> dict[str, Any]:
    result = await client.call_tool(tool, dict(arguments), progress_callback=show)
    if result.structured_content is None:
        raise DemoError(" ".join(getattr(part, "text", "") for part in result.content))
    return cast("dict[str, Any]", result.structured_content)


def _own_environ() -> dict[str, str]:
    """Return the environment without the settings of a real studio: a demo must not use a real wallet."""
    kept = ("SEEDANCE_DATA_DIR", "SEEDANCE_LOG_LEVEL")
    return {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_") or name in kept}


async def _in_thread(work: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(work)
