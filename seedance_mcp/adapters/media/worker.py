"""The decoding process: reads a request from stdin, decodes its picture, writes the answer to stdout.

`decoder` runs it as `python -m seedance_mcp.adapters.media.worker`. It bounds its own memory and time, so that a
hostile picture can only end this process. It opens no file and no connection, and Pillow is its only large import.

A request's header has `operation` and its parameters; the answer's header has the result, or `refused` with a value of
`Refusal`. A new operation is a function in `OPERATIONS`.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import os
import signal
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import IO, Literal

import PIL.Image

from seedance_mcp.adapters.media.messages import Header, read_message, write_message

if sys.platform != "win32":
    import resource

MEMORY_BYTES_MAX = 1536 * 1024 * 1024
"""Address space of this process, if the platform bounds it: enough for `PIXELS_MAX` of any format."""
SECONDS_MIN, SECONDS_PER_MEGAPIXEL = 2.0, 0.15
"""Processor time for one picture: several times that of the slowest format on a slow machine."""
WALL_FACTOR = 3
"""Ratio of the bound on elapsed time to the one on processor time."""
PIXELS_MAX = 80_000_000
"""Most pixels of a picture; each takes four bytes of memory. It is below the number at which Pillow warns."""
SMALL_BYTES_MAX = 64 * 1024
SMALL_SIDE_MAX = 512
SKETCH_SIDE = 16

Refusal = Literal["unreadable", "pixels", "memory"]
Result = tuple[Header, bytes]

DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, EOFError, ArithmeticError,
    RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""Exceptions that Pillow's decoders raise on invalid bytes: undocumented, and without a common base class."""

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""Formats that are tried; the JPEG reader also reads MPO, a JPEG followed by more pictures."""
_MEDIA_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "WEBP": "WebP"}
_DIMENSION_FLIPPING_ORIENTATIONS = range(5, 9)
"""EXIF orientations that rotate a picture by 90 degrees. Source: Exif 2.32, tag 0x0112."""
_TURNS: dict[object, str] = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
"""Transposition that makes a picture upright, by orientation."""


class RefusedError(Exception):
    """The bytes are not a picture in a supported format."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal: Refusal = refusal


def inspect(_: Header, data: bytes) -> Result:
    """Decode a whole picture and return its format, width and height; the size is that of the upright picture."""
    with _open(data) as picture:
        media_type = _MEDIA_TYPES[picture.format or ""]
        width, height = picture.size
        orientation = _read_orientation(picture)
        picture.load()
    if orientation in _DIMENSION_FLIPPING_ORIENTATIONS:
        width, height = height, width
    return {"media_type": media_type, "width": width, "height": height}, b""


def shrink(_: Header, data: bytes) -> Result:
    """Return an upright JPEG of at most `SMALL_BYTES_MAX`: reduce first the size, then the quality, then the size."""
    with _open(data) as picture:
        orientation = _read_orientation(picture)
        picture.thumbnail((SMALL_SIDE_MAX, SMALL_SIDE_MAX))
        small = picture.convert("RGB")
    if orientation in _TURNS:
        small = small.transpose(PIL.Image.Transpose[_TURNS[orientation]])
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
    if orientation in _TURNS:
        small = small.transpose(PIL.Image.Transpose[_TURNS[orientation]])
    return {}, small.resize((SKETCH_SIDE, SKETCH_SIDE)).tobytes()  # pyright: ignore[reportUnknownMemberType]  # NumPy's


OPERATIONS: dict[str, Callable[[Header, bytes], Result]] = {"inspect": inspect, "shrink": shrink, "sketch": sketch}
"""The operations, by name."""


@contextmanager
def _open(data: bytes) -> Generator[PIL.Image.Image]:
    """Open a picture of bounded size, and bound the time of the block."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > PIXELS_MAX:
                raise RefusedError("pixels")
            _limit_seconds(SECONDS_MIN + SECONDS_PER_MEGAPIXEL * width * height / 1_000_000)
            yield picture
    except PIL.Image.DecompressionBombError as exc:
        raise RefusedError("pixels") from exc
    except MemoryError as exc:
        raise RefusedError("memory") from exc
    except DECODER_ERRORS as exc:
        raise RefusedError("unreadable") from exc


def _read_orientation(picture: PIL.Image.Image) -> object:
    """Return the EXIF orientation; None if the EXIF block is invalid, which does not make the picture invalid."""
    try:
        return picture.getexif().get(0x0112)
    except DECODER_ERRORS:
        return None


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _limit_seconds(seconds: float) -> None:
    """End this process if the picture takes longer; neither bound needs the interpreter."""
    # A thread outside the interpreter: no decoder can block it, on any platform.
    faulthandler.dump_traceback_later(seconds * WALL_FACTOR, exit=True)
    if sys.platform != "win32":
        used = resource.getrusage(resource.RUSAGE_SELF)
        _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)


def _lift_limits() -> None:
    faulthandler.cancel_dump_traceback_later()
    if sys.platform != "win32":
        _set_limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _limit_memory() -> None:
    if sys.platform != "win32":
        _set_limit(resource.RLIMIT_AS, MEMORY_BYTES_MAX)
        _set_limit(resource.RLIMIT_CORE, 0)  # an intended end must not write a core file


def _set_limit(kind: int, soft: int) -> None:
    """Set a soft limit within the hard one; macOS does not support every kind."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def answer(header: Header, data: bytes) -> Result:
    """Return the answer to one request."""
    try:
        _limit_seconds(SECONDS_MIN)
        return OPERATIONS[header["operation"]](header, data)
    except RefusedError as exc:
        return {"refused": exc.refusal}, b""
    except MemoryError:
        return {"refused": "memory"}, b""
    finally:
        _lift_limits()


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # output of a library must not come between two answers
    warnings.simplefilter("ignore")  # Pillow warns about invalid EXIF and about its own bound on pixels
    for kind in _FORMATS:  # load the plugins before the first picture
        importlib.import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    _limit_memory()
    with suppress(OSError):  # the server has ended
        _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
