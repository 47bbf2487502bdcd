"""Leading: the one replica that polls the jobs of a wallet, also those that other replicas bought.

Every write of its poller is under the lease. Each term has a poller of its own, which ends with the lease.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.core.concurrency import Start, Wakeup
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.leases import Lease
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.jobs.leases import LeaseKeeper
    from seedance_mcp.jobs.poller import JobPoller

READ_SECONDS = 2
"""Longest pause between two readings of the ledger for jobs that no notice announced."""
FOLLOW_SECONDS = 1
"""Pause between two attempts to take the lease; one that is released is taken at once."""
AWAY_SECONDS = 60
"""How long the studio may be away for the replica that polls before another one tries."""
YIELD_SECONDS = 10
"""How long a replica that gave the lease away leaves it to the others."""
FAULT_SECONDS = 5
"""Pause after a fault of our own."""
REPEAT_SECONDS = 120
"""Pause before a job is polled again that the poller gave up because of its age."""

BuildPoller = Callable[["PostgresLedger", Start], "JobPoller"]
"""Builds the poller of one term: on a ledger that checks the lease, and with what starts its tasks."""

log = logging.getLogger("seedance_mcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOwner:
    """Whose jobs are polled and saved.

    Attributes:
        studio: The studio's origin.
        wallet: The address that pays.
    """

    studio: str
    wallet: str

    @property
    def poll_key(self) -> str:
        """Return the key of the lease to poll."""
        return f"poll:{self.wallet.lower()}"

    def owns(self, job: Job) -> bool:
        """Return True for a job of this wallet at this studio."""
        return job.studio == self.studio and job.wallet.lower() == self.wallet.lower()


@dataclass
class PollLeader:
    """Polls while this replica has the lease, and tries to get it while it has not.

    Attributes:
        ledger: Knows all jobs of the wallet.
        keeper: Keeps the lease.
        owner: Whose jobs.
        build_poller: See `BuildPoller`.
        away_seconds: How long the studio may be away before another replica tries.
        poller: The poller of this term; None while another replica polls.
    """

    ledger: PostgresLedger
    keeper: LeaseKeeper
    owner: JobOwner
    build_poller: BuildPoller
    away_seconds: float = AWAY_SECONDS
    poller: JobPoller | None = None
    _news: set[str] = field(default_factory=set[str])
    _wanted: set[str] = field(default_factory=set[str])
    _watched_at: dict[str, float] = field(default_factory=dict[str, float])
    _wakeup: Wakeup = field(default_factory=Wakeup)
    _leave_until: float = -math.inf
    """Until when the lease is left to other replicas, by the event loop's clock."""

    def hear_job(self, job_id: str, *, is_wanted: bool = False) -> None:
        """Take up a job that another replica bought, or that a caller waits for."""
        if self.poller is None or (self.poller.is_watching(job_id) and not is_wanted):
            return
        (self._wanted if is_wanted else self._news).add(job_id)
        self._wakeup.set()

    def hear_release(self, key: str) -> None:
        """Try at once to take a lease that was released."""
        if key == self.owner.poll_key and self.poller is None:
            self._wakeup.set()

    async def run(self) -> None:
        """Lead whenever no other replica does; runs until cancelled."""
        while True:
            try:
                await self._try_to_lead()
            except LedgerError as exc:
                log.warning("Who polls cannot be read now: %s", exc.what)
            except Exception:  # another term, or another replica, may do better
                log.exception("Polling broke")
                await anyio.sleep(FAULT_SECONDS)
            await self._wakeup.wait(FOLLOW_SECONDS)

    async def _try_to_lead(self) -> None:
        key = self.owner.poll_key
        if anyio.current_time() >= self._leave_until and await self.ledger.is_free(key):
            await self.keeper.hold(key, self._lead)

    async def _lead(self, lease: Lease) -> None:
        """Poll until cancelled, or until the studio has been away for too long."""
        log.info("This server polls the jobs (term %d).", lease.term)
        try:
            async with anyio.create_task_group() as tasks:

                def start(work: Callable[[], Awaitable[None]]) -> None:
                    tasks.start_soon(_run, work)

                self._watched_at.clear()
                self.poller = self.build_poller(self.ledger.under_lease(lease), start)
                await self._follow_ledger(self.poller)
                tasks.cancel_scope.cancel()
        finally:
            self.poller = None

    async def _follow_ledger(self, poller: JobPoller) -> None:
        """Give the poller each job that runs; returns where the studio is away."""
        read_at = -READ_SECONDS
        while poller.away_since is None or anyio.current_time() - poller.away_since < self.away_seconds:
            wanted, news = self._wanted, self._news
            self._wanted, self._news = set(), set()
            with suppress(LedgerError):  # read again in a moment
                if anyio.current_time() - read_at >= READ_SECONDS:
                    news |= self._list_due(poller, await self.ledger.list_running(**self._whose()))
                    read_at = anyio.current_time()
                await self._watch(poller, news | wanted, wanted)
            await self._wakeup.wait(READ_SECONDS)
        log.warning("The studio is away: another server may poll the jobs.")
        self._leave_until = anyio.current_time() + YIELD_SECONDS

    def _list_due(self, poller: JobPoller, running: Iterable[str]) -> set[str]:
        """Return the running jobs to poll: not those that were given up a moment ago because of their age."""
        now = anyio.current_time()
        unwatched = {job_id for job_id in running if not poller.is_watching(job_id)}
        return {one for one in unwatched if now - self._watched_at.get(one, -REPEAT_SECONDS) >= REPEAT_SECONDS}

    async def _watch(self, poller: JobPoller, job_ids: set[str], wanted: set[str]) -> None:
        for found in await self.ledger.follow_jobs(job_ids) if job_ids else ():
            job = found.job
            if job.status in ("pending", "loading") and self.owner.owns(job):
                self._watched_at[job.job_id] = anyio.current_time()
                poller.watch(job)
                if job.job_id in wanted:
                    poller.hurry(job.job_id)

    def _whose(self) -> dict[str, str]:
        return {"studio": self.owner.studio, "wallet": self.owner.wallet}


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()
