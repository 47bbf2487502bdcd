"""The group of `ledger` commands: close a database's ledger after a restore, and open it. They work on the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import typer

from seedance_mcp.app.opening import open_shared_ledger
from seedance_mcp.cli.command_types import Command, make_group
from seedance_mcp.cli.console import AsJson, is_person_there, read_environ, say, words
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.closings import CLOSING_REASON_CHARACTERS_MAX, Closing
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.texts import write_time

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

T = TypeVar("T")

app = make_group("Close a shared ledger after a restore, show that, and open it.")


@app.command(cls=Command)
def status(as_json: AsJson = False) -> None:
    """Show whether the ledger is closed, and when it opens."""
    _show(_work(lambda ledger: ledger.find_closing()), as_json)


@app.command(cls=Command)
def close(
    reason: Annotated[str | None, typer.Argument(help="Why, for anyone who finds it closed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Stop buying until the studio's list and the chains were read. Run it after every restore of the database."""
    text = " ".join((reason or "").split())[:CLOSING_REASON_CHARACTERS_MAX]  # cut, not refused: a stop must not fail
    _show(_work(lambda ledger: ledger.close_ledger(text)), as_json)


@app.command(cls=Command, name="open", short_help="Open the ledger now, without reading list and chains.")
def open_now(as_json: AsJson = False) -> None:
    """Open the ledger now, unread: payments that it lacks may be made again. With real money, for a person."""
    settings = _read_settings()
    if settings.profile.name != "sandbox" and not is_person_there():
        raise ConfigError("Only a person at a terminal can open a ledger that was not read.", "Nothing changed.")

    async def work(ledger: PostgresLedger) -> bool:
        closing = await ledger.find_closing()
        return closing is not None and await ledger.open_ledger(closing)

    was_closed = _work(work)
    if as_json:
        say({"closed": False, "was_closed": was_closed})
        return
    words.print("The ledger is open. It was not read." if was_closed else "The ledger was not closed.")


def _show(closing: Closing | None, as_json: bool) -> None:
    if as_json:
        say(
            {
                "closed": closing is not None,
                "closed_since": None if closing is None else closing.since,
                "reason": None if closing is None else closing.reason,
                "read_from": None if closing is None else write_time(closing.read_from),
                "opens_after": None if closing is None else write_time(closing.opens_after),
            }
        )
    elif closing is None:
        words.print("The ledger is open.")
    else:
        words.print(f"{closing.describe()} {closing.describe_reading()}")
        words.print("A running server reads and opens it. Nothing is bought before; running jobs go on.")


def _read_settings() -> Settings:
    return read_settings(read_environ(sandbox=False), blocking=True)


def _work(work: Callable[[PostgresLedger], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_shared_ledger(_read_settings()) as ledger:
            return await work(ledger)

    return anyio.run(run)
