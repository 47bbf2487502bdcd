"""Film files: where the shots of a film are read from, and where the joined film is kept.

On one machine both are files. Several replicas share an object store: shots are fetched to a temporary folder, one film
or frame at a time, with a bound on their size, and the film is stored whole. The folder goes with the work. Must not
ask the studio or pay.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from seedance_mcp.adapters.media.films import extract_last_frame, join_videos
from seedance_mcp.adapters.media.videos import find_media_type, is_missing, name_download
from seedance_mcp.core.errors import FilmError, StorageError
from seedance_mcp.core.films import Film
from seedance_mcp.core.next_steps import NextStep, OwnerDo, RaiseTake, Repeat
from seedance_mcp.core.objects import name_video_key
from seedance_mcp.core.records import Job
from seedance_mcp.jobs.archive import SharedArchive

SHOTS_BYTES_MAX = 4 * 1024**3
"""Most bytes of the shots of one film that are fetched from an object store."""
ROOM_FACTOR = 3
"""How much room the disk must have: for the shots, the film, and another process that fetches at the same time."""
FETCHES_MAX = 2
"""How many films and frames are fetched at a time."""
_FOLDER = "film-"
"""What the name of a temporary folder begins with."""


class FilmFiles(Protocol):
    """Reads shots and keeps films."""

    async def extract_last_frame(self, job: Job) -> bytes:
        """Return the last frame of a saved video, as a PNG.

        Raises:
            FilmError: The video cannot be used.
            StorageError: It cannot be fetched.
        """
        ...

    async def join(self, film: Film, jobs: Sequence[Job], titles: Sequence[str]) -> Film:
        """Join the saved videos of a film; returns the film with its place.

        Raises:
            FilmError: A video cannot be used, or the film cannot be saved.
            StorageError, LedgerError: The object store or the ledger cannot be used now.
        """
        ...

    async def is_missing(self, film: Film) -> bool:
        """Return True if a film was joined and does not exist any more, though it was not pruned."""
        ...

    async def find_size(self, film: Film) -> int | None:
        """Return how many bytes a joined film has, or None if it is not here.

        Raises:
            StorageError: The store cannot be asked.
        """
        ...

    async def read(self, film: Film) -> bytes:
        """Return a joined film.

        Raises:
            StorageError, OSError: It cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalFilmFiles:
    """The `FilmFiles` protocol in the videos folder of this machine."""

    folder: Path

    async def extract_last_frame(self, job: Job) -> bytes:
        """Return the last frame of a file."""
        if job.file is None or job.pruned_at is not None:
            raise _gone_error(job)
        return await extract_last_frame(Path(job.file))

    async def join(self, film: Film, jobs: Sequence[Job], titles: Sequence[str]) -> Film:
        """Join files to a file."""
        for job in jobs:
            if job.file is None or job.pruned_at is not None:
                raise _gone_error(job)
        output = self.folder / f"{film.film_id}.mp4"
        await join_videos([Path(job.file or "") for job in jobs], output, titles=titles)
        return replace(film, file=str(output.absolute()))

    async def is_missing(self, film: Film) -> bool:
        """Return True if the file does not exist any more."""
        return film.pruned_at is None and is_missing(film.file)

    async def find_size(self, film: Film) -> int | None:
        """Return how many bytes the file has."""
        if film.file is None:
            return None
        try:
            return (await anyio.Path(film.file).stat()).st_size
        except OSError:
            return None

    async def read(self, film: Film) -> bytes:
        """Return the file's bytes."""
        return await anyio.Path(film.file or "").read_bytes()


