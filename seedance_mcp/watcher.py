"""The watcher: one poller for all running jobs.

Callers do not poll; they wait here. One loop asks the studio, the job route for a single job and the list route for
many, so that the number of questions does not grow with the number of jobs. It asks seldom at first, more often near
the expected end, and backs off where the studio is slow, overloaded or away. It ends no job by itself: only the
studio's word does.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from seedance_mcp.errors import (
    JobNotFoundError,
    SeedanceError,
    StudioError,
    StudioRejectedError,
    StudioUnreachableError,
)
from seedance_mcp.flights import Start
from seedance_mcp.ledger import Job, Ledger
from seedance_mcp.studio import Studio
from seedance_mcp.wire.jobs import JobStatus

POLL_SECONDS_MAX = 15
"""The studio's advice for videos. Source: contract section 8."""
LATE_SECONDS = 600
LATE_POLL_SECONDS = 60
"""A job that runs for longer than `LATE_SECONDS` is asked for this seldom."""
WATCH_SECONDS_MAX = 6 * 3600
"""A job that runs for longer than this is asked for only when somebody calls for it."""
LIST_FROM_JOBS = 2
"""From so many due jobs on, one page of the list is cheaper than asking for each."""
UNKNOWN_ANSWERS_MAX = 4
"""After so many 404s in a row we say that the studio does not know the job."""
BACKOFF_SECONDS_MAX = 120
PROGRESS_SECONDS = 3
"""How often a waiting caller is told something, at least."""

Report = Callable[[Job, float], Awaitable[None]]


@dataclass(slots=True)
class _Watched:
    """What the loop knows of one job."""

    job: Job
    due: float
    changed: anyio.Event = field(default_factory=anyio.Event)
    problem: SeedanceError | None = None
    failures: int = 0
    saving: bool = False


