"""Poller: one poller for all running jobs, those of the ledger and those that it lacks.

Callers do not poll; they wait here. One loop asks the studio, the job route for a single job and the list route for
many. It asks seldom at first, more often near the expected end, and backs off where the studio is slow, overloaded or
away. Every question to the studio buys a pause before the next, so that the questions per minute have a ceiling
however many jobs there are. It ends no job by itself: only the studio's word does.

Pauses and deadlines are moments of the event loop's clock, which no one can set back; the wall clock dates what is
written to the store, and says once how old a job is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import StudioError, StudioProtocolError, StudioUnreachableError, VideoGoneError
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import JobPage, JobStatus
from seedance_mcp.jobs.follower import Changed, Report
from seedance_mcp.jobs.problems import describe_failure, describe_unsaved
from seedance_mcp.jobs.store import JobStore

POLL_SECONDS_MAX = 15
"""The studio's advice for videos. Source: contract section 8."""
LATE_SECONDS = 600
LATE_POLL_SECONDS = 60
"""A job that runs for longer than `LATE_SECONDS` is asked for this seldom."""
WATCH_SECONDS_MAX = 6 * 3600
"""A job that runs for longer than this is asked for only when a person calls for it."""
LIST_FROM_JOBS = 2
"""From so many due jobs on, one page of the list is cheaper than asking for each."""
LIST_PAGES_MAX = 10
SINGLES_MAX = 5
"""How many jobs that the list did not have are asked for one by one in a round; the others come next time."""
GATHER_SHARE = 0.5
"""A round takes along what is due within this share of the shortest pause."""
SAVES_MAX = 4
"""How many videos are downloaded at a time."""
STALLED_POLLS = 10
"""For so many of the shortest pauses a job may report an error and no result under a word that is not known to be
final; then it has failed. Short enough for a caller to wait; the store remembers when it began."""
LIST_PAUSE_SECONDS = 600
"""How long a list that cannot be read is left alone, and each job is asked for by itself."""
PROGRESS_STEP = 10
"""Progress is written to disk in steps of this many points; what the caller is told is exact."""
UNKNOWN_ANSWERS_MAX = 4
"""After so many 404s in a row we say that the studio does not know the job."""
BACKOFF_SECONDS_MAX = 120
PROGRESS_SECONDS = 3
"""How often a waiting caller is told something, at least."""


