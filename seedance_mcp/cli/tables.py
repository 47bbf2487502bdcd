"""Tables: plain tables on stdout, for a terminal of any width and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seedance_mcp.cli.console import shown
from seedance_mcp.cli.streams import clean, count_cells, wrap_words

GAP, GAP_NARROW = "  ", " "
"""What is between two columns, and between those of a table that is too wide for its terminal."""
INDENT = "    "
"""What is before a cell that stands below its row."""

CUT_CHARACTERS_MAX = 40
"""How much of a prompt or a name a table repeats."""


def cut_text(text: str) -> str:
    """Return the beginning of a prompt or a name on one line, which ends with … if there is more."""
    flat = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return flat if len(flat) <= CUT_CHARACTERS_MAX else f"{flat[: CUT_CHARACTERS_MAX - 1].rstrip()}…"


def file_name(result: dict[str, Any]) -> str:
    """Return the name of a saved video, or an empty text."""
    return Path(result["file"]).name if result["file"] else ""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, below: int) -> None:
    """Print a plain table on stdout, with a line for each row.

    At a terminal that is too narrow for it, the last `below` cells of a row stand below the others, each on its own.
    """
    cells = [tuple(clean(cell).replace("\n", " ") for cell in row) for row in rows]
    widths = measure_columns([columns, *cells])
    width = shown.width
    if width is None or sum(widths) + len(GAP) * (len(widths) - 1) <= width:
        shown.print(join_cells(columns, widths), style="bold")
        for row in cells:
            shown.print(join_cells(row, widths))
        return
    beside = len(columns) - below
    heads = [row[:beside] for row in cells]
    widths = measure_columns(heads)
    if sum(widths) + len(GAP_NARROW) * (len(widths) - 1) > width:  # one long name must not break the lines of all
        widths = [0] * len(widths)
    for row, head in zip(cells, heads, strict=True):
        shown.print(join_cells(head, widths, GAP_NARROW))
        for cell in filter(None, row[beside:]):
            for line in wrap_words(cell, width - len(INDENT)).split("\n"):
                shown.print(INDENT + line)


def measure_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide each column of a terminal must be."""
    return [max(map(count_cells, column)) for column in zip(*rows, strict=True)]


def join_cells(row: Sequence[str], widths: Sequence[int], gap: str = GAP) -> str:
    """Return a row as a line; a cell that is wider than its column moves the rest of the line."""
    padded = [cell + " " * (width - count_cells(cell)) for cell, width in zip(row, widths, strict=True)]
    return gap.join(padded).rstrip()
