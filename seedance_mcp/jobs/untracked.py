"""Untracked jobs: wait for and save a job of this wallet that the ledger lacks.

They are asked for one by one, waited for and saved like ours; what they cost is not in these ledger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.errors import JobNotFoundError, StudioError, StudioRejectedError, StudioUnreachableError
from seedance_mcp.core.next_steps import Argument, Call, NextStep, Repeat
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.jobs.downloads import VideoDownloader
from seedance_mcp.jobs.poller import Report, end_stalled

POLL_SECONDS_MAX = 10
STALLED_JOBS_MAX = 1000
"""Of so many jobs this process remembers since when they report an error, and of so many URLs since when it knows them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedJobReader:
    """Shows, awaits and saves untracked jobs of one wallet.

    Attributes:
        single_flight: Downloads under way, by their job; they go on without their callers.
        wallet: The address that the studio knows them by.
        expected_seconds: How long a job like this is expected to take.
        poll_seconds_min: The first pause between two questions.
        now: Unix seconds.
    """

    studio: Studio
    downloader: VideoDownloader
    single_flight: SingleFlight[Job]
    wallet: str
    expected_seconds: Callable[[Job], Awaitable[float]]
    poll_seconds_min: float
    now: Callable[[], float]
    _stalled: dict[str, float] = field(default_factory=dict[str, float])
    _seen_at: dict[str, float] = field(default_factory=dict[str, float])

    async def get_job(self, job_id: str, *, deadline: float, answer_until: float, report: Report | None = None) -> Job:
        """Return an untracked job as it is at the deadline, or as soon as it has ended and is saved.

        Args:
            job_id: The studio's id.
            deadline: The event loop's time at which to stop waiting.
            answer_until: The event loop's time until which the studio may take to tell of it at all.
            report: Told how it gets on.

        Raises:
            JobNotFoundError: The studio does not know it for this wallet.
            StudioError: The studio does not tell.
            VideoGoneError: The studio does not have the video any more.
            VideoUnsavedError: The video cannot be saved now.
        """
        job = None
        with anyio.move_on_after(max(answer_until - anyio.current_time(), 0.001)):
            job = await self._fetch(job_id)
        if job is None:
            raise StudioUnreachableError(
                "The studio did not tell of the job in time.", NextStep("{0} in a minute.", Repeat())
            )
        with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
            pause = self.poll_seconds_min
            while job.status in ("pending", "loading"):
                if report is not None:
                    await report(job, await self.expected_seconds(job))
                await anyio.sleep(pause)
                pause = min(pause * 1.5, POLL_SECONDS_MAX)
                job = await self._look_again(job)
            if job.status == "complete" and job.file is None:
                wanted = job
                job = await self.single_flight.run(job.job_id, lambda: self.downloader.save_foreign(wanted))
        return job

    def show(self, seen: JobStatus) -> Job:
        """Build a job that is not in the ledger, for display."""
        job = Job(
            job_id=seen.job_id, studio=self.studio.origin, wallet=self.wallet, payment_id=0, idempotency_key="",
            arguments=seen.input or {}, status=seen.status, progress=seen.progress, error=seen.error,
            video_url=seen.video_url, thumbnail_url=seen.thumbnail_url, file=None, thumbnail=None,
            created_at=seen.created_at or self.now(), ended_at=None, price_micro_usdc=0, fee_micro_usdc=0,
            rail="x402", receipt=None, url_seen_at=self._find_seen_at(seen.video_url),
        )  # fmt: skip
        return self.downloader.find_saved(job)

    async def _look_again(self, job: Job) -> Job:
        try:
            return await self._fetch(job.job_id)
        except StudioError:  # it told of it a moment ago, and will again
            return job

    async def _fetch(self, job_id: str) -> Job:
        try:
            seen = await self.studio.fetch_job(job_id)
        except StudioRejectedError as exc:
            if exc.status not in (403, 404):
                raise
            raise JobNotFoundError(
                f"No job {job_id[:80]!r} is known for this wallet.",
                NextStep("Check the {0}; {1} to see the jobs.", Argument("job_id"), Call("list_jobs")),
            ) from exc
        return self.show(self._end_stalled(seen))

    def _find_seen_at(self, url: str | None) -> float | None:
        """Since when this process knows a URL, in Unix seconds; no ledger remembers it."""
        if url is None:
            return None
        if len(self._seen_at) >= STALLED_JOBS_MAX:
            self._seen_at.clear()
        return self._seen_at.setdefault(url, self.now())

    def _end_stalled(self, seen: JobStatus) -> JobStatus:
        """Return a job as failed that has reported an error long enough; no ledger remembers it."""
        if not seen.stalled:
            self._stalled.pop(seen.job_id, None)
            return seen
        if len(self._stalled) >= STALLED_JOBS_MAX:
            self._stalled.clear()
        now = anyio.current_time()
        return end_stalled(seen, now - self._stalled.setdefault(seen.job_id, now), self.poll_seconds_min)
