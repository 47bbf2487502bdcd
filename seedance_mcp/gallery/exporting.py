"""The gallery as a folder of files that opens from disk: for an archive, or to be shown to somebody."""

import shutil
from pathlib import Path

from seedance_mcp.config import Settings
from seedance_mcp.errors import ConfigError
from seedance_mcp.gallery.rendering import render_page
from seedance_mcp.gallery.showing import build_show
from seedance_mcp.ledger import Job


def export_gallery(settings: Settings, folder: Path) -> Path:
    """Write `index.html` and copies of the clips; writing again adds what is new.

    Returns:
        The page.

    Raises:
        ConfigError: The folder cannot be written, or holds something else.
        LedgerError: The ledger cannot be read.
    """
    page = folder / "index.html"

    def locate(_: Job, file: Path) -> str:
        copy = folder / "media" / file.name
        if not copy.exists() or copy.stat().st_size != file.stat().st_size:
            partial = copy.with_name(f".{copy.name}.part")
            shutil.copyfile(file, partial)
            partial.replace(copy)
        return f"media/{file.name}"

    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "media").is_dir():
            raise ConfigError(f"{folder} holds something else.", "Name a new or an empty folder.")
        (folder / "media").mkdir(parents=True, exist_ok=True)
        page.write_text(render_page(build_show(settings, locate=locate, live=False)), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be written: {exc.strerror or exc}.", "Name another folder.") from exc
    return page
