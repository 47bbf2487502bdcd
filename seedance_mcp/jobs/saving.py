"""Saving: any replica saves a finished video, one of them each; the claim of a killed one lapses.

A download ends with its claim. What failed is tried again after a pause, by any replica, or when a caller waits.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.adapters.ledger.claims import CLAIM_SECONDS, ClaimedJob
from seedance_mcp.core.concurrency import Wakeup
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.jobs.leading import READ_SECONDS, JobOwner
from seedance_mcp.jobs.poller import BACKOFF_SECONDS_MAX, SAVES_MAX
from seedance_mcp.jobs.problems import describe_unsaved, write_problem

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.core.records import Job

RENEW_SECONDS = CLAIM_SECONDS / 4

Save = Callable[["PostgresLedger", "Job"], Awaitable[object]]
"""Saves a video and writes where it is to a ledger that checks the claim; raises `SeedanceError`."""

log = logging.getLogger("seedance_mcp")


@dataclass
class VideoSaver:
    """Saves the finished videos of one wallet, up to `SAVES_MAX` at a time.

    Attributes:
        ledger: Knows which are not saved.
        owner: Whose jobs.
        save: See `Save`.
        pause_seconds: The shortest pause before a failed download is tried again.
    """

    ledger: PostgresLedger
    owner: JobOwner
    save: Save
    pause_seconds: float
    _saving: dict[str, anyio.CancelScope] = field(default_factory=dict[str, anyio.CancelScope])
    _wakeup: Wakeup = field(default_factory=Wakeup)

    def hear(self) -> None:
        """Look for finished videos at once."""
        self._wakeup.set()

    async def run(self) -> None:
        """Claim and save until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew)
            while True:
                with suppress(LedgerError):  # claimed in a moment, here or elsewhere
                    while len(self._saving) < SAVES_MAX and (claimed := await self._claim()) is not None:
                        self._saving[claimed.job.job_id] = scope = _open_scope()
                        tasks.start_soon(self._save, claimed, scope)
                await self._wakeup.wait(READ_SECONDS)

    async def _claim(self) -> ClaimedJob | None:
        return await self.ledger.claim_unsaved(
            studio=self.owner.studio, wallet=self.owner.wallet, owner=self.ledger.owner
        )

    async def _renew(self) -> None:
        """Renew the claims of the downloads that run, and end those whose claim was lost."""
        while True:
            await anyio.sleep(RENEW_SECONDS)
            began_at, saving = anyio.current_time(), dict(self._saving)
            if not saving:
                continue
            with suppress(LedgerError):  # each ends with its claim
                kept = await self.ledger.renew_claims(saving, self.ledger.owner)
                for job_id, scope in saving.items():
                    if job_id in kept:
                        scope.deadline = began_at + CLAIM_SECONDS

    async def _save(self, claimed: ClaimedJob, scope: anyio.CancelScope) -> None:
        job, problem, pause = claimed.job, None, 0.0
        is_saved = False
        try:
            with scope:
                await self.save(self.ledger.under_claim(job.job_id), job)
                is_saved = True
        except SeedanceError as exc:
            problem = write_problem(describe_unsaved(exc, job))
            pause = min(self.pause_seconds * 2 ** min(claimed.failures + 1, 10), BACKOFF_SECONDS_MAX)
        except Exception:
            log.exception("Saving the video of job %s broke", job.job_id)
            pause = BACKOFF_SECONDS_MAX
        finally:
            del self._saving[job.job_id]
            self._wakeup.set()
            if not is_saved:
                with anyio.CancelScope(shield=True), suppress(LedgerError):  # else the claim lapses
                    await self.ledger.give_up_claim(job.job_id, self.ledger.owner, problem=problem, retry_seconds=pause)


def _open_scope() -> anyio.CancelScope:
    return anyio.CancelScope(deadline=anyio.current_time() + CLAIM_SECONDS)
