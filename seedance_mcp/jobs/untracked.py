"""Untracked jobs: ask the studio for a job of this wallet that the ledger lacks. The poller follows it like ours."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.errors import StudioRejectedError, StudioUnreachableError
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.records import Job
from seedance_mcp.jobs.store import JobStore
from seedance_mcp.jobs.undelivered import unknown_job_error


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedJobReader:
    """Asks one studio for untracked jobs.

    Attributes:
        store: Keeps what the studio reports.
    """

    studio: Studio
    store: JobStore

    async def fetch_job(self, job_id: str, *, answer_until: float) -> Job:
        """Return an untracked job as the studio reports it now.

        Args:
            job_id: The studio's id.
            answer_until: The event loop's time until which the studio may take to report it.

        Raises:
            JobNotFoundError: The studio does not know it for this wallet.
            StudioError: The studio does not report it.
        """
        with anyio.move_on_after(max(answer_until - anyio.current_time(), 0.001)):
            try:
                return self.store.keep_untracked(await self.studio.fetch_job(job_id))
            except StudioRejectedError as exc:
                if exc.status not in (403, 404):
                    raise
                raise unknown_job_error(job_id) from exc
        raise StudioUnreachableError(
            "The studio did not report the job in time.", NextStep("{0} in a minute.", Repeat())
        )
