"""The bucket store: links that the store answers, parts, metadata, refusals without secrets, bounded waits."""

import hashlib
import re
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.app.opening import open_objects
from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.objects import BucketAddress, BucketKey, StoredObject
from seedance_mcp.core.redaction import redact
from tests.seaweed import KEY as STORE_KEY
from tests.seaweed import READER, Relay, build_address, require_bucket, start_bucket
from tests.servers import NO_TLS

VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 4_000
KEY = "videos/job-1.mp4"
NAME = "ein schöner clip-12ab.mp4"
SECONDS = 30


def describe(data: bytes, key: str = KEY) -> StoredObject:
    return StoredObject(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), media_type="video/mp4")


@pytest.fixture
def place() -> BucketAddress:
    return require_bucket()


@pytest.fixture
async def store(place: BucketAddress) -> ObjectStore:
    return await open_objects(place)


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=SECONDS) as http:
        yield http


async def sign(store: ObjectStore, key: str = KEY, *, seconds: int = 60, method: str = "GET") -> str:
    link = await store.sign_link(key, seconds=seconds, method=method)
    assert link is not None
    return link


async def refuse(work: Any) -> StorageError:
    with pytest.raises(StorageError) as refused:
        await work
    return refused.value


async def test_link_has_name_type_and_ranges(store: ObjectStore, http: httpx.AsyncClient) -> None:
    await store.put_bytes(describe(VIDEO), VIDEO, file_name=NAME)
    link = await sign(store)
    whole, part = await http.get(link), await http.get(link, headers={"range": "bytes=10-19"})
    again, head = await http.get(link), await http.head(await sign(store, method="HEAD"))

    assert (whole.status_code, whole.content, again.content) == (200, VIDEO, VIDEO)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-disposition"] == "inline; filename*=utf-8''ein%20sch%C3%B6ner%20clip-12ab.mp4"
    assert (part.status_code, part.content) == (206, VIDEO[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(VIDEO)}"
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(VIDEO)))


async def test_forged_link_is_refused_by_the_store(store: ObjectStore, http: httpx.AsyncClient) -> None:
    for key in (KEY, "videos/job-2.mp4"):
        await store.put_bytes(describe(VIDEO, key), VIDEO)
    link = await sign(store)
    last = "0" if link[-1] != "0" else "1"
    forged = [
        link[:-1] + last,
        link.replace("job-1", "job-2"),
        re.sub("X-Amz-Expires=60", "X-Amz-Expires=6000", link),
        re.sub("X-Amz-Date=2", "X-Amz-Date=3", link),
        link.partition("?")[0],
    ]
    statuses = [(await http.get(one)).status_code for one in forged]
    others = [(await http.request(method, link, content=b"x")).status_code for method in ("PUT", "DELETE", "HEAD")]

    assert statuses == [403] * len(forged)
    assert others == [403] * 3
    assert (await http.get(link)).content == VIDEO


async def test_link_ends(store: ObjectStore, http: httpx.AsyncClient) -> None:
    await store.put_bytes(describe(VIDEO), VIDEO)
    link = await sign(store, seconds=1)
    answers = [(await http.get(link)).status_code]
    with anyio.fail_after(SECONDS):
        while answers[-1] == 200:
            answers.append((await http.get(link)).status_code)

    assert answers[-1] == 403


async def test_secret_of_a_link_is_removed_from_texts(store: ObjectStore) -> None:
    link = await sign(store)
    assert re.search("X-Amz-Signature=[0-9a-f]{64}", link)
    shown = redact(f"GET {link} HTTP/1.1")
    assert "X-Amz-Signature=[redacted]" in shown
    assert "X-Amz-Credential=[redacted]" in shown


async def test_large_file_is_sent_in_parts_and_not_held_in_memory(
    store: ObjectStore, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    file, block, blocks = tmp_path / "large.mp4", bytes(range(256)) * 4096, 64
    digest = hashlib.sha256()
    with file.open("wb") as opened:
        for _ in range(blocks):
            opened.write(block)
            digest.update(block)
    stored = StoredObject(
        key=KEY, sha256=digest.hexdigest(), size_bytes=blocks * len(block), media_type="video/mp4"
    )  # fmt: skip
    tracemalloc.start()
    await store.put_file(stored, file, file_name=NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    file.write_bytes(b"it is there already, so this is not looked at")
    await store.put_file(stored, file, file_name=NAME)
    found = hashlib.sha256()
    async for chunk in store.read(KEY):
        found.update(chunk)

    assert found.hexdigest() == stored.sha256
    assert peak < stored.size_bytes / 2
    assert (await http.get(await sign(store), headers={"range": "bytes=0-0"})).headers["content-type"] == "video/mp4"


async def test_large_file_that_changes_is_not_stored(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "large.mp4"
    file.write_bytes(bytes(20 * 1024 * 1024))
    stored = describe(bytes(20 * 1024 * 1024 - 1) + b"x")
    assert "was changed on disk" in str(await refuse(store.put_file(stored, file)))
    assert await store.find_size(KEY) is None


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (BucketKey(STORE_KEY.id, "not-the-secret"), "answers SignatureDoesNotMatch: it refuses the server's key"),
        (BucketKey("UNKNOWN", "not-the-secret"), "answers InvalidAccessKeyId: it refuses the server's key"),
        (READER, "answers AccessDenied: it refuses the server's key"),
    ],
)
async def test_refused_key_is_told_without_any_of_it(place: BucketAddress, key: BucketKey, said: str) -> None:
    store = await open_objects(build_address(start_bucket().url, place.prefix, key))
    for work in (store.check(), store.put_bytes(describe(VIDEO), VIDEO)):
        refused = await refuse(work)
        told = f"{refused} {refused!r} {refused.__cause__!r} {refused.__context__!r}"

        assert said in told
        assert f"The bucket s3://objects/{place.prefix} " in told
        assert "Nothing was paid." in told
        assert "give AWS_ACCESS_KEY_ID the right to read, write, delete and list there" in told
        assert key.secret not in told
        assert key.id not in told
        assert "127.0.0.1" not in told


async def test_missing_bucket_is_not_taken_for_an_empty_one(place: BucketAddress) -> None:
    address = BucketAddress(
        bucket="nowhere", prefix="x", endpoint=place.endpoint, region="us-east-1",
        key=BucketKey(READER.id, READER.secret),
    )  # fmt: skip
    store = await open_objects(address)
    for work in (store.check(), store.delete(KEY)):
        assert "The bucket s3://nowhere/x answers " in str(await refuse(work))


async def test_store_that_is_away_is_told_and_used_again_once_it_is_back(place: BucketAddress) -> None:
    async with Relay(start_bucket().port).running() as relay:
        store = await open_objects(build_address(relay.url, place.prefix))
        await store.put_bytes(describe(VIDEO), VIDEO)
        await store.check()
        relay.is_away = True
        relay.cut()
        for work in (store.check(), store.find_size(KEY), store.delete(KEY), store.put_bytes(describe(VIDEO), VIDEO)):
            assert "does not answer. Nothing was paid. " in str(await refuse(work))
        relay.is_away = False
        await store.check()
        assert await store.find_size(KEY) == len(VIDEO)


def test_address_shows_no_key(place: BucketAddress) -> None:
    assert STORE_KEY.secret not in repr(place)
    assert STORE_KEY.id not in repr(place)