@dataclass(slots=True)
class _TrackedJob:
    """What the loop knows of one job."""

    job: Job
    bought_at: float
    due: float
    changed: anyio.Event = field(default_factory=anyio.Event)
    problem: SeedanceError | None = None
    failures: int = 0
    saving: bool = False
    asked_at: float = -math.inf
    written: int = 0
    """How much of its progress the store knows."""

    @property
    def age(self) -> float:
        """Seconds since it was bought."""
        return anyio.current_time() - self.bought_at


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
        self._tracked: dict[str, _TrackedJob] = {}
        self._saves = anyio.Semaphore(SAVES_MAX)
        self._quiet_until = -math.inf
        self._lists_from = -math.inf
        """From which moment on the studio's list may be asked again."""
        self._typical: dict[tuple[object, ...], float] = {}
        self._unscheduled: list[_TrackedJob] = []
        """New jobs whose first poll has no time yet."""
        self._wake = anyio.Event()
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

    def _track(self, job: Job) -> _TrackedJob:
        """Return what the loop needs to know of a new job; one from an earlier process is due at once."""
        now = anyio.current_time()
        bought_at = now - max(self._now() - job.created_at, 0)
        tracked = _TrackedJob(job, bought_at, due=now, written=job.progress)
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
        return job if tracked is None or job.finished else tracked.job

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
                return tracked.job
            if self._tracked.get(job.job_id) is not tracked:
                return await self._store.find(tracked.job)
            if report is not None:
                await report(tracked.job, await self._expect(tracked.job))
            with anyio.move_on_after(min(remaining, PROGRESS_SECONDS)):
                await tracked.changed.wait()

    async def _run(self) -> None:
        """Poll until there is no job to poll."""
        try:
            while self._tracked:
                self._wake = anyio.Event()
                while self._unscheduled:
                    tracked = self._unscheduled.pop()
                    tracked.due = min(tracked.due, await self._next_due(tracked))
                now = anyio.current_time()
                waiting = [tracked for tracked in self._tracked.values() if not tracked.saving]
                first = min((tracked.due for tracked in waiting), default=now + POLL_SECONDS_MAX)
                pause = max(first, self._quiet_until) - now
                if pause <= 0:
                    until = now + self._poll_seconds_min * GATHER_SHARE
                    asked = await self._ask([tracked for tracked in waiting if tracked.due <= until])
                    self._quiet_until = max(self._quiet_until, now + asked * self._poll_seconds_min)
                else:
                    with anyio.move_on_after(max(pause, 0.01)):
                        await self._wake.wait()
        finally:
            self._running = False

    async def _ask(self, due: list[_TrackedJob]) -> int:
        """One round: the list for many, the job's own route for one or for those that the list did not have.

        Returns:
            How many questions it took.
        """
        asked, missing = 0, {tracked.job.job_id: tracked for tracked in due}
        try:
            if len(due) >= LIST_FROM_JOBS and anyio.current_time() >= self._lists_from:
                cursor: str | None = None
                for _ in range(LIST_PAGES_MAX):
                    asked += 1
                    page = await self._studio.list_jobs(cursor=cursor)
                    await self._take_page(page, missing)
                    cursor = page.next_cursor
                    if cursor is None or not missing:
                        break
        except StudioProtocolError:  # it says nothing of any job: each is asked for by itself
            self._lists_from = anyio.current_time() + LIST_PAUSE_SECONDS
        except SeedanceError as exc:
            for tracked in missing.values():
                await self._back_off(tracked, exc)
            return asked
        for tracked in list(missing.values())[:SINGLES_MAX]:
            asked += 1
            try:
                await self._take(tracked, await self._studio.fetch_job(tracked.job.job_id))
            except SeedanceError as exc:
                await self._back_off(tracked, exc)
        return asked

    async def _take_page(self, page: JobPage, missing: dict[str, _TrackedJob]) -> None:
        """Keep what a page of the list says, also of a job that was not due: it is told for free."""
        self.away_since = None
        for status in page.jobs:
            tracked = missing.get(status.job_id) or self._tracked.get(status.job_id)
            if tracked is not None and not tracked.saving:
                await self._take(tracked, status)
            missing.pop(status.job_id, None)

    async def _take(self, tracked: _TrackedJob, status: JobStatus) -> None:
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
        tracked.failures, tracked.asked_at, self.away_since = 0, anyio.current_time(), None
        if status.ended:
            self._typical.clear()
        tracked.due = await self._next_due(tracked)
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

    async def _save_job(self, tracked: _TrackedJob, save: Callable[[Job], Awaitable[Job]]) -> None:
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

    def _notify(self, tracked: _TrackedJob) -> None:
        tracked.changed.set()
        tracked.changed = anyio.Event()
        self._changed(tracked.job.job_id)

    async def _back_off(self, tracked: _TrackedJob, exc: SeedanceError) -> None:
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
        if tracked.failures < UNKNOWN_ANSWERS_MAX:
            return
        await self._set_problem(tracked, describe_failure(exc, tracked.job, self._now()))
        self._notify(tracked)

    async def _set_problem(self, tracked: _TrackedJob, problem: SeedanceError | None) -> None:
        """Keep what a job's callers are told, also those of other replicas."""
        has_changed = str(problem) != str(tracked.problem)
        tracked.problem = problem
        if has_changed:
            await self._store.report_problem(tracked.job, problem)

    def _backoff_seconds(self, tracked: _TrackedJob) -> float:
        grown = self._poll_seconds_min * 2 ** min(tracked.failures, 10)
        return min(grown, BACKOFF_SECONDS_MAX) * random.uniform(0.9, 1.1)  # noqa: S311 - jitter is not a secret

    async def _next_due(self, tracked: _TrackedJob) -> float:
        """Halve the way to the expected end; after it, ask a little more seldom each time."""
        age = tracked.age
        if tracked.job.stalled_at is not None:
            pause: float = self._poll_seconds_min
        elif age > LATE_SECONDS:
            pause = LATE_POLL_SECONDS
        else:
            to_go = await self._expect(tracked.job) - age
            pause = to_go / 2 if to_go > 0 else -to_go / 4
            pause = min(max(pause, self._poll_seconds_min), POLL_SECONDS_MAX)
        return anyio.current_time() + pause * random.uniform(0.95, 1.05)  # noqa: S311 - jitter is not a secret

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
