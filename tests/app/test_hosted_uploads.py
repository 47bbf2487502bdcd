"""Pictures over links of a hosted server: one picture a link, at any replica, for one caller."""

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX
from seedance_mcp.app.upload_rendering import show_link
from seedance_mcp.app.web.picker.links import PickerLink
from seedance_mcp.core.errors import ImageError
from tests.app.hosted_routes import Replica, open_routes
from tests.integration.host import draw
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres
from tests.servers import NO_TLS
from tests.shelves import Shelf

SECONDS = 30
DAY = 24 * 3600


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    return draw(tmp_path / "cat.png").read_bytes()


@pytest.fixture
async def replica(url: str, shelf: Shelf) -> AsyncGenerator[Replica]:
    async with open_routes(url, shelf) as replica:
        yield replica


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=NO_TLS, timeout=SECONDS) as http:
        yield http


async def list_pictures(shelf: Shelf) -> list[str]:
    return [key.removeprefix("pictures/") for key in await shelf.list_keys() if key.startswith("pictures/")]


def count_slots(url: str, condition: str) -> None:
    """Fail unless exactly one slot is so."""
    PostgresStore(url).execute(
        f"DO $$ BEGIN ASSERT (SELECT count(*) FROM slots WHERE {condition}) = 1; END $$"  # noqa: S608 - our own words
    )


async def test_picture_given_at_one_replica_is_read_at_another_by_its_caller_alone(
    replica: Replica, url: str, shelf: Shelf, http: httpx.AsyncClient, data: bytes
) -> None:
    async with open_routes(url, shelf) as other:
        link = await replica.picker().open()
        given = await http.put(link.url.replace(replica.origin, other.origin), content=data)
        name = f"upload:{link.upload_id}"
        image = await replica.pictures().read(name, now=0)
        with pytest.raises(ImageError, match="There is no picture"):
            await other.pictures("bob").read(name, now=0)

    sha256 = hashlib.sha256(data).hexdigest()
    assert given.status_code == 201
    assert given.json()["image"] == name
    assert (given.json()["width"], given.json()["height"]) == (640, 360)
    assert image.sha256 == sha256
    assert await list_pictures(shelf) == [sha256]
    assert await shelf.read(f"pictures/{sha256}") == data


async def test_link_says_how_to_give_a_picture_and_the_ledger_has_no_token(replica: Replica, url: str) -> None:
    link = await replica.picker().open()
    result = show_link(link)

    assert re.fullmatch("upload:[0-9a-f]{32}", str(result["image"]))
    assert result["upload_url"] == link.url
    assert result["curl"] == f'curl -T "PICTURE_FILE" "{link.url}"'
    assert result["expires_at"] is not None
    assert f"Ask the user to open {link.url} and drop the picture there" in str(result["next_step"])
    assert link.token not in repr(link)
    hashed = hashlib.sha256(link.token.encode()).hexdigest()
    count_slots(url, f"token_sha256 = '{hashed}' AND NOT slots::text LIKE '%{link.token}%'")


async def test_call_that_waits_gets_the_picture_from_another_replica(
    replica: Replica, url: str, shelf: Shelf, http: httpx.AsyncClient, data: bytes
) -> None:
    picker = replica.picker()
    link = await picker.open()
    async with open_routes(url, shelf) as other, anyio.create_task_group() as tasks:
        tasks.start_soon(picker.wait, link)
        await http.put(link.url.replace(replica.origin, other.origin), content=data)
        found = await other.picker().find(link.upload_id, link.token)
        assert found is not None
        assert found.image is not None
        with anyio.fail_after(SECONDS):
            while link.image is None:
                await anyio.sleep(0.02)

    assert show_link(link)["sha256"] == hashlib.sha256(data).hexdigest()
    assert await replica.picker("bob").find(link.upload_id, link.token) is None


async def test_wait_ends_with_the_link(replica: Replica) -> None:
    picker = replica.picker()
    link = await picker.open()
    await picker.end(link)
    with anyio.fail_after(SECONDS):
        await picker.wait(link)

    assert link.image is None
    assert await picker.find(link.upload_id, link.token) is None
    assert await picker.find_received(f"upload:{link.upload_id}") is None


