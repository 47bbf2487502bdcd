"""Links to videos of a hosted server: for one job, until a time, and in ranges."""

import hashlib
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.adapters.media.videos import name_download
from seedance_mcp.app.video_links import VideoLinks, derive_keys
from seedance_mcp.core.objects import StoredObject, name_video_key
from seedance_mcp.core.records import Job
from tests.adapters.ledger.rows import NOW, STUDIO, reserve, settle, sign
from tests.app.hosted_routes import STATE_KEYS, Replica, open_routes
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres
from tests.servers import NO_TLS
from tests.shelves import FolderShelf, Shelf, open_shelf

VIDEO = b"\0\0\0\x18ftypmp42" + b"video" * 100_000
ANN, BOB = {"authorization": "Bearer ann"}, {"authorization": "Bearer bob"}
SECONDS = 30


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
async def replica(url: str, shelf: Shelf) -> AsyncGenerator[Replica]:
    store = PostgresStore(url)
    store.execute("INSERT INTO budgets (scope) VALUES ('ann'), ('bob')")
    async with open_routes(url, shelf) as replica:
        yield replica


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=NO_TLS, timeout=SECONDS, follow_redirects=True) as http:
        yield http


async def add_job(replica: Replica, job_id: str, *, caller: str = "ann", saved: bool = True) -> Job:
    """Write a job of a caller, with its video in the store if it is saved."""
    ledger = replica.ledger.for_caller(caller)
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    await ledger.add_job(payment, job_id, studio=STUDIO, status="complete", now=NOW)
    if saved:
        stored = StoredObject(
            key=name_video_key(job_id, "mp4"), sha256=hashlib.sha256(VIDEO).hexdigest(), size_bytes=len(VIDEO),
            media_type="video/mp4",
        )  # fmt: skip
        await ledger.record_object(stored)
        await replica.store.put_bytes(stored, VIDEO, file_name=name_download(job_id, "ü ☃", "mp4"))
        await ledger.finish_job(job_id, video_key=stored.key)
    job = await ledger.find_job(job_id)
    assert job is not None
    return job


def sign_link(replica: Replica, job: Job) -> str:
    link = replica.links.sign(job)
    assert link is not None
    return link.url


async def test_token_leads_to_a_link_and_the_link_to_the_bytes(replica: Replica, http: httpx.AsyncClient) -> None:
    job = await add_job(replica, "job-1")
    sent = await http.get(f"{replica.origin}/clips/job-1", headers=ANN, follow_redirects=False)
    video = await http.get(sent.headers["location"])

    assert (sent.status_code, sent.headers["cache-control"]) == (302, "no-store")
    assert (video.status_code, video.content) == (200, VIDEO)
    assert video.headers["content-type"] == "video/mp4"
    short = hashlib.sha256(b"job-1").hexdigest()[:6]
    assert video.headers["content-disposition"] == f"inline; filename*=utf-8''%C3%BC-{short}.mp4"
    assert job.arguments["prompt"] == "ü ☃"


async def test_folder_sends_bytes_for_no_one_else_to_keep(url: str, http: httpx.AsyncClient, tmp_path: Path) -> None:
    PostgresStore(url).execute("INSERT INTO budgets (scope) VALUES ('ann')")
    async with open_routes(url, FolderShelf(tmp_path / "objects")) as replica:
        link = sign_link(replica, await add_job(replica, "job-1"))
        video = await http.get(link, follow_redirects=False)

    assert link.startswith(f"{replica.origin}/clips/job-1?expires=")
    assert video.headers["x-content-type-options"] == "nosniff"
    assert video.headers["referrer-policy"] == "no-referrer"
    seconds = int(video.headers["cache-control"].removeprefix("private, max-age="))
    assert 0 < seconds <= 900


async def test_bucket_sends_bytes_until_the_link_ends(url: str, http: httpx.AsyncClient, tmp_path: Path) -> None:
    PostgresStore(url).execute("INSERT INTO budgets (scope) VALUES ('ann')")
    async with open_shelf("bucket", tmp_path) as shelf, open_routes(url, shelf) as replica:
        job = await add_job(replica, "job-1")
        short = VideoLinks(public_url=replica.origin, keys=replica.links.keys, seconds=60).sign(job)
        assert short is not None
        sent = [
            await http.get(link, headers=headers, follow_redirects=False)
            for link, headers in ((short.url, {}), (f"{replica.origin}/clips/job-1", ANN))
        ]
        shelf.take_away()
        away = await http.get(short.url, follow_redirects=False)

    assert [answer.status_code for answer in sent] == [302, 302]
    assert all(answer.headers["cache-control"] == "no-store" for answer in sent)
    targets = [urlsplit(answer.headers["location"]) for answer in sent]
    assert all(target.path.endswith("/videos/job-1.mp4") for target in targets)
    lasts = [int(parse_qs(target.query)["X-Amz-Expires"][0]) for target in targets]
    assert 50 <= lasts[0] <= 60
    assert lasts[1] == 900
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")


