"""Poller: one poller for all running jobs, those of the ledger and those that it lacks.

Callers do not poll; they wait here. One loop asks the studio through `reading`. It asks seldom at first, often around
the expected end, and backs off where the studio is slow, overloaded or away. Each request is followed by a pause, so
that the requests per minute have a ceiling however many jobs there are. The poller ends no job by itself: only the
studio's answer does.

Pauses and deadlines are moments of the event loop's clock, which no one can set back; the wall clock dates what is
written to the store, and says once how old a job is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
    VideoGoneError,
)
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.jobs.follower import Changed, Report
from seedance_mcp.jobs.problems import describe_failure, describe_unsaved
from seedance_mcp.jobs.reading import StudioReader
from seedance_mcp.jobs.schedule import (
    LATE_SECONDS,
    POLL_SECONDS_MAX,
    REQUESTS_PER_WINDOW,
    RequestWindow,
    pause_before_next,
)
from seedance_mcp.jobs.store import JobStore
from seedance_mcp.jobs.tracked import TrackedJob

WATCH_SECONDS_MAX = 6 * 3600
"""A job that runs for longer than this is asked for only when a person calls for it."""
GATHER_SHARE = 0.5
"""A round takes along what is due within this share of the shortest pause."""
HURRY_SHARE = 1 / 3
"""The pause after a request about the only job, as a share of the shortest: its end may be near."""
SAVES_MAX = 4
"""How many videos are downloaded at a time."""
STALLED_POLLS = 10
"""For so many of the shortest pauses a job may report an error and no result under a word that is not known to be
final; then it has failed. Short enough for a caller to wait; the store remembers when it began."""
PROGRESS_STEP = 10
"""Progress is written to disk in steps of this many points; what the caller is told is exact."""
UNKNOWN_ANSWERS_MAX = 4
"""After so many 404s in a row we say that the studio does not know the job."""
BACKOFF_SECONDS_MAX = 120
PROGRESS_SECONDS = 3
"""How often a waiting caller is told something, at least."""


class JobPoller:
    """Polls running jobs and wakes those who wait for them.

    Args:
        studio: Is asked.
        store: Keeps what it reports.
        save: Saves a complete job's video and returns the job; raises `SeedanceError`. None leaves that to others.
        start: Starts a background task.
        expected_seconds: How long such a job is expected to take.
        poll_seconds_min: The shortest pause between two questions.
        changed: Told the id of a job whenever something about it changes.
        now: Unix seconds, for the store.

    Attributes:
        away_since: The event loop's time since which the studio does not answer at all; None if it does.
    """

    def __init__(
        self,
        *,
        studio: Studio,
        store: JobStore,
        save: Callable[[Job], Awaitable[Job]] | None,
        start: Start,
        expected_seconds: Callable[[Job], Awaitable[float]],
        poll_seconds_min: float,
        changed: Changed = lambda _: None,
        now: Callable[[], float],
    ) -> None:
        self._studio = studio
        self._store = store
        self._save = save
        self._start = start
        self._expected_seconds = expected_seconds
        self._poll_seconds_min = poll_seconds_min
        self._now = now
        self._changed = changed
        self.away_since: float | None = None
        self._tracked: dict[str, TrackedJob] = {}
        self._saves = anyio.Semaphore(SAVES_MAX)
        self._quiet_until = -math.inf
        self._reader = StudioReader(
            studio=studio,
            tracked=self._tracked,
            take=self._take,
            pass_over=self._pass_over,
            back_off=self._back_off,
            window=RequestWindow(REQUESTS_PER_WINDOW * poll_seconds_min),
        )
        self._typical: dict[tuple[object, ...], float] = {}
        self._unscheduled: list[TrackedJob] = []
        """New jobs whose first poll has no time yet."""
        self._wake = anyio.Event()
        self._has_ended = False
        """A job ended, so that the expected times are looked up again."""
        self._running = False

    def watch(self, job: Job) -> None:
        """Begin to watch a job; a finished one is left alone."""
        if job.finished:
            return
        tracked = self._tracked.get(job.job_id)
        if tracked is None:
            self._tracked[job.job_id] = self._track(job)
        else:
            if tracked.job.payment_id is None and not tracked.saving:
                tracked.job = job  # what was just asked for, or what the ledger has by now
            if tracked.problem is not None:  # a person asks again: so do we
                tracked.problem, tracked.failures, tracked.due = None, 0, anyio.current_time()
        if not self._running:
            self._running = True
            self._start(self._run)
        self._wake.set()

    def _track(self, job: Job) -> TrackedJob:
        """Return what the loop needs to know of a new job; one from an earlier process is due at once."""
        now = anyio.current_time()
        bought_at = now - max(self._now() - job.created_at, 0)
        tracked = TrackedJob(job, bought_at, due=now, written=job.progress)
        was_asked = job.payment_id is None and job.status != "complete"  # just now, to find it at all
        if was_asked:
            tracked.asked_at = now
        if was_asked or tracked.age <= POLL_SECONDS_MAX:
            tracked.due = math.inf
            self._unscheduled.append(tracked)
        return tracked

    def is_watching(self, job_id: str) -> bool:
        """Return True if the studio is asked for a job."""
        return job_id in self._tracked

    def hurry(self, job_id: str) -> None:
        """Ask for a late job soon: a person waits, and its slow pace is not for them."""
        tracked = self._tracked.get(job_id)
        if tracked is not None and not tracked.failures and tracked.age > LATE_SECONDS:
            tracked.due = min(tracked.due, max(anyio.current_time(), tracked.asked_at + POLL_SECONDS_MAX))
            self._wake.set()

    def latest(self, job: Job) -> Job:
        """Return the job as this process knows it; the ledger may be a few points of progress behind."""
        tracked = self._tracked.get(job.job_id)
        return job if tracked is None or job.finished else tracked.show()

    async def wait(self, job: Job, *, deadline: float, report: Report | None = None) -> Job:
        """Wait until a job is finished or the deadline comes.

        Args:
            job: A job of the ledger, or an untracked one that was just asked for.
            deadline: A moment of the event loop's clock.
            report: Told about the job at least every `PROGRESS_SECONDS`, with the seconds it is expected to need.

        Returns:
            The job as it is by then.

        Raises:
            SeedanceError: The studio does not know the job, or its video could not be saved.
        """
        self.watch(job)
        tracked = self._tracked.get(job.job_id)
        if tracked is None or job.finished:  # an earlier problem of a job that has ended is over, too
            return await self._store.find(job)
        self.hurry(job.job_id)
        while True:
            if tracked.problem is not None:
                raise tracked.problem
            remaining = deadline - anyio.current_time()
            if tracked.job.finished or remaining <= 0:
                return tracked.show()
            if self._tracked.get(job.job_id) is not tracked:
                return await self._store.find(tracked.job)
            if report is not None:
                await report(tracked.show(), await self._expect(tracked.job))
            with anyio.move_on_after(min(remaining, PROGRESS_SECONDS)):
                await tracked.changed.wait()

    async def _run(self) -> None:
        """Poll until there is no job to poll."""
        try:
            while self._tracked:
                self._wake = anyio.Event()
                while self._unscheduled:
                    tracked = self._unscheduled.pop()
                    tracked.due = min(tracked.due, await self._next_due(tracked, anyio.current_time()))
                now = anyio.current_time()
                waiting = [tracked for tracked in self._tracked.values() if not tracked.saving]
                first = min((tracked.due for tracked in waiting), default=now + POLL_SECONDS_MAX)
                pause = max(first, self._quiet_until, self._reader.window.opens_at) - now
                if pause <= 0:
                    await self._read(waiting, now)
                else:
                    with anyio.move_on_after(max(pause, 0.01)):
                        await self._wake.wait()
        finally:
            self._running = False

    async def _read(self, waiting: list[TrackedJob], now: float) -> None:
        """Make one round of requests, and pause for each of them."""
        until = now + self._poll_seconds_min * GATHER_SHARE
        pauses = await self._reader.read([tracked for tracked in waiting if tracked.due <= until])
        if self._has_ended:
            self._has_ended = False
            self._typical.clear()
        spent = pauses * self._poll_seconds_min * (1 if len(waiting) > 1 else HURRY_SHARE)
        self._quiet_until = max(self._quiet_until, now + spent)

    async def _pass_over(self, jobs: Iterable[TrackedJob]) -> None:
        """Keep that these jobs, perhaps thousands, are not among those that ended."""
        now = anyio.current_time()
        for tracked in jobs:
            if isinstance(tracked.problem, StudioUnreachableError):
                await self._set_problem(tracked, None)
            tracked.failures, self.away_since = 0, None
            tracked.due = await self._next_due(tracked, now)

    async def _take(self, tracked: TrackedJob, status: JobStatus) -> None:
        """Keep what the studio said, and wake those who wait."""
        before = tracked.job
        if before.stalled_at is not None and status.stalled:
            # A clock that was set back must not make it last.
            status = end_stalled(status, abs(self._now() - before.stalled_at), self._poll_seconds_min)
        if _is_news(before, status, tracked.written):
            tracked.job = await self._store.update(before, status)
            tracked.written = tracked.job.progress
        elif status.progress > before.progress:
            tracked.job = replace(before, progress=status.progress)
        await self._set_problem(tracked, None)
        now = anyio.current_time()
        tracked.failures, tracked.is_refused, tracked.asked_at, self.away_since = 0, False, now, None
        if status.ended:
            self._has_ended = True
        else:
            if len(self._tracked) == 1:
                tracked.estimate.see(status.progress, now, tolerance=self._poll_seconds_min)
            tracked.due = await self._next_due(tracked, now)
        is_unsaved = tracked.job.status == "complete" and not tracked.job.finished
        if is_unsaved and self._save is not None:
            tracked.saving = True
            self._start(partial(self._save_job, tracked, self._save))
        if tracked.job != before:
            self._notify(tracked)
        is_over = tracked.job.finished or is_unsaved or tracked.age > WATCH_SECONDS_MAX
        if is_over and not tracked.saving:
            self._tracked.pop(tracked.job.job_id, None)
            self._notify(tracked)

    async def _save_job(self, tracked: TrackedJob, save: Callable[[Job], Awaitable[Job]]) -> None:
        try:
            async with self._saves:
                tracked.job = await save(tracked.job)
            self._tracked.pop(tracked.job.job_id, None)
        except SeedanceError as exc:
            tracked.problem = describe_unsaved(exc, tracked.job)
            tracked.failures += 1
            tracked.due = anyio.current_time() + self._backoff_seconds(tracked)
            if isinstance(exc, VideoGoneError) or tracked.age > WATCH_SECONDS_MAX:
                self._tracked.pop(tracked.job.job_id, None)
        finally:
            tracked.saving = False
            self._notify(tracked)
            self._wake.set()

    def _notify(self, tracked: TrackedJob) -> None:
        tracked.changed.set()
        tracked.changed = anyio.Event()
        self._changed(tracked.job.job_id)

    async def _back_off(self, tracked: TrackedJob, exc: SeedanceError) -> None:
        """Poll a job less often after an error; report the error after a few."""
        tracked.failures += 1
        now, pause = anyio.current_time(), self._backoff_seconds(tracked)
        if isinstance(exc, StudioError):
            is_away = isinstance(exc, StudioUnreachableError) and not exc.answered
            self.away_since = (self.away_since or now) if is_away else None
        if isinstance(exc, StudioUnreachableError) and exc.retry_after_seconds is not None:
            pause = max(pause, exc.retry_after_seconds)
            # It speaks of all our questions, also those that a caller's new call would ask at once.
            self._quiet_until = max(self._quiet_until, now + exc.retry_after_seconds)
        tracked.asked_at, tracked.due = now, now + pause
        tracked.is_refused = isinstance(exc, StudioRejectedError | StudioProtocolError)
        if tracked.failures < UNKNOWN_ANSWERS_MAX:
            return
        await self._set_problem(tracked, describe_failure(exc, tracked.job, self._now()))
        self._notify(tracked)

    async def _set_problem(self, tracked: TrackedJob, problem: SeedanceError | None) -> None:
        """Keep what a job's callers are told, also those of other replicas."""
        has_changed = str(problem) != str(tracked.problem)
        tracked.problem = problem
        if has_changed:
            await self._store.report_problem(tracked.job, problem)

    def _backoff_seconds(self, tracked: TrackedJob) -> float:
        grown = self._poll_seconds_min * 2 ** min(tracked.failures, 10)
        return min(grown, BACKOFF_SECONDS_MAX) * random.uniform(0.9, 1.1)  # noqa: S311 - jitter is not a secret

    async def _next_due(self, tracked: TrackedJob, now: float) -> float:
        """Return when a job is asked for next, by the event loop's clock."""
        shortest = self._poll_seconds_min
        tracked.expected = await self._expect(tracked.job)
        if tracked.job.stalled_at is not None:
            return now + shortest
        pause = pause_before_next(now - tracked.bought_at, tracked.expected, shortest)
        return now + (tracked.estimate.refine(pause, now, shortest=shortest) if len(self._tracked) == 1 else pause)

    async def _expect(self, job: Job) -> float:
        """Return the expected seconds of such a job, looked up once until a job ends."""
        key = tuple(job.arguments.get(name) for name in ("model", "duration", "resolution"))
        if key not in self._typical:
            self._typical[key] = await self._expected_seconds(job)
        return self._typical[key]


def end_stalled(seen: JobStatus, stalled_seconds: float, poll_seconds_min: float) -> JobStatus:
    """Return a stalled job as failed once it has reported its error for long enough; else as it is.

    Args:
        seen: What the studio says now.
        stalled_seconds: Since when it says so.
        poll_seconds_min: The shortest pause between two questions.
    """
    is_over = seen.stalled and stalled_seconds >= STALLED_POLLS * poll_seconds_min
    return replace(seen, status="failed", stalled=False) if is_over else seen


def _is_news(job: Job, status: JobStatus, written: int) -> bool:
    """Whether the store must know: a step of its life, an address, or a good deal of progress."""
    return (
        status.status != job.status
        or status.stalled != (job.stalled_at is not None)
        or status.progress >= written + PROGRESS_STEP
        or (status.video_url is not None and status.video_url != job.video_url)
        or (status.thumbnail_url is not None and status.thumbnail_url != job.thumbnail_url)
    )
