"""Videos: save finished videos completely or not at all, under our own names, and find them again.

This module recognises a file by its bytes, never by the studio's name of it. It must not use the network.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.adapters.media.partial_files import PartialFile, open_partial
from seedance_mcp.core.errors import VideoUnsavedError
from seedance_mcp.core.next_steps import Call, NextStep
from seedance_mcp.core.wire.containers import Container, NotAVideoError, read_container
from seedance_mcp.core.wire.ranges import OpenStream, Resume

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
    return f"{hash_job(job_id)}-{secrets.token_hex(8)}"


def hash_job(job_id: str) -> str:
    """Return a name for the partial file of a job, which every process gives it."""
    return hashlib.sha256(job_id.encode()).hexdigest()[:16]


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


async def save_video(
    open_stream: OpenStream, folder: Path, name: str, *, partial_name: str | None = None
) -> SavedVideo:
    """Save a stream: write a partial file, check that it is a complete video, rename it with its real extension.

    A download that breaks off leaves its partial file if the store can send the rest; the next one continues it.

    Args:
        open_stream: Opens the video, or the rest of it.
        folder: Where the file goes.
        name: Its name without an extension.
        partial_name: The name under which a later download finds the partial file; None for `name`.

    Raises:
        VideoUnsavedError: Too large, or not a complete video; caused by an `OSError` if it cannot be written. No
            partial file remains.
        Exception: Whatever the stream raises.
    """
    try:
        partial = await anyio.to_thread.run_sync(open_partial, folder, partial_name or name)
        try:
            return await _receive_checked(open_stream, partial, folder / name)
        except BaseException as exc:
            # A broken connection, or a caller who leaves, may be followed by another download.
            is_useless = isinstance(exc, VideoUnsavedError | OSError)
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial.delete if is_useless else partial.keep)
            raise
    except OSError as exc:
        raise VideoUnsavedError(
            f"The video cannot be saved in {folder}: {exc.strerror or type(exc).__name__}.",
            NextStep("Make room there and {0} again.", Call("get_job")),
        ) from exc


async def _receive_checked(open_stream: OpenStream, partial: PartialFile, target: Path) -> SavedVideo:
    """Receive a whole video; if an earlier part and its rest are none, receive it again from its first byte."""
    resume = partial.find_resume()
    if resume is not None:
        with suppress(VideoUnsavedError):
            return await _receive(open_stream, partial, target, resume)
        await anyio.to_thread.run_sync(partial.reset)
    return await _receive(open_stream, partial, target, None)


async def _receive(open_stream: OpenStream, partial: PartialFile, target: Path, resume: Resume | None) -> SavedVideo:
    """Write a bounded stream in blocks, because each write is a change of threads."""
    async with open_stream(resume) as stream:
        partial.begin(stream)
        size, pending = stream.start, 0
        async for chunk in stream.chunks:
            size += len(chunk)
            if size > VIDEO_BYTES_MAX:
                raise VideoUnsavedError(f"The video is larger than {VIDEO_BYTES_MAX // 1024 // 1024} MiB.")
            partial.collect(chunk)
            pending += len(chunk)
            if pending >= WRITE_BYTES:
                await anyio.to_thread.run_sync(partial.write)
                pending = 0
    return await anyio.to_thread.run_sync(_finish, partial, target)


def _finish(partial: PartialFile, target: Path) -> SavedVideo:
    """Check a received video, and give it the name `target` with its extension."""
    partial.end()
    container = _check(partial.path)
    file = target.with_name(f"{target.name}.{container.extension}")
    partial.publish(file)
    return SavedVideo(file, container.note)


def _check(file: Path) -> Container:
    try:
        with file.open("rb") as opened:
            return read_container(opened, file.stat().st_size)
    except NotAVideoError as exc:
        raise VideoUnsavedError(f"The studio's result {exc}.") from exc
