"""Sandbox commands: `demo` and `sandbox`, which move no money."""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import anyio
import typer

from seedance_mcp.app.local_sandbox import prepare_wallet, start_sandbox
from seedance_mcp.cli.console import AsJson, say, words
from seedance_mcp.cli.video_options import Arguments, take_some
from seedance_mcp.cli.viewing import name_program, offer_to_open
from seedance_mcp.config.settings import SANDBOX_PORT, read_settings

LISTEN_SECONDS = 1.0

Contract = Annotated[Literal["current", "classic"], typer.Option(help="The dialect of the sandbox studio.")]
Rail = Annotated[
    Literal["x402", "mpp", "both"], typer.Option(help="The rails of the sandbox studio; both: x402 first.")
]
JobSeconds = Annotated[float, typer.Option(min=0.1, max=3600, help="How long a sandbox job takes.")]


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
        return
    offer_to_open(Path(str(result["file"])))
    program = name_program()
    words.print("Next:")
    for line, what in (
        ("gallery --sandbox", "shows it on a local page"),
        ("jobs --sandbox", "lists it"),
        ("demo PICTURE", "animates your own picture"),
        ("setup", "leads you to real videos"),
    ):
        words.print(f"  {program} {line:18} {what}")


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