@dataclass(frozen=True, slots=True)
class SharedFilmFiles:
    """The `FilmFiles` protocol in an object store that all replicas share.

    Attributes:
        archive: Has the shots, and keeps the film.
    """

    archive: SharedArchive
    _places: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(FETCHES_MAX))

    async def extract_last_frame(self, job: Job) -> bytes:
        """Fetch a video and return its last frame."""
        async with self._fetching([job]) as (files, _):
            return await extract_last_frame(files[0])

    async def join(self, film: Film, jobs: Sequence[Job], titles: Sequence[str]) -> Film:
        """Fetch the shots, join them, and store the film; the same film has the same key, however often it is made."""
        async with self._fetching(jobs) as (files, folder):
            output = folder / "film.mp4"
            await join_videos(files, output, titles=titles)
            key = name_video_key(film.film_id, "mp4")
            shown = name_download(film.film_id, str(film.arguments["prompt"]), "mp4")
            await self.archive.put(key, output, find_media_type(output), file_name=shown)
        return replace(film, video_key=key)

    async def is_missing(self, film: Film) -> bool:
        """Return True if the store has no such object; a store that cannot be asked has lost nothing."""
        if film.pruned_at is not None or film.video_key is None:
            return False
        try:
            return await self.archive.store.find_size(film.video_key) is None
        except StorageError:
            return False

    async def find_size(self, film: Film) -> int | None:
        """Return how many bytes the object has."""
        return None if film.video_key is None else await self.archive.store.find_size(film.video_key)

    async def read(self, film: Film) -> bytes:
        """Return the object's bytes."""
        return b"".join([chunk async for chunk in self.archive.store.read(film.video_key or "")])

    @asynccontextmanager
    async def _fetching(self, jobs: Sequence[Job]) -> AsyncGenerator[tuple[list[Path], Path]]:
        """Fetch videos to a temporary folder, which is deleted at the end of the block."""
        async with self._places:
            await self._check_room(jobs)
            folder = await anyio.to_thread.run_sync(self._make_folder)
            try:
                yield [await self._fetch(job, folder / str(number)) for number, job in enumerate(jobs)], folder
            except OSError as exc:
                raise _disk_error(exc) from exc
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

    def _make_folder(self) -> Path:
        try:
            self.archive.folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=_FOLDER, dir=self.archive.folder))
        except OSError as exc:
            raise _disk_error(exc) from exc

    async def _check_room(self, jobs: Sequence[Job]) -> None:
        """Raise unless the shots may be fetched and fit the disk."""
        size = 0
        for job in jobs:
            found = None if job.pruned_at is not None else await self.archive.find_size(job)
            if found is None:
                raise _gone_error(job)
            size += found
        if size > SHOTS_BYTES_MAX:
            raise FilmError(
                f"The shots have {size // 1024**2} MiB, more than {SHOTS_BYTES_MAX // 1024**2} MiB.",
                "Make two films of them.",
            )
        with contextlib.suppress(OSError):  # no folder yet: the disk is asked when it is written
            usage = await anyio.to_thread.run_sync(shutil.disk_usage, self.archive.folder)
            if usage.free < size * ROOM_FACTOR:
                raise FilmError(
                    "The server's disk has no room for the film's shots.",
                    NextStep("{0}; then {1}.", OwnerDo("make room there"), Repeat()),
                )

    async def _fetch(self, job: Job, file: Path) -> Path:
        """Fetch one video in chunks."""
        target = file.with_suffix(Path(job.video_key or "").suffix)
        async with await anyio.open_file(target, "wb") as opened:
            async for chunk in self.archive.store.read(job.video_key or "", end=SHOTS_BYTES_MAX):
                await opened.write(chunk)
        return target


def _gone_error(job: Job) -> FilmError:
    if job.pruned_at is not None:
        return FilmError(
            f"The video of shot {job.job_id} was deleted because of its age.",
            NextStep("To buy the film again, {0}.", RaiseTake()),
        )
    return FilmError(f"The video of shot {job.job_id} is not saved.", NextStep("{0}.", Repeat()))


def _disk_error(exc: OSError) -> FilmError:
    return FilmError(
        f"The film's shots cannot be written to the server's disk: {exc.strerror or type(exc).__name__}.",
        NextStep("{0}; then {1}.", OwnerDo("make room there"), Repeat()),
    )
