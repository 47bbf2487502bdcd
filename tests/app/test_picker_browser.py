"""The page for a picture in a browser: chosen, dropped, pasted, by keyboard, on phone and desktop, light and dark."""

import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.app.picker import Picker
from seedance_mcp.app.web.picker.links import PickerLink
from tests.app.pickers import open_picker, until_closed
from tests.cli.test_gallery_browser import (
    CONTRAST_MIN,
    DESKTOP,
    FAINT_TEXT,
    LOOKS,
    NAMELESS,
    PHONE,
    SEE_SECONDS,
    browser,
    pytestmark,
    visit,
)
from tests.integration.host import draw

__all__ = ["browser", "pytestmark"]
SEE_MS = SEE_SECONDS * 1000
PASTE = """(picture) => {
  const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0)), held = new DataTransfer();
  held.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: held, bubbles: true }));
}"""
SEEN = "(image) => image.complete && image.naturalWidth > 1 && !image.hidden"
CLOSED = "This link has expired. Ask your assistant for a new one."


@pytest.fixture
def received(tmp_path: Path) -> ReceivedPictures:
    return ReceivedPictures(tmp_path / "data" / "pictures", tmp_path / "data" / "videos")


@pytest.fixture
async def picker(received: ReceivedPictures) -> AsyncGenerator[Picker]:
    async with open_picker(received, profile="sandbox") as picker:
        yield picker


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return draw(tmp_path / "cat.png")


async def see_it_arrive(page: Any, link: PickerLink, received: ReceivedPictures, picture: Path) -> None:
    """The page says that the picture is there and shows it, and the picture is really there."""
    await page.get_by_role("heading", name="The picture is here").wait_for(timeout=SEE_MS)
    assert await page.get_by_text("640 \u00d7 360 pixels").is_visible()
    image = page.get_by_role("img", name="The picture that you gave")
    assert await image.evaluate(SEEN)
    assert (await image.get_attribute("src")).startswith("data:image/jpeg")
    assert not await page.locator("label").is_visible()
    assert [file.read_bytes() for file in received.folder.iterdir()] == [picture.read_bytes()]
    assert link.filled.is_set()


async def test_chosen_file_arrives(browser: Any, picker: Picker, received: ReceivedPictures, picture: Path) -> None:
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        await seen.page.get_by_label("Choose a picture").set_input_files(picture)
        await see_it_arrive(seen.page, link, received, picture)


@pytest.mark.parametrize("place", ["zone", "page"])
async def test_dropped_file_arrives(
    browser: Any, picker: Picker, received: ReceivedPictures, picture: Path, place: str
) -> None:
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        box = await seen.page.locator("label").bounding_box()
        point = {"x": box["x"] + 20, "y": box["y"] + 20} if place == "zone" else {"x": 5, "y": 5}
        held = {"items": [], "files": [str(picture)], "dragOperationsMask": 1}
        session = await seen.page.context.new_cdp_session(seen.page)
        for kind in ("dragEnter", "dragOver"):
            await session.send("Input.dispatchDragEvent", {"type": kind, "data": held, **point})
        assert "over" in await seen.page.locator("#drop").get_attribute("class")
        await session.send("Input.dispatchDragEvent", {"type": "drop", "data": held, **point})
        await see_it_arrive(seen.page, link, received, picture)
        assert seen.page.url == link.url


async def test_pasted_picture_arrives(browser: Any, picker: Picker, received: ReceivedPictures, picture: Path) -> None:
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        await seen.page.evaluate(PASTE, base64.b64encode(picture.read_bytes()).decode())
        await see_it_arrive(seen.page, link, received, picture)


def ignore(_: Any) -> None:
    """Do nothing: the browser shows no dialog of its own while there is a listener."""


