"""Problems: what callers are told of a job that the studio does not report, or of a video that is not saved.

Replicas tell each other through the ledger: one writes a problem there, and any of them tells it to its callers.
"""

from __future__ import annotations

import json

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    UNWRITTEN_STEP,
    JobError,
    JobNotFoundError,
    LedgerError,
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
    VideoUnsavedError,
)
from seedance_mcp.core.next_steps import Call, NextStep
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.json import parse_json_object
from seedance_mcp.jobs.undelivered import Failure, find_url_age, unknown_job_error, unsaved_error

_PLAIN: tuple[type[SeedanceError], ...] = (
    JobError, JobNotFoundError, LedgerError, StudioError, StudioProtocolError, StudioUnreachableError,
)  # fmt: skip
"""Errors that are made again from their texts alone."""


def describe_failure(exc: SeedanceError, job: Job, now: float) -> SeedanceError:
    """Return the error of a job that the studio does not report several times in a row."""
    if job.status == "complete":  # anyone who asks must hear of the URL
        return unsaved_error(Failure(job=job, reason=exc.what, is_dead=False), now)
    if job.payment_id is None and isinstance(exc, StudioRejectedError) and exc.status in (403, 404):
        return unknown_job_error(job.job_id)
    again = Call("get_job", job.job_id)
    if isinstance(exc, StudioRejectedError) and exc.status == 404:
        unknown = JobNotFoundError(f"The studio says that it does not know job {job.job_id}.")
        support = NextStep("{0} again later. If it stays so, give the receipt to the studio's support.", again)
        return _with_payment(unknown, job, support)
    return _with_payment(exc, job, NextStep("The job goes on. {0} again in a minute.", again))


def describe_unsaved(exc: SeedanceError, job: Job) -> SeedanceError:
    """Return the error of a video that could not be saved."""
    # A ledger that cannot be written: the video was paid for, and may be on disk.
    return _with_payment(exc, job, UNWRITTEN_STEP) if isinstance(exc, LedgerError) else exc


def write_problem(problem: SeedanceError) -> str:
    """Return a problem as the ledger keeps it."""
    return json.dumps({"code": problem.code, "what": problem.what, "next_step": str(problem.next_step)})


def read_problem(text: str, job: Job, now: float) -> SeedanceError:
    """Return a problem of a job that another replica wrote, with what was paid by now.

    Raises:
        LedgerError: It was damaged.
    """
    fields = parse_json_object(text, "A stored problem")
    code, what, next_step = (str(fields.get(name, "")) for name in ("code", "what", "next_step"))
    if code == VideoUnsavedError.code:
        return VideoUnsavedError(
            what,
            next_step,
            payment_state="none" if job.known_price_micro_usdc is None else "settled",
            amount_micro_usdc=job.known_price_micro_usdc or 0,
            payment_id=job.payment_id,
            job_id=job.job_id,
            video_url=job.video_url,
            url_age_seconds=find_url_age(job, now),
        )
    kind = next((one for one in _PLAIN if one.code == code), StudioError)
    return _with_payment(kind(what, next_step), job, NextStep(next_step))


def _with_payment(exc: SeedanceError, job: Job, next_step: NextStep) -> SeedanceError:
    """Return an error about a job with what was paid for the job, as far as the ledger knows."""
    return exc.with_payment_state(
        "none" if job.payment_id is None else "settled",
        amount_micro_usdc=job.price_micro_usdc or 0,
        payment_id=job.payment_id,
        next_step=next_step,
    )
