"""Failures: how a command that failed says so, and ends."""

import sys
from contextvars import ContextVar
from typing import NoReturn

from seedance_mcp.core.error_base import SeedanceError

json_asked: ContextVar[bool] = ContextVar("json_asked", default=False)
"""True if the command has `--json`; it then reports a failure on stdout, too."""


def fail(exc: SeedanceError) -> NoReturn:
    """Report a failure, and end with its code."""
    from seedance_mcp.cli.console import say, show_error, words
    from seedance_mcp.cli.exit_codes import find_exit_code
    from seedance_mcp.cli.words import for_person

    if json_asked.get():
        say({"error": show_error(exc)})
    words.print(f"seedance-mcp: {for_person(exc)}", style="red", markup=False)
    sys.exit(find_exit_code(exc))
