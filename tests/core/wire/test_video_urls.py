"""The URL of the finished video: found in any field, never from the request, never guessed."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.wire.jobs import read_job
from seedance_mcp.core.wire.video_urls import URLS_MAX, find_urls
from tests.challenges import CAPTURES

from .hostile import mangled

URL, OTHER = "https://x.test/v.mp4?expires=1", "https://x.test/w.mp4"
STILL = "https://x.test/still"


@pytest.mark.parametrize(
    "document",
    [
        {"result": {"videoUrl": URL}},
        {"result": {"video": {"url": URL}}},
        {"result": {"url": URL}},
        {"result": {"video_url": URL}},
        {"result": [URL]},
        {"result": [{"url": URL}]},
        {"result": URL},
        {"result": f" {URL} "},
        {"output": URL},
        {"output": {"video": URL}},
        {"videoUrl": URL},
        {"video_url": URL},
        {"url": URL},
        {"result": {"content": {"assets": [{"href": URL}]}}},
        {"generation": {"file": URL}},
        {"result": json.dumps({"resultUrls": [URL]})},
        {"result": {"videoUrl": URL, "url": OTHER}},
        {"result": {"url": URL, "watermarked": OTHER}},
        {"result": {"video": {"url": URL, "preview": OTHER}}},
        {"result": {"imageToVideoUrl": URL}},
        {"result": {"url": URL, "page": URL}},
        {"result": {"url": URL, "poster_url": STILL, "coverImage": {"url": STILL}}},
        {"result": {"url": URL, "still": "https://x.test/still.jpg"}},
        {"result": {"url": URL}, "pollUrl": "https://x.test/poll.mp4", "self": "https://x.test/jobs/1"},
    ],
)
def test_one_video_url_is_found_in_any_field(document: dict[str, Any]) -> None:
    assert find_urls(document, loopback_http=False).video == URL


@pytest.mark.parametrize(
    "document",
    [
        {"input": {"videoUrl": URL}},
        {"input": {"urls": [URL]}, "result": {"urls": [URL]}},
        {"result": {"request": {"videoUrl": URL}, "input": URL}},
        {"result": {"thumbnailUrl": URL, "poster": URL, "preview": {"url": URL}, "cover_url": URL, "image": URL}},
        {"result": {"url": "https://x.test/a.jpg"}},
        {"result": {"url": "http://x.test/v.mp4"}},
        {"result": {"videoUrl": "file:///etc/passwd"}},
        {"result": {"videoUrl": "https:///v.mp4"}},
        {"result": {"videoUrl": "https://[::1/v.mp4"}},
        {"result": {"videoUrl": f"see {URL}"}},
        {"result": {"videoUrl": "https://x.test/" + "a" * 9000}},
        {"url": "https://x.test/api/jobs/1"},
        {"result": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": URL}}}}}}}}}},
        {"result": None},
    ],
)
def test_other_urls_are_not_chosen(document: dict[str, Any]) -> None:
    found = find_urls(document, loopback_http=False)
    assert (found.video, found.candidates) == (None, ())


@pytest.mark.parametrize("result", [{"a": URL, "b": OTHER}, [URL, OTHER], {"video": {"a": URL, "b": OTHER}}])
def test_several_unnamed_urls_are_not_guessed_from(result: object) -> None:
    found = find_urls({"result": result}, loopback_http=False)
    assert (found.video, found.candidates) == (None, (URL, OTHER))


def test_plain_http_counts_only_on_allowed_loopback() -> None:
    for host in ("127.0.0.1:4020", "localhost", "[::1]:80"):
        document = {"result": {"videoUrl": f"http://{host}/v.mp4"}}
        assert find_urls(document, loopback_http=True).video is not None
        assert find_urls(document, loopback_http=False).video is None
    assert find_urls({"result": {"videoUrl": "http://x.test/v.mp4"}}, loopback_http=True).video is None


def test_result_without_a_video_is_quoted_and_bounded() -> None:
    job = read_job(json.dumps({"status": "done", "result": {"a": URL, "b": OTHER}}).encode(), "7")
    assert job.result_text == f"«{URL}», «{OTHER}»"
    job = read_job(json.dumps({"status": "done", "result": {"note": "Ask the » desk\n" * 500}}).encode(), "7")
    assert job.result_text is not None
    assert job.result_text.startswith("«{")
    assert (job.result_text.count("»"), job.result_text.isprintable(), len(job.result_text) < 700) == (1, True, True)


URLS = st.sampled_from([URL, OTHER, STILL, "http://127.0.0.1/v.mp4", "https://", "https://[", "//x", "data:,x"])
KEYS = st.sampled_from(["videoUrl", "video", "url", "input", "result", "thumbnail", "output", "data", "x", ""])
TREES = st.recursive(
    URLS | st.text(max_size=20) | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS | st.text(max_size=9), inner, max_size=6),
    max_leaves=40,
)


@given(st.dictionaries(KEYS, TREES, max_size=6) | mangled(CAPTURES["job_complete"]))
def test_any_document_gives_only_its_own_https_urls(document: Any) -> None:
    if not isinstance(document, dict):
        return
    found = find_urls(cast("dict[str, Any]", document), loopback_http=False)
    for url in (found.video, found.thumbnail, *found.candidates):
        assert url is None or (url.startswith("https://") and url in json.dumps(document, ensure_ascii=False))
    assert len(found.candidates) <= URLS_MAX
    assert found.video is None or not found.candidates


def test_partly_read_document_is_not_guessed_from() -> None:
    filler = {f"key{number}": "x" for number in range(20_000)}
    assert find_urls({"result": {"link": URL, **filler}}, loopback_http=False).candidates == (URL,)
    assert find_urls({"result": {"videoUrl": URL, **filler}}, loopback_http=False).video == URL
    many = {f"key{number}": f"https://x.test/{number}.mp4" for number in range(1000)}
    assert len(find_urls({"result": many}, loopback_http=False).candidates) == URLS_MAX
