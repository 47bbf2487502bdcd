"""Archive: where finished videos and their thumbnails are kept. Asks no studio, and changes no job in the ledger.

On one machine they are files in the videos folder. Several replicas share an object store: a video is first saved and
checked as a file of this machine, and then stored whole under its key.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from seedance_mcp.adapters.media import videos
from seedance_mcp.adapters.media.images import Image
from seedance_mcp.adapters.media.thumbnails import keep_frame, save_thumbnail
from seedance_mcp.adapters.storage.folder import hash_file
from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.core.errors import LedgerError, StorageError, VideoUnsavedError
from seedance_mcp.core.objects import HostedLedger, StoredObject, name_thumbnail_key, name_video_key
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.ranges import OpenStream

LEFT_SECONDS = 24 * 3600
"""How long a file of a process that was killed is left alone."""


class VideoArchive(Protocol):
    """Keeps finished videos."""

    async def save(self, job: Job, open_stream: OpenStream) -> Job:
        """Save a stream as the job's video, whole or not at all; continue an earlier download where that is possible.

        Returns:
            The job with its place and a note.

        Raises:
            VideoUnsavedError: It is no complete video, or cannot be stored; caused by an `OSError` or a `StorageError`
                if only this machine or the store is at fault.
        """
        ...

    async def save_thumbnail(self, job: Job, data: bytes) -> Job:
        """Save a picture as the job's thumbnail; returns the job with its place.

        Raises:
            SeedanceError, OSError: It is no picture, or cannot be stored.
        """
        ...

    async def is_missing(self, job: Job) -> bool:
        """Return True if the job's video was saved and does not exist any more, though it was not pruned."""
        ...

    async def find_size(self, job: Job) -> int | None:
        """Return how many bytes a job's saved video has, or None if it is not here.

        Raises:
            StorageError: The store cannot be asked.
        """
        ...

    async def read(self, job: Job) -> bytes:
        """Return a job's saved video.

        Raises:
            StorageError, OSError: It cannot be read.
        """
        ...

    def find_own(self, job: Job) -> Job | None:
        """Return the job with the file that this machine has saved of it; None where there is none."""
        ...

    async def keep_frame(self, image: Image) -> None:
        """Keep a small copy of a video's source picture, for people to look at.

        Raises:
            SeedanceError, OSError: It cannot be kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalArchive:
    """The `VideoArchive` protocol in a folder of this machine."""

    folder: Path

    async def save(self, job: Job, open_stream: OpenStream) -> Job:
        """Save a stream as a file with a name that people can read."""
        saved = await videos.save_video(open_stream, self.folder, name_file(job))
        return replace(job, file=str(saved.file), note=saved.note)

    async def save_thumbnail(self, job: Job, data: bytes) -> Job:
        """Save a thumbnail beside the video."""
        return replace(job, thumbnail=str(await save_thumbnail(data, self.folder, name_file(job))))

    async def is_missing(self, job: Job) -> bool:
        """Return True if the file does not exist any more."""
        return job.pruned_at is None and videos.is_missing(job.file)

    async def find_size(self, job: Job) -> int | None:
        """Return how many bytes the file has."""
        if job.file is None:
            return None
        try:
            return (await anyio.Path(job.file).stat()).st_size
        except OSError:
            return None

    async def read(self, job: Job) -> bytes:
        """Return the file's bytes."""
        return await anyio.Path(job.file or "").read_bytes()

    def find_own(self, job: Job) -> Job | None:
        """Return the job with the files that have its name, if its video is one of them."""
        file, thumbnail = videos.find_video(self.folder, name_file(job))
        return None if file is None else replace(job, file=file, thumbnail=thumbnail)

    async def keep_frame(self, image: Image) -> None:
        """Keep a small copy in a folder beside the videos."""
        await keep_frame(image, self.folder)


