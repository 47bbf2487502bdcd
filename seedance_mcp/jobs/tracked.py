"""Tracked job: what the poller knows of one running job."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import anyio

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.records import Job
from seedance_mcp.jobs.schedule import POLL_SECONDS_MAX, EndEstimate

UNSEEN_SECONDS = 2 * POLL_SECONDS_MAX
"""Progress that is older is extrapolated."""
ESTIMATE_MAX = 95
"""The highest extrapolated progress, in percent."""


@dataclass(slots=True)
class TrackedJob:
    """A running job; times are moments of the event loop's clock.

    Attributes:
        due: When the studio is asked for it next.
        changed: Wakes those who wait for it.
        problem: What they are told instead.
        failures: Requests in a row that told nothing of it.
        saving: True while its video is saved.
        asked_at: The latest request that was about it.
        written: How much of its progress the store knows.
        estimate: Its end, extrapolated.
        expected: How long such a job takes, in seconds, as far as it was looked up.
        is_refused: The studio's answer about this job by itself could not be used.
    """

    job: Job
    bought_at: float
    due: float
    changed: anyio.Event = field(default_factory=anyio.Event)
    problem: SeedanceError | None = None
    failures: int = 0
    saving: bool = False
    asked_at: float = -math.inf
    written: int = 0
    estimate: EndEstimate = field(default_factory=EndEstimate)
    expected: float = math.inf
    is_refused: bool = False

    @property
    def age(self) -> float:
        """Seconds since it was bought."""
        return anyio.current_time() - self.bought_at

    @property
    def needs_own_request(self) -> bool:
        """Return True if a list of what ended cannot tell of it."""
        return self.is_refused or self.job.status == "complete" or self.job.stalled_at is not None

    def show(self) -> Job:
        """Return the job, with its progress extrapolated if the studio has not told it for long."""
        unseen = anyio.current_time() - max(self.asked_at, self.bought_at)
        if self.job.finished or unseen <= UNSEEN_SECONDS or self.failures:
            return self.job
        estimate = min(ESTIMATE_MAX, int(100 * self.age / self.expected))
        return replace(self.job, progress=max(self.job.progress, estimate))
