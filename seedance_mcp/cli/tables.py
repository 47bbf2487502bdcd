"""Tables: plain tables on stdout, for a terminal of any width and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedance_mcp.cli.console import shown

if TYPE_CHECKING:
    from rich.table import Table

TABLE_COLUMNS_MAX = 10_000
"""No table is wider; it is only measured at this width."""
INDENT = 4


def file_name(result: dict[str, Any]) -> str:
    """Return the name of a saved video, or an empty text."""
    return Path(result["file"]).name if result["file"] else ""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, below: int) -> None:
    """Print a plain table on stdout, with a line for each row.

    At a terminal that is too narrow for it, the last `below` cells of a row stand below the others, each on its own.
    """
    from rich.measure import Measurement
    from rich.padding import Padding
    from rich.text import Text

    rows = list(rows)
    table, console = make_table(columns, rows, unbroken=len(columns) - below), shown.rich
    widest = Measurement.get(console, console.options.update(width=TABLE_COLUMNS_MAX), table).maximum
    if not console.is_terminal or widest <= console.width:
        console.print(table)
        return
    heads = [row[:-below] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*heads, strict=True)]
    if sum(widths) + len(widths) > console.width:  # one long name must not break the lines of all
        widths = [0] * len(widths)
    for row, head in zip(rows, heads, strict=True):
        console.print(" ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip())
        for cell in row[-below:]:
            if cell:
                console.print(Padding(Text(cell, overflow="fold"), (0, 0, 0, INDENT), expand=False))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, unbroken: int) -> Table:
    """Build a plain table whose first columns are never broken."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number < unbroken)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