async def test_keyboard_alone_is_enough(
    browser: Any, picker: Picker, received: ReceivedPictures, picture: Path
) -> None:
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        seen.page.on("filechooser", ignore)  # long before the key: the browser may take a while to heed it
        await seen.page.keyboard.press("Tab")
        assert await seen.page.evaluate("document.activeElement.ariaLabel") == "Choose a picture"
        assert await seen.page.locator("label").evaluate("(label) => getComputedStyle(label).outlineStyle") == "solid"
        async with seen.page.expect_file_chooser() as choosing:
            await seen.page.keyboard.press("Enter")
        await (await choosing.value).set_files(picture)
        await see_it_arrive(seen.page, link, received, picture)


async def test_kind_that_no_browser_shows_is_shown_once_it_is_read(
    browser: Any, picker: Picker, tmp_path: Path
) -> None:
    heic = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.new("RGB", (640, 480), (30, 120, 60))).save(heic, quality=80)  # pyright: ignore[reportUnknownMemberType]  # no types
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        await seen.page.get_by_label("Choose a picture").set_input_files(heic)
        await seen.page.get_by_text("640 \u00d7 480 pixels · ").wait_for(timeout=SEE_MS)
        assert await seen.page.get_by_role("img").evaluate(SEEN)


async def test_refusal_is_said_and_another_picture_may_be_given(
    browser: Any, picker: Picker, received: ReceivedPictures, picture: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.png"
    words.write_text("These are words, whatever the name of the file says.")
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        chooser, status = seen.page.get_by_label("Choose a picture"), seen.page.get_by_role("status")
        await chooser.set_input_files(words)
        await seen.page.get_by_text("The picture is a text, not a picture.").wait_for(timeout=SEE_MS)
        assert not await seen.page.locator("#drop img").is_visible()
        assert await status.inner_text() == (
            "The picture is a text, not a picture. Nothing was paid. Give the picture itself."
        )
        assert all("422" in complaint for complaint in seen.complaints)  # the browser's own word
        seen.complaints.clear()
        await chooser.set_input_files(picture)
        await see_it_arrive(seen.page, link, received, picture)


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
async def test_every_state_fits_and_can_be_read(
    browser: Any, picker: Picker, picture: Path, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    link = await picker.open()
    words = tmp_path / "words.png"
    words.write_text("words")

    async with visit(browser, link.url, size, scheme) as seen:

        async def look() -> None:
            assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await seen.page.evaluate(FAINT_TEXT, CONTRAST_MIN) == []
            assert await seen.page.locator("a, button, input, select").evaluate_all(NAMELESS) == []

        await look()
        await seen.page.get_by_label("Choose a picture").set_input_files(words)
        await seen.page.locator("[data-state=failed]").wait_for(timeout=SEE_MS)
        await look()
        seen.complaints.clear()
        await seen.page.get_by_label("Choose a picture").set_input_files(picture)
        await seen.page.locator("[data-state=done]").wait_for(timeout=SEE_MS)
        await look()
        await seen.page.reload()
        assert await seen.page.get_by_role("heading", name="The picture is here").is_visible()
        assert not await seen.page.locator("label").is_visible()
        await look()


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
async def test_expired_link_says_so(browser: Any, received: ReceivedPictures, size: tuple[int, int]) -> None:
    async with open_picker(received, link_seconds=0) as picker:
        link = await picker.open()
        async with visit(browser, link.url, size) as seen:
            assert await seen.page.get_by_text(CLOSED).is_visible()
            assert not await seen.page.locator("label").is_visible()
            assert await seen.page.evaluate(FAINT_TEXT, CONTRAST_MIN) == []
            assert all("410" in complaint for complaint in seen.complaints)
            seen.complaints.clear()


async def test_page_whose_server_ended_says_so(browser: Any, picker: Picker, picture: Path) -> None:
    link = await picker.open()
    async with visit(browser, link.url) as seen:
        picker.close()
        await until_closed(link.url)
        await seen.page.get_by_label("Choose a picture").set_input_files(picture)
        await seen.page.get_by_text("This page was closed.").wait_for(timeout=SEE_MS)
        seen.complaints.clear()