class JobWatcher:
    """Polls running jobs and wakes those who wait for them.

    Args:
        studio: Is asked.
        ledger: Remembers what it said.
        save: Saves a complete job's video and returns the job; raises `SeedanceError`.
        start: Starts a background task.
        expected_seconds: How long such a job is expected to take.
        poll_seconds_min: The shortest pause between two questions.
        now: Unix seconds.
    """

    def __init__(
        self,
        *,
        studio: Studio,
        ledger: Ledger,
        save: Callable[[Job], Awaitable[Job]],
        start: Start,
        expected_seconds: Callable[[Job], float],
        poll_seconds_min: float,
        now: Callable[[], float],
    ) -> None:
        self._studio = studio
        self._ledger = ledger
        self._save = save
        self._start = start
        self._expected_seconds = expected_seconds
        self._poll_seconds_min = poll_seconds_min
        self._now = now
        self._watched: dict[str, _Watched] = {}
        self._wake = anyio.Event()
        self._running = False

    def watch(self, job: Job) -> None:
        """Begin to watch a job; a finished one is left alone."""
        if job.finished:
            return
        watched = self._watched.get(job.job_id)
        if watched is None:
            self._watched[job.job_id] = watched = _Watched(job=job, due=0)
            watched.due = self._next_due(watched)
        elif watched.problem is not None:  # somebody asks again: so do we
            watched.problem, watched.failures, watched.due = None, 0, self._now()
        if not self._running:
            self._running = True
            self._start(self._run)
        self._wake.set()

    async def wait(self, job: Job, *, deadline: float, report: Report | None = None) -> Job:
        """Wait until a job is finished or the deadline comes.

        Args:
            job: A job of ours.
            deadline: Unix seconds.
            report: Told about the job at least every `PROGRESS_SECONDS`, with the seconds it is expected to need.

        Returns:
            The job as it is by then.

        Raises:
            SeedanceError: The studio does not know the job, or its video could not be saved.
        """
        self.watch(job)
        while (watched := self._watched.get(job.job_id)) is not None:
            if watched.problem is not None:
                raise watched.problem
            remaining = deadline - self._now()
            if watched.job.finished or remaining <= 0:
                return watched.job
            if report is not None:
                await report(watched.job, self._expected_seconds(watched.job))
            with anyio.move_on_after(min(remaining, PROGRESS_SECONDS)):
                await watched.changed.wait()
        return self._ledger.find_job(job.job_id) or job

    async def _run(self) -> None:
        """The loop; ends when there is nothing to watch."""
        try:
            while self._watched:
                self._wake = anyio.Event()
                now = self._now()
                waiting = [watched for watched in self._watched.values() if not watched.saving]
                due = [watched for watched in waiting if watched.due <= now]
                if due:
                    await self._ask(due)
                else:
                    pause = min((watched.due - now for watched in waiting), default=POLL_SECONDS_MAX)
                    with anyio.move_on_after(max(pause, 0.01)):
                        await self._wake.wait()
        finally:
            self._running = False

    async def _ask(self, due: list[_Watched]) -> None:
        """One round: the list for many, the job's own route for one or for those that the list did not have."""
        seen: dict[str, JobStatus] = {}
        if len(due) >= LIST_FROM_JOBS:
            try:
                seen = {job.job_id: job for job in (await self._studio.list_jobs()).jobs}
            except StudioError as exc:
                for watched in due:
                    self._back_off(watched, exc)
                return
        for watched in due:
            status = seen.get(watched.job.job_id)
            try:
                self._take(watched, status or await self._studio.fetch_job(watched.job.job_id))
            except StudioError as exc:
                self._back_off(watched, exc)

    def _take(self, watched: _Watched, status: JobStatus) -> None:
        """Write down what the studio said, and wake those who wait."""
        watched.job = self._ledger.update_job(status, now=self._now()) or watched.job
        watched.failures, watched.problem = 0, None
        watched.due = self._next_due(watched)
        if watched.job.status == "complete" and not watched.job.finished:
            watched.saving = True
            self._start(lambda: self._save_job(watched))
        self._tell(watched)
        if watched.job.finished or self._now() - watched.job.created_at > WATCH_SECONDS_MAX:
            self._watched.pop(watched.job.job_id, None)

    async def _save_job(self, watched: _Watched) -> None:
        try:
            watched.job = await self._save(watched.job)
            self._watched.pop(watched.job.job_id, None)
        except SeedanceError as exc:
            watched.problem = exc
            watched.failures += 1
            watched.due = self._now() + self._backoff_seconds(watched)
        finally:
            watched.saving = False
            self._tell(watched)
            self._wake.set()

    def _tell(self, watched: _Watched) -> None:
        watched.changed.set()
        watched.changed = anyio.Event()

    def _back_off(self, watched: _Watched, exc: StudioError) -> None:
        """The studio is away or does not know the job; ask again later, and say so after a few times."""
        watched.failures += 1
        pause = self._backoff_seconds(watched)
        if isinstance(exc, StudioUnreachableError) and exc.retry_after_seconds is not None:
            pause = max(pause, exc.retry_after_seconds)
        watched.due = self._now() + pause
        if watched.failures < UNKNOWN_ANSWERS_MAX:
            return
        if isinstance(exc, StudioRejectedError) and exc.status == 404:
            watched.problem = JobNotFoundError(
                f"The studio says that it does not know job {watched.job.job_id}.",
                "Call get_job again later. If it stays so, give the receipt to the studio's support.",
                charge="settled",
                amount_micro_usdc=watched.job.price_micro_usdc,
                payment_id=watched.job.payment_id,
            )
        else:
            exc.charge, exc.amount_micro_usdc = "settled", watched.job.price_micro_usdc
            exc.payment_id, exc.hint = watched.job.payment_id, "The job goes on. Call get_job again in a minute."
            watched.problem = exc
        self._tell(watched)

    def _backoff_seconds(self, watched: _Watched) -> float:
        grown = self._poll_seconds_min * 2 ** min(watched.failures, 10)
        return min(grown, BACKOFF_SECONDS_MAX) * random.uniform(0.9, 1.1)  # noqa: S311 - jitter is not a secret

    def _next_due(self, watched: _Watched) -> float:
        """Halve the way to the expected end; after it, ask a little more seldom each time."""
        age = self._now() - watched.job.created_at
        if age > LATE_SECONDS:
            pause: float = LATE_POLL_SECONDS
        else:
            to_go = self._expected_seconds(watched.job) - age
            pause = to_go / 2 if to_go > 0 else -to_go / 4
            pause = min(max(pause, self._poll_seconds_min), POLL_SECONDS_MAX)
        return self._now() + pause * random.uniform(0.95, 1.05)  # noqa: S311 - jitter is not a secret
