"""Messages: what commands tell people, a line or a few at a time.

A plain text is written directly. Loading rich, for colours and progress bars, takes as long as a short command.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import IO, TYPE_CHECKING

from seedance_mcp.cli.streams import clean, find_width, is_coloured, wrap_words, write

if TYPE_CHECKING:
    from rich.text import Text

    from seedance_mcp.cli.redacted_console import RedactedConsole


class Messages:
    """Prints on stderr or stdout.

    Args:
        stderr: True for stderr, False for stdout.
    """

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    @property
    def _file(self) -> IO[str] | None:
        return sys.stderr if self._stderr else sys.stdout

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None where the lines of a text are not broken."""
        return find_width(self._file)

    @cached_property
    def rich(self) -> RedactedConsole:
        """The console of rich, for colours and progress bars."""
        from seedance_mcp.cli.redacted_console import RedactedConsole

        return RedactedConsole(stderr=self._stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def print(self, message: str | Text, *, style: str | None = None) -> None:
        """Print a message; a `str` without secrets, and at a terminal with its lines broken between words.

        Args:
            message: A text, or one of rich's, which is printed as it is.
            style: A style of rich's for the whole text; only a stream that may show colours gets it.
        """
        has_style = style is not None and is_coloured(self._file)
        if has_style or not isinstance(message, str) or "rich" in self.__dict__:  # a progress bar may be on the screen
            self.rich.print(message, style=style)
        else:
            write(self._file, f"{wrap_words(clean(message), self.width)}\n")
