"""Failures: how a command that failed says so, and ends."""

import sys
from typing import Any, NoReturn

from seedance_mcp.cli.asked import json_asked, may_pay
from seedance_mcp.core.error_base import SeedanceError

USAGE = 2
"""Exit code of a command line that is not understood; the same as `exit_codes.YOURS`."""


def fail(exc: SeedanceError) -> NoReturn:
    """Report a failure on two lines, what failed and what to do; end with its code."""
    from seedance_mcp.cli.console import say, show_error, words
    from seedance_mcp.cli.exit_codes import find_exit_code
    from seedance_mcp.cli.words import for_person

    if json_asked.get():
        say({"error": show_error(exc)})
    words.print(f"seedance-mcp: {exc.describe(may_pay=may_pay.get()).rstrip()}", style="bold red")
    if exc.next_step:
        words.print(for_person(exc.next_step), style="yellow")
    sys.exit(find_exit_code(exc))


def fail_usage(exc: Any) -> NoReturn:
    """Report a command line that is not understood, as Typer's `UsageError` tells it, and end.

    With `--json` anywhere in it, the failure is an object on stdout, too: Typer may not have read that option yet.
    """
    from seedance_mcp.cli.console import say, words

    message = _describe_usage(exc)
    command = getattr(exc, "ctx", None)
    path = "seedance-mcp" if command is None else str(command.command_path)
    hint = f"Run {path} --help for its arguments and options."
    if json_asked.get() or "--json" in sys.argv:
        say({"error": {"code": "usage", "what": message, "payment_state": "none", "hint": hint}})
    if command is not None:
        words.print(command.get_usage())
    words.print(f"seedance-mcp: {message}", style="bold red")
    words.print(hint, style="yellow")
    sys.exit(USAGE)


def _describe_usage(exc: Any) -> str:
    """Return what a command line has that is not understood, in one sentence."""
    found = getattr(exc.__cause__, "errors", None)  # of the library that checks values
    if found is not None:
        from seedance_mcp.core.value_problems import describe_problem

        exc.message = describe_problem(found()[0])
    message = str(exc.format_message())
    return message if message.endswith((".", "?", "!")) else f"{message}."
