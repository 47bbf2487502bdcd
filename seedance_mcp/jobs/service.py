"""Job service: what the interfaces offer around jobs: get, list, find, fetch again, prune."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from seedance_mcp.adapters.media import videos
from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job
from seedance_mcp.jobs.downloads import VideoDownloader
from seedance_mcp.jobs.follower import JobFollower, Report
from seedance_mcp.jobs.history import JobList, JobLister
from seedance_mcp.jobs.undelivered import unknown_job_error
from seedance_mcp.jobs.untracked import UntrackedJobReader


@dataclass(frozen=True, slots=True, kw_only=True)
class JobService:
    """Follows the jobs of one wallet at one studio.

    Attributes:
        poller: Polls running jobs.
        downloads: Saves videos.
        untracked: Asks for jobs that the ledger lacks; None for a caller who may not see them.
        renewals: Videos that are being fetched again, by job id.
        verify: Asks the chain, once, whether a finished job was paid for; returns the job.
        prune_files: Deletes saved videos and given pictures that are older than the owner keeps them.
        now: Unix seconds.
    """

    ledger: Ledger
    poller: JobFollower
    downloads: VideoDownloader
    untracked: UntrackedJobReader | None
    history: JobLister
    renewals: SingleFlight[Job]
    verify: Callable[[Job], Awaitable[Job]]
    prune_files: Callable[[], Awaitable[None]]
    now: Callable[[], float]

    async def get(
        self, job_id: str, *, deadline: float, answer_until: float = math.inf, report: Report | None = None
    ) -> Job:
        """Read a job, wait for it a while, and save its video as soon as there is one.

        Args:
            job_id: The studio's id.
            deadline: The moment at which to stop waiting; the job goes on.
            answer_until: The moment until which the studio may take to tell of a job that is not ours.
            report: Told how the job gets on.

        Raises:
            JobNotFoundError: Neither the ledger nor the studio knows it for this wallet. A caller gets the same error
                for the job of another one, and the studio is not asked.
            VideoGoneError: The saved file is missing, and the studio does not have the video any more.
            SeedanceError: The studio does not answer, or the video cannot be saved yet.
        """
        job = await self.ledger.find_job(job_id)
        if job is None:
            if self.untracked is None:
                raise unknown_job_error(job_id)
            job = await self.untracked.fetch_job(job_id, answer_until=answer_until)
        elif job.expired_at is None and videos.is_missing(job.file) and (own := self.downloads.archive.find_own(job)):
            return own  # another machine on this ledger has saved it as well, in its own folder
        elif job.expired_at is not None or await self.is_missing(job):
            job = await self.fetch_again(job, deadline=deadline)
        job = await self.poller.wait(job, deadline=deadline, report=report)
        return await self.downloads.wait_thumbnail(await self.verify(job))

    async def is_missing(self, job: Job) -> bool:
        """Return True if a job's video was saved and is gone, though it was not pruned."""
        return await self.downloads.archive.is_missing(job)

    async def list_recent(self, limit: int) -> JobList:
        """Recent jobs, newest first: ours, and those that only the studio remembers."""
        return await self.history.list_jobs(limit)

    async def find(self, job_id: str) -> Job | None:
        """Return the latest known state of a job of ours, without asking the studio."""
        job = await self.ledger.find_job(job_id)
        return None if job is None else self.poller.latest(job)

    async def prune(self) -> None:
        """Delete saved videos and pictures that are older than the owner keeps them, and unused given pictures.

        Raises:
            ConfigError, LedgerError, StorageError: As `retention.prune_local` and `shared_retention.prune_shared`.
        """
        await self.prune_files()

    async def fetch_again(self, job: Job, *, deadline: float) -> Job:
        """Ask the studio once more for a paid video that is not on disk; the work goes on after the deadline."""
        with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
            return await self.renewals.run(job.job_id, lambda: self.downloads.fetch_again(job))
        return job

    async def wait(self, job: Job, *, deadline: float, report: Report | None = None) -> Job:
        """Wait for a job until a moment, and for its small picture."""
        return await self.downloads.wait_thumbnail(await self.poller.wait(job, deadline=deadline, report=report))
