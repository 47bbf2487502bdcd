"""Thumbnails: small JPEGs of finished videos and of their source pictures."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image, decode
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ImageError

FRAMES_FOLDER = "frames"
"""Folder beside the videos, with small copies of their source pictures."""
THUMBNAIL_BYTES_MAX = 64 * 1024

_SHA256 = re.compile("[0-9a-f]{64}")


async def save_thumbnail(data: bytes, folder: Path, name: str) -> Path:
    """Save a picture as a small JPEG `<name>.jpg` of at most `THUMBNAIL_BYTES_MAX`.

    Raises:
        ImageError: Not a picture.
        InternalError: The decoder cannot be started.
        OSError: It cannot be written.
    """
    if len(data) > IMAGE_BYTES_MAX:
        raise ImageError("The thumbnail is too large.")
    return await _save_small(data, folder, name, "The thumbnail")


async def keep_frame(image: Image, videos_dir: Path) -> Path:
    """Store a small JPEG of a video's source picture under the picture's hash, unless it is stored already.

    Raises:
        ImageError: It cannot be made small.
        OSError: It cannot be written.
    """
    file = name_frame(image.sha256, videos_dir)
    if not file.exists():
        await anyio.Path(file.parent).mkdir(parents=True, exist_ok=True)
        await _save_small(image.data, file.parent, file.stem, "The picture")
    return file


async def shrink_image(image: Image) -> bytes | None:
    """Return a small JPEG of a picture, or None if it cannot be made small."""
    try:
        _, small = await decode("shrink", image.data, "The picture")
    except SeedanceError:
        return None
    return small


def name_frame(sha256: str, videos_dir: Path) -> Path:
    """Return the path of the small JPEG of a picture; it may not exist."""
    return videos_dir / FRAMES_FOLDER / f"{sha256}.jpg"


def find_frame(sha256: object, videos_dir: Path) -> Path | None:
    """Return the path of the small JPEG of a picture; None if a job's argument is no hash of a picture."""
    return name_frame(sha256, videos_dir) if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None


async def _save_small(data: bytes, folder: Path, name: str, what: str) -> Path:
    _, small = await decode("shrink", data, what)
    target, partial = folder / f"{name}.jpg", folder / f".{name[:16]}.{secrets.token_hex(4)}.part"
    try:
        await anyio.Path(partial).write_bytes(small)
        partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return target


async def read_thumbnail(file: Path) -> bytes | None:
    """Return a saved thumbnail's bytes; None if it is missing or larger than a thumbnail of ours."""

    def read() -> bytes:
        with file.open("rb") as opened:
            return opened.read(THUMBNAIL_BYTES_MAX + 1)

    try:
        data = await anyio.to_thread.run_sync(read)
    except OSError:
        return None
    return data if 0 < len(data) <= THUMBNAIL_BYTES_MAX else None
