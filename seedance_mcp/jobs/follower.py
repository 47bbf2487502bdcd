"""Follower: what callers need of a poller, be it this process's own or one that several replicas share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from seedance_mcp.core.records import Job

Report = Callable[[Job, float], Awaitable[None]]
"""Told a job while a caller waits for it, and the seconds that it is expected to need."""
Changed = Callable[[str], None]
"""Told the id of a job about which something changed."""


class JobFollower(Protocol):
    """Follows jobs for callers."""

    def watch(self, job: Job) -> None:
        """Begin to watch a job; a finished one is left alone."""
        ...

    def latest(self, job: Job) -> Job:
        """Return the job as this process knows it."""
        ...

    async def wait(self, job: Job, *, deadline: float, report: Report | None = None) -> Job:
        """Wait until a job is finished or the deadline comes.

        Args:
            job: A job of the ledger, or an untracked one that was just asked for.
            deadline: A moment of the event loop's clock.
            report: See `Report`; told at least every few seconds.

        Raises:
            SeedanceError: The studio does not know the job, or its video could not be saved.
        """
        ...
