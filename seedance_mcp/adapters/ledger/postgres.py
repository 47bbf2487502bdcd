"""The ledger in a PostgreSQL database, for several replicas; loaded only if the owner names a database."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from seedance_mcp.adapters.ledger.callers import CallerTransaction, Viewpoint, count_open, select_caps
from seedance_mcp.adapters.ledger.claims import ClaimQueries, check_claim
from seedance_mcp.adapters.ledger.closings import ClosingQueries
from seedance_mcp.adapters.ledger.deletion import DeletionQueries
from seedance_mcp.adapters.ledger.driver import Driver
from seedance_mcp.adapters.ledger.figures import FigureQueries
from seedance_mcp.adapters.ledger.films import FilmQueries
from seedance_mcp.adapters.ledger.freezes import find_freeze
from seedance_mcp.adapters.ledger.health import HealthQueries
from seedance_mcp.adapters.ledger.identities import IdentityQueries
from seedance_mcp.adapters.ledger.jobs import JobQueries
from seedance_mcp.adapters.ledger.leases import FencedDriver, Lease, LeaseQueries, check_lease
from seedance_mcp.adapters.ledger.objects import ObjectQueries
from seedance_mcp.adapters.ledger.payments import PaymentQueries
from seedance_mcp.adapters.ledger.postgres_driver import (
    IDLE_SECONDS,
    LOCK_SECONDS,
    PoolSettings,
    PostgresDriver,
    translate_errors,
)
from seedance_mcp.adapters.ledger.postgres_migrations import check_version
from seedance_mcp.adapters.ledger.quotes import QuoteQueries
from seedance_mcp.adapters.ledger.reports import ReportQueries
from seedance_mcp.adapters.ledger.sessions import SessionQueries
from seedance_mcp.adapters.ledger.slots import SlotQueries
from seedance_mcp.adapters.ledger.spending import select_spend
from seedance_mcp.adapters.ledger.tokens import TokenQueries
from seedance_mcp.adapters.ledger.uploads import UploadQueries
from seedance_mcp.adapters.ledger.webhooks import WebhookQueries
from seedance_mcp.core.callers import CallerCaps
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Cap, Spend

_OWNERS = Viewpoint()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerUsage:
    """What one caller has spent.

    Attributes:
        spend: Its own payments, with what is held.
        open: Running jobs, and payments whose job is not known yet.
        caps: Its caps, with the defaults of the server.
        freeze: What stops it, or None.
    """

    spend: Spend
    open: int
    caps: tuple[Cap, ...]
    freeze: Freeze | None


class PostgresLedger(
    PaymentQueries,
    JobQueries,
    UploadQueries,
    FilmQueries,
    ReportQueries,
    LeaseQueries,
    SessionQueries,
    ClaimQueries,
    QuoteQueries,
    ObjectQueries,
    SlotQueries,
    TokenQueries,
    DeletionQueries,
    IdentityQueries,
    HealthQueries,
    FigureQueries,
    ClosingQueries,
    WebhookQueries,
):
    """The `Ledger` protocol on a PostgreSQL database, with what replicas need in addition."""

    def __init__(self, driver: Driver, viewpoint: Viewpoint = _OWNERS) -> None:
        viewer = None if viewpoint.sees_jobs else viewpoint.caller
        super().__init__(driver, viewpoint.caller, viewer, viewpoint.reservation_id)
        self._viewpoint = viewpoint

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        lock_seconds: int = LOCK_SECONDS,
        idle_seconds: int = IDLE_SECONDS,
        pool: PoolSettings | None = None,
        owner: str | None = None,
        follows_clock: bool = False,
    ) -> PostgresLedger:
        """Open a ledger that `seedance-mcp migrate` has made; changes no schema.

        Args:
            url: `postgresql://user:password@host/database`.
            clock: Where the times come from that this process passes to the ledger.
            lock_seconds: How long a writer waits for another one.
            idle_seconds: After which a transaction ends whose process stands still.
            pool: Its connections.
            owner: Our name in leases; None for a new one.
            follows_clock: True if this process takes its time from `now`.

        Raises:
            LedgerError: It cannot be reached, or has another version of the schema.
        """
        driver = PostgresDriver(
            url,
            clock=clock,
            lock_seconds=lock_seconds,
            idle_seconds=idle_seconds,
            pool=pool,
            owner=owner,
            follows_clock=follows_clock,
        )
        await check_version(url)
        try:
            with translate_errors(driver.name):
                await driver.open()
        except BaseException:
            await driver.close()
            raise
        return cls(driver)

    def now(self) -> float:
        """Return Unix seconds by the database's clock; see `follows_clock` of `open`."""
        return cast("PostgresDriver", self._driver).clock.now()

    def for_caller(self, caller: str, *, sees_jobs: bool = False, sees_sums: bool = False) -> PostgresLedger:
        """Return the same ledger for one caller: its payments are the caller's, and count against both budgets.

        Args:
            caller: Its id; empty for the owner, who sees everything.
            sees_jobs: True if it may see the payments and jobs of everyone.
            sees_sums: True if it may see what everyone has spent.
        """
        return PostgresLedger(
            self._driver,
            Viewpoint(
                caller=caller,
                defaults=self._viewpoint.defaults,
                reservation_id=self._viewpoint.reservation_id,
                sees_jobs=sees_jobs or not caller,
                sees_sums=sees_sums or not caller,
            ),
        )

    def drawing_from(self, reservation_id: int | None) -> PostgresLedger:
        """Return the same ledger, whose new payments draw from a reserved sum."""
        return PostgresLedger(self._driver, replace(self._viewpoint, reservation_id=reservation_id))

    def with_defaults(self, defaults: CallerCaps) -> PostgresLedger:
        """Return the same ledger with caps that hold for every caller without its own."""
        return PostgresLedger(self._driver, replace(self._viewpoint, defaults=defaults))

    def watch_reservations(self, watch: Callable[[float], object]) -> None:
        """Have the seconds told for which each transaction of a budget takes, with waiting for its lock."""
        cast("PostgresDriver", self._driver).watch = watch  # this ledger is under no lease

    @property
    def owner(self) -> str:
        """Return the name of this replica in leases and claims: another one at each start."""
        return self._driver.owner

    def under_lease(self, lease: Lease) -> PostgresLedger:
        """Return the same ledger for the holder of a lease: it writes nothing once another replica may have it."""
        return PostgresLedger(FencedDriver(self._driver, partial(check_lease, lease=lease)), self._viewpoint)

    def under_claim(self, job_id: str) -> PostgresLedger:
        """Return the same ledger for the replica that saves a video: it writes nothing once its claim has lapsed."""
        check = partial(check_claim, job_id=job_id, owner=self.owner)
        return PostgresLedger(FencedDriver(self._driver, check), self._viewpoint)

    @asynccontextmanager
    async def lock_budget(self, *, sync: bool = False) -> AsyncGenerator[CallerTransaction]:
        """Lock the wallet's budget and the caller's; see `PaymentLedger`."""
        async with self._lock_payments() as session:
            yield CallerTransaction(session, self._viewpoint)

    async def spend(self, now: float) -> Spend:
        """Sum the wallet's budget, in which the payments of all callers are."""
        async with self._driver.reading() as session:
            return await CallerTransaction(session, self._viewpoint).spend(now)

    async def find_visible_spend(self, now: float) -> Spend:
        """Sum the caller's own payments, or the wallet's for one who may see them."""
        if self._viewpoint.sees_sums:
            return await self.spend(now)
        async with self._driver.reading() as session:
            return await select_spend(session, self._caller, now=now)

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return the caps in the database that bind this caller."""
        async with self._driver.reading() as session:
            return await select_caps(session, self._viewpoint, now=now)

    async def find_usage(self, now: float) -> CallerUsage:
        """Return what this caller has spent and holds, and its caps, as the owner sees them."""
        async with self._driver.reading() as session:
            return CallerUsage(
                spend=await select_spend(session, self._caller, now=now),
                open=await count_open(session, self._caller, now=now),
                caps=tuple(
                    cap
                    for cap in await select_caps(session, replace(self._viewpoint, sees_sums=False), now=now)
                    if not cap.is_private
                ),
                freeze=await find_freeze(session, self._caller),
            )
