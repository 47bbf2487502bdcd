"""Frames of a film: those of each shot at the film's rate, scaled to its size, on black where the shape differs.

Pillow blends and places the planes of the frames as grey pictures; no frame is converted to RGB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image

from seedance_mcp.adapters.media.film_reading import PlacedShot, RefusedError, Shot, decode_frames, open_video
from seedance_mcp.adapters.media.film_stills import find_colourspace

Planes = tuple[Image.Image, ...]
Colours = tuple[int, ...]
"""Range, primaries, transfer and matrix, as numbers of ITU-T H.273."""

BT709: Colours = (int(ColorRange.MPEG), 1, 1, int(Colorspace.ITU709))
_BLACK = (16, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What all frames of a film have in common; `colours` None converts each frame to BT.709."""

    size: tuple[int, int]
    rate: Fraction
    colours: Colours | None


def choose_canvas(shots: list[Shot]) -> Canvas:
    """Return the largest size, the highest rate, and the colours if all shots agree about them."""
    width, height = max((shot.shown_size for shot in shots), key=lambda size: size[0] * size[1])
    rate = max(shot.rate for shot in shots).limit_denominator(100_000)
    colours = {shot.colours for shot in shots}
    return Canvas(
        size=(max(2, width - width % 2), max(2, height - height % 2)),
        rate=min(rate, Fraction(60)),
        colours=colours.pop() if len(colours) == 1 else None,
    )


class FrameReader:
    """The frames of one shot by their time; times must not decrease."""

    def __init__(self, shot: Shot, canvas: Canvas) -> None:
        self._shot, self._canvas = shot, canvas
        self._stack = ExitStack()
        container = self._stack.enter_context(open_video(shot.file))
        self._frames: Iterator[VideoFrame] = decode_frames(container, is_lenient=True)
        self._next = next(self._frames, None)
        self._current: VideoFrame | None = None

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def find_frame(self, seconds: Fraction) -> VideoFrame:
        """Return the frame that is shown at a time from the shot's start, as the film shows it.

        Raises:
            RefusedError: The shot has no frame.
        """
        latest: VideoFrame | None = None
        while self._next is not None and (
            self._read_time(self._next) <= seconds or (self._current is None and latest is None)
        ):
            latest, self._next = self._next, next(self._frames, None)
        if latest is not None:
            self._current = fit_frame(latest, self._canvas, self._shot.aspect)
        if self._current is None:
            raise RefusedError("empty")
        return self._current

    def _read_time(self, frame: VideoFrame) -> Fraction:
        tolerance = 1 / (4 * self._canvas.rate)  # two clocks that round differently show the same frame
        return int(frame.pts or 0) * Fraction(frame.time_base or 0) - self._shot.start - tolerance


def compose_frames(placed: list[PlacedShot], canvas: Canvas, fade: Fraction) -> Iterator[VideoFrame]:
    """Yield the frames of a film, one for each tick of its rate; each shot starts with a key frame."""
    index, readers = -1, dict[int, FrameReader]()
    with ExitStack() as stack:
        for tick in range(round(placed[-1].stop * canvas.rate)):
            time = tick / canvas.rate
            is_first = index + 1 < len(placed) and placed[index + 1].start <= time + 1 / (4 * canvas.rate)
            if is_first:
                index += 1
                readers[index] = stack.enter_context(closing(FrameReader(placed[index].shot, canvas)))
                if index > 1:
                    readers.pop(index - 2).close()
            frame = readers[index].find_frame(time - placed[index].start)
            share = (time - placed[index].start) / fade if fade and index else Fraction(1)
            if share < 1:
                ended = readers[index - 1].find_frame(time - placed[index - 1].start)
                frame = blend_frames(ended, frame, max(0.0, float(share)))
            yield _stamp(frame, tick, canvas, is_key=is_first)


def _stamp(frame: VideoFrame, tick: int, canvas: Canvas, *, is_key: bool) -> VideoFrame:
    """Give a frame its time in the film and the film's colours."""
    frame.pts, frame.time_base = tick, 1 / canvas.rate
    frame.pict_type = PictureType.I if is_key else PictureType.NONE
    return frame


def fit_frame(frame: VideoFrame, canvas: Canvas, aspect: Fraction) -> VideoFrame:
    """Return a frame of the film's size: scaled, and in the middle of a black one if its shape differs."""
    width, height = canvas.size
    shape = Fraction(frame.width, frame.height) * aspect
    across, down = (width, round(width / shape)) if shape > Fraction(width, height) else (round(height * shape), height)
    inner = tuple(max(2, side - side % 2) for side in (min(across, width), min(down, height)))
    if abs(inner[0] - width) <= 2 and abs(inner[1] - height) <= 2:
        inner = canvas.size  # a line of black at an edge looks like a mistake
    scaled = _scale(frame, (inner[0], inner[1]), canvas.colours)
    if (scaled.width, scaled.height) == canvas.size:
        return scaled
    left, top = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
    ground: list[Image.Image] = []
    for index, plane in enumerate(_split(scaled)):
        share = 2 if index else 1
        black = Image.new("L", (width // share, height // share), _BLACK[index])
        black.paste(plane, (left // share, top // share))
        ground.append(black)
    return _join(tuple(ground), canvas.size)


def blend_frames(one: VideoFrame, other: VideoFrame, share: float) -> VideoFrame:
    """Return a mixture of two frames of one size; `share` is that of the second, from 0 to 1."""
    pairs = zip(_split(one), _split(other), strict=True)
    return _join(tuple(Image.blend(first, second, share) for first, second in pairs), (one.width, one.height))


def _scale(frame: VideoFrame, size: tuple[int, int], colours: Colours | None) -> VideoFrame:
    if colours is not None:
        if (frame.width, frame.height) == size and frame.format.name == "yuv420p":
            return frame
        return frame.reformat(*size, format="yuv420p", interpolation=Interpolation.BICUBIC)
    return frame.reformat(
        *size,
        format="yuv420p",
        src_colorspace=find_colourspace(frame),
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC,
    )


def _split(frame: VideoFrame) -> Planes:
    return tuple(
        Image.frombuffer("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
        for plane in frame.planes
    )


def _join(planes: Planes, size: tuple[int, int]) -> VideoFrame:
    frame = VideoFrame(*size, "yuv420p")
    for plane, picture in zip(frame.planes, planes, strict=True):
        target: Any = plane
        target.update(picture.crop((0, 0, plane.line_size, plane.height)).tobytes())
    return frame
