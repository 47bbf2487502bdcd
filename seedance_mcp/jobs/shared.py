"""Shared following: callers of any replica wait for a job on what the ledger has, no matter which one polls and saves.

A notice of the database wakes them; a reading every two seconds does where one was lost. A job that the ledger lacks is
polled by the replica that was asked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.core.concurrency import Wakeup
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job
from seedance_mcp.jobs.leading import READ_SECONDS
from seedance_mcp.jobs.poller import PROGRESS_SECONDS
from seedance_mcp.jobs.problems import read_problem

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.claims import FollowedJob
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.jobs.follower import Report
    from seedance_mcp.jobs.leading import PollLeader
    from seedance_mcp.jobs.poller import JobPoller


@dataclass
class _Followed:
    """A job that callers of this replica wait for, as the ledger had it last."""

    job: Job
    problem: str | None = None
    waiting: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def take(self, found: FollowedJob) -> None:
        """Keep what the ledger has now, and wake those who wait if it is something else."""
        if (found.job, found.problem) != (self.job, self.problem):
            self.job, self.problem = found.job, found.problem
            self.changed.set()
            self.changed = anyio.Event()


class JobBoard:
    """The jobs that callers of this replica wait for.

    Args:
        ledger: Is read for all of them in one statement.
    """

    def __init__(self, ledger: PostgresLedger) -> None:
        self._ledger = ledger
        self._followed: dict[str, _Followed] = {}
        self._news: set[str] = set()
        self._wakeup = Wakeup()

    def hear(self, job_id: str) -> None:
        """Read a job at once if a caller waits for it."""
        if job_id in self._followed:
            self._news.add(job_id)
            self._wakeup.set()

    def hear_all(self) -> None:
        """Read all jobs at once: notices may have been lost."""
        self._news.update(self._followed)
        self._wakeup.set()

    @contextmanager
    def follow(self, job: Job) -> Generator[_Followed]:
        """Follow a job inside the block."""
        followed = self._followed.setdefault(job.job_id, _Followed(job))
        followed.waiting += 1
        self.hear(job.job_id)  # it may have changed since it was read
        try:
            yield followed
        finally:
            followed.waiting -= 1
            if not followed.waiting:
                del self._followed[job.job_id]

    async def run(self) -> None:
        """Read until cancelled: what a notice was about at once, everything every `READ_SECONDS`."""
        read_at = anyio.current_time()
        while True:
            await self._wakeup.wait(READ_SECONDS)
            if anyio.current_time() - read_at >= READ_SECONDS:
                self._news.update(self._followed)
                read_at = anyio.current_time()
            news, self._news = self._news, set()
            with suppress(LedgerError):  # read again in a moment
                await self._read(news & self._followed.keys())

    async def _read(self, job_ids: set[str]) -> None:
        for found in await self._ledger.follow_jobs(job_ids) if job_ids else ():
            followed = self._followed.get(found.job.job_id)
            if followed is not None:
                followed.take(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFollower:
    """The `JobFollower` of a replica.

    Attributes:
        ledger: Knows all jobs of the wallet.
        board: Reads the jobs that callers wait for.
        leader: Polls while this replica has the lease.
        local: Polls jobs that the ledger lacks.
        expected_seconds: How long a job is expected to take.
        now: Unix seconds.
    """

    ledger: PostgresLedger
    board: JobBoard
    leader: PollLeader
    local: JobPoller
    expected_seconds: Callable[[Job], Awaitable[float]]
    now: Callable[[], float]

    def watch(self, job: Job) -> None:
        """Begin to watch a job; the replica that polls learns of it from the ledger, too."""
        if job.payment_id is None:
            self.local.watch(job)
        elif not job.finished:
            self.leader.hear_job(job.job_id)

    def latest(self, job: Job) -> Job:
        """Return the job as this replica knows it."""
        poller = self.local if job.payment_id is None else self.leader.poller
        return job if poller is None else poller.latest(job)

    async def wait(self, job: Job, *, deadline: float, report: Report | None = None) -> Job:
        """Wait until a job is finished or the deadline comes; see `JobFollower`."""
        if job.payment_id is None:
            return await self.local.wait(job, deadline=deadline, report=report)
        if job.finished:
            return await self.ledger.find_job(job.job_id) or job
        with suppress(LedgerError):  # the job goes on
            await self.ledger.want_job(job.job_id)
        expected = await self.expected_seconds(job)
        with self.board.follow(job) as followed:
            while True:
                if followed.job.finished:
                    return followed.job
                if followed.problem is not None:
                    raise read_problem(followed.problem, followed.job, self.now())
                seen, remaining = self.latest(followed.job), deadline - anyio.current_time()
                if remaining <= 0:
                    return seen
                if report is not None:
                    await report(seen, expected)
                with anyio.move_on_after(min(remaining, PROGRESS_SECONDS)):
                    await followed.changed.wait()
