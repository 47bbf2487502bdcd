"""Undelivered videos: report a job that is not known, a finished video that is not on disk, and an expired result.

Owns the texts and the rule, no step of the download.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedance_mcp.core.errors import JobNotFoundError, VideoGoneError, VideoUnsavedError
from seedance_mcp.core.next_steps import Argument, Call, NextStep, join_steps

if TYPE_CHECKING:
    from seedance_mcp.core.records import Job

EXPIRED = "Paid, result expired."
"""How the error of every job begins whose paid result could not be had; what the studio says is quoted instead."""
RESULT_SECONDS = 20 * 60
"""How long a result's URL is known to last. Source: contract section 8."""
RESULT_LOST_SECONDS = 6 * 3600
"""When a result that never could be downloaded counts as expired, also where the studio names new URLs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a finished video is not on disk.

    Attributes:
        job: The job as it was known last.
        reason: What failed, as a sentence.
        next_step: What to do about it; None for the ordinary next step.
        is_dead: Whether there is no video behind the URL, or no URL; a broken connection is not that.
        is_local: Whether this machine could not save it.
        was_renewed: Whether the studio answered when it was asked for another URL.
        resumed_at: At which byte the last download began: it grows with each that brought something.
    """

    job: Job
    reason: str
    next_step: NextStep | None = None
    is_dead: bool = True
    is_local: bool = False
    was_renewed: bool = False
    resumed_at: int = 0


def find_url_age(job: Job, now: float) -> float | None:
    """Return for how many seconds the URL of a job's video has been known; None where there is no URL.

    The studio may have made it earlier, of a job that is not in the ledger by an unknown time.
    """
    seen_at = find_url_time(job)
    return None if seen_at is None else max(now - seen_at, 0)


def find_url_time(job: Job) -> float | None:
    """Return since when the URL of a job's video has been known, Unix seconds; None where there is no URL."""
    return None if job.video_url is None else job.url_seen_at or job.ended_at


def is_expired(failure: Failure, now: float) -> bool:
    """Return True if a paid result cannot be had any more.

    Its URL is older than any URL lasts, there is nothing behind it, and the studio, asked again, named no newer one.
    """
    job = failure.job
    if failure.is_local or not failure.was_renewed:
        return False
    ended_at = job.ended_at or job.created_at
    # Of an untracked job no one knows since when the studio has named its URL.
    seen_at = job.created_at if job.payment_id is None else job.url_seen_at or ended_at
    is_old = now - seen_at > RESULT_SECONDS
    return (failure.is_dead and is_old) or now - ended_at > RESULT_LOST_SECONDS


def describe_expiry(failure: Failure) -> str:
    """Return what is written to the ledger of a result that expired."""
    asked = "Asked again, the studio named no newer URL." if failure.is_dead else "It was tried for hours."
    return f"{EXPIRED} {failure.reason} {asked}"


def unknown_job_error(job_id: str) -> JobNotFoundError:
    """Build the error of a job that neither the ledger nor the studio knows for this wallet."""
    return JobNotFoundError(
        f"No job {job_id[:80]!r} is known for this wallet.",
        NextStep("Check the {0}; {1} to see the jobs.", Argument("job_id"), Call("list_jobs")),
    )


def unsaved_error(failure: Failure, now: float) -> VideoUnsavedError:
    """Build the error of a video that is finished and not saved yet, with its URL."""
    job = failure.job
    again = NextStep(
        "{0} again soon: a URL expires about 20 minutes after the studio names it.", Call("get_job", job.job_id)
    )
    next_step = join_steps(failure.next_step or again, "Or open the URL at once." if job.video_url is not None else "")
    return VideoUnsavedError(
        f"The video is finished but not saved yet. {failure.reason}",
        next_step,
        payment_state="none" if job.known_price_micro_usdc is None else "settled",
        amount_micro_usdc=job.known_price_micro_usdc or 0,
        payment_id=job.payment_id,
        job_id=job.job_id,
        video_url=job.video_url,
        url_age_seconds=find_url_age(job, now),
    )


def gone_error(failure: Failure) -> VideoGoneError:
    """Build the error of a video that neither this disk nor the studio has any more."""
    job = failure.job
    lost = f"The saved file {job.file} is missing." if job.file else "The video is not in the object store any more."
    lost = lost if job.saved else "The video was never saved here."
    return VideoGoneError(
        f"{lost} {failure.reason} Asked again, the studio named no newer URL.",
        (f"Restore {job.file} from a backup or the trash. " if job.file else "")
        + f"Do not ask for it again. The studio's support may still have job {job.job_id}.",
        payment_state="none" if job.known_price_micro_usdc is None else "settled",
        amount_micro_usdc=job.known_price_micro_usdc or 0,
        payment_id=job.payment_id,
    )
