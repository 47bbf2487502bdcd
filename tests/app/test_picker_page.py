"""The page for a picture over HTTP: one picture a link, from this machine alone, bounded and checked."""

import hashlib
import os
import re
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, KINDS
from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.adapters.media.worker import FORMATS
from seedance_mcp.app.picker import LINGER_SECONDS, LINKS_MAX, Picker
from seedance_mcp.core.errors import ImageError
from tests.app.pickers import open_picker, until_closed
from tests.integration.host import draw
from tests.servers import NO_TLS

SECONDS = 30
MEGABYTE = 1_000_000


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def received(tmp_path: Path) -> ReceivedPictures:
    return ReceivedPictures(tmp_path / "data" / "pictures", tmp_path / "data" / "videos")


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    return draw(tmp_path / "cat.png").read_bytes()


@pytest.fixture
async def picker(received: ReceivedPictures, clock: Clock) -> AsyncGenerator[Picker]:
    async with open_picker(received, now=clock) as picker:
        yield picker


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=NO_TLS, timeout=SECONDS) as http:
        yield http


async def send_raw(url: str, *headers: str, body: AsyncIterator[bytes] | None = None) -> bytes:
    """Send a PUT as no client library does, and return the beginning of the answer, whenever it comes."""
    parts = urlsplit(url)
    head = "\r\n".join((f"PUT {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *headers, "", ""))
    answer = b""
    async with (
        await anyio.connect_tcp(str(parts.hostname), parts.port or 0) as stream,
        anyio.create_task_group() as tasks,
    ):
        await stream.send(head.encode())

        async def send() -> None:
            with suppress(anyio.BrokenResourceError):
                async for chunk in body or _nothing():
                    await stream.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

        tasks.start_soon(send)
        with anyio.fail_after(SECONDS):
            answer = await stream.receive()
        tasks.cancel_scope.cancel()
    return answer


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def test_picture_is_stored_as_it_came_for_its_owner_alone(
    picker: Picker, received: ReceivedPictures, http: httpx.AsyncClient, data: bytes, clock: Clock
) -> None:
    link = await picker.open()
    answer = await http.put(link.url, content=data)
    [file] = received.folder.iterdir()

    assert answer.status_code == 201
    assert answer.json()["image"] == f"upload:{link.upload_id}"
    assert (answer.json()["width"], answer.json()["height"]) == (640, 360)
    assert answer.json()["preview"].startswith("data:image/jpeg;base64,")
    assert file.read_bytes() == data
    assert file.name == f"{link.upload_id}.{hashlib.sha256(data).hexdigest()}"
    assert (await received.read(f"upload:{link.upload_id}", now=clock.now)).sha256 in file.name
    assert link.filled.is_set()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(received.folder.stat().st_mode) == 0o700


async def test_page_loads_nothing_from_elsewhere_and_names_no_path(
    picker: Picker, http: httpx.AsyncClient, tmp_path: Path, data: bytes
) -> None:
    link = await picker.open()
    page = await http.get(link.url)
    given = await http.put(link.url, content=data)
    refused = await http.put((await picker.open()).url, content=b"no picture")

    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r'(?:src|href)="(?!data:)', page.text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data: blob:; connect-src 'self'; base-uri 'none'")
    assert "unsafe" not in page.text
    assert "@@" not in page.text
    assert KINDS in page.text
    headers = page.headers
    assert (headers["cache-control"], headers["x-frame-options"]) == ("no-store", "DENY")
    assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("no-referrer", "nosniff")
    assert refused.status_code == 422
    assert all(str(tmp_path) not in text for text in (page.text, given.text, refused.text))


def test_page_names_every_format_that_is_read() -> None:
    assert [name for name in (*FORMATS, "HEIC") if name.lower() not in KINDS.lower()] == []


REFUSED: dict[str, tuple[dict[str, str], int]] = {
    "another name for this machine": ({"host": "localhost:{port}"}, 421),
    "another host": ({"host": "evil.test"}, 421),
    "a page of another site": ({"origin": "https://evil.test"}, 403),
    "a page of another port": ({"origin": "http://127.0.0.1:1"}, 403),
    "a page without an origin": ({"origin": "null"}, 403),
    "a form": ({"content-type": "multipart/form-data; boundary=x"}, 415),
}


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("case", REFUSED)
async def test_refused_request_stores_nothing_and_keeps_the_link(
    picker: Picker, received: ReceivedPictures, http: httpx.AsyncClient, data: bytes, case: str, method: str
) -> None:
    headers, status = REFUSED[case]
    link = await picker.open()
    origin = link.url.partition("/uploads/")[0]
    sent = {name: value.replace("{port}", str(urlsplit(origin).port)) for name, value in headers.items()}

    refused = await http.request(method, link.url, content=data, headers=sent)
    assert refused.status_code == status
    assert [file.name for file in received.folder.iterdir()] == [f"{link.upload_id}.waiting"]

    given = await http.request(method, link.url, content=data, headers={"origin": origin})
    assert given.status_code == 201


async def test_large_length_is_refused_before_the_body(picker: Picker) -> None:
    link = await picker.open()
    answer = await send_raw(link.url, f"Content-Length: {IMAGE_BYTES_MAX + 1}")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert link.find_state(0) == "waiting"


async def test_endless_body_is_refused_at_the_limit(picker: Picker, received: ReceivedPictures) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += MEGABYTE
            yield bytes(MEGABYTE)

    link = await picker.open()
    answer = await send_raw(link.url, "Transfer-Encoding: chunked", body=endless())

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < IMAGE_BYTES_MAX + 32 * MEGABYTE
    assert [file.name for file in received.folder.iterdir()] == [f"{link.upload_id}.waiting"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The picture is empty."),
        (b"%PDF-1.4 no picture", "The picture is a PDF document, not a picture. Nothing was paid."),
        (b"\xff\xd8\xff\xe0 no more", "The picture is a"),
    ],
)
async def test_what_is_no_picture_is_refused_in_words_and_may_be_replaced(
    picker: Picker, http: httpx.AsyncClient, data: bytes, body: bytes, said: str
) -> None:
    link = await picker.open()
    refused = await http.put(link.url, content=body)

    assert refused.status_code == 422
    assert refused.json()["error"].startswith(said)
    assert (await http.put(link.url, content=data)).status_code == 201


async def test_second_picture_is_refused(
    picker: Picker, received: ReceivedPictures, http: httpx.AsyncClient, data: bytes
) -> None:
    link = await picker.open()
    first = await http.put(link.url, content=data)
    second = await http.put(link.url, content=data)

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["error"].startswith("This link already has its picture.")
    assert '"state": "filled"' in (await http.get(link.url)).text
    assert len([*received.folder.iterdir()]) == 1


async def test_picture_that_comes_beside_another_is_refused(
    picker: Picker, http: httpx.AsyncClient, data: bytes
) -> None:
    link = await picker.open()
    came, go_on = anyio.Event(), anyio.Event()
    answers: list[int] = []

    async def halting() -> AsyncIterator[bytes]:
        yield data[:100]
        came.set()
        await go_on.wait()
        yield data[100:]

    async def put_first() -> None:
        answers.append((await http.put(link.url, content=halting())).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put_first)
        await came.wait()
        with anyio.fail_after(SECONDS):
            while link.find_state(0) != "receiving":
                await anyio.sleep(0.01)
        answers.append((await http.put(link.url, content=data)).status_code)
        go_on.set()

    assert answers == [409, 201]


async def test_body_that_breaks_off_leaves_the_link_open(picker: Picker, http: httpx.AsyncClient, data: bytes) -> None:
    link = await picker.open()
    parts = urlsplit(link.url)
    head = f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
    async with await anyio.connect_tcp(str(parts.hostname), parts.port or 0) as stream:
        await stream.send(head.encode() + data[:100])
        with anyio.fail_after(SECONDS):
            while link.find_state(0) != "receiving":
                await anyio.sleep(0.01)
    with anyio.fail_after(SECONDS):
        while link.find_state(0) != "waiting":
            await anyio.sleep(0.01)

    assert (await http.put(link.url, content=data)).status_code == 201


async def test_unknown_link_is_not_found(picker: Picker, http: httpx.AsyncClient, data: bytes) -> None:
    link = await picker.open()
    other = link.url[:-1] + ("0" if link.url[-1] != "0" else "1")
    origin = link.url.partition("/uploads/")[0]

    assert (await http.get(other)).status_code == 404
    assert (await http.put(other, content=data)).status_code == 404
    assert [(await http.get(origin + path)).status_code for path in ("/", "/uploads", "/uploads/", "/data.json")] == [
        404
    ] * 4
    assert (await http.delete(link.url)).status_code == 405


async def test_link_expires_and_says_so(
    picker: Picker, received: ReceivedPictures, http: httpx.AsyncClient, data: bytes, clock: Clock
) -> None:
    link = await picker.open()
    clock.now = link.expires_at
    page, put = await http.get(link.url), await http.put(link.url, content=data)

    assert (page.status_code, put.status_code) == (410, 410)
    assert '"state": "expired"' in page.text
    with pytest.raises(ImageError, match="has expired"):
        await received.read(f"upload:{link.upload_id}", now=clock.now)


async def test_server_ends_with_its_links_and_a_later_link_has_another(
    picker: Picker, http: httpx.AsyncClient, data: bytes, clock: Clock
) -> None:
    first, second = await picker.open(), await picker.open()
    await http.put(first.url, content=data)
    clock.now += LINGER_SECONDS + 1
    assert (await http.get(second.url)).status_code == 200, "it still waits for its picture"
    await picker.end(second)
    await until_closed(first.url)

    third = await picker.open()
    assert (await http.put(third.url, content=data)).status_code == 201


async def test_closed_picker_serves_nothing(picker: Picker) -> None:
    link = await picker.open()
    picker.close()
    await until_closed(link.url)


async def test_oldest_link_ends_when_there_are_too_many(picker: Picker, http: httpx.AsyncClient) -> None:
    links = [await picker.open() for _ in range(LINKS_MAX + 1)]

    assert await picker.find(links[0].upload_id, links[0].token) is None
    assert await picker.find(links[1].upload_id, links[1].token) is links[1]
    assert await picker.find(links[2].upload_id, links[1].token) is None
    assert (await http.get(links[0].url)).status_code == 404
    assert (await http.get(links[1].url)).status_code == 200


async def test_token_and_id_are_long_random_and_not_shown(picker: Picker) -> None:
    one, other = await picker.open(), await picker.open()
    tokens = {link.url.rpartition("/")[2] for link in (one, other)}

    assert len(tokens | {one.upload_id, other.upload_id}) == 4
    assert all(len(token) == 48 for token in tokens)
    assert not any(token in repr(link) for link in (one, other) for token in tokens)
