"""Media: finished videos, saved whole or not at all, under a name of our own."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.errors import VideoUnsavedError

VIDEO_BYTES_MAX = 512 * 1024 * 1024
MP4_BOXES_MAX = 10_000
SLUG_CHARACTERS_MAX = 40


def name_video(payment_id: int, job_id: str, prompt: str) -> str:
    """A file name of our own: readable, unique, without a character that the studio chose."""
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:SLUG_CHARACTERS_MAX].strip("-") or "clip"
    return f"{payment_id:04d}-{slug}-{hashlib.sha256(job_id.encode()).hexdigest()[:6]}"


def find_video(folder: Path, name: str) -> tuple[str | None, str | None]:
    """The video and the thumbnail that were saved under a name, as far as they are there."""
    files = (folder / f"{name}.mp4", folder / f"{name}.jpg")
    file, thumbnail = (str(file) if file.exists() else None for file in files)
    return file, thumbnail


async def save_video(chunks: AsyncIterator[bytes], folder: Path, name: str) -> Path:
    """Save a stream as `<name>.mp4`: written to a `.part` file, checked to be a whole MP4, then renamed.

    Raises:
        VideoUnsavedError: Too large, not a whole MP4, or the disk says no. Nothing half-written stays behind.
    """
    target = folder / f"{name}.mp4"
    partial = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        await _write(chunks, partial)
        await anyio.to_thread.run_sync(_check_mp4, partial)
        partial.replace(target)
        await anyio.to_thread.run_sync(_sync_folder, folder)
    except OSError as exc:
        raise VideoUnsavedError(
            f"The video cannot be saved in {folder}: {exc.strerror or type(exc).__name__}.",
            "Make room there and call get_job again.",
        ) from exc
    finally:
        with suppress(OSError):  # what went wrong first is what must be told
            partial.unlink(missing_ok=True)
    return target


async def _write(chunks: AsyncIterator[bytes], file: Path) -> None:
    """Write a bounded stream, on disk before this returns."""
    size = 0
    opened = await anyio.open_file(file, "wb")
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > VIDEO_BYTES_MAX:
                raise VideoUnsavedError(f"The video is larger than {VIDEO_BYTES_MAX // 1024 // 1024} MiB.")
            await opened.write(chunk)
        await opened.flush()
        await anyio.to_thread.run_sync(os.fsync, opened.wrapped.fileno())
    finally:
        with anyio.CancelScope(shield=True):  # a caller who leaves must not leave a file open
            await opened.aclose()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive the plug being pulled; a folder cannot be opened on Windows."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_mp4(file: Path) -> None:
    """Walk the top-level boxes: they must tile the file exactly and hold both the index and the media.

    Source: ISO/IEC 14496-12, section 4.2 (box structure).
    """
    size = file.stat().st_size
    kinds: set[bytes] = set()
    position = 0
    with file.open("rb") as opened:
        for _ in range(MP4_BOXES_MAX):
            opened.seek(position)
            header = opened.read(16)
            length, header_length = int.from_bytes(header[:4]), 8
            if length == 1:
                length, header_length = int.from_bytes(header[8:16]), 16
            elif length == 0:
                length = size - position
            if len(header) < header_length or length < header_length or position + length > size:
                break
            if position == 0 and header[4:8] != b"ftyp":
                break
            kinds.add(header[4:8])
            position += length
            if position == size and {b"ftyp", b"moov", b"mdat"} <= kinds:
                return
    raise VideoUnsavedError(f"The studio's result is not a whole MP4 video ({size} bytes).")
