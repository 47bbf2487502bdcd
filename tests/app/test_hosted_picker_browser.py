"""The page for a picture of a hosted server in a browser, also behind a proxy that takes a path prefix away."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.app.hosted_routes import Replica, open_routes
from tests.app.test_picker_browser import SEE_MS, SEEN
from tests.cli.test_gallery_browser import CONTRAST_MIN, FAINT_TEXT, NAMELESS, PHONE, browser, pytestmark, visit
from tests.integration.host import draw
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres
from tests.shelves import Shelf

__all__ = ["browser", "pytestmark"]
PREFIX = "/team/seedance"


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
async def replica(url: str, shelf: Shelf) -> AsyncGenerator[Replica]:
    async with open_routes(url, shelf) as replica:
        yield replica


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return draw(tmp_path / "cat.png")


@asynccontextmanager
async def open_proxy(origin: str) -> AsyncGenerator[str]:
    """Serve an origin below a path, as a proxy of a company does; yields the public URL."""
    target = urlsplit(origin)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        behind, ahead = await asyncio.open_connection(target.hostname, target.port)
        ahead.write(head.replace(PREFIX.encode(), b"", 1).replace(b"Connection: keep-alive", b"Connection: close"))

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while chunk := await source.read(65_536):
                sink.write(chunk)

        sending = asyncio.create_task(copy(reader, ahead))
        await copy(behind, writer)
        sending.cancel()
        writer.close()
        ahead.close()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{PREFIX}"
    finally:
        server.close()


async def see_it_arrive(page: Any, replica: Replica, upload_id: str, picture: Path) -> None:
    await page.get_by_role("heading", name="The picture is here").wait_for(timeout=SEE_MS)
    assert await page.get_by_role("img", name="The picture that you gave").evaluate(SEEN)
    image = await replica.pictures().read(f"upload:{upload_id}", now=0)
    assert image.sha256 == hashlib.sha256(picture.read_bytes()).hexdigest()


async def test_chosen_file_arrives_through_a_proxy_with_a_prefix(browser: Any, replica: Replica, picture: Path) -> None:
    link = await replica.picker().open()
    async with (
        open_proxy(replica.origin) as public_url,
        visit(browser, link.url.replace(replica.origin, public_url)) as seen,
    ):
        assert await seen.page.get_by_text("It stays on this server until").is_visible()
        await seen.page.get_by_label("Choose a picture").set_input_files(picture)
        await see_it_arrive(seen.page, replica, link.upload_id, picture)


async def test_refusal_is_said_and_the_page_can_be_read(
    browser: Any, replica: Replica, picture: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.png"
    words.write_text("These are words.")
    link = await replica.picker().open()
    async with visit(browser, link.url, PHONE, "dark") as seen:
        await seen.page.get_by_label("Choose a picture").set_input_files(words)
        await seen.page.get_by_text("The picture is a text, not a picture.").wait_for(timeout=SEE_MS)
        assert await seen.page.evaluate(FAINT_TEXT, CONTRAST_MIN) == []
        assert await seen.page.locator("a, button, input, select").evaluate_all(NAMELESS) == []
        seen.complaints.clear()
        await seen.page.get_by_label("Choose a picture").set_input_files(picture)
        await see_it_arrive(seen.page, replica, link.upload_id, picture)
        await seen.page.reload()
        assert await seen.page.get_by_role("heading", name="The picture is here").is_visible()


async def test_expired_link_says_so(browser: Any, replica: Replica, url: str) -> None:
    link = await replica.picker().open()
    PostgresStore(url).execute("UPDATE slots SET until = until - 901")
    async with visit(browser, link.url) as seen:
        assert await seen.page.get_by_text("This link has expired. Ask your assistant for a new one.").is_visible()
        assert not await seen.page.locator("label").is_visible()
        assert all("410" in complaint for complaint in seen.complaints)
        seen.complaints.clear()