@dataclass(frozen=True, slots=True)
class SharedArchive:
    """The `VideoArchive` protocol in an object store that all replicas share.

    Attributes:
        folder: Where this process saves and checks a video before it is stored; a file here is temporary.
        store: Where it goes.
        ledger: Knows what is in the store.
    """

    folder: Path
    store: ObjectStore
    ledger: HostedLedger

    async def save(self, job: Job, open_stream: OpenStream) -> Job:
        """Save a stream as an object; the same video has the same key, however often it is saved."""
        part, name = videos.hash_job(job.job_id), videos.name_part(job.job_id)
        saved = await videos.save_video(open_stream, self.folder, name, partial_name=part)
        try:
            extension = saved.file.suffix.removeprefix(".")
            key = name_video_key(job.job_id, extension)
            shown = videos.name_download(job.job_id, str(job.arguments.get("prompt", "")), extension)
            await self.put(key, saved.file, videos.find_media_type(saved.file), file_name=shown)
        except (StorageError, LedgerError) as exc:
            raise VideoUnsavedError(exc.what, exc.next_step) from exc
        except OSError as exc:
            raise VideoUnsavedError(f"The video cannot be read again: {exc.strerror}.") from exc
        finally:
            with contextlib.suppress(OSError):
                saved.file.unlink(missing_ok=True)
        return replace(job, video_key=key, file=None, note=saved.note)

    async def save_thumbnail(self, job: Job, data: bytes) -> Job:
        """Save a thumbnail as an object."""
        file = await save_thumbnail(data, self.folder, videos.name_part(job.job_id))
        try:
            key = name_thumbnail_key(job.job_id)
            await self.put(key, file, "image/jpeg")
        finally:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        return replace(job, thumbnail_key=key)

    async def put(self, key: str, file: Path, media_type: str, *, file_name: str | None = None) -> None:
        """Store a file of this machine whole; its facts are in the ledger first.

        Raises:
            StorageError, LedgerError: It cannot be stored.
            OSError: It cannot be read.
        """
        sha256, size_bytes = await anyio.to_thread.run_sync(hash_file, file)
        stored = StoredObject(key=key, sha256=sha256, size_bytes=size_bytes, media_type=media_type)
        await self.ledger.record_object(stored)  # first: what is being stored is not old
        await self.store.put_file(stored, file, file_name=file_name)

    async def is_missing(self, job: Job) -> bool:
        """Return True if the store has no such object any more; a store that cannot be asked has lost nothing."""
        if job.pruned_at is not None or job.video_key is None:
            return False
        try:
            return await self.find_size(job) is None
        except StorageError:
            return False

    async def find_size(self, job: Job) -> int | None:
        """Return how many bytes the object has."""
        return None if job.video_key is None else await self.store.find_size(job.video_key)

    async def read(self, job: Job) -> bytes:
        """Return the object's bytes."""
        return b"".join([chunk async for chunk in self.store.read(job.video_key or "")])

    def find_own(self, job: Job) -> Job | None:
        """Return None: no machine has videos of its own."""
        return None

    async def keep_frame(self, image: Image) -> None:
        """Keep nothing: there is no gallery."""

    async def clear_left(self, now: float) -> None:
        """Delete the temporary files of processes that were killed."""

        def clear() -> None:
            for file in self.folder.iterdir() if self.folder.is_dir() else ():
                with contextlib.suppress(OSError):
                    if file.lstat().st_mtime >= now - LEFT_SECONDS:
                        continue
                    if file.is_dir() and not file.is_symlink():  # of a film
                        shutil.rmtree(file, ignore_errors=True)
                    elif file.is_file():
                        file.unlink()

        await anyio.to_thread.run_sync(clear)
        await self.store.clear_left(before=now - LEFT_SECONDS)


def name_file(job: Job) -> str:
    """Return the name, without its extension, of a job's video and thumbnail."""
    return videos.name_video(job.payment_id, job.job_id, str(job.arguments.get("prompt", "")))
