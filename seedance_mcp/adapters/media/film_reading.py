"""Reading of videos in the film process: what a file declares, and its frames and sound in order.

A file comes from a studio and may lie, so each of its sizes, times and counts is checked against a bound here. Files
are opened by their real format only: a playlist that names other files or addresses is refused.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame

from seedance_mcp.core.wire.containers import NotAVideoError, read_container

PIXELS_MAX = 4096 * 4096
"""Most pixels of a frame: a 4K video of any shape."""
SIDE_MAX = 8192
SHOT_SECONDS_MAX = 60
"""Longest video that is one shot of a film."""
VIDEO_SECONDS_MAX = 1200
"""Longest video that is read at all: a film of the longest shots."""
RATE_MAX = 120
"""Most frames per second; a video with more is not one of a studio."""
ASPECT_MIN = Fraction(1, 4)
"""Narrowest pixel; what claims to be narrower is taken for square."""
DEFAULT_RATE = Fraction(24)

Refusal = Literal["unreadable", "no_video", "pixels", "long", "empty", "memory", "disk", "missing", "size"]

_FORMATS = {"mp4": "mov", "mov": "mov", "webm": "matroska", "mkv": "matroska"}
"""FFmpeg's reader by extension of the recognised container."""
_BROKEN = (FFmpegError, ValueError, OverflowError, ZeroDivisionError, EOFError)
"""Exceptions that PyAV raises on invalid bytes."""


class RefusedError(Exception):
    """A file cannot be used.

    Attributes:
        refusal: Why.
        detail: Further text for the log or the error, such as the operating system's words.
        shot: Index of the file, where there are several and it is known.
    """

    def __init__(self, refusal: Refusal, detail: str = "", *, shot: int | None = None) -> None:
        super().__init__(refusal)
        self.refusal: Refusal = refusal
        self.detail = detail
        self.shot = shot


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What the packets of a video show, before anything is decoded.

    Attributes:
        start: Time of its first frame in the file, in seconds.
        seconds: From its first frame to the end of its last one.
        rate: Frames per second.
        size: Width and height in pixels.
        aspect: Width of a pixel in heights of it.
        delay: By how much decoding precedes showing, in seconds.
        parameters: Everything that must be equal for two videos to be one stream.
        colours: The four colour tags.
        can_copy: False if its packets are no whole stream of their own.
        has_sound: True if it has a stream of sound.
    """

    file: Path
    start: Fraction
    seconds: Fraction
    rate: Fraction
    size: tuple[int, int]
    aspect: Fraction
    delay: Fraction
    parameters: tuple[object, ...]
    colours: tuple[int, ...]
    can_copy: bool
    has_sound: bool

    @property
    def shown_size(self) -> tuple[int, int]:
        """Return the size in square pixels."""
        return round(self.size[0] * self.aspect), self.size[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedShot:
    """A shot and its place in the film, in seconds from the film's start; neighbours overlap while they cross-fade."""

    shot: Shot
    start: Fraction
    stop: Fraction


@contextmanager
def open_video(file: Path) -> Generator[Any]:
    """Open a video by its real format.

    Raises:
        RefusedError: It is missing, or not a complete video with a stream of pictures of bounded size.
    """
    try:
        with file.open("rb") as opened:
            kind = read_container(opened, file.stat().st_size)
    except OSError as exc:
        raise RefusedError("missing", exc.strerror or type(exc).__name__) from exc
    except NotAVideoError as exc:
        raise RefusedError("no_video", str(exc)) from exc
    try:
        # The protocol is named, so that no name of a file is taken for one, and none but files are ever opened.
        with av.open(f"file:{file}", format=_FORMATS[kind.extension], options={"protocol_whitelist": "file"}) as found:
            container: Any = found  # PyAV's stubs type its packets only in part
            _check_streams(container)
            yield container
    except RefusedError:
        raise
    except MemoryError as exc:
        raise RefusedError("memory") from exc
    except _BROKEN as exc:
        raise RefusedError("unreadable", describe_error(exc)) from exc


def _check_streams(container: Any) -> None:
    """Check the declared size, and bound what the decoder may find instead."""
    if not container.streams.video:
        raise RefusedError("no_video", "has no stream of pictures")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise RefusedError("unreadable", "its pictures are in a format that is not known")
    if not 0 < stream.width * stream.height <= PIXELS_MAX or max(stream.width, stream.height) > SIDE_MAX:
        raise RefusedError("pixels")
    stream.codec_context.options = {"max_pixels": str(PIXELS_MAX)}
    stream.thread_type = "AUTO"


def read_shot(file: Path, *, seconds_max: int = SHOT_SECONDS_MAX) -> Shot:
    """Return what a video's packets show; decodes none.

    Raises:
        RefusedError: It cannot be used.
    """
    with open_video(file) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        if not packets:
            raise RefusedError("empty")
        base = Fraction(stream.time_base)
        rate = Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)
        if not 0 < rate <= RATE_MAX or len(packets) > RATE_MAX * seconds_max:
            raise RefusedError("long")
        is_timed = all(packet.pts is not None and packet.dts is not None for packet in packets)
        shown = [packet for packet in packets if packet.pts is not None and not packet.is_discard]
        if not shown:
            raise RefusedError("empty")
        first, last = min(shown, key=_read_pts), max(shown, key=_read_pts)
        seconds = (last.pts - first.pts) * base + ((last.duration or 0) * base or 1 / rate)
        if not 0 < seconds <= seconds_max:
            raise RefusedError("long")
        context = stream.codec_context
        tags = [context.color_range, context.color_primaries, context.color_trc, context.colorspace]
        colours = tuple(int(tag or 0) for tag in tags)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        extradata = bytes(context.extradata or b"")
        return Shot(
            file=file,
            start=first.pts * base,
            seconds=seconds,
            rate=rate,
            size=(stream.width, stream.height),
            aspect=aspect if ASPECT_MIN <= aspect <= 1 / ASPECT_MIN else Fraction(1),
            delay=(first.pts - packets[0].dts) * base if is_timed else Fraction(0),
            parameters=(context.name, stream.width, stream.height, context.pix_fmt, aspect, extradata, colours),
            colours=colours,
            can_copy=is_timed and packets[0].is_keyframe and len(shown) == len(packets) and bool(extradata),
            has_sound=bool(container.streams.audio),
        )


def _read_pts(packet: Any) -> int:
    return int(packet.pts)


def decode_frames(container: Any, *, is_lenient: bool = False) -> Iterator[VideoFrame]:
    """Yield the frames in the order in which they are shown, each with a time.

    Args:
        container: An open video.
        is_lenient: Whether a broken end is left out, as players do it; otherwise it is an error.
    """
    latest: int | None = None
    try:
        for frame in container.decode(video=0):
            if frame.pts is None or (latest is not None and frame.pts <= latest):
                continue  # players show it not at all
            if frame.width * frame.height > PIXELS_MAX:
                raise RefusedError("pixels")
            latest = frame.pts
            yield frame
    except _BROKEN:
        if not is_lenient or latest is None:
            raise


def describe_error(exc: BaseException) -> str:
    """Return the reason of an error without the name of a file."""
    return str(getattr(exc, "strerror", None) or exc or type(exc).__name__)
