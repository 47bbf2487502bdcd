"""Media: the user's files, and only those the owner opened.

Reads an image from disk or takes its bytes from the network's room, and says what it *is*: by decoding it, never by
its name. Saves a finished video whole or not at all, under a name of our own. A file that is not a picture never
leaves the disk, whatever its name says.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import struct
import threading
import warnings
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from seedance_mcp.errors import ImageError, VideoUnsavedError, quote_text
from seedance_mcp.wire.generation import ASPECT_RATIOS, AspectRatio

if TYPE_CHECKING:
    import PIL.Image

IMAGE_BYTES_MAX = 10_000_000
"""Source: contract section 2, media rules."""
IMAGE_PIXELS_MAX = 80_000_000
"""Decoded, each takes four bytes of memory. Below the number at which Pillow begins to warn."""
VIDEO_BYTES_MAX = 512 * 1024 * 1024
FRAMES_FOLDER = "frames"
"""Beside the videos: small pictures of what they were made of."""
THUMBNAIL_BYTES_MAX = 64 * 1024
THUMBNAIL_SIDE_MAX = 512
MP4_BOXES_MAX = 10_000
SLUG_CHARACTERS_MAX = 40
PATH_CHARACTERS_MAX = 200
"""How much of a path is repeated in an error."""

DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, EOFError, ArithmeticError,
    RuntimeError, AssertionError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on broken bytes: many, undocumented, and without a root of their own."""

_MEDIA_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""What is tried; MPO, a JPEG with further pictures behind it, comes out of the JPEG reader by itself."""
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_SYSTEM_DIRS = ("/etc", "/proc", "/sys", "/dev", "/boot", "/run", "/var/run", "/private/etc")
_MEDIA_MOUNTS = "/run/media"
"""Where a Linux desktop mounts a person's card or stick."""
_DIMENSION_FLIPPING_ORIENTATIONS = range(5, 9)
"""EXIF orientations that turn a picture by a quarter. Source: Exif 2.32, tag 0x0112."""
_TURNS: dict[object, str] = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
"""What makes a picture of each orientation upright."""


_DECODER = threading.Lock()
"""One picture is decoded at a time: it bounds memory, and `warnings.catch_warnings` is not safe in two threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture's bytes and what decoding them says; width and height are as a person sees it."""

    data: bytes = field(repr=False)
    sha256: str
    media_type: str
    width: int
    height: int

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    @property
    def file_name(self) -> str:
        """The name that the studio gets to see: ours, never the user's path."""
        return f"{self.sha256[:16]}.{_EXTENSIONS[self.media_type]}"


async def read_image(path: str, image_dirs: tuple[Path, ...]) -> Image:
    """Read and decode a local picture.

    Args:
        path: A path or a `file://` URL.
        image_dirs: Resolved folders that it must be in; empty: anywhere but hidden and system folders.

    Raises:
        ImageError: Missing, not a file, not allowed, too large, or not a picture.
    """
    return await anyio.to_thread.run_sync(_read_image, path, image_dirs)


async def decode_image(data: bytes, name: str) -> Image:
    """Say what these bytes are.

    Raises:
        ImageError: Not a picture in one of the four formats.
    """
    return await anyio.to_thread.run_sync(_decode, data, name)


def nearest_aspect_ratio(width: int, height: int) -> AspectRatio:
    """The studio's aspect ratio that is nearest to a picture's own shape."""

    def distance(ratio: AspectRatio) -> int:
        # |log| without floats: compare w*b with h*a by their quotient in either direction, scaled to whole numbers.
        a, b = (int(part) for part in ratio.split(":"))
        one, other = width * b, height * a
        return max(one, other) * 1_000_000 // min(one, other)

    return min(ASPECT_RATIOS, key=distance)