async def test_one_of_many_pictures_for_a_link_wins(
    replica: Replica, url: str, shelf: Shelf, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    pictures = [draw(tmp_path / f"{n}.png", colour=(n, 9, 9)).read_bytes() for n in range(4)]
    link = await replica.picker().open()
    answers: list[tuple[int, bytes]] = []

    async def give(origin: str, data: bytes) -> None:
        answer = await http.put(link.url.replace(replica.origin, origin), content=data)
        answers.append((answer.status_code, data))

    async with open_routes(url, shelf) as other, anyio.create_task_group() as tasks:
        for number, data in enumerate(pictures):
            tasks.start_soon(give, (replica.origin, other.origin)[number % 2], data)
    [winner] = [data for status, data in answers if status == 201]
    image = await replica.pictures().read(f"upload:{link.upload_id}", now=0)

    assert sorted(status for status, _ in answers) == [201, 409, 409, 409]
    assert image.sha256 == hashlib.sha256(winner).hexdigest()


async def test_used_link_says_so(replica: Replica, http: httpx.AsyncClient, data: bytes) -> None:
    link = await replica.picker().open()
    first, second = await http.post(link.url, content=data), await http.put(link.url, content=data)
    page = await http.get(link.url)

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["error"].startswith("This link already has its picture.")
    assert '"state": "filled"' in page.text
    assert data[:40] not in page.content


async def test_expired_link_takes_nothing_by_the_databases_clock(
    replica: Replica, url: str, shelf: Shelf, http: httpx.AsyncClient, data: bytes
) -> None:
    link = await replica.picker().open()
    PostgresStore(url).execute("UPDATE slots SET until = until - 901")
    page, put = await http.get(link.url), await http.put(link.url, content=data)

    assert (page.status_code, put.status_code) == (410, 410)
    assert await list_pictures(shelf) == []
    with pytest.raises(ImageError, match="has expired"):
        await replica.pictures().read(f"upload:{link.upload_id}", now=0)


async def test_link_that_ends_while_its_picture_comes_takes_nothing(
    replica: Replica, url: str, http: httpx.AsyncClient, data: bytes
) -> None:
    link = await replica.picker().open()

    async def ending() -> AsyncIterator[bytes]:
        yield data[:100]
        PostgresStore(url).execute("UPDATE slots SET until = until - 901")
        yield data[100:]

    answer = await http.put(link.url, content=ending())
    assert answer.status_code == 410


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 422),
        (b"%PDF-1.4 no picture", {}, 422),
        (b"x", {"content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
async def test_refused_picture_leaves_the_link_usable(
    replica: Replica, shelf: Shelf, http: httpx.AsyncClient, data: bytes, body: bytes, headers: dict[str, str],
    status: int,
) -> None:  # fmt: skip
    link = await replica.picker().open()
    refused = await http.put(link.url, content=body, headers=headers)

    assert refused.status_code == status
    assert refused.json()["error"]
    assert await list_pictures(shelf) == []
    assert (await http.put(link.url, content=data)).status_code == 201


async def test_large_length_is_refused_before_the_body(replica: Replica, http: httpx.AsyncClient, data: bytes) -> None:
    link = await replica.picker().open()
    answer = await send_head(link, f"Content-Length: {IMAGE_BYTES_MAX + 1}")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (await http.put(link.url, content=data)).status_code == 201


async def test_endless_body_is_refused_at_the_limit(replica: Replica, http: httpx.AsyncClient, data: bytes) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1_000_000)

    link = await replica.picker().open()
    answer = b""
    parts = urlsplit(link.url)
    async with (
        await anyio.connect_tcp(str(parts.hostname), parts.port or 0) as stream,
        anyio.create_task_group() as tasks,
    ):
        head = f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send(head.encode())

        async def send() -> None:
            with suppress(anyio.BrokenResourceError):
                async for chunk in endless():
                    await stream.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

        tasks.start_soon(send)
        with anyio.fail_after(SECONDS):
            answer = await stream.receive()
        tasks.cancel_scope.cancel()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (await http.put(link.url, content=data)).status_code == 201


async def send_head(link: PickerLink, *headers: str) -> bytes:
    """Send the head of a PUT alone, and return the beginning of the answer."""
    parts = urlsplit(link.url)
    head = "\r\n".join((f"PUT {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *headers, "", ""))
    async with await anyio.connect_tcp(str(parts.hostname), parts.port or 0) as stream:
        await stream.send(head.encode())
        with anyio.fail_after(SECONDS):
            return await stream.receive()


async def test_pictures_beyond_the_most_at_a_time_are_told_to_come_again(
    url: str, shelf: Shelf, http: httpx.AsyncClient, data: bytes
) -> None:
    came, go_on = anyio.Event(), anyio.Event()
    answers: list[int] = []

    async def halting() -> AsyncIterator[bytes]:
        yield data[:100]
        came.set()
        await go_on.wait()
        yield data[100:]

    async with open_routes(url, shelf, bodies_max=1) as replica, anyio.create_task_group() as tasks:
        first, second = await replica.picker().open(), await replica.picker().open()

        async def put_first() -> None:
            answers.append((await http.put(first.url, content=halting())).status_code)

        tasks.start_soon(put_first)
        await came.wait()
        with anyio.fail_after(SECONDS):
            busy = await http.put(second.url, content=data)
            while busy.status_code != 503:  # the first one was not taken yet
                second = await replica.picker().open()
                busy = await http.put(second.url, content=data)
        assert busy.headers["retry-after"]
        assert (await http.put(first.url, content=data)).status_code == 409
        go_on.set()

    assert answers == [201]


async def test_store_that_cannot_be_written_leaves_the_link_usable(
    replica: Replica, shelf: Shelf, http: httpx.AsyncClient, data: bytes
) -> None:
    link = await replica.picker().open()
    shelf.take_away("pictures")
    refused = await http.put(link.url, content=data)
    shelf.bring_back("pictures")

    assert refused.status_code == 503
    assert re.match("The (object store|bucket)", refused.json()["error"])
    assert (await http.put(link.url, content=data)).status_code == 201


async def test_unknown_link_is_not_found(replica: Replica, http: httpx.AsyncClient, data: bytes) -> None:
    link = await replica.picker().open()
    other = link.url[:-1] + ("0" if link.url[-1] != "0" else "1")

    assert (await http.get(other)).status_code == 404
    assert (await http.put(other, content=data)).status_code == 404
    assert (await http.put(f"{replica.origin}/uploads/{link.upload_id}", content=data)).status_code == 404
    assert (await http.delete(link.url)).status_code == 405
    assert (await http.put(link.url, content=data)).status_code == 201


async def test_page_is_the_local_one_under_the_same_policy(replica: Replica, http: httpx.AsyncClient) -> None:
    link = await replica.picker().open()
    page = await http.get(link.url)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.text)

    assert page.headers["content-type"].startswith("text/html")
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data: blob:; connect-src 'self'; base-uri 'none'")
    assert "unsafe" not in page.text
    assert not re.search(r'(?:src|href)="(?!data:)', page.text)
    assert '"hosted": true' in page.text
    for answer in (page, await http.put(link.url, content=b"x"), await http.get(f"{replica.origin}/uploads/x")):
        assert (answer.headers["cache-control"], answer.headers["x-frame-options"]) == ("no-store", "DENY")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_picture_that_was_changed_in_the_store_is_refused(
    replica: Replica, shelf: Shelf, http: httpx.AsyncClient, data: bytes, tmp_path: Path
) -> None:
    link = await replica.picker().open()
    await http.put(link.url, content=data)
    name = f"upload:{link.upload_id}"
    [key] = await shelf.list_keys()
    await shelf.write(key, draw(tmp_path / "other.png", colour=(9, 9, 9)).read_bytes())
    with pytest.raises(ImageError, match="was changed on disk"):
        await replica.pictures().read(name, now=0)
    await shelf.remove(key)
    with pytest.raises(ImageError, match="has expired"):
        await replica.pictures().read(name, now=0)


@pytest.mark.parametrize("name", ["upload:", "upload:cat.png", "upload:../../ledger", "upload:" + "0" * 32])
async def test_unknown_id_is_refused_with_the_way_to_a_link(replica: Replica, name: str) -> None:
    with pytest.raises(ImageError) as refused:
        await replica.pictures().read(name, now=0)
    assert "call upload_image without image" in str(refused.value).lower()
