"""Parsers of the studio's results: upload tickets, jobs, and the URLs of finished videos.

Field names follow the studio's documents. Where deployments differ (`id` or `jobId`, `items` or `jobs`, `complete` or
`done`, a job by itself or inside `data`), all forms are read and one is returned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.redaction import REDACTED, redact
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import (
    TEXT_CHARACTERS_MAX,
    Json,
    find_list,
    find_object,
    find_text,
    parse_json,
    parse_json_object,
    read_text,
)
from seedance_mcp.core.wire.kinds import URL_CHARACTERS_MAX, is_identifier
from seedance_mcp.core.wire.video_urls import FoundUrls, find_urls

Status = Literal["pending", "loading", "complete", "failed"]
"""States of a job, in the studio's words; every synonym is read as one of them."""

_WORDS: dict[Status, str] = {
    "pending": "pending queued waiting created submitted scheduled accepted in_queue not_started",
    "loading": "loading processing running generating in_progress inprogress started starting active rendering working",
    "complete": "complete completed succeeded success successful done finished ready",
    "failed": "failed fail failure error errored cancelled canceled expired rejected timeout timed_out timedout aborted"
    " denied refused blocked",
}
_STATUS: dict[str, Status] = {word: status for status, words in _WORDS.items() for word in words.split()}
_PLAIN_FAILURES = frozenset({"failed", "fail", "error"})
"""Status words that give no further reason for a failure."""