def _read_image(text: str, image_dirs: tuple[Path, ...]) -> Image:
    named = quote_text(text, PATH_CHARACTERS_MAX)
    try:
        path = _read_path(text).expanduser().resolve()
        _check_place(path, image_dirs)  # before anything is said about what is there
        if not path.exists():
            raise ImageError(f"There is no file {path}.", "Give the absolute path of a picture, or an https URL.")
        if not path.is_file():
            raise ImageError(f"{path} is not a file.", "Give the path of a picture.")
        with path.open("rb") as file:
            data = file.read(IMAGE_BYTES_MAX + 1)
    # ValueError: a NUL or a broken URL; RuntimeError: a loop of symlinks, or a home that nobody has.
    except (OSError, ValueError, RuntimeError) as exc:
        raise ImageError(f"{named} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc
    return _decode(data, str(path))


def _read_path(text: str) -> Path:
    """A path, or a `file:` URL as a path. Source: RFC 8089, section 2."""
    if not text.lower().startswith("file:"):
        return Path(text)
    parts = urlsplit(text)
    if parts.netloc.lower() not in ("", "localhost"):
        raise ImageError(f"{quote_text(text, PATH_CHARACTERS_MAX)} is on another machine.", "Give a local path.")
    return Path(unquote(parts.path))


def _check_place(path: Path, image_dirs: tuple[Path, ...]) -> None:
    if image_dirs:
        if not any(path.is_relative_to(folder) for folder in image_dirs):
            raise ImageError(
                f"{path} is outside the folders that the owner opened.",
                f"Use a picture below {', '.join(str(folder) for folder in image_dirs[:5])}.",
            )
        return
    system = any(path.is_relative_to(folder) for folder in _SYSTEM_DIRS) and not path.is_relative_to(_MEDIA_MOUNTS)
    if system or any(part.startswith(".") for part in path.parts[1:]):
        raise ImageError(
            f"{path} is in a hidden or system folder.",
            "Copy the picture elsewhere, or let the owner open its folder with SEEDANCE_IMAGE_DIRS.",
        )


def _decode(data: bytes, name: str) -> Image:
    if not data:
        raise ImageError(f"{name} is empty.")
    if len(data) > IMAGE_BYTES_MAX:
        raise ImageError(f"{name} is larger than {IMAGE_BYTES_MAX // 1_000_000} MB.", "Make it smaller and try again.")
    import PIL.Image  # a tenth of a second to load: only once there is a picture

    try:
        with _DECODER, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow thinks aloud about broken EXIF; its bound on pixels is not ours
            with PIL.Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "GIF", "WEBP")) as picture:
                media_type = _MEDIA_TYPES[picture.format or ""]
                width, height = picture.size
                if width * height > IMAGE_PIXELS_MAX:
                    raise _too_many_pixels(name)
                orientation = _read_orientation(picture)
                picture.load()
    except PIL.Image.DecompressionBombError as exc:
        raise _too_many_pixels(name) from exc
    except DECODER_ERRORS as exc:
        raise ImageError(
            f"{name} is not a readable JPEG, PNG, GIF or WebP picture.", "Convert it to PNG or JPEG."
        ) from exc
    if orientation in _DIMENSION_FLIPPING_ORIENTATIONS:
        width, height = height, width
    return Image(data=data, sha256=hashlib.sha256(data).hexdigest(), media_type=media_type, width=width, height=height)


def _too_many_pixels(name: str) -> ImageError:
    return ImageError(
        f"{name} has more than {IMAGE_PIXELS_MAX // 1_000_000} million pixels.", "Make it smaller and try again."
    )


def _read_orientation(picture: PIL.Image.Image) -> object:
    """The EXIF orientation; none where the EXIF block is broken, which the picture itself need not be."""
    try:
        return picture.getexif().get(0x0112)
    except DECODER_ERRORS:
        return None


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


async def save_thumbnail(data: bytes, folder: Path, name: str) -> Path:
    """Save a picture as a small JPEG `<name>.jpg` of at most `THUMBNAIL_BYTES_MAX`.

    Raises:
        ImageError: Not a picture.
        OSError: The disk says no.
    """
    await decode_image(data, "The thumbnail")
    return await _save_small(data, folder, name)


async def keep_frame(image: Image, videos_dir: Path) -> Path:
    """Keep a small JPEG of a picture that a clip is made of, under the picture's own hash; once is enough.

    Raises:
        ImageError: It cannot be made small.
        OSError: The disk says no.
    """
    file = name_frame(image.sha256, videos_dir)
    if not file.exists():
        await anyio.Path(file.parent).mkdir(parents=True, exist_ok=True)
        await _save_small(image.data, file.parent, file.stem)
    return file


def name_frame(sha256: str, videos_dir: Path) -> Path:
    """Where the small JPEG of a picture is kept, if it is."""
    return videos_dir / FRAMES_FOLDER / f"{sha256}.jpg"


async def _save_small(data: bytes, folder: Path, name: str) -> Path:
    try:
        small = await anyio.to_thread.run_sync(_shrink, data)
    except DECODER_ERRORS as exc:
        raise ImageError("The picture cannot be made small.") from exc
    target, partial = folder / f"{name}.jpg", folder / f".{name[:16]}.{secrets.token_hex(4)}.part"
    try:
        await anyio.Path(partial).write_bytes(small)
        partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return target


async def read_thumbnail(file: Path) -> bytes | None:
    """A saved thumbnail's bytes; None where it is gone or is not as small as we made it."""

    def read() -> bytes:
        with file.open("rb") as opened:
            return opened.read(THUMBNAIL_BYTES_MAX + 1)

    try:
        data = await anyio.to_thread.run_sync(read)
    except OSError:
        return None
    return data if 0 < len(data) <= THUMBNAIL_BYTES_MAX else None


def _shrink(data: bytes) -> bytes:
    """An upright JPEG of at most `THUMBNAIL_BYTES_MAX`: first smaller, then coarser, then smaller again."""
    import PIL.Image  # loaded already, by `_decode`

    with _DECODER, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `_decode`
        with PIL.Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "GIF", "WEBP")) as picture:
            orientation = _read_orientation(picture)
            picture.thumbnail((THUMBNAIL_SIDE_MAX, THUMBNAIL_SIDE_MAX))
            small = picture.convert("RGB")
    if orientation in _TURNS:
        small = small.transpose(PIL.Image.Transpose[_TURNS[orientation]])
    for side, quality in ((THUMBNAIL_SIDE_MAX, 85), (THUMBNAIL_SIDE_MAX, 60), (256, 70), (128, 70)):
        small.thumbnail((side, side))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES_MAX:
            return buffer.getvalue()
    raise ImageError("The thumbnail cannot be made small enough.")
