"""Ended jobs: find in the studio's list what ended since the last look, without a page for each hundred that run.

The list can be filtered by status, and its order is not documented. Where ended jobs come with the latest change first,
a look ends where the one before began: mostly on its first page. In any other order a look goes through all ended jobs
that are as young as the oldest tracked one. All times that are compared are the studio's own. Asks no studio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from seedance_mcp.core.wire.jobs import JobPage

PAGE_JOBS = 100
"""How many jobs a page of the list has at most. Source: contract section 1 (`limit`)."""
FAILED_EVERY = 10
SINGLE_EVERY = 10
"""Of so many requests one looks for failed jobs, and one asks for a late job that no list has named for long."""
CUT_SINGLE_EVERY = 2
"""The same, where the list has no second page."""
UNSEEN_MAX = 3
"""After so many ends in a row that only a job's own route told, the filter is not trusted."""
SKEW_SECONDS = 600
"""How far the studio's clock may be from ours."""

EndedStatus = Literal["complete", "failed"]


@dataclass(slots=True)
class EndedLook:
    """A look through the jobs that ended in one way, page by page.

    Attributes:
        status: The way.
        cursor: Where it goes on; None at its beginning.
        is_cut: The list has more jobs than it shows.
    """

    status: EndedStatus
    cursor: str | None = None
    is_cut: bool = False
    _newest: float = -math.inf
    _seen_to: float = -math.inf
    """The latest change that earlier looks know."""
    _first_id: str | None = None
    _is_by_end: bool = False
    """The list has the latest change first, as far as its pages show."""

    def take(self, page: JobPage, *, oldest_created_at: float) -> bool:
        """Note a page, and return True if the next one may have news that should be read at once.

        Args:
            page: The page at `cursor`.
            oldest_created_at: When the oldest tracked job was created, in Unix seconds.
        """
        changed = [job.updated_at for job in page.jobs if job.updated_at is not None]
        if len(changed) < len(page.jobs) or not _falls(changed):
            self._is_by_end = False
        elif not _falls([job.created_at for job in page.jobs if job.created_at is not None]):
            self._is_by_end = True  # otherwise the page shows no difference
        if self.cursor is None:
            self._newest = max(changed, default=-math.inf)
        first_id = page.jobs[0].job_id if page.jobs else None
        is_repeated = self.cursor is not None and first_id == self._first_id  # the cursor was not understood
        self._first_id = first_id
        has_ended_before = bool(changed) and min(changed) < oldest_created_at - SKEW_SECONDS
        is_known = self._is_by_end and bool(changed) and changed[-1] <= self._seen_to
        is_cut = is_repeated or (page.next_cursor is None and len(page.jobs) >= PAGE_JOBS)
        if is_known or is_cut or has_ended_before or page.next_cursor is None:
            self.cursor, self._seen_to, self.is_cut = None, self._newest, is_cut and not is_known
            return False
        self.cursor = page.next_cursor
        return self._is_by_end


def _falls(times: list[float]) -> bool:
    return all(first >= second for first, second in pairwise(times))


def is_filtered(page: JobPage) -> bool:
    """Return True if the studio heeded the filter: no job of the page runs."""
    return all(job.ended or job.stalled for job in page.jobs)


@dataclass(slots=True)
class EndedLooks:
    """Which request to make next, and for how long the filter is not used.

    Attributes:
        unusable_until: The event loop's time.
    """

    unusable_until: float = -math.inf
    complete: EndedLook = field(default_factory=lambda: EndedLook("complete"))
    failed: EndedLook = field(default_factory=lambda: EndedLook("failed"))
    _turn: int = 0
    _unseen: int = 0

    def next_look(self) -> EndedLook | None:
        """Return the look whose next page is read now; None if a single job is asked for instead."""
        self._turn += 1
        if self._turn % (CUT_SINGLE_EVERY if self.complete.is_cut else SINGLE_EVERY) == 0:
            return None
        return (
            self.failed
            if self._turn % FAILED_EVERY == FAILED_EVERY // 2 or self.failed.cursor is not None
            else self.complete
        )

    def note_end(self, *, by_list: bool, now: float, pause: float) -> None:
        """Note how an end was learned; a list that never tells of one is not used for `pause` seconds."""
        self._unseen = 0 if by_list else self._unseen + 1
        if self._unseen >= UNSEEN_MAX:
            self.unusable_until, self._unseen = now + pause, 0
