"""Upload tickets, jobs and refusals, as recorded and as nobody should write them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.errors import StudioProtocolError
from seedance_mcp.wire.jobs import (
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


def encode(document: object) -> bytes:
    return json.dumps(document).encode()


def test_the_recorded_ticket_is_read_and_its_token_is_not_shown() -> None:
    ticket = read_upload_ticket(encode(CAPTURES["upload_answer"]))
    assert ticket.upload_id == "375385a4-9c81-4b5f-8fdf-f21cce2bd7b2"
    assert ticket.pathname == "uploads/1a492c3f-6088-4f48-8bc3-02a328878829/image.png"
    assert ticket.client_token.startswith("vercel_blob_client_")
    assert ticket.client_token not in repr(ticket)


@pytest.mark.parametrize("key", ["uploadId", "clientToken", "pathname"])
def test_a_ticket_without_one_of_its_parts_names_it(key: str) -> None:
    document = {name: value for name, value in CAPTURES["upload_answer"].items() if name != key}
    with pytest.raises(StudioProtocolError, match=f"'{key}'"):
        read_upload_ticket(encode(document))


def test_the_recorded_job_is_read_at_each_of_its_stages() -> None:
    job_id = "c0345474-2310-42b6-af81-3147eb10f3ab"
    submitted = read_submitted_job(encode(CAPTURES["generate_answer"]))
    assert (submitted.job_id, submitted.status) == (job_id, "pending")
    assert submitted.poll_url == f"http://127.0.0.1:4020/api/jobs/{job_id}"
    pending, loading, complete = (
        read_job(encode(CAPTURES[f"job_{word}"])) for word in ("pending", "loading", "complete")
    )
    assert [job.job_id for job in (pending, loading, complete)] == [job_id] * 3
    assert [job.status for job in (pending, loading, complete)] == ["pending", "loading", "complete"]
    assert [job.progress for job in (pending, loading, complete)] == [0, 23, 100]
    assert [job.ended for job in (pending, loading, complete)] == [False, False, True]
    assert complete.video_url == CAPTURES["job_complete"]["result"]["videoUrl"]
    assert complete.thumbnail_url == CAPTURES["job_complete"]["result"]["thumbnailUrl"]
    assert complete.created_at == pytest.approx(1795451276.888)
    assert complete.type == "seedance-i2v"


def test_the_recorded_failure_keeps_the_studios_words() -> None:
    job = read_job(encode(CAPTURES["job_failed"]))
    assert (job.status, job.ended) == ("failed", True)
    assert job.error == "Generation failed: content policy violation"
    assert (
        read_job(encode({"id": "a", "status": "failed", "error": {"message": "Face detected"}})).error
        == "Face detected"
    )


def test_the_recorded_list_is_read_and_an_entry_that_is_no_job_is_passed_over() -> None:
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
    ],
)  # fmt: skip
def test_every_word_for_a_state_is_read_as_one_of_four_and_an_unknown_one_has_not_ended(
    word: object, status: str
) -> None:
    assert read_job(encode({"id": "a", "status": word})).status == status


@pytest.mark.parametrize(
    ("progress", "read"), [(-5, 0), (250, 100), (10**40, 100), (12.7, 12), (True, 0), ("50", 0), (None, 0)]
)
def test_progress_stays_between_0_and_100(progress: object, read: int) -> None:
    assert read_job(encode({"id": "a", "status": "loading", "progress": progress})).progress == read


@pytest.mark.parametrize(
    "job_id", ["", "a/b", "..", "a.b", "a b", "a\n", "a?x=1", "-", "é", "²", "a" * 129, "%2e%2e", "\u0430bc"]
)
def test_what_would_be_a_strange_part_of_a_url_or_a_file_name_is_no_job_id(job_id: str) -> None:
    assert not is_job_id(job_id)
    with pytest.raises(StudioProtocolError, match="no usable job id"):
        read_job(encode({"jobId": job_id, "status": "pending"}))


def test_a_refusals_own_words_are_quoted() -> None:
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
    for read in (read_upload_ticket, read_submitted_job, read_job, read_job_page):
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
