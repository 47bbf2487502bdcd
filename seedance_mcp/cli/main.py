"""The `seedance-mcp` command: its groups, and the handling of failures and interruptions.

Messages go to stderr. stdout has only the requested result, so that it can be piped.
"""

import functools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, NoReturn

import anyio
import typer

from seedance_mcp import __version__
from seedance_mcp.app.local_sandbox import prepare_wallet, start_sandbox
from seedance_mcp.app.logging import configure_logging
from seedance_mcp.cli import callers, freeze, migrate, prune, serve, video_commands
from seedance_mcp.cli.console import AsJson, json_asked, say, show_error, warn_of_unread_files, words
from seedance_mcp.cli.doctor.command import doctor
from seedance_mcp.cli.exit_codes import EPILOG, find_exit_code
from seedance_mcp.cli.gallery.command import gallery
from seedance_mcp.cli.install.command import install, uninstall
from seedance_mcp.cli.video_options import Arguments, take_some
from seedance_mcp.cli.wallet.command import app as wallet_commands
from seedance_mcp.cli.words import for_person
from seedance_mcp.config.settings import SANDBOX_PORT, read_settings
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError, InternalError

LISTEN_SECONDS = 1.0

log = logging.getLogger("seedance_mcp")

app = typer.Typer(
    help="Turn a still image into a video, paid once and within your limits. Without a command: serve MCP on stdio.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    epilog=EPILOG,
)
for verb in (
    video_commands.animate, video_commands.quote, video_commands.upload, video_commands.get, video_commands.jobs,
    doctor, gallery, install, uninstall, prune.prune, freeze.freeze, freeze.unfreeze,
    migrate.migrate, serve.serve,
):  # fmt: skip
    app.command(epilog=EPILOG)(verb)
app.add_typer(wallet_commands, name="wallet")
app.add_typer(callers.app, name="callers")

Contract = Annotated[Literal["current", "classic"], typer.Option(help="The dialect of the sandbox studio.")]
Rail = Annotated[
    Literal["x402", "mpp", "both"], typer.Option(help="The rails of the sandbox studio; both: x402 first.")
]
JobSeconds = Annotated[float, typer.Option(min=0.1, max=3600, help="How long a sandbox job takes.")]


def run() -> None:
    """Run a command; report a failure in one line and by its exit code, with `--json` also as an object on stdout."""
    configure_logging("DEBUG" if os.environ.get("SEEDANCE_LOG_LEVEL", "").upper() == "DEBUG" else "WARNING")
    json_asked.set(False)
    try:
        _build_command()()
    except SeedanceError as exc:
        _fail(exc)
    except Exception as exc:  # our own fault: the ledger has the state of the money, the log the traceback
        log.debug("the command failed unexpectedly", exc_info=exc)
        if isinstance(exc, OSError) and "--install-completion" in sys.argv:
            _fail(ConfigError(
                f"The completion cannot be written: {exc.filename}: {exc.strerror}.",
                "Write the output of --show-completion to a file that your shell reads.",
            ))  # fmt: skip
        _fail(InternalError(
            f"The command failed unexpectedly ({type(exc).__name__}).",
            "Run the same command once more; if it fails again, SEEDANCE_LOG_LEVEL=DEBUG shows where.",
            payment_state="held",
        ))  # fmt: skip


@functools.cache
def _build_command() -> Callable[[], None]:
    """Return the tree of commands, which takes longer to build than most commands take to run."""
    return typer.main.get_command(app)


def _fail(exc: SeedanceError) -> NoReturn:
    """Report a failure, and end with its code."""
    if json_asked.get():
        say({"error": show_error(exc)})
    words.print(f"seedance-mcp: {for_person(exc)}", style="red", markup=False)
    sys.exit(find_exit_code(exc))


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Serve MCP if no command is given."""
    if version:
        typer.echo(__version__)
    elif ctx.invoked_subcommand is not None:
        warn_of_unread_files()
    else:
        from seedance_mcp.server.stdio import serve

        serve()


@app.command()
@take_some(
    ("prompt", "last_image", "model", "duration", "resolution"),
    prompt="The boat drifts out of the harbour, water glitters",
)
def demo(
    image: Annotated[Path | None, typer.Argument(help="Your picture; a bundled one if left out.")] = None,
    *,
    arguments: Arguments,
    contract: Contract = "current",
    rail: Rail = "x402",
    job_seconds: JobSeconds = 5,
    as_json: AsJson = False,
) -> None:
    """Run a whole job without money: quote, upload, pay, wait, save, in the sandbox."""
    from seedance_mcp.cli.demo import run_demo  # loads the MCP client

    asked = {name: value for name, value in arguments.items() if value is not None}
    pictures = {"image": image, "last_image": asked.get("last_image")}
    asked |= {name: str(Path(str(one)).expanduser().absolute()) for name, one in pictures.items() if one is not None}
    rails = ("x402", "mpp") if rail == "both" else (rail,)
    result = anyio.run(lambda: run_demo(asked, contract=contract, rails=rails, job_seconds=job_seconds, quiet=as_json))
    if as_json:
        say(result)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = SANDBOX_PORT,
    contract: Contract = "current",
    rail: Annotated[
        list[str] | None, typer.Option(help="A rail, x402 or mpp; repeatable. Only x402 if left out.")
    ] = None,
    sponsor_fees: Annotated[bool, typer.Option(help="Pay the network fee of MPP charges for the payer.")] = False,
    push_only: Annotated[bool, typer.Option(help="Take MPP charges only after their money has moved.")] = False,
    job_seconds: JobSeconds = 6,
    fault: Annotated[
        list[str] | None, typer.Option(help="A named misbehaviour, e.g. drop_after_settle:1; repeatable.")
    ] = None,
) -> None:
    """Run a persistent sandbox studio, and print an mcp.json block for it."""
    logging.getLogger("x402").setLevel(logging.ERROR)  # the payer's mistakes are reported to the payer
    environ = {**os.environ, "SEEDANCE_PROFILE": "sandbox"}
    environ.pop("SEEDANCE_STUDIO_URL", None)
    settings = read_settings(environ)
    stop = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    address = prepare_wallet(None, settings.wallet_file)
    studio = start_sandbox(
        wallet=address,
        port=port,
        contract=contract,
        rails=tuple(name.strip() for names in rail or ["x402"] for name in names.split(",")),
        sponsors_fees=sponsor_fees,
        takes_pushed=push_only,
        job_seconds=job_seconds,
        faults=tuple(fault or ()),
    )
    words.print(f"A sandbox studio ({contract}) runs at {studio.url}. No real money can move here.")
    words.print(f"Its wallet {address} holds $100 of play money. Paste this into your MCP host; Ctrl-C ends it.\n")
    typer.echo(json.dumps(build_mcp_json(studio.url, settings.wallet_file, push_only=push_only), indent=2))
    sys.stdout.flush()
    while not stop.wait(LISTEN_SECONDS):  # with a time-out: a signal just before a wait does not end it
        pass
    studio.stop()


def build_mcp_json(studio_url: str, wallet_file: Path, *, push_only: bool = False) -> dict[str, object]:
    """Build the entry with which an MCP host uses a persistent sandbox."""
    return {
        "mcpServers": {
            "seedance": {
                "command": sys.executable,
                "args": ["-m", "seedance_mcp"],
                "env": {
                    "SEEDANCE_PROFILE": "sandbox",
                    "SEEDANCE_STUDIO_URL": studio_url,
                    "SEEDANCE_WALLET_FILE": str(wallet_file),
                    **({"SEEDANCE_ALLOW_PUSH": "on"} if push_only else {}),
                },
            }
        }
    }
