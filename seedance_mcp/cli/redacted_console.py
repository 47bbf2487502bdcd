"""Redacted console: rich's console, which prints no secret and survives a reader that has gone."""

from typing import Any

from rich.cells import cell_len
from rich.console import Console

from seedance_mcp.cli.console import discard
from seedance_mcp.core.redaction import redact


class RedactedConsole(Console):
    """A console whose output may be closed by its reader."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, with every text redacted; at a terminal, its lines are broken between words."""
        width = self.width if self.soft_wrap and self.is_terminal else None
        super().print(*(wrap_words(redact(one), width) if isinstance(one, str) else one for one in objects), **options)

    def on_broken_pipe(self) -> None:
        """Discard further output, and continue: the command may be paying."""
        self.quiet = True
        discard(self.file)


def wrap_words(text: str, width: int | None) -> str:
    """Return a text whose lines are broken between words, so that none is wider; a longer word keeps a line whole.

    Args:
        text: May have lines of its own.
        width: Columns; None to leave the text as it is.
    """
    if width is None:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        first, *others = line.split(" ")
        lines.append(first)
        for word in others:
            if not lines[-1].strip() or cell_len(lines[-1]) + 1 + cell_len(word) <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    return "\n".join(lines)