PAGE_JOBS_MAX = 200
WRAPPERS_MAX = 3
"""How many nested wrappers around a job are read."""
WORD_CHARACTERS_MAX = 60
RESULT_CHARACTERS_MAX = 600
"""How many characters of a result without a video URL are quoted."""
URLS_SHOWN_MAX = 5
"""How many URLs are shown if none of them can be chosen."""
_LIST_NAMES = ("items", "jobs", "data", "results")
_CURSOR_NAMES = ("nextCursor", "next_cursor")
_PAGING_NAMES = ("pagination", "paging", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTicket:
    """A paid slot for one image. The token is a bearer secret that is valid for about five minutes."""

    upload_id: str
    client_token: str = field(repr=False)
    pathname: str

    @property
    def is_scrubbed(self) -> bool:
        """Return True if its token was removed from the ledger because it had expired or was used."""
        return self.client_token.endswith(REDACTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob:
    """The answer to a paid generation: a new job."""

    job_id: str
    status: Status
    poll_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """The state of a job in one answer of the studio.

    Attributes:
        progress: 0 to 100.
        error: The studio's text of a failure, including its status word; untrusted.
        video_url: The URL of the video, from any field.
        result_text: The text of the result if no URL could be chosen: quoted, bounded, untrusted.
        input: The body that was paid for, if the studio repeats it.
        created_at: Unix seconds, or None if the studio does not report it.
        updated_at: The same, of its last change.
        stalled: True if it reports an error and no result, under a status word that is no failure.
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
    updated_at: float | None = None
    result_text: str | None = None
    stalled: bool = False

    @property
    def ended(self) -> bool:
        """Return True if its state is final."""
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
    """Read the answer to a paid generation. Source: contract section 3.

    The first poll, not this answer, decides whether the job has ended: this answer's status may be that of the request.
    """
    unwrapped = _unwrap(parse_json_object(body, "The answer to the generation"))
    status = _STATUS.get(_simplify(_read_word(unwrapped.document)), "pending")
    return SubmittedJob(
        job_id=_read_job_id(unwrapped),
        status=status if status in ("pending", "loading") else "pending",
        poll_url=find_text(unwrapped.document, "pollUrl"),
    )


def read_job(body: bytes, job_id: str, *, loopback_http: bool = False) -> JobStatus:
    """Read `GET /api/jobs/{id}`. Source: contract section 8.

    An answer without a job id is accepted as an answer about this job; one with another id is not.

    Args:
        body: The studio's answer.
        job_id: The requested job.
        loopback_http: True if the video's URL may be plain http to this machine.

    Raises:
        StudioProtocolError: Not a job, or another job.
    """
    unwrapped = _unwrap(parse_json(body, "The job"))
    if unwrapped.ids and job_id not in unwrapped.ids:
        raise StudioProtocolError(f"The studio was asked for job {job_id} and answered with another job.")
    job = _read_job(unwrapped.document, job_id, loopback_http=loopback_http)
    if not unwrapped.ids and not _read_word(unwrapped.document) and job.video_url is None and job.result_text is None:
        raise StudioProtocolError("The studio's answer is not a job.")
    return job


def read_job_page(body: bytes, *, loopback_http: bool = False) -> JobPage:
    """Read `GET /api/jobs`; entries that are not jobs are skipped.

    Raises:
        StudioProtocolError: Not a list of jobs. An unreadable list is never treated as an empty one.
    """
    document = parse_json(body, "The list of jobs")
    entries = _find_entries(document)
    if entries is None:
        raise StudioProtocolError("The studio's list of jobs cannot be read.")
    jobs: list[JobStatus] = []
    for entry in entries[:PAGE_JOBS_MAX]:
        try:
            unwrapped = _unwrap(entry)
            jobs.append(_read_job(unwrapped.document, _read_job_id(unwrapped), loopback_http=loopback_http))
        except StudioProtocolError:
            continue
    if entries and not jobs:
        raise StudioProtocolError("The studio's list of jobs cannot be read: it names no usable job id.")
    return JobPage(jobs=tuple(jobs), next_cursor=_find_cursor(document))


def read_studio_error(body: bytes) -> str:
    """Return a refusal's text, quoted and bounded, or the beginning of the body.

    The text is the studio's: it is shown as quoted data and never followed.
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
    """Return `error` as text; some studios send an object, with or without a `message`."""
    error = document.get("error")
    said = find_text(document, "error") or find_text(find_object(document, "error"), "message")
    if said is None and isinstance(error, dict | list) and error:
        said = json.dumps(error, ensure_ascii=False)[:TEXT_CHARACTERS_MAX]
    return redact(said) if said and said.strip() else None


@dataclass(frozen=True, slots=True)
class _Unwrapped:
    """A job's document, and the ids in it and its wrappers: first `jobId`, then `id` from the inside out."""

    document: Json
    ids: tuple[str, ...]


def _unwrap(value: object) -> _Unwrapped:
    """Remove the wrappers `job` and `data` around a job; their other fields stay readable.

    Raises:
        StudioProtocolError: Not an object.
    """
    layers: list[Json] = []
    while isinstance(value, dict) and value and len(layers) <= WRAPPERS_MAX:
        layers.insert(0, cast("Json", value))
        value = _find_inner(cast("Json", value))
    if not layers:
        raise StudioProtocolError("The studio's answer is not a job.")
    merged: dict[str, object] = {}
    for layer in reversed(layers):
        merged |= {key: value for key, value in layer.items() if not any(value is one for one in layers)}
    named = [_read_id(layer.get("jobId")) for layer in layers] + [_read_id(layer.get("id")) for layer in layers]
    return _Unwrapped(merged, tuple(job_id for job_id in named if job_id is not None))


def _find_inner(document: Json) -> object:
    """Return the job inside a wrapper, or None if this is the job itself."""
    for name in ("job", "data"):
        inner = document.get(name)
        if isinstance(inner, list) and len(cast("list[object]", inner)) == 1:
            inner = cast("list[object]", inner)[0]
        if not isinstance(inner, dict):
            continue
        job = cast("Json", inner)
        says_more = bool(_read_word(job)) and (_has_id(job) or not _read_word(document))
        names_it = _has_id(job) and (not _read_word(document) or "jobId" in job)
        is_envelope = not _has_id(job) and not _read_word(job) and _find_inner(job) is not None
        if says_more or is_envelope or ((names_it or _read_word(job)) and not _has_id(document)):
            return job
    return None


def _has_id(document: Json) -> bool:
    return _read_id(document.get("jobId")) is not None or _read_id(document.get("id")) is not None


def _read_id(value: object) -> str | None:
    """Return an id as text; some studios number their jobs."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**30 else None
    return value if isinstance(value, str) and value.strip() else None


def _read_job_id(unwrapped: _Unwrapped) -> str:
    if not unwrapped.ids or not is_job_id(unwrapped.ids[0]):
        raise StudioProtocolError("The studio's answer has no usable job id.")
    return unwrapped.ids[0]


def is_job_id(text: str) -> bool:
    """Return True if a text is a valid job id; it becomes a part of a URL and of a file name."""
    return is_identifier(text) and text.strip("-_") != ""


def _find_entries(document: object, *, depth: int = 0) -> Sequence[object] | None:
    """Return the entries of a list in any known shape; None if there is no list."""
    if isinstance(document, list):
        return cast("list[object]", document)
    if not isinstance(document, dict) or depth > 1:
        return None
    named = [cast("Json", document).get(name) for name in _LIST_NAMES]
    lists = [cast("list[object]", value) for value in named if isinstance(value, list)]
    inner = [_find_entries(cast("object", value), depth=depth + 1) for value in named if isinstance(value, dict)]
    found = lists + [entries for entries in inner if entries is not None]
    return next((entries for entries in found if entries), found[0] if found else None)


def _find_cursor(document: object) -> str | None:
    """Return the cursor of the next page, also if it is beside or around the list."""
    if not isinstance(document, dict):
        return None
    top = cast("Json", document)
    for place in (top, *(find_object(top, name) for name in (*_LIST_NAMES, *_PAGING_NAMES))):
        for name in _CURSOR_NAMES:
            cursor = _read_id(place.get(name))
            if cursor is not None and len(cursor) <= TEXT_CHARACTERS_MAX:
                return cursor
    return None


def _read_job(document: Json, job_id: str, *, loopback_http: bool) -> JobStatus:
    found = find_urls(document, loopback_http=loopback_http)
    word, error = _read_word(document), _find_error(document)
    status = _read_status(word, found)
    has_url = found.video is not None or bool(found.candidates)
    stalled = bool(word and error and not has_url) and _STATUS.get(_simplify(word)) in (None, "complete")
    if stalled or (status == "failed" and _simplify(word) not in _PLAIN_FAILURES):
        error = f"{quote_text(word, WORD_CHARACTERS_MAX)[1:-1]}: {error}" if error else word
    return JobStatus(
        job_id=job_id,
        type=find_text(document, "type"),
        status="loading" if stalled else status,
        progress=100 if status == "complete" and not stalled else _read_progress(document.get("progress")),
        error=error,
        video_url=found.video,
        thumbnail_url=found.thumbnail,
        input=find_object(document, "input") or None,
        created_at=_read_time(find_text(document, "createdAt")),
        updated_at=_read_time(find_text(document, "updatedAt")),
        result_text=None if found.video else _describe_result(document.get("result"), found.candidates),
        stalled=stalled,
    )


def _read_word(document: Json) -> str:
    """Return the studio's word for the state, or an empty text."""
    return (find_text(document, "status") or find_text(document, "state") or "").strip()


def _simplify(word: str) -> str:
    return re.sub(r"[\s-]+", "_", word.strip().lower())


def _read_status(word: str, found: FoundUrls) -> Status:
    """Read a state.

    A video URL ends a job with any status word; against a word for another state, only a URL in a field that names the
    video does. An unknown word alone means that the job has not ended: polling continues, because the job is paid.
    """
    known: Status | None = _STATUS.get(_simplify(word))
    has_url = found.video is not None or bool(found.candidates)
    if has_url and (known in (None, "complete") or found.named):
        return "complete"
    return known or ("loading" if word else "pending")


def _describe_result(result: object, candidates: Sequence[str]) -> str | None:
    """Return the text of a result without a chosen URL, as quoted data; None if there is none."""
    if candidates:
        shown = [quote_text(url, URL_CHARACTERS_MAX) for url in candidates[:URLS_SHOWN_MAX]]
        more = len(candidates) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")
    if result in (None, "", {}, []):
        return None
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return quote_text(text, RESULT_CHARACTERS_MAX)


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
