"""Polling: put together what polls jobs and saves their videos, for the services and for a replica's own tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job
from seedance_mcp.jobs.archive import LocalArchive
from seedance_mcp.jobs.downloads import VideoDownloader
from seedance_mcp.jobs.poller import JobPoller
from seedance_mcp.jobs.store import JobStore

if TYPE_CHECKING:
    from seedance_mcp.app.parts import Parts


def build_downloader(parts: Parts, wallet: str) -> VideoDownloader:
    """Wire what saves the videos of a wallet."""
    ledger, studio, now = parts.ledger, parts.studio, parts.now
    archive = parts.shared or LocalArchive(parts.settings.videos_dir)
    return VideoDownloader(
        studio=studio,
        ledger=ledger,
        store=JobStore(ledger=ledger, studio=studio.origin, wallet=wallet, archive=archive, now=now),
        archive=archive,
        pause_seconds=parts.settings.profile.poll_seconds_min,
        start=parts.start,
        now=now,
    )


def build_poller(parts: Parts, store: JobStore, *, save: Callable[[Job], Awaitable[Job]] | None) -> JobPoller:
    """Wire what polls jobs and saves their videos, or leaves those to others."""
    return JobPoller(
        studio=parts.studio,
        store=store,
        save=save,
        start=parts.start,
        expected_seconds=partial(expect_seconds, parts),
        poll_seconds_min=parts.settings.profile.poll_seconds_min,
        changed=parts.changed,
        now=parts.now,
    )


async def expect_seconds(parts: Parts, job: Job) -> float:
    """Return how long a job is expected to take; as the profile says while the ledger cannot be read."""
    typical = None
    with contextlib.suppress(LedgerError):
        typical = await parts.ledger.typical_seconds(job.arguments)
    return typical or parts.settings.profile.job_seconds
