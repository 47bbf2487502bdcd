"""Job store: keep what the studio reports of jobs, in the ledger, and in this process for jobs that it lacks.

A job without a payment in the ledger is untracked. What is known of it ends with the process. Asks no studio.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.ledger import JobLedger
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.jobs.archive import VideoArchive

UNTRACKED_MAX = 1000
"""How many untracked jobs this process remembers."""


TellReplicas = Callable[[Job, SeedanceError | None], Awaitable[None]]
"""Told the error that callers of a job are told now, and later, with None, that they are told none any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStore:
    """What is known of the jobs of one wallet at one studio.

    Attributes:
        ledger: Keeps the jobs that it paid for.
        studio: The studio's origin.
        wallet: The address that the studio knows untracked jobs by.
        archive: Where videos are kept.
        now: Unix seconds.
        tell_replicas: Tells other replicas what the callers of a job are told; None where there are none.
    """

    ledger: JobLedger
    studio: str
    wallet: str
    archive: VideoArchive
    now: Callable[[], float]
    tell_replicas: TellReplicas | None = None
    _untracked: dict[str, Job] = field(default_factory=dict[str, Job])

    async def find(self, job: Job) -> Job:
        """Return a job as the ledger has it by now; as it is if the ledger lacks it."""
        return await self.ledger.find_job(job.job_id) or job

    async def update(self, job: Job, seen: JobStatus) -> Job:
        """Keep what the studio reports of a job, and return the job with it.

        An untracked job may be in the ledger by now: another call or process found what it was bought for.
        """
        if job.payment_id is None and await self.ledger.find_job(job.job_id) is None:
            return self.keep_untracked(seen)
        return await self.ledger.update_job(seen, now=self.now()) or job

    async def report_problem(self, job: Job, problem: SeedanceError | None) -> None:
        """Tell other replicas what callers of a job are told, as far as the ledger can be used."""
        if self.tell_replicas is not None:
            with contextlib.suppress(LedgerError):
                await self.tell_replicas(job, problem)

    def keep_untracked(self, seen: JobStatus) -> Job:
        """Keep in this process what the studio reports of an untracked job, and return it with its saved files.

        The time at which a URL or a stall was first seen stays, as in the ledger.
        """
        now = self.now()
        job = self._untracked.pop(seen.job_id, None) or Job(
            job_id=seen.job_id,
            studio=self.studio,
            wallet=self.wallet,
            arguments={},
            status=seen.status,
            progress=0,
            created_at=seen.created_at or now,
        )
        was_given_up = seen.stalled and job.status == "failed"
        job = replace(
            job,
            arguments=seen.input or job.arguments,
            status="failed" if was_given_up else seen.status,
            progress=seen.progress,
            error=seen.error,
            video_url=seen.video_url or job.video_url,
            thumbnail_url=seen.thumbnail_url or job.thumbnail_url,
            stalled_at=(job.stalled_at or now) if seen.stalled else None,
            url_seen_at=job.url_seen_at if seen.video_url in (None, job.video_url) else now,
        )
        while len(self._untracked) >= UNTRACKED_MAX:
            del self._untracked[next(iter(self._untracked))]
        self._untracked[seen.job_id] = job
        return self.archive.find_own(job) or job

    def keep_saved(self, job: Job) -> None:
        """Keep in this process under which keys an untracked job was stored; its files are found by their names."""
        if job.job_id in self._untracked:
            self._untracked[job.job_id] = replace(job, file=None, thumbnail=None)
