"""Files by the names that people and shells write, only where exactly one file can be meant."""

import os
import unicodedata
from pathlib import Path

import pytest

from seedance_mcp.adapters.media.files import read_image
from seedance_mcp.core.errors import ImageError
from tests.integration.host import draw


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    ("on_disk", "asked"),
    [
        ("Screenshot 2026-01-01 at 9.41.00\u202fAM.png", "Screenshot 2026-01-01 at 9.41.00 AM.png"),
        ("Scan\u00a01.png", "Scan 1.png"),
        (unicodedata.normalize("NFD", "Müll.png"), unicodedata.normalize("NFC", "Müll.png")),
        (unicodedata.normalize("NFC", "Müll.png"), unicodedata.normalize("NFD", "Müll.png")),
    ],
)
async def test_a_file_is_found_whatever_its_blanks_and_accents_are_made_of(
    folder: Path, on_disk: str, asked: str
) -> None:
    draw(folder / on_disk)
    assert (await read_image(str(folder / asked), ())).width > 0


async def test_two_files_that_can_be_meant_are_named(folder: Path) -> None:
    draw(folder / "Scan\u00a01.png")
    draw(folder / "Scan\u202f1.png")
    with pytest.raises(ImageError, match="The name matches several files in "):
        await read_image(str(folder / "Scan 1.png"), ())


@pytest.mark.parametrize(
    "written", [r"{}/My\ Photo\ \(1\).png", "'{}/My Photo (1).png'", " {}/My Photo (1).png\n", "@{}/My Photo (1).png"]
)
async def test_a_decorated_path_is_the_file(folder: Path, written: str) -> None:
    draw(folder / "My Photo (1).png")
    assert (await read_image(written.format(folder), ())).width > 0


async def test_a_file_that_is_really_called_so_is_found_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(folder / "small.png", size=(400, 300)).rename(folder / "'a.png'")
    draw(folder / "a.png", size=(640, 360))
    monkeypatch.chdir(folder)
    assert (await read_image("'a.png'", ())).width == 400


async def test_the_folder_rule_is_applied_to_the_file_that_is_meant(folder: Path) -> None:
    opened, closed = folder / "opened", folder / "closed"
    opened.mkdir()
    closed.mkdir()
    draw(closed / "a.png")
    draw(opened / "b.png")
    with pytest.raises(ImageError, match="outside the allowed folders"):
        await read_image(f"'{closed}/a.png'", (opened,))
    assert (await read_image(f"'{opened}/b.png'", (opened,))).width > 0


async def test_a_picture_inside_the_chat_is_explained() -> None:
    with pytest.raises(ImageError, match=r"is inside the chat, not on this machine.*Ask for the file's path"):
        await read_image("/mnt/user-data/uploads/cat.png", ())


@pytest.mark.skipif(os.name != "posix", reason="on Windows it is a path")
async def test_a_windows_path_is_read_as_wsl_mounts_it() -> None:
    with pytest.raises(ImageError, match=r"There is no file .*/mnt/c/Users/a/cat\.png.*WSL"):
        await read_image("C:\\Users\\a\\cat.png", ())
