"""Reading: ask the studio for due jobs in the way that takes the fewest requests.

One job is asked for by itself. A page of the list tells of all jobs that fit on it. Where more jobs run than that, the
list is asked for what ended (`ended`), and one by one for what it cannot tell. Decides nothing about a job.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import StudioProtocolError, StudioRejectedError
from seedance_mcp.core.wire.jobs import JobPage, JobStatus
from seedance_mcp.jobs.ended import PAGE_JOBS, EndedLook, EndedLooks, is_filtered
from seedance_mcp.jobs.schedule import REQUESTS_PER_WINDOW, PauseDebt, RequestWindow
from seedance_mcp.jobs.tracked import TrackedJob

LIST_FROM_JOBS = 2
"""From so many due jobs on, one page of the list is cheaper than asking for each."""
LIST_PAGES_MAX = 10
SINGLES_MAX = 5
"""How many jobs that the list did not have are asked for one by one in a round; the others come next time."""
LOOK_SINGLES_MAX = 1
"""The same, in a round that looks for what ended."""
LOOK_PAUSES = REQUESTS_PER_WINDOW / (REQUESTS_PER_WINDOW - 2)
"""How many of the shortest pauses follow a page that has all that ended: a window has room for requests beside them."""
LIST_PAUSE_SECONDS = 600
"""How long a list that cannot be read, or a filter that is not heeded, is left alone."""
LIST_REFUSALS = (400, 404, 405, 422)
"""Statuses with which a studio refuses the list or its filter, but not the caller."""
LATE_FACTOR = 1.5
"""After so many times its expected time, a job that no list has named may be asked for by itself."""


@dataclass(slots=True, kw_only=True)
class StudioReader:
    """Asks one studio for the jobs of one wallet.

    Attributes:
        studio: Is asked.
        tracked: All running jobs by their ids; changes while it reads.
        take: Keeps an answer about a job.
        pass_over: Keeps that jobs are not among those that ended.
        back_off: Keeps that a request about a job failed.
        window: Counts the requests.
    """

    studio: Studio
    tracked: Mapping[str, TrackedJob]
    take: Callable[[TrackedJob, JobStatus], Awaitable[None]]
    pass_over: Callable[[Iterable[TrackedJob]], Awaitable[None]]
    back_off: Callable[[TrackedJob, SeedanceError], Awaitable[None]]
    window: RequestWindow
    _lists_from: float = -math.inf
    """From which moment on the list may be read again."""
    _is_long: bool = False
    """One page of the list does not have all tracked jobs."""
    _looks: EndedLooks = field(default_factory=EndedLooks)
    _is_ahead: bool = False
    """The first page that this round read has all that ended: the list has the latest change first."""
    _debt: PauseDebt = field(default_factory=PauseDebt)

    async def read(self, due: list[TrackedJob]) -> float:
        """Make one round of requests for the jobs that are due, and return how many shortest pauses follow it."""
        before, self._is_ahead = self.window.count, False
        await self._read_round(due)
        requests = self.window.count - before
        return LOOK_PAUSES + self._debt.pay(requests - 1) if self._is_ahead else requests

    async def _read_round(self, due: list[TrackedJob]) -> None:
        missing = {tracked.job.job_id: tracked for tracked in due}
        now = anyio.current_time()
        self._is_long |= len(self.tracked) > PAGE_JOBS
        is_look = self._is_long and now >= self._looks.unusable_until
        try:
            if len(due) >= LIST_FROM_JOBS and now >= self._lists_from:
                missing = await self._look(missing) if is_look else await self._read_list(missing)
        except SeedanceError as exc:
            if not _is_about_the_list(exc):
                for tracked in missing.values():
                    await self.back_off(tracked, exc)
                return
            if is_look:  # perhaps the list can be read without a filter
                self._looks.unusable_until = anyio.current_time() + LIST_PAUSE_SECONDS
                return
            self._lists_from = anyio.current_time() + LIST_PAUSE_SECONDS
        for tracked in list(missing.values())[:SINGLES_MAX]:
            if not self.window.is_closed(anyio.current_time()):
                await self._ask_single(tracked)

    async def _ask_single(self, tracked: TrackedJob) -> bool:
        """Ask for one job; return True if it has ended."""
        self.window.note(anyio.current_time())
        try:
            status = await self.studio.fetch_job(tracked.job.job_id)
            await self.take(tracked, status)
        except SeedanceError as exc:
            await self.back_off(tracked, exc)
            return False
        return status.ended

    async def _read_list(self, due: Mapping[str, TrackedJob]) -> dict[str, TrackedJob]:
        """Read the list of all jobs until none is missing; return those that it does not have."""
        missing, cursor, first_id = dict(due), None, ""
        for _ in range(LIST_PAGES_MAX):
            page = await self._read_page(missing, cursor=cursor)
            self._is_long |= bool(missing) and page.next_cursor is not None
            is_repeated = bool(page.jobs) and page.jobs[0].job_id == first_id  # the cursor was not understood
            if page.next_cursor is None or not missing or is_repeated or self.window.is_closed(anyio.current_time()):
                break
            cursor, first_id = page.next_cursor, page.jobs[0].job_id if page.jobs else ""
        return missing

    async def _look(self, due: Mapping[str, TrackedJob]) -> dict[str, TrackedJob]:
        """Look for what ended, or for one late job; return some of what the list cannot tell."""
        missing, look, before = dict(due), self._looks.next_look(), self.window.count
        if look is None and await self._read_single(missing):
            return {}
        complete = self._looks.complete
        is_first = complete.cursor is None
        missing = await self._read_ended(look or complete, missing)
        is_over = complete.cursor is None and self.window.count - before == 1
        self._is_ahead = complete.is_by_end and is_first and is_over
        room = self.window.room(anyio.current_time()) if self.tracked else 0
        for beside in self._looks.next_beside(is_behind=not self._is_ahead, room=room):
            if beside is None:
                await self._read_single(missing)
            else:
                missing = await self._read_ended(beside, missing)
        alone = [tracked for tracked in missing.values() if tracked.needs_own_request]
        await self.pass_over(tracked for tracked in missing.values() if not tracked.needs_own_request)
        return {tracked.job.job_id: tracked for tracked in alone[:LOOK_SINGLES_MAX]}

    async def _read_single(self, missing: dict[str, TrackedJob]) -> bool:
        """Ask for a late job, or for what may be the whole list by now; return False if there is neither."""
        now = anyio.current_time()
        if late := [job for job in missing.values() if now - job.bought_at > LATE_FACTOR * job.expected]:
            tracked = min(late, key=lambda job: max(job.asked_at, job.bought_at))
            del missing[tracked.job.job_id]
            is_untold = not tracked.needs_own_request
            if await self._ask_single(tracked) and is_untold:
                self._looks.note_end(by_list=False, now=anyio.current_time(), pause=LIST_PAUSE_SECONDS)
            return True
        if len(self.tracked) > PAGE_JOBS:
            return False
        page = await self._read_page(missing)  # perhaps one page has them all by now
        self._is_long = bool(missing) and page.next_cursor is not None
        return True

    async def _read_ended(self, look: EndedLook, due: Mapping[str, TrackedJob]) -> dict[str, TrackedJob]:
        """Read pages of a look until the next one can wait; return the jobs that they do not have."""
        missing, running = dict(due), len(self.tracked)
        oldest = min(tracked.job.created_at for tracked in self.tracked.values())
        for _ in range(LIST_PAGES_MAX):
            page = await self._read_page(missing, look=look)
            if not is_filtered(page):
                self._looks.unusable_until = anyio.current_time() + LIST_PAUSE_SECONDS
                break
            if not look.take(page, oldest_created_at=oldest) or self.window.is_closed(anyio.current_time()):
                break
        if len(self.tracked) < running or len(missing) < len(due):
            self._looks.note_end(by_list=True, now=anyio.current_time(), pause=LIST_PAUSE_SECONDS)
        return missing

    async def _read_page(
        self, missing: dict[str, TrackedJob], *, look: EndedLook | None = None, cursor: str | None = None
    ) -> JobPage:
        """Keep what a page of the list tells, also of a job that was not due, and drop its jobs from `missing`."""
        self.window.note(anyio.current_time())
        if look is None:
            page = await self.studio.list_jobs(cursor=cursor)
        else:
            page = await self.studio.list_jobs(cursor=look.cursor, status=look.status)
        for status in page.jobs:
            tracked = self.tracked.get(status.job_id)
            if tracked is not None and not tracked.saving:
                await self.take(tracked, status)
                if status.ended:
                    self._looks.count_end(failed=status.status == "failed")
            missing.pop(status.job_id, None)
        return page


def _is_about_the_list(exc: SeedanceError) -> bool:
    """Return True if the studio has no such list, or we cannot read it; each job can still be asked for."""
    is_refused = isinstance(exc, StudioRejectedError) and exc.status in LIST_REFUSALS
    return is_refused or isinstance(exc, StudioProtocolError)
