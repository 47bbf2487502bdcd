"""Partial files: a video that is being received, and what remains of one whose download broke off.

A partial file is `.NAME.part`. A journal beside it, `.NAME.part.json`, names the version of the content and how many
bytes of it are certainly on disk, so that a later download, also of another process, continues there. Without a journal
a partial file is worth nothing. One process holds the lock of a partial file; a second one, and Windows, where an open
file cannot be renamed, write a file of their own that cannot be continued. This module must not recognise videos.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from seedance_mcp.core.errors import VideoUnsavedError
from seedance_mcp.core.wire.ranges import Resume, Version, VideoStream, is_strong_etag

if sys.platform != "win32":
    import fcntl

JOURNAL_BYTES = 4 * 1024 * 1024
"""After how many bytes the journal is written while a download runs: what a killed process loses at most."""
JOURNAL_BYTES_MAX = 1000
OVERLAP_BYTES = 64 * 1024
"""How many bytes at the end of a partial file are received again and compared before anything is added to it."""
WRITE_CHUNKS_MAX = 1000
"""How many chunks are written in one call of the system. Source: POSIX, IOV_MAX."""
LEFT_SECONDS = 24 * 3600
"""After how long an unchanged partial file is deleted."""

_LEFT = re.compile(r"\.(?:\d{4,}-[^/\\]+-[0-9a-f]{6}|[0-9a-f]{16})(?:\.[0-9a-f]{8})?\.part(?:\.json(?:\.new)?)?")
"""Partial files and journals under the names that `videos` gives."""
_OPENING = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(slots=True)
class PartialFile:
    """An open partial file. Most of its methods block: call them in a worker thread.

    Attributes:
        path: Where it is.
        journal: Where its journal is; None if this file cannot be continued.
        version: What the store called the content; None if it cannot be resumed.
        size: How many bytes of the content are in the file.
    """

    path: Path
    journal: Path | None
    version: Version | None = None
    size: int = 0
    _descriptor: int = -1
    _known: bytes = b""
    """Bytes at the end of the earlier part that have not been compared with the rest yet."""
    _journaled: int = 0
    _pending: list[bytes] = field(default_factory=list[bytes])
    _stream: VideoStream | None = None
    """A stream whose first byte has not been written yet."""
    _is_published: bool = False

    def find_resume(self) -> Resume | None:
        """Return the rest that is missing; None if nothing can be continued."""
        start = self.size - OVERLAP_BYTES
        return Resume(self.version, start) if self.version is not None and start > 0 else None

    def begin(self, stream: VideoStream) -> None:
        """Expect the bytes of a stream: the rest of what is here, or a whole video in its place; does not block."""
        self._stream = stream

    def _prepare(self, stream: VideoStream) -> None:
        """Go to the first byte of a stream, and remember what is known from there on."""
        self._stream = None
        if stream.start == 0 or stream.version != self.version or stream.start >= self.size:
            pending = self._pending
            self.reset()
            self.version, self._pending = stream.version, pending
        os.ftruncate(self._descriptor, self.size)
        os.lseek(self._descriptor, stream.start, os.SEEK_SET)
        self._known = _read(self._descriptor, self.size - stream.start)
        os.lseek(self._descriptor, stream.start, os.SEEK_SET)
        self.size = stream.start

    def collect(self, chunk: bytes) -> None:
        """Take bytes that `write` will write; does not block."""
        self._pending.append(chunk)

    def write(self) -> None:
        """Write what was collected; the first bytes of a rest must be those that are here already.

        Raises:
            VideoUnsavedError: They are others, or more than the content has.
            OSError: They cannot be written.
        """
        if self._stream is not None:
            self._prepare(self._stream)
        chunks, self._pending = self._pending, []
        added = sum(map(len, chunks))
        if self._known:
            received = b"".join(chunks)
            if received[: len(self._known)] != self._known[: len(received)]:
                raise VideoUnsavedError("The studio's result has changed during its download.")
            self._known = self._known[len(received) :]
        if self.version is not None and self.size + added > self.version.total_bytes:
            raise VideoUnsavedError("The studio's result is longer than announced.")
        _write(self._descriptor, chunks)
        self.size += added
        if self.version is not None and self.size - self._journaled >= JOURNAL_BYTES:
            self._write_journal(self.version)

    def end(self) -> None:
        """Write everything to disk.

        Raises:
            VideoUnsavedError: The content has more bytes, or fewer.
            OSError: It cannot be written.
        """
        self.write()
        if self.version is not None and self.size != self.version.total_bytes:
            raise VideoUnsavedError(f"The studio's result is incomplete ({self.size} bytes).")
        os.fsync(self._descriptor)

    def publish(self, target: Path) -> None:
        """Give a complete file its name, which replaces a file of that name, and release the lock.

        Raises:
            OSError: It cannot be renamed.
        """
        if self.journal is None:
            self._close()  # Windows renames no open file
        else:
            self.journal.unlink(missing_ok=True)
        publish(self.path, target)
        self._is_published = True
        self._close()

    def reset(self) -> None:
        """Forget what was received.

        Raises:
            OSError: The file cannot be written.
        """
        if self.journal is not None:
            self.journal.unlink(missing_ok=True)
        self.version, self.size, self._known, self._journaled = None, 0, b"", 0
        self._pending, self._stream = [], None
        os.ftruncate(self._descriptor, 0)

    def delete(self) -> None:
        """Delete the file and its journal, unless it is published, and release the lock."""
        for file in (self.journal, self.path):
            with suppress(OSError):
                if file is not None and not self._is_published:  # else a new one has the name
                    file.unlink(missing_ok=True)
        self._close()

    def keep(self) -> None:
        """Leave the file for a later download if that can continue it; otherwise delete it. Release the lock."""
        if self._is_published:
            return
        try:
            self.write()
            self.size += len(self._known)  # not received again, but not contradicted either
            if self.version is None or self.find_resume() is None or self.journal is None:
                self.delete()
            else:
                self._write_journal(self.version)
                self._close()
        except (VideoUnsavedError, OSError):
            self.delete()

    def _write_journal(self, version: Version) -> None:
        """Write what is certainly on disk: the bytes before the statement about them."""
        if self.journal is None:
            return
        os.fsync(self._descriptor)
        text = json.dumps({"v": 1, "etag": version.etag, "total_bytes": version.total_bytes, "bytes": self.size})
        new = self.journal.with_name(f"{self.journal.name}.new")
        new.write_text(text, encoding="ascii")
        new.replace(self.journal)
        self._journaled = self.size

    def read_journal(self) -> None:
        """Learn what an earlier download left; nothing, unless all of it is certain."""
        if self.journal is None:
            return
        try:
            with self.journal.open("rb") as file:
                read = json.loads(file.read(JOURNAL_BYTES_MAX))
            etag, total, size = str(read["etag"]), int(read["total_bytes"]), int(read["bytes"])
        except (OSError, ValueError, TypeError, KeyError):
            return
        is_valid = read.get("v") == 1 and is_strong_etag(etag) and 0 < size <= total
        if is_valid and os.fstat(self._descriptor).st_size >= size:
            self.version, self.size, self._journaled = Version(etag, total), size, size

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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


def open_partial(folder: Path, name: str) -> PartialFile:
    """Open the partial file of a name, with what an earlier download left in it, or a new one of our own.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _delete_left(folder, time.time() - LEFT_SECONDS)
    path = folder / f".{name}.part"
    descriptor = _open_locked(path)
    if descriptor is not None:
        partial = PartialFile(path, path.with_name(f"{path.name}.json"), _descriptor=descriptor)
        partial.read_journal()
        return partial
    path = folder / f".{name}.{secrets.token_hex(4)}.part"
    return PartialFile(path, None, _descriptor=os.open(path, _OPENING | os.O_EXCL, 0o666))


def _open_locked(path: Path) -> int | None:
    """Open and lock a file; None if that cannot be, or if another download has it or has just finished it."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(path, _OPENING, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _read(descriptor: int, length: int) -> bytes:
    """Read bytes of a file from its position."""
    parts: list[bytes] = []
    while length and (part := os.read(descriptor, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _write(descriptor: int, chunks: list[bytes]) -> None:
    """Write all bytes, if possible without copying them."""
    written = os.writev(descriptor, chunks) if sys.platform != "win32" and 0 < len(chunks) <= WRITE_CHUNKS_MAX else 0
    if written < sum(map(len, chunks)):
        rest = memoryview(b"".join(chunks))[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _delete_left(folder: Path, before: float) -> None:
    """Delete what killed processes left and no download has continued."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if _LEFT.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.path)
