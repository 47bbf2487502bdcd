"""The gallery as a folder of files that opens from disk, for an archive or to show to other people."""

import shutil
from collections.abc import Callable
from pathlib import Path

from seedance_mcp.app.web.gallery.data import Viewer, build_show
from seedance_mcp.app.web.gallery.media import FRAMES
from seedance_mcp.app.web.gallery.page import render_page
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import ConfigError

MARK = b'<meta name="generator" content="seedance-mcp gallery">'
"""Element in the head of every page of ours; a page without it is not overwritten."""
HEAD_BYTES_MAX = 1024
MEDIA = "media"


async def export_gallery(settings: Settings, folder: Path) -> Path:
    """Write `index.html` and copies of the videos; another export adds new ones.

    The page is written last and atomically: it never names a missing file, and an earlier page stays unchanged until
    then.

    Returns:
        The page.

    Raises:
        ConfigError: The folder cannot be written, or contains other files.
        LedgerError: The ledger cannot be read.
    """
    page, media = folder / "index.html", folder / MEDIA

    def locate(_: str, kind: str, file: Path) -> str:
        copy = media / (f"frame-{file.name}" if kind in FRAMES else file.name)
        if not copy.exists() or copy.stat().st_size != file.stat().st_size:
            _write_whole(copy, lambda partial: shutil.copyfile(file, partial))
        return f"{MEDIA}/{copy.name}"

    try:
        _check_folder(folder, page)
        media.mkdir(parents=True, exist_ok=True)
        text = render_page(await build_show(settings, Viewer(locate=locate, live=False)))
        _write_whole(page, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be written: {exc.strerror or exc}.", "Name another folder.") from exc
    return page


def _check_folder(folder: Path, page: Path) -> None:
    """Check that a folder is empty or ours: an interrupted export has left only its media."""
    if not folder.is_dir():
        if folder.exists():
            raise ConfigError(f"{folder} is a file.", "Name a new or an empty folder.")
        return
    if page.exists():
        with page.open("rb") as opened:
            ours = MARK in opened.read(HEAD_BYTES_MAX)
    else:
        ours = all(entry.name == MEDIA or entry.name.startswith(".") for entry in folder.iterdir())
    if not ours:
        raise ConfigError(f"{folder} has other files in it.", "Name a new or an empty folder.")


def _write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name first, so that no partial file remains."""
    partial = file.with_name(f".{file.name}.part")
    try:
        write(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
