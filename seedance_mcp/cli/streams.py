"""Streams: write text on a terminal or a pipe, without secrets, and no wider than the terminal."""

from __future__ import annotations

import errno
import os
from typing import IO

from seedance_mcp.core.redaction import redact

COLUMNS_DEFAULT = 80
"""Width of a terminal that does not tell its own."""
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
del _CONTROLS[ord("\n")], _CONTROLS[ord("\t")]


def clean(text: str) -> str:
    """Return a text without secrets, and without characters that move a terminal's cursor or change its colours."""
    return redact(text).translate(_CONTROLS)


def write(file: IO[str] | None, text: str) -> None:
    """Write a text. If its reader has gone, the command continues without it: it may be paying."""
    if file is None:  # a program without a console
        return
    try:
        file.write(text)
        file.flush()
    except OSError as exc:
        if not is_reader_gone(exc):
            raise
        discard(file)


def is_reader_gone(exc: OSError) -> bool:
    """Return True if a stream cannot be written because its reader has closed it.

    Windows reports a closed pipe as an invalid argument.
    Source: CPython's `subprocess.Popen._stdin_write`.
    """
    return exc.errno in (errno.EPIPE, errno.EINVAL)


def discard(file: IO[str]) -> None:
    """Discard a stream's buffered and further output."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def is_coloured(file: IO[str] | None) -> bool:
    """Return True if a stream may show colours: it is a terminal, or the environment asks for them."""
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(file)


def is_terminal(file: IO[str] | None) -> bool:
    """Return True if a stream is a terminal."""
    return file is not None and not file.closed and file.isatty()


def find_width(file: IO[str] | None) -> int | None:
    """Return the columns of a terminal; None for another stream, whose lines are not broken."""
    if file is None or not is_terminal(file):
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(file.fileno()).columns or COLUMNS_DEFAULT
    except OSError:
        return COLUMNS_DEFAULT


def wrap_words(text: str, width: int | None) -> str:
    """Return a text whose lines are broken between words, so that none is wider; a longer word keeps a line whole.

    What is broken keeps its line's indentation; that of an entry of a list stands below its text.

    Args:
        text: May have lines of its own.
        width: Columns; None to leave the text as it is.
    """
    if width is None:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        bare = line.lstrip(" ")
        indent = line[: len(line) - len(bare)]
        first, *others = bare.split(" ")
        below = indent + "  " * (first == "-")
        lines.append(indent + first)
        for word in others:
            if count_cells(lines[-1]) + 1 + count_cells(word) <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(below + word)
    return "\n".join(lines)


def count_cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # loaded only for what is wider than its characters

    return cell_len(text)
