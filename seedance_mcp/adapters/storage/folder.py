"""Folder store: objects as files in one folder that all replicas share.

A file has its name once it is whole and on disk. Keys are ours and are checked all the same: none leaves the folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.next_steps import NextStep, OwnerOnly, Repeat
from seedance_mcp.core.objects import StoredObject, is_key

CHUNK_BYTES = 1024 * 1024
FOLDER_MODE, FILE_MODE = 0o700, 0o600
PARTIAL = ".part"
"""Suffix of a file that is being written."""

T = TypeVar("T")

_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class FileStore:
    """The `ObjectStore` protocol on a folder; see `open_folder`.

    Attributes:
        folder: Its absolute path.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Return what texts call it."""
        return f"the folder {self.folder}"

    async def put_file(self, stored: StoredObject, file: Path, *, file_name: str | None = None) -> None:
        """Copy a finished file; its bytes are compared with what `stored` says."""
        await self._run(lambda: self._write(stored, _read_chunks(file)))

    async def put_bytes(self, stored: StoredObject, data: bytes, *, file_name: str | None = None) -> None:
        """Write bytes as an object."""
        await self._run(lambda: self._write(stored, iter((data,))))

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """Read an object, or a range of it."""
        path = self._find_path(key)
        try:
            file = await anyio.open_file(path, "rb")
        except OSError as exc:
            raise self._explain(exc, key) from exc
        async with file:
            await file.seek(start)
            left = None if end is None else end - start
            while left is None or left > 0:
                chunk = await file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk

    async def find_size(self, key: str) -> int | None:
        """Return the number of bytes of an object, or None if there is none."""
        path = self._find_path(key)
        try:
            return (await anyio.to_thread.run_sync(path.stat)).st_size
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._explain(exc, key) from exc

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is deleted already."""
        path = self._find_path(key)
        await self._run(lambda: path.unlink(missing_ok=True))

    async def clear_left(self, *, before: float) -> None:
        """Delete partial files of writers that were killed; one that is being written is younger."""

        def clear() -> None:
            for file in self.folder.rglob(f".*{PARTIAL}"):
                with suppress(FileNotFoundError):  # another replica was faster
                    if file.lstat().st_mtime < before:
                        file.unlink()

        await self._run(clear)

    def find_file(self, key: str) -> Path | None:
        """Return where the object's file is, or would be."""
        return self._find_path(key)

    async def sign_link(self, key: str, *, seconds: int, method: str = "GET") -> str | None:
        """Return None: a folder answers no one."""
        return None

    async def check(self) -> None:
        """Check that a file can be written and deleted."""
        probe = self.folder / f".check-{secrets.token_hex(8)}{PARTIAL}"

        def write() -> None:
            try:
                with open(os.open(probe, _CREATING, FILE_MODE), "wb") as file:
                    file.write(b"ok")
            finally:
                probe.unlink(missing_ok=True)

        await self._run(write)

    def _write(self, stored: StoredObject, chunks: Iterator[bytes]) -> None:
        """Write a whole file for the owner alone, flush it, and only then give it its name."""
        path = self._find_path(stored.key)
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        partial = path.parent / f".{path.name[:40]}.{secrets.token_hex(8)}{PARTIAL}"
        try:
            with open(os.open(partial, _CREATING, FILE_MODE), "wb") as file:
                self._copy(stored, chunks, file.write)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            with suppress(OSError):  # the first failure is the one to report
                partial.unlink(missing_ok=True)

    def _copy(self, stored: StoredObject, chunks: Iterator[bytes], write: Callable[[bytes], object]) -> None:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            write(chunk)
        if (digest.hexdigest(), size) != (stored.sha256, stored.size_bytes):
            raise StorageError(f"What was to be stored as {stored.key} was changed on disk.")

    def _find_path(self, key: str) -> Path:
        if not is_key(key):
            raise StorageError("A key of the object store is not one of ours.")
        return self.folder / key

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(work)
        except OSError as exc:
            raise self._explain(exc) from exc

    def _explain(self, exc: OSError, key: str | None = None) -> StorageError:
        if key is not None and isinstance(exc, FileNotFoundError):
            return StorageError(f"{key} is not in {self.name}.", NextStep("{0}.", OwnerOnly("restore it")))
        return _unusable_error(self.name, exc)


async def open_folder(folder: Path) -> FileStore:
    """Open a folder as an object store; it is made if it does not exist.

    Raises:
        StorageError: It cannot be made, or is not a folder.
    """

    def make() -> None:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)

    try:
        await anyio.to_thread.run_sync(make)
    except OSError as exc:
        raise _unusable_error(f"the folder {folder}", exc) from exc
    return FileStore(folder)


def hash_file(file: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file."""
    digest, size = hashlib.sha256(), 0
    for chunk in _read_chunks(file):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _read_chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            yield chunk


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure; Windows cannot open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable_error(name: str, exc: OSError) -> StorageError:
    return StorageError(
        f"The object store, {name}, cannot be used: {exc.strerror or type(exc).__name__}.",
        NextStep("{0}; then {1}.", OwnerOnly("make room there, or give the server the right to write"), Repeat()),
    )
