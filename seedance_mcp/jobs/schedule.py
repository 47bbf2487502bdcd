"""Schedule: when a job is asked for next, and how many requests a studio gets.

A job is asked for seldom while it is young, at the shortest pause from well before its expected end until long after
it, and ever more seldom later. A job that takes hardly longer than the shortest pause gets its first request sooner.
Durations of jobs vary much, so an expected end is a range. Does no I/O.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

REQUESTS_PER_WINDOW = 20
"""How many requests a studio gets, at most, in this many of the shortest pauses: 20 a minute in the live profile."""
POLL_SECONDS_MAX = 15
"""The studio's advice for videos. Source: contract section 8."""
LATE_SECONDS = 600
LATE_POLL_SECONDS = 60
"""A job that runs for longer than `LATE_SECONDS`, and than expected, is asked for this seldom."""
EARLY_SHARE = 0.4
"""Before this share of its expected time, a job hardly ends."""
OVERDUE_FACTOR = 3
"""From so many times its expected time on, a job is asked for ever more seldom."""
SIGHTS_MAX = 4
"""From so many of the latest sights of a job's progress its end is extrapolated."""
HURRIED_MAX = 4
"""How often a job is asked for sooner because its progress promises its end; a promise may be wrong."""
DEBT_ROUNDS = 6
"""Over about so many rounds a pause is spread that need not be made at once."""


def pause_before_next(age: float, expected: float, shortest: float) -> float:
    """Return the seconds until a job is asked for again.

    Args:
        age: Seconds since it was bought.
        expected: How long it is expected to take, in seconds.
        shortest: The shortest pause between two requests, in seconds.
    """
    if age > max(LATE_SECONDS, expected * OVERDUE_FACTOR):
        return _spread(LATE_POLL_SECONDS)
    early, overdue = expected * EARLY_SHARE - age, age - expected * OVERDUE_FACTOR
    if early > 0 and age + early < shortest:
        return early  # such a job hardly takes longer than the shortest pause
    slow = early / 2 if early > 0 else overdue / 4
    return shortest if slow <= shortest else _spread(min(slow, POLL_SECONDS_MAX))


def _spread(seconds: float) -> float:
    return seconds * random.uniform(0.95, 1.05)  # noqa: S311 - jitter is not a secret


@dataclass(slots=True)
class EndEstimate:
    """The end of one job, extrapolated from its progress; None until two estimates agree.

    Attributes:
        ends_at: The event loop's time.
    """

    ends_at: float | None = None
    _sights: deque[tuple[float, int]] = field(default_factory=lambda: deque[tuple[float, int]](maxlen=SIGHTS_MAX))
    _last: float = math.inf
    _hurried: int = 0

    def see(self, progress: int, now: float, *, tolerance: float) -> None:
        """Note a sight of the job's progress; two estimates agree if they differ by at most `tolerance` seconds."""
        self._sights.append((now, progress))
        seen_at, seen = self._sights[0]
        gained = progress - seen
        estimate = now + (100 - progress) * (now - seen_at) / gained if gained > 0 else math.inf
        self.ends_at = estimate if abs(estimate - self._last) <= tolerance else None
        self._last = estimate

    def refine(self, pause: float, now: float, *, shortest: float) -> float:
        """Return a pause that meets the extrapolated end, if there is one; otherwise the given pause."""
        if self.ends_at is None or self._hurried >= HURRIED_MAX:
            return pause
        to_go = self.ends_at - now + shortest / 10
        if to_go > 2 * shortest:
            return max(pause, min(to_go / 2, shortest * 1.5))
        if to_go < pause:
            self._hurried += 1
            return max(to_go, shortest / 3)
        return pause


@dataclass(slots=True)
class RequestWindow:
    """Counts requests; a window has at most `REQUESTS_PER_WINDOW`.

    Attributes:
        seconds: The length of a window.
        count: All requests so far.
    """

    seconds: float
    count: int = 0
    _latest: deque[float] = field(default_factory=lambda: deque[float](maxlen=REQUESTS_PER_WINDOW))

    def note(self, now: float) -> None:
        """Count a request."""
        self.count += 1
        self._latest.append(now)

    @property
    def opens_at(self) -> float:
        """Return the earliest time of the next request."""
        is_full = len(self._latest) == REQUESTS_PER_WINDOW
        return self._latest[0] + self.seconds if is_full else -math.inf

    def is_closed(self, now: float) -> bool:
        """Return True if the next request must wait."""
        return self.opens_at > now

    def room(self, now: float) -> int:
        """Return how many requests may be made now."""
        return REQUESTS_PER_WINDOW - sum(1 for moment in self._latest if moment + self.seconds > now)


@dataclass(slots=True)
class PauseDebt:
    """Pauses for requests that were made beside others, spread over the rounds that follow.

    The more is owed, the more of it a round pays. So the debt varies little, and the requests of a window do, too.

    Attributes:
        owed: The pauses that are still to be made.
    """

    owed: float = 0.0

    def pay(self, added: int) -> float:
        """Owe further pauses, and return how many are made now."""
        self.owed += added
        paid = min(self.owed, self.owed**2 / DEBT_ROUNDS)
        self.owed -= paid
        return paid
