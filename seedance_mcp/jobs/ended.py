"""Ended jobs: find in the studio's list what ended since the last look, without a page for each hundred that run.

The list can be filtered by status, and its order is not documented. Where ended jobs come with the latest change first,
a look ends where the one before began: mostly on its first page. Then every round reads that page, and what else there
is to ask comes beside it. In any other order a look goes through all ended jobs that are as young as the oldest tracked
one, and a round reads one page. All times that are compared are the studio's own. Asks no studio.
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
"""Of so many rounds one looks for failed jobs, and one asks for a late job that no list has named for long."""
FAILED_BESIDE_EVERY = 6
"""The same for failed jobs at most, where a round reads more than one list."""
CUT_SINGLE_EVERY = 2
"""The same, where the list has no second page."""
ENDS_BEFORE = 38
FAILURES_BEFORE = 2
"""What the share of failed jobs begins with: so many that did not fail, and so many that did."""
ENDS_KNOWN = 500
"""From this many ends on, all that are known count half."""
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
        is_by_end: The list has the latest change first, as far as its pages show.
    """

    status: EndedStatus
    cursor: str | None = None
    is_cut: bool = False
    is_by_end: bool = False
    _newest: float = -math.inf
    _seen_to: float = -math.inf
    """The latest change that earlier looks know."""
    _first_id: str | None = None

    def take(self, page: JobPage, *, oldest_created_at: float) -> bool:
        """Note a page, and return True if the next one may have news that should be read at once.

        Args:
            page: The page at `cursor`.
            oldest_created_at: When the oldest tracked job was created, in Unix seconds.
        """
        changed = [job.updated_at for job in page.jobs if job.updated_at is not None]
        if len(changed) < len(page.jobs) or not _falls(changed):
            self.is_by_end = False
        elif not _falls([job.created_at for job in page.jobs if job.created_at is not None]):
            self.is_by_end = True  # otherwise the page shows no difference
        if self.cursor is None:
            self._newest = max(changed, default=-math.inf)
        first_id = page.jobs[0].job_id if page.jobs else None
        is_repeated = self.cursor is not None and first_id == self._first_id  # the cursor was not understood
        self._first_id = first_id
        has_ended_before = bool(changed) and min(changed) < oldest_created_at - SKEW_SECONDS
        is_known = self.is_by_end and bool(changed) and changed[-1] <= self._seen_to
        is_cut = is_repeated or (page.next_cursor is None and len(page.jobs) >= PAGE_JOBS)
        if is_known or is_cut or has_ended_before or page.next_cursor is None:
            self.cursor, self._seen_to, self.is_cut = None, self._newest, is_cut and not is_known
            return False
        self.cursor = page.next_cursor
        return self.is_by_end


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
    _failed_turn: int = -FAILED_EVERY
    """The latest round that looked for failed jobs beside others."""
    _unseen: int = 0
    _failures: float = FAILURES_BEFORE
    _others: float = ENDS_BEFORE
    """How many of the latest jobs to end failed, and how many did not."""

    def next_look(self) -> EndedLook | None:
        """Return the look whose next page is read now; None if a single job is asked for instead."""
        self._turn += 1
        if self.complete.is_by_end:
            return self.complete
        if self._is_for_single:
            return None
        is_for_failed = self._turn % FAILED_EVERY == FAILED_EVERY // 2
        return self.failed if is_for_failed or self.failed.cursor is not None else self.complete

    def next_beside(self, *, is_behind: bool, room: int) -> list[EndedLook | None]:
        """Return what is read in the same round, as `next_look` does.

        Args:
            is_behind: The look of this round has not seen all ends on one page. They come first, except in every tenth
                round.
            room: How many requests may be made.
        """
        if not self.complete.is_by_end or not room or (is_behind and self._turn % SINGLE_EVERY):
            return []
        beside: list[EndedLook | None] = []
        if self._turn - self._failed_turn >= self._failed_every or self.failed.cursor is not None:
            self._failed_turn = self._turn
            beside.append(self.failed)
        if self._is_for_single and room > len(beside):
            beside.append(None)
        return beside

    @property
    def _is_for_single(self) -> bool:
        return self._turn % (CUT_SINGLE_EVERY if self.complete.is_cut else SINGLE_EVERY) == 0

    @property
    def _failed_every(self) -> int:
        """Return of how many rounds one looks for failed jobs, so that the mean lag of all jobs is the least."""
        return min(FAILED_BESIDE_EVERY, max(1, round(math.sqrt(self._others / self._failures))))

    def count_end(self, *, failed: bool) -> None:
        """Note that a tracked job failed, or ended in the other way."""
        self._failures += failed
        self._others += not failed
        if self._failures + self._others > ENDS_KNOWN:
            self._failures, self._others = self._failures / 2, self._others / 2

    def note_end(self, *, by_list: bool, now: float, pause: float) -> None:
        """Note how an end was learned; a list that never tells of one is not used for `pause` seconds."""
        self._unseen = 0 if by_list else self._unseen + 1
        if self._unseen >= UNSEEN_MAX:
            self.unusable_until, self._unseen = now + pause, 0
