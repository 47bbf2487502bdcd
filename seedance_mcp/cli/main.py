"""The `seedance-mcp` command: what it does without a command, and how it reports a failure.

Messages go to stderr. stdout has only the requested result, so that it can be piped.
"""

import functools
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from seedance_mcp import __version__
from seedance_mcp.app.logging import configure_logging
from seedance_mcp.cli.asked import json_asked
from seedance_mcp.cli.commands import CommandTree
from seedance_mcp.cli.exit_codes import EPILOG
from seedance_mcp.cli.failures import fail
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError, InternalError

log = logging.getLogger("seedance_mcp")

app = typer.Typer(
    help="Turn a still image into a video, paid once and within your limits. Without a command: serve MCP on stdio.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    epilog=EPILOG,
    cls=CommandTree,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """Run a command; report a failure on stderr and by its exit code, with `--json` also as an object on stdout."""
    configure_logging("DEBUG" if os.environ.get("SEEDANCE_LOG_LEVEL", "").upper() == "DEBUG" else "WARNING")
    json_asked.set(False)
    _replace_what_cannot_be_encoded()
    try:
        command = _build_command()
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.default_int_handler):  # set while it loaded
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command()
    except SeedanceError as exc:
        fail(exc)
    except Exception as exc:  # our own fault: the ledger has the state of the money, the log the traceback
        log.debug("the command failed unexpectedly", exc_info=exc)
        if isinstance(exc, OSError) and "--install-completion" in sys.argv:
            fail(ConfigError(
                f"The completion cannot be written: {exc.filename}: {exc.strerror}.",
                "Write the output of --show-completion to a file that your shell reads.",
            ))  # fmt: skip
        fail(InternalError(
            f"The command failed unexpectedly ({type(exc).__name__}).",
            "Run the same command once more; if it fails again, SEEDANCE_LOG_LEVEL=DEBUG shows where.",
            payment_state="held",
        ))  # fmt: skip


def _replace_what_cannot_be_encoded() -> None:
    """Let a character that the terminal's encoding lacks become a question mark, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@functools.cache
def _build_command() -> Callable[[], None]:
    """Return the tree of commands."""
    return typer.main.get_command(app)


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Serve MCP if no command is given."""
    if version:
        typer.echo(__version__)
    elif ctx.invoked_subcommand is not None:
        from seedance_mcp.cli.console import warn_of_unread_files  # loaded by the command anyway

        warn_of_unread_files()
    else:
        from seedance_mcp.server.stdio import serve

        serve()
