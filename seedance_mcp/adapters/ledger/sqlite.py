"""The ledger in one SQLite file: the embedded default."""

from __future__ import annotations

from pathlib import Path

from seedance_mcp.adapters.ledger.films import FilmQueries
from seedance_mcp.adapters.ledger.jobs import JobQueries
from seedance_mcp.adapters.ledger.payments import PaymentQueries
from seedance_mcp.adapters.ledger.reports import ReportQueries
from seedance_mcp.adapters.ledger.sqlite_driver import SQLiteDriver
from seedance_mcp.adapters.ledger.uploads import UploadQueries


class SQLiteLedger(PaymentQueries, JobQueries, UploadQueries, FilmQueries, ReportQueries):
    """The `Ledger` protocol on one file."""

    @classmethod
    async def open(cls, file: Path) -> SQLiteLedger:
        """Open or create a ledger and bring its schema up to date.

        Raises:
            LedgerError: Not writable, not a ledger, damaged, or written by a newer version.
        """
        driver = SQLiteDriver(file)
        await driver.open()
        return cls(driver)

    def for_caller(self, caller: str) -> SQLiteLedger:
        """Return this ledger: a file has no callers."""
        return self

    def drawing_from(self, reservation_id: int | None) -> SQLiteLedger:
        """Return the same ledger, whose new payments draw from a reserved sum."""
        return type(self)(self._driver, reservation_id=reservation_id)

    async def count_closings(self) -> int:
        """Return 0: a ledger in a file is not closed; each process reads list and chains before it first pays."""
        return 0
