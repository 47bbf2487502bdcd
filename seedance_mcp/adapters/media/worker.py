"""The decoding process: reads a request from stdin, decodes the picture in it, writes the answer to stdout.

Run as `python -m seedance_mcp.adapters.media.worker` by `decoder`. It bounds its own memory and seconds, so
that a hostile picture ends this process at most. It opens no file and no connection, and must import nothing heavy
but Pillow.

A request's header has `operation` and its parameters; the answer's header has the result, or `refused` with a word of
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
"""Address space of this process, where the platform bounds it: `PIXELS_MAX` of any format fit."""
SECONDS_MIN, SECONDS_PER_MEGAPIXEL = 2.0, 0.15
"""Processor time for one picture: several times what the slowest format takes on a slow machine."""
WALL_FACTOR = 3
"""A picture that waits for its processor may take this many times as long by the clock."""
PIXELS_MAX = 80_000_000
"""Decoded, each takes four bytes of memory. Below the number at which Pillow begins to warn."""
SMALL_BYTES_MAX = 64 * 1024
SMALL_SIDE_MAX = 512
SKETCH_SIDE = 16

Refusal = Literal["unreadable", "pixels", "memory"]
Result = tuple[Header, bytes]

DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, EOFError, ArithmeticError,
    RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on broken bytes: many, undocumented, and without a root of their own."""

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""What is tried; MPO, a JPEG with further pictures behind it, comes out of the JPEG reader by itself."""
_MEDIA_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "WEBP": "WebP"}
_DIMENSION_FLIPPING_ORIENTATIONS = range(5, 9)
"""EXIF orientations that turn a picture by a quarter. Source: Exif 2.32, tag 0x0112."""
_TURNS: dict[object, str] = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
"""What makes a picture of each orientation upright."""


class RefusedError(Exception):
    """The bytes are not a picture that we decode."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal: Refusal = refusal


def inspect(_: Header, data: bytes) -> Result:
    """Return what the bytes are, after decoding all of them; width and height are as a person sees the picture."""
    with _open(data) as picture:
        media_type = _MEDIA_TYPES[picture.format or ""]
        width, height = picture.size
        orientation = _read_orientation(picture)
        picture.load()
    if orientation in _DIMENSION_FLIPPING_ORIENTATIONS:
        width, height = height, width
    return {"media_type": media_type, "width": width, "height": height}, b""


def shrink(_: Header, data: bytes) -> Result:
    """Return an upright JPEG of at most `SMALL_BYTES_MAX`: first smaller, then coarser, then smaller again."""
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
"""What may be asked for."""


@contextmanager
def _open(data: bytes) -> Generator[PIL.Image.Image]:
    """Open a picture of bounded size, and bound the seconds of what is done with it."""
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
    """Return the EXIF orientation; None where the EXIF block is broken, which the picture itself need not be."""
    try:
        return picture.getexif().get(0x0112)
    except DECODER_ERRORS:
        return None


# ── the process ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _limit_seconds(seconds: float) -> None:
    """End this process unless the picture is done by then; neither bound needs Python to run."""
    # A thread outside the interpreter: no decoder can hold it up, on any platform.
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
        _set_limit(resource.RLIMIT_CORE, 0)  # what ends here on purpose leaves no file behind


def _set_limit(kind: int, soft: int) -> None:
    """Set a soft limit as far as the hard one allows; macOS does not bound every kind."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is the server's to hear
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # a library that prints must not write between two answers
    warnings.simplefilter("ignore")  # Pillow thinks aloud about broken EXIF; its bound on pixels is not ours
    for kind in _FORMATS:  # now, rather than with the first picture
        importlib.import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    _limit_memory()
    with suppress(OSError):  # nobody reads the answer any more
        _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
