"""The decoding process: reads a request from stdin, decodes its picture, writes the answer to stdout.

`decoder` runs it as `python -m seedance_mcp.adapters.media.worker`. It bounds its own memory and time, so that a
hostile picture can only end this process. It opens no file and no connection, and Pillow is its only large import.

A request's header has `operation` and its parameters; the answer's header has the result, or `refused` with a value of
`Refusal`. A new operation is a function in `OPERATIONS`.
"""

from __future__ import annotations

import importlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import IO, Literal

import PIL.Image

from seedance_mcp.adapters.media.bounds import Result, lift_limits, limit_memory, limit_seconds, take_stdout
from seedance_mcp.adapters.media.contents import is_heif
from seedance_mcp.adapters.media.messages import Header, read_message, write_message
from seedance_mcp.adapters.media.preparation import TURNS, prepare_picture

MEMORY_BYTES_MAX = 1536 * 1024 * 1024
"""Address space of this process, if the platform bounds it: enough for `PIXELS_MAX` of any format."""
SECONDS_MIN, SECONDS_PER_MEGAPIXEL = 2.0, 0.15
"""Processor time for one picture: several times that of the slowest format on a slow machine."""
PIXELS_MAX = 80_000_000
"""Decoded, each takes four bytes of memory."""
JPEG_PIXELS_MAX = 250_000_000
"""A JPEG is decoded at a fraction of its size, so that a phone's 200 megapixels take no more memory."""
SMALL_BYTES_MAX = 64 * 1024
SMALL_SIDE_MAX = 512
SKETCH_SIDE = 16

Refusal = Literal["unreadable", "truncated", "heif", "pixels", "memory"]

DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, EOFError, ArithmeticError,
    RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""Exceptions that Pillow's decoders raise on invalid bytes: undocumented, and without a common base class."""

_PLUGINS = ("Jpeg", "Png", "Bmp")
"""What is always tried; MPO, a JPEG with further pictures behind it, comes out of the JPEG reader by itself."""
_LATE_PLUGINS = (
    (0, (b"GIF8",), "Gif"), (0, (b"RIFF",), "WebP"), (4, (b"ftyp",), "Avif"), (0, (b"II", b"MM"), "Tiff"),
)  # fmt: skip
"""What only a picture needs that has these bytes at this place; to load them takes as long as a small picture."""
FORMATS = tuple(name.upper() for name in (*_PLUGINS, *(late for _, _, late in _LATE_PLUGINS)))
"""What is read."""


class RefusedError(Exception):
    """The bytes are not a picture in a supported format."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal: Refusal = refusal


def prepare(_: Header, data: bytes) -> Result:
    """Return the picture as it may leave the machine, after decoding all of it; no bytes if it may stay as it is."""
    with _open(data) as picture:
        prepared = prepare_picture(picture, data, orientation=_read_orientation(picture))
    header: Header = {
        "media_type": prepared.media_type,
        "size": prepared.size,
        "seen_size": prepared.seen_size,
        "changes": prepared.changes,
    }
    return header, prepared.data or b""


def shrink(_: Header, data: bytes) -> Result:
    """Return an upright JPEG of at most `SMALL_BYTES_MAX`: reduce first the size, then the quality, then the size."""
    with _open(data) as picture:
        orientation = _read_orientation(picture)
        picture.thumbnail((SMALL_SIDE_MAX, SMALL_SIDE_MAX), PIL.Image.Resampling.BILINEAR)  # half the time of bicubic
        small = picture.convert("RGB")
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    for side, quality in ((SMALL_SIDE_MAX, 85), (SMALL_SIDE_MAX, 60), (256, 70), (128, 70)):
        small.thumbnail((side, side))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= SMALL_BYTES_MAX:
            return {}, buffer.getvalue()
    raise RefusedError("unreadable")


def sketch(_: Header, data: bytes) -> Result:
    """Return the colours of an upright copy of `SKETCH_SIDE` pixels a side, three bytes for each pixel."""
    with _open(data) as picture:
        orientation = _read_orientation(picture)
        picture.draft("RGB", (SMALL_SIDE_MAX, SMALL_SIDE_MAX))  # quick for a large JPEG
        small = picture.convert("RGB")
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    return {}, small.resize((SKETCH_SIDE, SKETCH_SIDE)).tobytes()  # pyright: ignore[reportUnknownMemberType]  # NumPy's


OPERATIONS: dict[str, Callable[[Header, bytes], Result]] = {"prepare": prepare, "shrink": shrink, "sketch": sketch}
"""What may be asked for."""


@contextmanager
def _open(data: bytes) -> Generator[PIL.Image.Image]:
    """Open a picture of bounded size, and bound the time of the block."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_load_formats(data)) as picture:
            width, height = picture.size
            if width * height > (JPEG_PIXELS_MAX if picture.format in ("JPEG", "MPO") else PIXELS_MAX):
                raise RefusedError("pixels")
            limit_seconds(SECONDS_MIN + SECONDS_PER_MEGAPIXEL * width * height / 1_000_000)
            yield picture
    except PIL.Image.DecompressionBombError as exc:
        raise RefusedError("pixels") from exc
    except MemoryError as exc:
        raise RefusedError("memory") from exc
    except DECODER_ERRORS as exc:
        raise RefusedError("truncated" if "truncated" in str(exc).lower() else "unreadable") from exc


def _load_formats(data: bytes) -> list[str]:
    """Return the formats that a picture may have, once their decoders are loaded.

    Raises:
        RefusedError: The decoder is not installed.
    """
    formats = [name.upper() for name in _PLUGINS]
    for place, beginnings, plugin in _LATE_PLUGINS:
        if data.startswith(beginnings, place):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
            formats.append(plugin.upper())
    if is_heif(data):
        _load_heif()
        formats.append("HEIF")
    return formats


def _load_heif() -> None:
    """Load the HEIF decoder, which only such a picture needs.

    Raises:
        RefusedError: It is not installed.
    """
    try:
        pi_heif = importlib.import_module("pi_heif")
    except ImportError as exc:
        raise RefusedError("heif") from exc
    pi_heif.register_heif_opener()


def _read_orientation(picture: PIL.Image.Image) -> object:
    """Return the EXIF orientation; None if the EXIF block is invalid, which does not make the picture invalid."""
    try:
        return picture.getexif().get(0x0112)
    except DECODER_ERRORS:
        return None


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(header: Header, data: bytes) -> Result:
    """Return the answer to one request."""
    try:
        limit_seconds(SECONDS_MIN)
        return OPERATIONS[header["operation"]](header, data)
    except RefusedError as exc:
        return {"refused": exc.refusal}, b""
    except MemoryError:
        return {"refused": "memory"}, b""
    finally:
        lift_limits()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    write_message(answers, {"ready": True})
    while True:
        try:
            header, data = read_message(requests)
        except EOFError:  # the server has ended
            return
        write_message(answers, *answer(header, data))


def main() -> None:
    """Answer requests until stdin ends."""
    answers = take_stdout()  # a library that prints must not write between two answers
    warnings.simplefilter("ignore")  # Pillow thinks aloud about broken EXIF; its bound on pixels is not ours
    for name in _PLUGINS:  # now, rather than with the first picture
        importlib.import_module(f"PIL.{name}ImagePlugin")
    PIL.Image.MAX_IMAGE_PIXELS = None  # ours are the bounds
    limit_memory(MEMORY_BYTES_MAX)
    with suppress(OSError):  # the server has ended
        _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
