"""Videos: save finished videos completely or not at all, under our own names, and find them again.

This module recognises a file by its bytes, never by the studio's name of it. It must not use the network.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.core.errors import VideoUnsavedError
from seedance_mcp.core.next_steps import Call, NextStep
from seedance_mcp.core.wire.containers import Container, NotAVideoError, read_container

VIDEO_BYTES_MAX = 512 * 1024 * 1024
WRITE_BYTES = 1024 * 1024
"""How much of a video is collected in memory before it is written."""
SLUG_CHARACTERS_MAX, SLUG_BYTES_MAX = 40, 60
"""How much of a prompt is in a file's name: a name may have 255 bytes, and a Chinese character has three."""
MEDIA_TYPES = {
    "mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm", "mkv": "video/x-matroska",
}  # fmt: skip
"""Extensions of saved videos with their media types, the most likely first."""


@dataclass(frozen=True, slots=True)
class SavedVideo:
    """A video on disk, and information for a person about the file."""

    file: Path
    note: str | None


def name_video(payment_id: int | None, job_id: str, prompt: str) -> str:
    """Return our own file name: readable in any script, unique, and with nothing but letters, digits and hyphens."""
    plain = unicodedata.normalize("NFC", prompt.lower())
    words = "".join(letter if unicodedata.category(letter)[0] in "LMN" else "-" for letter in plain)
    short = re.sub("-+", "-", words)[:SLUG_CHARACTERS_MAX]
    slug = short.encode()[:SLUG_BYTES_MAX].decode(errors="ignore").strip("-") or "clip"
    return f"{payment_id or 0:04d}-{slug}-{hashlib.sha256(job_id.encode()).hexdigest()[:6]}"


def name_download(job_id: str, prompt: str, extension: str) -> str:
    """Return the name under which a browser saves a video: words of the prompt, and a part of the job's hash."""
    return f"{name_video(None, job_id, prompt).partition('-')[2]}.{extension}"


def name_part(job_id: str) -> str:
    """Return a name for a temporary file that no other process of ours has."""
    return f"{hashlib.sha256(job_id.encode()).hexdigest()[:16]}-{secrets.token_hex(8)}"


def find_video(folder: Path, name: str) -> tuple[str | None, str | None]:
    """Return the video and the thumbnail that were saved under a name; None for a missing one."""
    videos = [file for extension in MEDIA_TYPES if (file := folder / f"{name}.{extension}").exists()]
    thumbnail = folder / f"{name}.jpg"
    return str(videos[0]) if videos else None, str(thumbnail) if thumbnail.exists() else None


def find_media_type(file: Path) -> str:
    """Return the media type of a saved video, by its extension."""
    return MEDIA_TYPES.get(file.suffix.removeprefix(".").lower(), MEDIA_TYPES["mp4"])


def is_missing(file: str | None) -> bool:
    """Return True if a file was saved and does not exist any more."""
    return file is not None and not Path(file).is_file()


async def save_video(chunks: AsyncIterator[bytes], folder: Path, name: str) -> SavedVideo:
    """Save a stream: write a `.part` file, check that it is a complete video, rename it with its real extension.

    Raises:
        VideoUnsavedError: Too large, or not a complete video; caused by an `OSError` if it cannot be written. No
            partial file remains.
    """
    partial = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        await _write(chunks, partial)
        container = await anyio.to_thread.run_sync(_check, partial)
        target = folder / f"{name}.{container.extension}"
        await anyio.to_thread.run_sync(publish, partial, target)
    except OSError as exc:
        raise VideoUnsavedError(
            f"The video cannot be saved in {folder}: {exc.strerror or type(exc).__name__}.",
            NextStep("Make room there and {0} again.", Call("get_job")),
        ) from exc
    finally:
        with suppress(OSError):  # the first failure is the one to report
            partial.unlink(missing_ok=True)
    return SavedVideo(target, container.note)


async def _write(chunks: AsyncIterator[bytes], file: Path) -> None:
    """Write a bounded stream in blocks and flush it to disk: each write is a change of threads."""
    size, block = 0, bytearray()
    opened = await anyio.open_file(file, "wb")
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > VIDEO_BYTES_MAX:
                raise VideoUnsavedError(f"The video is larger than {VIDEO_BYTES_MAX // 1024 // 1024} MiB.")
            block += chunk
            if len(block) >= WRITE_BYTES:
                await opened.write(block)
                block = bytearray()
        await opened.write(block)
        await opened.flush()
        await anyio.to_thread.run_sync(os.fsync, opened.wrapped.fileno())
    finally:
        with anyio.CancelScope(shield=True):  # a cancelled caller must not leave a file open
            await opened.aclose()


def publish(partial: Path, target: Path) -> None:
    """Give a complete file its name, so that the name survives a power failure; replaces a file of that name.

    Raises:
        OSError: It cannot be renamed.
    """
    partial.replace(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure; Windows cannot open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(file: Path) -> Container:
    try:
        with file.open("rb") as opened:
            return read_container(opened, file.stat().st_size)
    except NotAVideoError as exc:
        raise VideoUnsavedError(f"The studio's result {exc}.") from exc
