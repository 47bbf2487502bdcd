"""Media: the saved files of a job that the page may show. A file outside of the videos folder is none."""

from __future__ import annotations

from pathlib import Path

from seedance_mcp.adapters.media.thumbnails import find_frame
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.records import Job

FRAMES = {"first": "image", "last": "last_image"}
"""The pictures that a video begins and ends with, and the arguments that name them by their hash."""
KINDS = ("clip", "poster", *FRAMES)


def find_media(job: Job, settings: Settings, kind: str) -> Path | None:
    """Return a saved file of a job, if it exists in the videos folder."""
    return _find(job, settings.videos_dir, settings.videos_dir.resolve(), kind)


def find_all_media(job: Job, settings: Settings, root: Path) -> dict[str, Path | None]:
    """Return every saved file of a job, by its kind.

    Args:
        job: Whose files.
        settings: Where files are saved.
        root: The videos folder, resolved.
    """
    return {kind: _find(job, settings.videos_dir, root, kind) for kind in KINDS}


def _find(job: Job, videos_dir: Path, root: Path, kind: str) -> Path | None:
    if kind in FRAMES:
        named = find_frame(job.arguments.get(FRAMES[kind]), videos_dir)
    else:
        named = job.file if kind == "clip" else job.thumbnail if kind == "poster" else None
    if named is None:
        return None
    file = Path(named)
    return file if file.is_file() and file.resolve().is_relative_to(root) else None
