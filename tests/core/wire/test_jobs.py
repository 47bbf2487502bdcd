"""Upload tickets, jobs and refusals: recorded ones and invalid ones."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.wire.jobs import (
    PAGE_JOBS_MAX,
    is_job_id,
    read_job,
    read_job_page,
    read_studio_error,
    read_submitted_job,
    read_upload_ticket,
)
from tests.challenges import CAPTURES

from .hostile import BODIES, mangled

JOB_ID = CAPTURES["job_complete"]["jobId"]


def encode(document: object) -> bytes:
    return json.dumps(document).encode()


def test_recorded_ticket_is_read_and_its_token_is_not_shown() -> None:
    ticket = read_upload_ticket(encode(CAPTURES["upload_answer"]))
    assert ticket.upload_id == "375385a4-9c81-4b5f-8fdf-f21cce2bd7b2"
    assert ticket.pathname == "uploads/1a492c3f-6088-4f48-8bc3-02a328878829/image.png"
    assert ticket.client_token.startswith("vercel_blob_client_")
    assert ticket.client_token not in repr(ticket)


@pytest.mark.parametrize("key", ["uploadId", "clientToken", "pathname"])
def test_ticket_without_one_of_its_parts_names_it(key: str) -> None:
    document = {name: value for name, value in CAPTURES["upload_answer"].items() if name != key}
    with pytest.raises(StudioProtocolError, match=f"'{key}'"):
        read_upload_ticket(encode(document))


def test_recorded_job_is_read_in_every_state() -> None:
    job_id = "c0345474-2310-42b6-af81-3147eb10f3ab"
    submitted = read_submitted_job(encode(CAPTURES["generate_answer"]))
    assert (submitted.job_id, submitted.status) == (job_id, "pending")
    assert submitted.poll_url == f"http://127.0.0.1:4020/api/jobs/{job_id}"
    pending, loading, complete = (
        read_job(encode(CAPTURES[f"job_{word}"]), job_id, loopback_http=True)
        for word in ("pending", "loading", "complete")
    )
    assert [job.job_id for job in (pending, loading, complete)] == [job_id] * 3
    assert [job.status for job in (pending, loading, complete)] == ["pending", "loading", "complete"]
    assert [job.progress for job in (pending, loading, complete)] == [0, 23, 100]
    assert [job.ended for job in (pending, loading, complete)] == [False, False, True]
    assert complete.video_url == CAPTURES["job_complete"]["result"]["videoUrl"]
    assert complete.thumbnail_url == CAPTURES["job_complete"]["result"]["thumbnailUrl"]
    assert complete.created_at == pytest.approx(1795451276.888)
    assert complete.type == "seedance-i2v"


def test_recorded_failure_keeps_the_studios_text() -> None:
    job = read_job(encode(CAPTURES["job_failed"]), CAPTURES["job_failed"]["jobId"])
    assert (job.status, job.ended) == ("failed", True)
    assert job.error == "Generation failed: content policy violation"
    assert (
        read_job(encode({"id": "a", "status": "failed", "error": {"message": "Face detected"}}), "a").error
        == "Face detected"
    )


def test_recorded_list_is_read_without_entries_that_are_no_jobs() -> None:
    recorded = CAPTURES["job_list"]
    page = read_job_page(encode({**recorded, "jobs": [None, {"status": "x"}, *recorded["jobs"], 7]}))
    assert [job.job_id for job in page.jobs] == ["c0345474-2310-42b6-af81-3147eb10f3ab"]
    assert page.next_cursor is None
    page = read_job_page(encode({"items": recorded["jobs"], "nextCursor": "c2"}))
    assert (len(page.jobs), page.next_cursor) == (1, "c2")
    assert len(read_job_page(encode({"jobs": recorded["jobs"] * (PAGE_JOBS_MAX + 5)})).jobs) == PAGE_JOBS_MAX


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", "pending"), ("queued", "pending"), ("PROCESSING", "loading"), ("completed", "complete"),
        ("succeeded", "complete"), ("error", "failed"), ("canceled", "failed"), ("dreaming", "loading"), (7, "pending"),
        ("done", "complete"), ("Finished", "complete"), ("ready", "complete"), ("complete ", "complete"),
        ("In Progress", "loading"), ("expired", "failed"), ("Cancelled", "failed"), ("rejected", "failed"),
        ("timeout", "failed"), ("FAILURE", "failed"), ("timed out", "failed"),
    ],
)  # fmt: skip
def test_every_status_word_is_one_of_four_states(word: object, status: str) -> None:
    assert read_job(encode({"id": "a", "status": word}), "a").status == status


URL = "https://x.test/v.mp4"


@pytest.mark.parametrize("word", ["done", "finished", "dreaming", "expired", "loading", "failed", None])
def test_video_url_ends_a_job_with_any_status_word(word: object) -> None:
    job = read_job(encode({"id": "a", "status": word, "result": {"videoUrl": URL}}), "a")
    assert (job.status, job.video_url, job.progress) == ("complete", URL, 100)


def test_unnamed_url_does_not_end_a_job_that_runs_or_failed() -> None:
    for word, status in (("loading", "loading"), ("failed", "failed")):
        assert (
            read_job(encode({"id": "a", "status": word, "result": {"log": "https://x.test/log"}}), "a").status == status
        )


@pytest.mark.parametrize(
    ("document", "status", "error"),
    [
        ({"status": "moderated", "error": "no faces"}, "loading", "moderated: no faces"),
        ({"status": "done", "error": "no faces"}, "loading", "done: no faces"),
        ({"status": "expired", "error": "too late"}, "failed", "expired: too late"),
        ({"status": "Rejected"}, "failed", "Rejected"),
        ({"status": "failed", "error": "no faces"}, "failed", "no faces"),
        ({"status": "failed", "error": {"code": 7}}, "failed", '{"code": 7}'),
        ({"status": "loading", "error": "a node was lost"}, "loading", "a node was lost"),
        ({"status": "dreaming", "error": ""}, "loading", None),
    ],
)
def test_error_includes_the_studios_status_word(document: dict[str, Any], status: str, error: str | None) -> None:
    job = read_job(encode({"id": "a", **document}), "a")
    assert (job.status, job.error) == (status, error)
    assert job.stalled == (document["status"] in ("moderated", "done"))


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "loading"},
        {"id": "7", "status": "loading"},
        {"id": 7, "status": "loading"},
        {"jobId": 7, "id": "row-1", "status": "loading"},
        {"data": {"status": "loading"}},
        {"job": {"id": 7, "status": "loading"}},
        {"success": True, "status": "success", "data": {"id": "7", "status": "loading"}},
        {"id": "request-1", "data": {"job": {"jobId": "7", "state": "loading"}}},
        {"data": [{"id": "7", "status": "loading"}]},
        {"id": "7", "data": {"status": "loading"}},
    ],
)
def test_answer_without_an_id_or_in_a_wrapper_is_accepted(answer: dict[str, Any]) -> None:
    job = read_job(encode(answer), "7")
    assert (job.job_id, job.status) == ("7", "loading")


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "8", "status": "complete", "result": {"videoUrl": URL}},
        {"id": 8, "status": "complete"},
        {"data": {"jobId": "8", "status": "complete"}},
        {"id": "8", "data": {"status": "complete"}},
    ],
)
def test_answer_about_another_job_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(StudioProtocolError, match="another job"):
        read_job(encode(answer), "7")


@pytest.mark.parametrize("answer", [{}, {"success": False, "error": "no such route"}, {"data": {}}, [], 7, "loading"])
def test_answer_that_is_no_job_is_an_error(answer: object) -> None:
    with pytest.raises(StudioProtocolError):
        read_job(encode(answer), "7")


def test_numbered_or_wrapped_job_is_read_from_the_paid_answer() -> None:
    for answer in ({"jobId": 7}, {"success": True, "data": {"id": 7, "status": "queued"}}, {"job": {"jobId": "7"}}):
        assert read_submitted_job(encode(answer)).job_id == "7"
    assert read_submitted_job(encode({"jobId": "7", "status": "success"})).status == "pending"


ENTRY = {"id": "a", "status": "loading"}


@pytest.mark.parametrize(
    "listed",
    [
        [ENTRY], {"data": [ENTRY]}, {"results": [ENTRY]}, {"jobs": [ENTRY]}, {"items": [], "jobs": [ENTRY]},
        {"data": {"items": [ENTRY]}}, {"success": True, "data": {"jobs": [{"job": ENTRY}]}},
    ],
)  # fmt: skip
def test_list_is_read_in_each_known_shape(listed: object) -> None:
    assert [job.job_id for job in read_job_page(encode(listed)).jobs] == ["a"]


def test_empty_list_is_empty_and_its_next_page_is_found() -> None:
    for text in (b"[]", b'{"items": []}', b'{"data": {"jobs": []}}'):
        assert read_job_page(text).jobs == ()
    for listed in (
        {"data": {"items": [ENTRY], "nextCursor": 7}},
        {"data": [ENTRY], "pagination": {"next_cursor": "7"}},
    ):
        assert read_job_page(encode(listed)).next_cursor == "7"


@pytest.mark.parametrize(
    "listed", [{}, {"rows": [ENTRY]}, {"items": None}, {"items": "none"}, 7, {"items": [{"n": 1}]}]
)
def test_list_that_cannot_be_read_is_never_empty(listed: object) -> None:
    with pytest.raises(StudioProtocolError, match="cannot be read"):
        read_job_page(encode(listed))


@pytest.mark.parametrize(
    ("progress", "read"), [(-5, 0), (250, 100), (10**40, 100), (12.7, 12), (True, 0), ("50", 0), (None, 0)]
)
def test_progress_stays_between_0_and_100(progress: object, read: int) -> None:
    assert read_job(encode({"id": "a", "status": "loading", "progress": progress}), "a").progress == read


@pytest.mark.parametrize(
    "job_id", ["", "a/b", "..", "a.b", "a b", "a\n", "a?x=1", "-", "é", "²", "a" * 129, "%2e%2e", "\u0430bc"]
)
def test_job_id_must_be_safe_in_urls_and_file_names(job_id: str) -> None:
    assert not is_job_id(job_id)
    with pytest.raises(StudioProtocolError, match="no usable job id"):
        read_submitted_job(encode({"jobId": job_id, "status": "pending"}))


def test_refusal_text_is_quoted() -> None:
    said = read_studio_error(encode(CAPTURES["rejected_400"]))
    assert said == "«Validation failed; duration: " + CAPTURES["rejected_400"]["issues"][0]["message"] + "»"
    assert read_studio_error(encode(CAPTURES["blob_expired_403"])) == "«Client token has expired.»"
    assert read_studio_error(encode({})) == "«no reason given»"
    assert read_studio_error(b"<html>\n502 Bad Gateway") == "«<html> 502 Bad Gateway»"


@given(BODIES | mangled(CAPTURES["rejected_400"]).map(encode))
def test_any_refusal_is_one_bounded_quoted_line(body: bytes) -> None:
    said = read_studio_error(body)
    assert said.startswith("«")
    assert said.endswith("»")
    assert said.count("»") == 1
    assert said.isprintable()
    assert len(said) <= 302


@given(
    BODIES
    | st.sampled_from(["upload_answer", "generate_answer", "job_complete", "job_failed", "job_list"]).flatmap(
        lambda name: mangled(CAPTURES[name]).map(encode)
    )
)
def test_hostile_documents_raise_only_our_error(body: bytes) -> None:
    reads: tuple[Callable[[bytes], object], ...] = (
        read_upload_ticket, read_submitted_job, lambda body: read_job(body, JOB_ID), read_job_page,
    )  # fmt: skip
    for read in reads:
        value: Any = None
        said = ""
        try:
            value = read(body)
        except StudioProtocolError as exc:
            said = str(exc)
        assert len(said) < 400
        for job in getattr(value, "jobs", ()):
            assert is_job_id(job.job_id)
            assert 0 <= job.progress <= 100
