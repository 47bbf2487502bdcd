"""Ledgers for tests: on both databases, without a coroutine, or with the connection below."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import anyio

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.core.ledger import Ledger

T = TypeVar("T")


class Store(ABC):
    """Where a ledger of the tests is kept.

    Attributes:
        address: Opens it in another process, by `open_at`.
    """

    address: str

    async def open(self) -> Ledger:
        """Open the ledger, as one of perhaps several processes."""
        return await open_at(self.address)

    @abstractmethod
    def execute(self, statement: str) -> None:
        """Run a statement beside the ledger, as a person would."""

    @abstractmethod
    def lock(self) -> Callable[[], None]:
        """Take the budget's lock as another process would; returns what commits and gives it back."""


class SQLiteStore(Store):
    """A file."""

    def __init__(self, file: Path) -> None:
        self.address = str(file)

    def execute(self, statement: str) -> None:
        """Run a statement on the file."""
        with closing(sqlite3.connect(self.address)) as db, db:
            db.execute(statement)

    def lock(self) -> Callable[[], None]:
        """Begin the transaction of a writer."""
        other = sqlite3.connect(self.address, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        def commit() -> None:
            other.execute("COMMIT")
            other.close()

        return commit


class PostgresStore(Store):
    """A database."""

    def __init__(self, url: str) -> None:
        self.address = url

    def execute(self, statement: str) -> None:
        """Run a statement on the database."""
        import psycopg

        with psycopg.connect(self.address) as connection:
            connection.execute(statement.encode())

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query on the database and return its rows."""
        import psycopg

        with psycopg.connect(self.address) as connection:
            return connection.execute(query.encode()).fetchall()

    def lock(self) -> Callable[[], None]:
        """Lock the row of the wallet's budget."""
        import psycopg

        other = psycopg.connect(self.address)
        other.execute("SELECT 1 FROM budgets WHERE scope = '' FOR UPDATE")

        def commit() -> None:
            other.commit()
            other.close()

        return commit


async def open_at(address: str) -> Ledger:
    """Open the ledger at a database's URL or a file's path."""
    if not address.startswith("postgresql:"):
        return await SQLiteLedger.open(Path(address))
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    return await PostgresLedger.open(address)


def work_on(file: Path, work: Callable[[SQLiteLedger], Awaitable[T]]) -> T:
    """Open a ledger's file, work on it, and close it."""

    async def run() -> T:
        ledger = await SQLiteLedger.open(file)
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return anyio.run(run)


def work_at(address: str, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """Open a ledger at an address, work on it, and close it."""

    async def run() -> T:
        ledger = await open_at(address)
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return anyio.run(run)


def connect(ledger: SQLiteLedger) -> sqlite3.Connection:
    """Return the ledger's own connection, to look at what it was told or to break it."""
    driver: Any = ledger._driver  # pyright: ignore[reportPrivateUsage]  # no public way leads there
    return driver.connection
