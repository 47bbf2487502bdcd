"""The ledger in a PostgreSQL database, for several replicas; loaded only if the owner names a database."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

from seedance_mcp.adapters.ledger.callers import CallerTransaction, select_caps
from seedance_mcp.adapters.ledger.claims import ClaimQueries, check_claim
from seedance_mcp.adapters.ledger.jobs import JobQueries
from seedance_mcp.adapters.ledger.leases import FencedDriver, Lease, LeaseQueries, check_lease
from seedance_mcp.adapters.ledger.objects import ObjectQueries
from seedance_mcp.adapters.ledger.payments import PaymentQueries
from seedance_mcp.adapters.ledger.postgres_driver import IDLE_SECONDS, LOCK_SECONDS, PostgresDriver
from seedance_mcp.adapters.ledger.postgres_migrations import check_version
from seedance_mcp.adapters.ledger.quotes import QuoteQueries
from seedance_mcp.adapters.ledger.slots import SlotQueries
from seedance_mcp.adapters.ledger.tokens import TokenQueries
from seedance_mcp.adapters.ledger.uploads import UploadQueries
from seedance_mcp.core.limits import BudgetCap


class PostgresLedger(
    PaymentQueries,
    JobQueries,
    UploadQueries,
    LeaseQueries,
    ClaimQueries,
    QuoteQueries,
    ObjectQueries,
    SlotQueries,
    TokenQueries,
):
    """The `Ledger` protocol on a PostgreSQL database, with what replicas need in addition."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        lock_seconds: int = LOCK_SECONDS,
        idle_seconds: int = IDLE_SECONDS,
    ) -> PostgresLedger:
        """Open a ledger that `seedance-mcp migrate` has made; changes no schema.

        Args:
            url: `postgresql://user:password@host/database`.
            clock: Where the times come from that this process passes to the ledger.
            lock_seconds: How long a writer waits for another one.
            idle_seconds: After which a transaction ends whose process stands still.

        Raises:
            LedgerError: It cannot be reached, or has another version of the schema.
        """
        driver = PostgresDriver(url, clock=clock, lock_seconds=lock_seconds, idle_seconds=idle_seconds)
        await check_version(url)
        await driver.open()
        return cls(driver)

    def for_caller(self, caller: str) -> PostgresLedger:
        """Return the same ledger for one caller: its payments are the caller's, and count against both budgets."""
        return PostgresLedger(self._driver, caller)

    @property
    def owner(self) -> str:
        """Return the name of this replica in leases and claims: another one at each start."""
        return self._driver.owner

    def under_lease(self, lease: Lease) -> PostgresLedger:
        """Return the same ledger for the holder of a lease: it writes nothing once another replica may have it."""
        return PostgresLedger(FencedDriver(self._driver, partial(check_lease, lease=lease)), self._caller)

    def under_claim(self, job_id: str) -> PostgresLedger:
        """Return the same ledger for the replica that saves a video: it writes nothing once its claim has lapsed."""
        check = partial(check_claim, job_id=job_id, owner=self.owner)
        return PostgresLedger(FencedDriver(self._driver, check), self._caller)

    @asynccontextmanager
    async def lock_budget(self) -> AsyncGenerator[CallerTransaction]:
        """Lock the wallet's budget and the caller's; see `PaymentLedger`."""
        async with self._lock_payments() as session:
            yield CallerTransaction(session, self._caller)

    async def find_caps(self, now: float) -> tuple[BudgetCap, ...]:
        """Return the caps in the database that bind this caller."""
        async with self._driver.reading() as session:
            return await select_caps(session, self._caller, now=now)
