"""Redacted console: rich's console, which prints no secret and survives a reader that has gone."""

from typing import Any

from rich.console import Console

from seedance_mcp.cli.streams import clean, discard, is_reader_gone, wrap_words


class RedactedConsole(Console):
    """A console whose output may be closed by its reader."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, with every text redacted; at a terminal, its lines are broken between words."""
        width = self.width if self.soft_wrap and self.is_terminal else None
        texts = [wrap_words(clean(one), width) if isinstance(one, str) else one for one in objects]
        try:
            super().print(*texts, **options)
        except OSError as exc:
            if not is_reader_gone(exc):
                raise
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Discard further output, and continue: the command may be paying."""
        self.quiet = True
        discard(self.file)
