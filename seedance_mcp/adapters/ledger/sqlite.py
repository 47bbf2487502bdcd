"""The ledger in one SQLite file: the embedded default.

Each operation that waits for nothing but the database runs as a whole in the database's thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from seedance_mcp.adapters.ledger.films import FilmQueries
from seedance_mcp.adapters.ledger.jobs import JobQueries
from seedance_mcp.adapters.ledger.payments import PaymentQueries
from seedance_mcp.adapters.ledger.reports import ReportQueries
from seedance_mcp.adapters.ledger.sqlite_driver import SQLiteDriver, SQLiteSession
from seedance_mcp.adapters.ledger.transaction import BudgetTransaction
from seedance_mcp.adapters.ledger.uploads import UploadQueries
from seedance_mcp.core.limits import Cap

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")
Operation = Callable[Concatenate[Any, P], Coroutine[object, object, T]]
"""An operation of the ledger."""


def _run_whole(operation: Operation[P, T]) -> Operation[P, T]:
    @wraps(operation)
    async def run(of: SQLiteLedger | SQLiteTransaction, *args: P.args, **kwargs: P.kwargs) -> T:
        return await of.run_whole(partial(operation, of, *args, **kwargs))

    return run


def _run_each_whole(of: type[C]) -> type[C]:
    """Let every public operation run in the database's thread, but those that the class itself has."""
    for name, operation in inspect.getmembers(of, inspect.iscoroutinefunction):
        if not name.startswith("_") and name not in vars(of):
            setattr(of, name, _run_whole(operation))
    return of


@_run_each_whole
class SQLiteTransaction(BudgetTransaction):
    """The transaction that others hold open."""

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return none: a file has no callers."""
        return ()

    async def run_whole(self, operation: Callable[[], Coroutine[object, object, T]]) -> T:
        """Run an operation in one go."""
        session = self._session
        return await (session.run_whole(operation) if isinstance(session, SQLiteSession) else operation())


@_run_each_whole
class SQLiteLedger(PaymentQueries, JobQueries, UploadQueries, FilmQueries, ReportQueries):
    """The `Ledger` protocol on one file.

    Attributes:
        driver: The open file.
    """

    _transaction = SQLiteTransaction

    def __init__(self, driver: SQLiteDriver, *, reservation_id: int | None = None) -> None:
        super().__init__(driver, reservation_id=reservation_id)
        self.driver = driver

    @classmethod
    async def open(cls, file: Path) -> SQLiteLedger:
        """Open or create a ledger and bring its schema up to date.

        Raises:
            LedgerError: Not writable, not a ledger, damaged, or written by a newer version.
        """
        driver = SQLiteDriver(file)
        await driver.open()
        return cls(driver)

    async def run_whole(self, operation: Callable[[], Coroutine[object, object, T]]) -> T:
        """Run an operation in one go."""
        return await self.driver.run_whole(operation)

    def for_caller(self, caller: str) -> SQLiteLedger:
        """Return this ledger: a file has no callers."""
        return self

    def drawing_from(self, reservation_id: int | None) -> SQLiteLedger:
        """Return the same ledger, whose new payments draw from a reserved sum."""
        return type(self)(self.driver, reservation_id=reservation_id)

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return none: a file has no callers."""
        return ()

    async def count_closings(self) -> int:
        """Return 0: a ledger in a file is not closed; each process reads list and chains before it first pays."""
        return 0

    async def close(self) -> None:
        """Close the file; a second call does nothing."""
        await self.driver.close()
