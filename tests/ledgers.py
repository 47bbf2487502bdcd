"""Ledgers for tests: without a coroutine, or with the connection below."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger

T = TypeVar("T")


def work_on(file: Path, work: Callable[[SQLiteLedger], Awaitable[T]]) -> T:
    """Open a ledger, work on it, and close it."""

    async def run() -> T:
        ledger = await SQLiteLedger.open(file)
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return anyio.run(run)


def connect(ledger: SQLiteLedger) -> sqlite3.Connection:
    """Return the ledger's own connection, to look at what it was told or to break it."""
    driver: Any = ledger._driver  # pyright: ignore[reportPrivateUsage]  # no public way leads there
    return driver.connection
