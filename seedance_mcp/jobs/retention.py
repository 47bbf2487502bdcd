"""Retention: delete saved videos and pictures that are older than the owner keeps them.

Deletes only files with names of our own, only in the videos folder and the picture folders, and follows no link. The
ledger's rows stay: a job says that its video was pruned, and the video is never fetched again by itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import anyio

from seedance_mcp.adapters.media.given import UNUSED_SECONDS
from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.adapters.media.thumbnails import FRAMES_FOLDER
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.ledger import Ledger

DAY_SECONDS = 24 * 3600
PREPARED_FOLDER = "prepared"
"""Beside the videos: pictures as they were sent to the studio."""

_VIDEO = re.compile(r"\d{4,}-[^/\\]+-[0-9a-f]{6}\.(?:mp4|mov|webm|mkv|jpg)|film_[0-9a-f]{32}\.mp4")
"""Videos and their thumbnails, as `media.name_video` names them, and joined films."""
_PICTURE = re.compile(r"[0-9a-f]{64}\.(?:jpg|png|webp|gif)")
"""Pictures under their own hash."""
_RECEIVED = re.compile(r"\.?[0-9a-f]{32}\.(?:waiting|(?P<sha256>[0-9a-f]{64}))(?:\.part)?")
"""Pictures that a person gave on a page of ours, as `media.received` names them."""

IsOld = Callable[[str, float], bool]
"""Returns True if a file of ours must go, by its name and the time of its last change in Unix seconds."""


@dataclass(frozen=True, slots=True)
class PrunedFile:
    """A file that was deleted, or would be."""

    file: Path
    size_bytes: int


async def prune(
    videos_dir: Path, ledger: Ledger | None, *, older_than_days: int, now: float, dry_run: bool = False
) -> list[PrunedFile]:
    """Delete every file of ours that was last changed before an age, oldest name first.

    Args:
        videos_dir: Where videos are saved.
        ledger: Told which videos are gone; None where there is none.
        older_than_days: The age.
        now: Unix seconds.
        dry_run: Whether to delete nothing.

    Returns:
        What was deleted, or would be.

    Raises:
        ConfigError: The videos folder is a link, or a file cannot be deleted.
        LedgerError: The ledger cannot be written; nothing more was deleted.
    """
    if await anyio.Path(videos_dir).is_symlink():
        raise ConfigError(f"{videos_dir} is a link, and links are not followed.", "Nothing was deleted.")
    before = now - older_than_days * DAY_SECONDS

    def is_old(_: str, changed_at: float) -> bool:
        return changed_at < before

    pruned = await _prune_folder(videos_dir, _VIDEO, is_old, None if dry_run else ledger, now=now, dry_run=dry_run)
    for name in (FRAMES_FOLDER, PREPARED_FOLDER):
        pruned += await _prune_folder(videos_dir / name, _PICTURE, is_old, None, now=now, dry_run=dry_run)
    return pruned


async def prune_received(
    received: ReceivedPictures, *, older_than_days: int | None, now: float, dry_run: bool = False
) -> list[PrunedFile]:
    """Delete the pictures that a person gave on a page of ours: old ones, and after a day those that are not used.

    Args:
        received: The pictures.
        older_than_days: The age of used ones; None keeps these for ever.
        now: Unix seconds.
        dry_run: Whether to delete nothing.

    Returns:
        What was deleted, or would be.

    Raises:
        ConfigError: A file cannot be deleted.
    """
    before = -math.inf if older_than_days is None else now - older_than_days * DAY_SECONDS

    def is_old(name: str, changed_at: float) -> bool:
        if changed_at >= now - UNUSED_SECONDS:
            return changed_at < before
        found = _RECEIVED.fullmatch(name)
        sha256 = found["sha256"] if found is not None and not name.startswith(".") else None
        return sha256 is None or changed_at < before or not received.is_used(sha256)

    return await _prune_folder(received.folder, _RECEIVED, is_old, None, now=now, dry_run=dry_run)


async def prune_local(
    videos_dir: Path, received: ReceivedPictures, ledger: Ledger, *, keep_days: int | None, now: Callable[[], float]
) -> None:
    """Delete what is older than the owner keeps it, and unused received pictures.

    Args:
        videos_dir: Where videos are saved.
        received: Pictures that a person gave on a page of ours.
        ledger: Told which videos are gone.
        keep_days: How long the owner keeps them; None for ever.
        now: Unix seconds.

    Raises:
        ConfigError, LedgerError: As `prune`.
    """
    await prune_received(received, older_than_days=keep_days, now=now())
    if keep_days is not None:
        await prune(videos_dir, ledger, older_than_days=keep_days, now=now())


async def _prune_folder(
    folder: Path, pattern: re.Pattern[str], is_old: IsOld, ledger: Ledger | None, *, now: float, dry_run: bool
) -> list[PrunedFile]:
    pruned: list[PrunedFile] = []
    with _open_folder(folder) as opened:
        if opened is None:
            return pruned
        for name, size in _list_old(opened, pattern, is_old):
            if not dry_run:
                await _delete(folder, opened, name, ledger, now=now)
            pruned.append(PrunedFile(folder / name, size))
    return pruned


@contextlib.contextmanager
def _open_folder(folder: Path) -> Generator[int | Path | None]:
    """Open a folder itself, never where a link leads; None where there is none.

    What is deleted is then in the very folder that was opened, whatever stands under its path a moment later.
    """
    if os.name != "posix":
        yield folder if folder.is_dir() and not folder.is_symlink() else None
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _list_old(opened: int | Path, pattern: re.Pattern[str], is_old: IsOld) -> list[tuple[str, int]]:
    """Return name and size of each plain file with a name of ours that must go."""
    found: list[tuple[str, int]] = []
    with os.scandir(opened) as entries:
        for entry in entries:
            name = os.fsdecode(entry.name)
            if pattern.fullmatch(name) and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                if is_old(name, status.st_mtime):
                    found.append((name, status.st_size))
    return sorted(found)


async def _delete(folder: Path, opened: int | Path, name: str, ledger: Ledger | None, *, now: float) -> None:
    """Delete one file; the ledger is told before, so that no one takes it for lost and fetches it again."""
    if ledger is not None:
        await ledger.mark_pruned(name, pruned_at=now)
    try:
        if isinstance(opened, int):
            os.unlink(name, dir_fd=opened)
        else:
            (folder / name).unlink()
    except FileNotFoundError:
        return
    except OSError as exc:
        if ledger is not None:
            await ledger.mark_pruned(name, pruned_at=None)
        raise ConfigError(
            f"{folder / name} cannot be deleted: {exc.strerror or type(exc).__name__}.", "Older ones may be gone."
        ) from exc
