"""History: list recent jobs, those of the ledger and those that only the studio's list has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.errors import StudioError, StudioProtocolError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.jobs.store import JobStore

LIST_SECONDS = 8
"""How long the studio is waited for; our own jobs are told without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """Recent jobs, newest first.

    Attributes:
        jobs: Ours, and those that only the studio knows (`payment_id` None).
        notes: Why the list may lack something.
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLister:
    """The jobs of one wallet at one studio.

    Attributes:
        store: Keeps what the studio reports.
        latest: The latest that this process knows of a job.
        lists_untracked: False for a caller who may see the ledger's jobs alone: the studio's list has everyone's.
    """

    studio: Studio
    ledger: Ledger
    store: JobStore
    latest: Callable[[Job], Job]
    lists_untracked: bool = True

    async def list_jobs(self, limit: int) -> JobList:
        """Return the latest jobs; the studio's status replaces ours for a job that was still running."""
        jobs = {job.job_id: self.latest(job) for job in await self.ledger.recent_jobs(limit)}
        if not self.lists_untracked:
            return JobList(jobs=tuple(jobs.values()), notes=())
        notes: tuple[str, ...] = ()
        try:
            with anyio.fail_after(LIST_SECONDS):
                page = await self.studio.list_jobs(limit=limit)
        except StudioProtocolError:  # not an empty one
            notes = ("The studio's own list cannot be read; these are the jobs of this machine's ledger.",)
        except (StudioError, TimeoutError):
            notes = ("The studio's own list could not be had; these are the jobs of this machine's ledger.",)
        else:
            for seen in page.jobs:
                jobs[seen.job_id] = await self._merge(seen)
        newest = sorted(jobs.values(), key=lambda job: job.created_at, reverse=True)
        return JobList(jobs=tuple(newest[:limit]), notes=notes)

    async def _merge(self, seen: JobStatus) -> Job:
        known = await self.ledger.find_job(seen.job_id)
        if known is None:
            return self.store.keep_untracked(seen)
        if known.finished or known.status == seen.status:
            return self.latest(known)
        return await self.store.update(known, seen)
