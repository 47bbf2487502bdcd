"""Expenses: the `spending` command, which adds up payments by day, month or model."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import typer

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.console import AsJson, Sandbox, read_environ, say, words
from seedance_mcp.cli.export import parse_moment, write_cell
from seedance_mcp.cli.tables import print_table
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import write_count

if TYPE_CHECKING:
    from seedance_mcp.core.records import Expense

COLUMNS = ("videos", "uploads", "untracked", "spent_usd", "spent_micro_usdc")
"""The columns after the first; more may follow them in later versions."""
_PLACES = {"generation": "videos", "upload": "uploads", "untracked": "untracked"}
OTHER_MODELS = {"upload": "image uploads", "untracked": "not in this ledger"}
"""What stands for a model where none is known."""

By = Annotated[Literal["day", "month", "model"], typer.Option("--by", "-b", help="What each line adds up.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Only from this date on, in UTC, or the last 12h, 7d.", show_default=False),
]


def spending(
    by: By = "day",
    since: Since = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV on stdout.")] = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Show what was spent per day, month or model (days in UTC): from the ledger, without a network or a key. Free."""
    settings = read_settings(read_environ(sandbox))
    expenses = anyio.run(_read_expenses, settings, parse_moment("--since", since) or 0.0)
    lines = add_up(expenses, by)
    if as_json:
        say({"results": lines, "totals": _add(expenses)})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow((by, *COLUMNS))
        writer.writerows([write_cell(line[name]) for name in (by, *COLUMNS)] for line in lines)
    elif not lines:
        words.print("Nothing was spent.")
    else:
        rows = [(line[by], str(line["videos"]), str(line["uploads"]), f"${line['spent_usd']}") for line in lines]
        print_table((by, "videos", "uploads", "spent"), rows, below=0)
        total = _add(expenses)
        counted = f"{write_count(total['videos'], 'video')} and {write_count(total['uploads'], 'image upload')}"
        words.print(f"${total['spent_usd']} for {counted}.")
        if total["untracked"]:
            words.print(f"{total['untracked']} of the purchases are not in this ledger; their prices are estimates.")


def add_up(expenses: Sequence[Expense], by: str) -> list[dict[str, Any]]:
    """Return a line for each day, month or model, in order."""
    groups: dict[str, list[Expense]] = {}
    for one in expenses:
        groups.setdefault(_find_group(one, by), []).append(one)
    return [{by: name, **_add(found)} for name, found in sorted(groups.items())]


def _find_group(expense: Expense, by: str) -> str:
    if by == "model":
        return expense.model or OTHER_MODELS.get(expense.purpose, "unknown")
    return datetime.fromtimestamp(expense.created_at, UTC).strftime("%Y-%m-%d" if by == "day" else "%Y-%m")


def _add(expenses: Sequence[Expense]) -> dict[str, Any]:
    spent = sum(one.amount_micro_usdc for one in expenses)
    counts = dict.fromkeys(_PLACES.values(), 0)
    for one in expenses:
        counts[_PLACES[one.purpose]] += one.amount_micro_usdc > 0
    return {**counts, "spent_usd": format_usdc(spent), "spent_micro_usdc": spent}


async def _read_expenses(settings: Settings, since: float) -> list[Expense]:
    async with open_existing_ledger(settings) as ledger:
        return [] if ledger is None else await ledger.list_expenses(since)
