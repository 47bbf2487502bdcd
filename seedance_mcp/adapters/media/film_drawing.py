"""Animations of a video, GIF or WebP, of a bounded size. This module runs in the film process.

It draws the video again, smaller and with fewer frames, until the file is small enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from PIL import Image

from seedance_mcp.adapters.media.bounds import limit_seconds
from seedance_mcp.adapters.media.film_reading import (
    VIDEO_SECONDS_MAX,
    RefusedError,
    Shot,
    decode_frames,
    open_video,
    read_shot,
)
from seedance_mcp.adapters.media.film_stills import draw_picture

FRAMES_MAX = 600
SIDE_MIN = 64
ATTEMPTS_MAX = 6
SHRINK = 0.92
"""What is aimed at is smaller than what is allowed: a file's size does not follow its pixels exactly."""
SECONDS_MIN, SECONDS_PER_MEGAPIXEL = 60.0, 1.0
"""Processor time for an animation: several times what its frames take on a slow machine."""
RATE_MIN = Fraction(5)
COLOURS = 256
SAMPLES = 8
"""From how many frames the colours of a GIF are chosen."""
WEBP_QUALITY = 75


@dataclass(frozen=True, slots=True)
class _Size:
    """A size in pixels and frames per second."""

    width: int
    height: int
    rate: Fraction


def draw_animation(file: Path, output: Path, *, width_max: int, rate: Fraction, bytes_max: int) -> dict[str, object]:
    """Write an animation of a video that is at most so wide and so large, and return what it is.

    Args:
        file: The video.
        output: `.part` file; its stem ends with `.gif` or `.webp`.
        width_max: In pixels.
        rate: Frames per second, at most those of the video.
        bytes_max: Of the file.

    Raises:
        RefusedError: The video cannot be used, cannot be made that small, or the file cannot be written.
    """
    shot = read_shot(file, seconds_max=VIDEO_SECONDS_MAX)
    is_gif = output.stem.endswith(".gif")
    size = _choose_size(shot, width_max, rate)
    work = float(shot.seconds * shot.rate) * shot.size[0] * shot.size[1] / 1_000_000
    limit_seconds(SECONDS_MIN + ATTEMPTS_MAX * SECONDS_PER_MEGAPIXEL * work)
    for _ in range(ATTEMPTS_MAX):
        count = _draw(shot, output, size, is_gif=is_gif)
        size_bytes = output.stat().st_size
        if size_bytes <= bytes_max:
            return {"size": (size.width, size.height), "frames": count, "size_bytes": size_bytes}
        size = _shrink(size, bytes_max / size_bytes)
    raise RefusedError("size")


def _choose_size(shot: Shot, width_max: int, rate: Fraction) -> _Size:
    width, height = shot.shown_size
    scale = min(Fraction(1), Fraction(width_max, width))
    rate = min(rate, shot.rate, Fraction(FRAMES_MAX) / shot.seconds)
    return _Size(max(1, round(width * scale)), max(1, round(height * scale)), rate)


def _shrink(size: _Size, share: float) -> _Size:
    """Return a size that takes a share of the bytes: first fewer frames, then fewer pixels."""
    rate = max(min(RATE_MIN, size.rate), size.rate * Fraction(max(share, 0.5)).limit_denominator(100))
    rest = share / float(rate / size.rate)
    scale = min(1.0, SHRINK * sqrt(rest))
    width, height = round(size.width * scale), round(size.height * scale)
    if min(width, height) < min(SIDE_MIN, size.width, size.height):
        raise RefusedError("size")
    return _Size(width, height, rate)


def _draw(shot: Shot, output: Path, size: _Size, *, is_gif: bool) -> int:
    """Write an animation of one size, and return how many frames it has."""
    frames = _draw_frames(shot, size)
    how: dict[str, Any] = {"format": "WEBP", "quality": WEBP_QUALITY, "method": 3}
    if is_gif:
        palette = _choose_palette(shot, size)
        frames = (frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames)
        how = {"format": "GIF", "disposal": 1, "optimize": False}
    count = 0

    def count_frames(of: Iterator[Image.Image]) -> Iterator[Image.Image]:
        nonlocal count
        for frame in of:
            count += 1
            yield frame

    counted = count_frames(frames)
    first = next(counted, None)
    if first is None:
        raise RefusedError("empty")
    try:
        with output.open("wb") as opened:
            first.save(
                opened, save_all=True, append_images=counted, loop=0, duration=_list_durations(shot, size), **how
            )
    except OSError as exc:
        raise RefusedError("disk", exc.strerror or type(exc).__name__) from exc
    return count


def _list_durations(shot: Shot, size: _Size) -> list[int]:
    """Return the milliseconds of each frame, in hundredths of a second, whose sum is exact; a few more than needed."""
    starts = [round(100 * tick / size.rate) * 10 for tick in range(ceil(shot.seconds * size.rate) + 3)]
    return [stop - start for start, stop in pairwise(starts)]


def _draw_frames(shot: Shot, size: _Size) -> Iterator[Image.Image]:
    """Yield the pictures that a player shows at each tick."""
    with open_video(shot.file) as container:
        tick = 0
        for frame in decode_frames(container, is_lenient=True):
            if int(frame.pts or 0) * Fraction(frame.time_base or 0) - shot.start >= tick / size.rate - 1 / (
                4 * shot.rate
            ):
                yield draw_picture(frame, (size.width, size.height))
                tick += 1


def _choose_palette(shot: Shot, size: _Size) -> Image.Image:
    """Return a picture with the colours of some frames of the whole video."""
    few = _Size(size.width, size.height, min(size.rate, SAMPLES / shot.seconds))
    strip: list[Image.Image] = list(_draw_frames(shot, few))[:SAMPLES]
    if not strip:
        raise RefusedError("empty")
    together = Image.new("RGB", (size.width, size.height * len(strip)))
    for index, frame in enumerate(strip):
        together.paste(frame, (0, index * size.height))
    return together.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