async def test_link_answers_ranges(replica: Replica, http: httpx.AsyncClient) -> None:
    url = sign_link(replica, await add_job(replica, "job-1"))
    part = await http.get(url, headers={"range": "bytes=10-19"})
    rest = await http.get(url, headers={"range": f"bytes={len(VIDEO) - 3}-"})
    beyond = await http.get(url, headers={"range": f"bytes={len(VIDEO)}-"})
    head = await http.head(url)

    assert (part.status_code, part.content) == (206, VIDEO[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(VIDEO)}"
    assert (rest.status_code, rest.content) == (206, VIDEO[-3:])
    assert beyond.status_code == 416
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(len(VIDEO)), "bytes")


async def test_request_without_a_token_or_link_is_refused(replica: Replica, http: httpx.AsyncClient) -> None:
    await add_job(replica, "job-1")
    answer = await http.get(f"{replica.origin}/clips/job-1")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await http.post(f"{replica.origin}/clips/job-1", headers=ANN)).status_code == 405


async def test_job_of_another_caller_is_answered_like_an_unknown_one(replica: Replica, http: httpx.AsyncClient) -> None:
    await add_job(replica, "job-1")
    answers = [await http.get(f"{replica.origin}/clips/{job_id}", headers=BOB) for job_id in ("job-1", "job-2")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text == answers[1].text


async def test_altered_link_is_refused(replica: Replica, http: httpx.AsyncClient) -> None:
    url = sign_link(replica, await add_job(replica, "job-1"))
    await add_job(replica, "job-2")
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    later = str(int(query["expires"]) + 1)
    altered = [
        {**query, "expires": later},
        {**query, "expires": f"{query['expires']}0"},
        {**query, "expires": f" {query['expires']}"},
        {**query, "signature": query["signature"][:-1]},
        {**query, "signature": query["signature"][::-1]},
        {**query, "signature": ""},
        {**query, "signature": "\u00fc"},
        {"signature": query["signature"]},
    ]
    statuses = [(await http.get(f"{replica.origin}{parts.path}?{urlencode(one)}")).status_code for one in altered]
    moved = await http.get(f"{replica.origin}/clips/job-2?{parts.query}")
    without = await http.get(f"{replica.origin}/clips/job-1?expires={later}")

    assert statuses == [403] * len(altered)
    assert moved.status_code == 403
    assert without.status_code == 401
    assert (await http.get(url)).status_code == 200


async def test_link_ends(url: str, replica: Replica, http: httpx.AsyncClient) -> None:
    job = await add_job(replica, "job-1")
    past = VideoLinks(
        public_url=replica.origin, keys=replica.links.keys, seconds=900, now=lambda: time.time() - 901
    ).sign(job)
    assert past is not None
    answer = await http.get(past.url)

    assert answer.status_code == 403
    assert answer.text.startswith("This link is wrong or has ended.")
    assert answer.headers["cache-control"] == "no-store"


async def test_keys_can_be_changed_without_ending_links(replica: Replica, http: httpx.AsyncClient) -> None:
    job = await add_job(replica, "job-1")
    statuses: list[int] = []
    for keys in ((STATE_KEYS[1],), (b"another key of thirty-two bytes.",)):
        link = VideoLinks(public_url=replica.origin, keys=derive_keys(keys), seconds=900).sign(job)
        assert link is not None
        statuses.append((await http.get(link.url)).status_code)

    assert statuses == [200, 403]


async def test_key_that_seals_state_signs_no_link() -> None:
    assert not set(derive_keys(STATE_KEYS)) & set(STATE_KEYS)
    assert len(set(derive_keys(STATE_KEYS))) == 2


async def test_video_that_is_not_there_says_why(replica: Replica, http: httpx.AsyncClient, url: str) -> None:
    await add_job(replica, "unsaved", saved=False)
    pruned, lost = await add_job(replica, "pruned"), await add_job(replica, "lost")
    links = [sign_link(replica, job) for job in (pruned, lost)]
    PostgresStore(url).execute("UPDATE jobs SET pruned_at = 1 WHERE job_id = 'pruned'")
    await replica.store.delete(name_video_key("lost", "mp4"))
    answers = [await http.get(link) for link in links]
    told = [await http.get(f"{replica.origin}/clips/{name}", headers=ANN) for name in ("unsaved", "pruned")]

    assert [answer.status_code for answer in (*answers, *told)] == [410, 404, 404, 410]
    assert told[0].text.startswith("The video is not saved yet.")


@pytest.mark.parametrize("path", ["/clips/..%2f..%2fetc%2fpasswd", "/clips/%00", "/clips/", "/clips/a/b"])
async def test_path_reaches_no_file(replica: Replica, http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(replica.origin + path, headers=ANN)
    assert answer.status_code in (404, 503)


async def test_job_with_an_odd_id_has_a_link_too(replica: Replica, http: httpx.AsyncClient) -> None:
    url = sign_link(replica, await add_job(replica, "a/b ?#\u00fc"))
    assert (await http.get(url)).content == VIDEO


@given(st.text(), st.text(), st.text())
def test_no_text_is_taken_for_a_signature(job_id: str, expires: str, signature: str) -> None:
    links = VideoLinks(public_url="http://x", keys=derive_keys(STATE_KEYS), seconds=1, now=lambda: 0)
    assert links.find_end(job_id, expires, signature) is None
