"""Received pictures: the ones that a person gave on a page of ours, each named by an unguessable id.

A picture is stored as it came, below the data folder, for its owner alone. Its id is the only way to it. One that no
purchase has used can be read for a day. This module must not serve a page.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from seedance_mcp.adapters.media.given import (
    NAME_CHARACTERS_MAX,
    UNUSED_SECONDS,
    changed_error,
    expired_error,
    missing_error,
    unknown_error,
)
from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image, prepare_image
from seedance_mcp.adapters.media.thumbnails import name_frame
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.image_names import find_upload_id, name_upload
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.texts import quote_text

WAITING = "waiting"
"""Suffix of an empty file: an id whose picture has not come. The file's time is when the id expires."""

_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class ReceivedPictures:
    """The `GivenPictures` protocol on one folder: `ID.SHA256` with the bytes that came, or `ID.waiting`.

    Attributes:
        folder: Where they are; made with the first id.
        videos_dir: Where videos are saved. A picture is used once there is a frame of it there.
    """

    folder: Path
    videos_dir: Path

    async def announce(self, upload_id: str, *, expires_at: float) -> None:
        """Make an id known before its picture comes.

        Args:
            upload_id: The id.
            expires_at: Unix seconds.

        Raises:
            ImageError: It cannot be written.
        """
        await self._write(f"{upload_id}.{WAITING}", b"", changed_at=expires_at)

    async def store(self, upload_id: str, image: Image, data: bytes) -> None:
        """Store the bytes that came for an id, once they were decoded.

        Raises:
            ImageError: They cannot be written.
        """
        await self._write(f"{upload_id}.{image.sha256}", data)
        await anyio.Path(self.folder / f"{upload_id}.{WAITING}").unlink(missing_ok=True)

    async def _write(self, name: str, data: bytes, *, changed_at: float | None = None) -> None:
        try:
            await anyio.to_thread.run_sync(self._write_file, name, data, changed_at)
        except OSError as exc:
            raise ImageError(
                f"The picture cannot be stored: {exc.strerror or type(exc).__name__}.",
                NextStep("Make room on this machine's disk, then {0}.", Repeat()),
            ) from exc

    def _write_file(self, name: str, data: bytes, changed_at: float | None) -> None:
        """Write a whole file for the owner alone; no partial one has its name."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.folder / f".{name}.part"
        partial.unlink(missing_ok=True)
        try:
            with open(os.open(partial, _CREATING, 0o600), "wb") as file:
                file.write(data)
            if changed_at is not None:
                os.utime(partial, (changed_at, changed_at))
            partial.replace(self.folder / name)
        finally:
            partial.unlink(missing_ok=True)

    async def read(self, name: str, *, now: float) -> Image:
        """Read a picture and prepare it.

        Args:
            name: `upload:` and the id, as a caller wrote it.
            now: Unix seconds.

        Raises:
            ImageError: The id is unknown or expired, or its picture has not come.
        """
        upload_id = find_upload_id(name)
        if upload_id is None:
            raise unknown_error(quote_text(name, NAME_CHARACTERS_MAX))
        shown = name_upload(upload_id)
        try:
            data, sha256 = await anyio.to_thread.run_sync(self._read_file, upload_id, now)
        except OSError as exc:
            raise unknown_error(shown) from exc
        image = await prepare_image(data, f"The picture {shown}")
        if image.sha256 != sha256:
            raise changed_error(shown)
        return image

    def _read_file(self, upload_id: str, now: float) -> tuple[bytes, str]:
        """Return the bytes that came for an id and the hash that they had then."""
        shown, file = name_upload(upload_id), self._find(upload_id)
        if file is None:
            raise unknown_error(shown)
        changed_at = file.stat().st_mtime
        if file.name.endswith(WAITING):
            raise missing_error(shown) if now < changed_at else expired_error(shown)
        sha256 = file.name.rpartition(".")[2]
        if changed_at < now - UNUSED_SECONDS and not self.is_used(sha256):
            raise expired_error(shown)
        with file.open("rb") as opened:
            return opened.read(IMAGE_BYTES_MAX + 1), sha256

    def _find(self, upload_id: str) -> Path | None:
        """Return the file of an id, the picture before its announcement."""
        if not self.folder.is_dir():
            return None
        found = sorted(self.folder.glob(f"{upload_id}.*"), key=lambda file: file.name.endswith(WAITING))
        return found[0] if found else None

    def is_used(self, sha256: str) -> bool:
        """Return True if something was bought with the picture and is still kept."""
        return name_frame(sha256, self.videos_dir).is_file()
