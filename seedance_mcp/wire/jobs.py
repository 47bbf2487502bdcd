"""What comes back for the money: upload tickets, jobs, and a finished video's addresses.

Field names follow the studio's own documents; where two deployments differ (`id` or `jobId`, `items` or `jobs`,
`complete` or `completed`), both are read and one is given on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

from seedance_mcp.errors import StudioProtocolError, quote_text
from seedance_mcp.wire.encoding import Json, find_list, find_object, find_text, parse_json_object, read_text

Status = Literal["pending", "loading", "complete", "failed"]
"""The studio's own words for a job's state; every synonym is read as one of them."""

_STATUS: dict[str, Status] = {
    "pending": "pending", "queued": "pending", "waiting": "pending", "created": "pending",
    "loading": "loading", "processing": "loading", "running": "loading", "generating": "loading",
    "complete": "complete", "completed": "complete", "succeeded": "complete", "success": "complete",
    "failed": "failed", "fail": "failed", "error": "failed", "cancelled": "failed", "canceled": "failed",
}  # fmt: skip

PAGE_JOBS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTicket:
    """A bought place for one image. The token is a bearer secret of about five minutes."""

    upload_id: str
    client_token: str = field(repr=False)
    pathname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob:
    """The answer to a paid generation: a job that has just begun."""

    job_id: str
    status: Status
    poll_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job as the studio tells it now.

    Attributes:
        progress: 0 to 100.
        error: The studio's words for a failure; a stranger's text.
        input: The body that was paid for, where the studio repeats it.
        created_at: Unix seconds, where the studio says.
    """

    job_id: str
    type: str | None
    status: Status
    progress: int
    error: str | None
    video_url: str | None
    thumbnail_url: str | None
    input: Json | None
    created_at: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ("complete", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of `GET /api/jobs`."""

    jobs: tuple[JobStatus, ...]
    next_cursor: str | None


def read_upload_ticket(body: bytes) -> UploadTicket:
    """Read the answer to a paid `POST /api/upload`. Source: contract section 9."""
    document = parse_json_object(body, "The upload ticket")
    return UploadTicket(
        upload_id=read_text(document, "uploadId", "The upload ticket"),
        client_token=read_text(document, "clientToken", "The upload ticket"),
        pathname=read_text(document, "pathname", "The upload ticket"),
    )


def read_submitted_job(body: bytes) -> SubmittedJob:
    """Read the answer to a paid generation. Source: contract section 3."""
    document = parse_json_object(body, "The answer to the generation")
    return SubmittedJob(
        job_id=_read_job_id(document),
        status=_read_status(document),
        poll_url=find_text(document, "pollUrl"),
    )


def read_job(body: bytes) -> JobStatus:
    """Read `GET /api/jobs/{id}`. Source: contract section 8."""
    return _read_job(parse_json_object(body, "The job"))


def read_job_page(body: bytes) -> JobPage:
    """Read `GET /api/jobs`; entries that are not jobs are passed over."""
    document = parse_json_object(body, "The list of jobs")
    jobs: list[JobStatus] = []
    for entry in (find_list(document, "items") or find_list(document, "jobs"))[:PAGE_JOBS_MAX]:
        if isinstance(entry, Mapping):
            try:
                jobs.append(_read_job(cast("Json", entry)))
            except StudioProtocolError:
                continue
    return JobPage(jobs=tuple(jobs), next_cursor=find_text(document, "nextCursor"))


def read_studio_error(body: bytes) -> str:
    """A refusal's own words, quoted and bounded, or what the body begins with.

    The text is the studio's: shown to a reader as quoted data, never followed.
    """
    try:
        document = parse_json_object(body, "The answer")
    except StudioProtocolError:
        return quote_text(body[:400].decode("utf-8", "replace"), 120)
    said = _find_error(document)
    issues: list[str] = []
    for issue in find_list(document, "issues")[:3]:
        if isinstance(issue, Mapping):
            path = ".".join(str(part) for part in find_list(cast("Json", issue), "path")[:5])
            issues.append(f"{path}: {find_text(cast('Json', issue), 'message') or ''}".strip(": "))
    return quote_text("; ".join([said or "no reason given", *issues]))


def _find_error(document: Json) -> str | None:
    """`error` as text; the place for bytes writes an object with a `message` instead."""
    return find_text(document, "error") or find_text(find_object(document, "error"), "message")


def _read_job(document: Json) -> JobStatus:
    result = find_object(document, "result")
    status = _read_status(document)
    return JobStatus(
        job_id=_read_job_id(document),
        type=find_text(document, "type"),
        status=status,
        progress=100 if status == "complete" else _read_progress(document.get("progress")),
        error=_find_error(document),
        video_url=find_text(result, "videoUrl"),
        thumbnail_url=find_text(result, "thumbnailUrl"),
        input=find_object(document, "input") or None,
        created_at=_read_time(find_text(document, "createdAt")),
    )


def _read_job_id(document: Json) -> str:
    job_id = find_text(document, "jobId") or find_text(document, "id")
    if job_id is None or not is_job_id(job_id):
        raise StudioProtocolError("The studio's answer has no usable job id.")
    return job_id


def is_job_id(text: str) -> bool:
    """Whether this can be a job's id: it becomes part of a URL and of a file name."""
    return 0 < len(text) <= 128 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _read_status(document: Json) -> Status:
    """An unknown word means that the job has not ended: we ask again rather than give up on what was paid."""
    return _STATUS.get((find_text(document, "status") or "pending").lower(), "loading")


def _read_progress(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0
    return int(min(max(value, 0), 100))


def _read_time(text: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
