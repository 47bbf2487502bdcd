"""Rendering of videos: a slow zoom into the uploaded picture, which dissolves into the last frame if there is one.

A mark on every frame says that it is the sandbox's.

A video starts with the whole first picture and ends with the whole last one, so that a video that starts from the last
frame of another continues it.

It is fast without a numeric library: it converts the picture to studio-range YUV once, and every frame is three
resampled crops (one per plane, the colour planes at a quarter of the size), which Pillow computes in native code with
sub-pixel boxes. The encoder takes the planes directly; no frame is converted to RGB.

This module turns bytes into bytes. It knows no jobs or URLs and may be called from any thread. It keeps the latest
videos of this process in memory, so that the same pictures and plan are rendered once.
"""

import functools
import hashlib
import io
import math
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from seedance_mcp.sandbox.mark import mark_frame

FRAMES_PER_SECOND = 24
DURATION_SECONDS_MAX = 20
SIDE_PIXELS_MAX = 4096
THUMBNAIL_BYTES_MAX = 64 * 1024
THUMBNAIL_SIDE_PIXELS = 640
VIDEOS_KEPT_MAX = 32
"""How many videos this process keeps, for all its sandboxes."""
SAMPLES_PER_SECOND = 48_000

# The zoom over a whole video, and the share of the spare picture that the view moves across.
_ZOOM = 0.15
_TRAVEL = 0.6
# The dissolve to the last frame starts and ends at these fractions of the video.
_DISSOLVE = (0.45, 0.9)
_CHORD_HERTZ = (120, 180, 240, 300)
_CHORD_LEVEL = 0.06
_FADE_SECONDS = 0.6
_AUDIO_FRAME_SAMPLES = 1024

Planes = tuple[Image.Image, Image.Image, Image.Image]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a video is encoded: `scale` is a share of its size, and `sample_rate` None leaves out its sound."""

    frame_rate: int = FRAMES_PER_SECOND
    profile: str = "high"
    scale: Fraction = Fraction(1)
    sample_rate: int | None = SAMPLES_PER_SECOND


ENCODINGS = (
    Encoding(),
    Encoding(frame_rate=30, profile="baseline", sample_rate=44_100),
    Encoding(scale=Fraction(3, 4)),
    Encoding(profile="main", sample_rate=None),
)
"""The ordinary encoding first; the others are those of a studio that changes its encoder."""


class RenderError(Exception):
    """The picture cannot be decoded, or the rendering was cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPlan:
    """A rendering's settings. `aspect_ratio` None keeps the picture's shape; `size` in pixels overrides both."""

    duration_seconds: int
    short_side: int = 720
    aspect_ratio: tuple[int, int] | None = (16, 9)
    size: tuple[int, int] | None = None
    audio: bool = True
    encoding: int = 0
    """Which of `ENCODINGS`."""
    scale: Fraction = Fraction(1)
    """The share of the size that is rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedVideo:
    """A rendered video and its thumbnail."""

    video: bytes
    thumbnail: bytes


_kept: dict[tuple[RenderPlan, tuple[str, ...]], RenderedVideo] = {}
_keeping = threading.Lock()


def render_cached(
    pictures: list[bytes], plan: RenderPlan, *, cancelled: Callable[[], bool] = lambda: False
) -> RenderedVideo:
    """Return the kept video of these pictures and this plan, or render it.

    The key is every input of `render_video`, which always gives the same bytes for it.

    Raises:
        RenderError: As `render_video` does.
    """
    key = (plan, tuple(hashlib.sha256(content).hexdigest() for content in pictures))
    with _keeping:
        rendered = _kept.get(key)
    if rendered is None:
        rendered = render_video(pictures, plan, cancelled=cancelled)
    with _keeping:
        _kept.pop(key, None)
        _kept[key] = rendered  # least recently used is dropped first
        while len(_kept) > VIDEOS_KEPT_MAX:
            del _kept[next(iter(_kept))]
    return rendered


def read_picture(content: bytes) -> Image.Image:
    """Decode a picture and apply its EXIF orientation.

    Raises:
        RenderError: If Pillow cannot decode it.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            upright = ImageOps.exif_transpose(opened)
            return _flatten(upright)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise RenderError("the image could not be decoded") from exc


def find_size(plan: RenderPlan, picture: Image.Image) -> tuple[int, int]:
    """Return the video's width and height in pixels, both even."""
    scaled = plan.scale * ENCODINGS[plan.encoding].scale
    if plan.size is not None and scaled == 1:
        return plan.size
    across, down = plan.size or plan.aspect_ratio or picture.size
    scale = scaled if plan.size else scaled * Fraction(plan.short_side, min(across, down))
    width, height = (min(SIDE_PIXELS_MAX, 2 * round(side * scale / 2)) for side in (across, down))
    return width, height


def render_video(
    pictures: list[bytes], plan: RenderPlan, *, cancelled: Callable[[], bool] = lambda: False
) -> RenderedVideo:
    """Render a video from a first and an optional last picture.

    Args:
        pictures: One or two encoded images.
        plan: Length, size and sound.
        cancelled: Called before each frame; True ends the rendering.

    Raises:
        RenderError: If a picture cannot be decoded, or the rendering was cancelled.
    """
    decoded = [read_picture(content) for content in pictures[:2]]
    size = find_size(plan, decoded[0])
    covered = [_cover(picture, size) for picture in decoded]
    thumbnail = _render_thumbnail(decoded[0], size)
    sources = [_split_planes(picture) for picture in covered]
    duration_seconds = min(plan.duration_seconds, DURATION_SECONDS_MAX)
    encoding = ENCODINGS[plan.encoding]
    if not plan.audio:
        encoding = replace(encoding, sample_rate=None)
    frames = _compose_frames(sources, size, duration_seconds, encoding.frame_rate)
    with tempfile.TemporaryDirectory(prefix="sandbox-video-") as folder:
        # A file and not a buffer: `faststart` reads the output back to move the index to the front.
        path = Path(folder) / "output.mp4"
        try:
            _encode(path, frames, size, encoding, duration_seconds=duration_seconds, cancelled=cancelled)
        except FFmpegError as exc:
            raise RenderError("the video could not be encoded") from exc
        return RenderedVideo(video=path.read_bytes(), thumbnail=thumbnail)


def _encode(
    path: Path,
    frames: Iterator[VideoFrame],
    size: tuple[int, int],
    encoding: Encoding,
    *,
    duration_seconds: int,
    cancelled: Callable[[], bool],
) -> None:
    """Write frames, and sound of the same length, to an MP4 file.

    Raises:
        RenderError: If it was cancelled.
    """
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as opened:
        container: Any = opened  # PyAV's stubs type its packets only in part
        video = container.add_stream("libx264", rate=encoding.frame_rate)
        _tune_video(video, size, encoding)
        # All streams must exist before the first packet is written.
        sample_rate = encoding.sample_rate
        sound = container.add_stream("aac", rate=sample_rate, layout="mono") if sample_rate else None
        for frame in frames:
            if cancelled():
                raise RenderError("the rendering was cancelled")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None and sample_rate is not None:
            for samples in _play_chord(duration_seconds * sample_rate, sample_rate):
                container.mux(sound.encode(samples))
            container.mux(sound.encode(None))


def _flatten(picture: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB on a white background."""
    if picture.mode in ("RGBA", "LA", "PA", "P"):
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("RGB")
    return picture.convert("RGB")


def _cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop to the video's shape, and scale to the pixels that the closest view needs."""
    spare = (2 * math.ceil(size[0] * (1 + _ZOOM) / 2), 2 * math.ceil(size[1] * (1 + _ZOOM) / 2))
    return ImageOps.fit(picture, spare, Image.Resampling.LANCZOS)


def _render_thumbnail(picture: Image.Image, size: tuple[int, int]) -> bytes:
    scale = min(1.0, THUMBNAIL_SIDE_PIXELS / max(size))
    still = ImageOps.fit(picture, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
    for quality in (85, 70, 50, 30, 10):
        buffer = io.BytesIO()
        still.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES_MAX:
            return buffer.getvalue()
    raise RenderError("the thumbnail cannot be made small enough")


def _split_planes(picture: Image.Image) -> Planes:
    """Convert to BT.709 studio-range YUV at full resolution, with one greyscale image per plane."""
    converter: Any = VideoFrame  # its stub names Pillow without importing it
    frame: VideoFrame = converter.from_image(picture).reformat(
        format="yuv444p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    luma, blue, red = (
        Image.frombuffer("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
        for plane in frame.planes
    )
    return luma, _halve(blue), _halve(red)


def _halve(plane: Image.Image) -> Image.Image:
    return _resample(plane, (plane.width // 2, plane.height // 2), Image.Resampling.BOX)


def _tune_video(video: VideoStream, size: tuple[int, int], encoding: Encoding) -> None:
    video.width, video.height = size
    video.pix_fmt = "yuv420p"
    video.options = {"preset": "superfast", "crf": "21", "profile": encoding.profile}
    context = video.codec_context
    context.time_base = Fraction(1, encoding.frame_rate)
    context.gop_size = 2 * encoding.frame_rate
    context.colorspace = context.color_primaries = context.color_trc = Colorspace.ITU709
    context.color_range = ColorRange.MPEG


def _compose_frames(
    sources: list[Planes], size: tuple[int, int], duration_seconds: int, frame_rate: int
) -> Iterator[VideoFrame]:
    """Compose every frame of a video.

    In a longer video the view moves slower. Below one pixel per frame, the mean of two neighbouring frames looks like
    the frames between them and costs a tenth of resampling. That is so from four seconds on, so only shorter videos
    resample more than every third frame.
    """
    last = duration_seconds * frame_rate - 1
    stride = max(1, min(3, duration_seconds - 1))
    before = after = mark_frame(_compose_planes(sources, size, 0.0))
    for index in range(last + 1):
        step = index % stride
        if step == 0:
            before = after
            after = mark_frame(_compose_planes(sources, size, min(last, index + stride) / last))
        frame = VideoFrame(size[0], size[1], "yuv420p")
        for plane, here, there in zip(frame.planes, before, after, strict=True):
            seen = here if step == 0 else Image.blend(here, there, step / stride)
            plane.update(_pad_rows(seen, plane.line_size))
        frame.pts = index
        frame.time_base = Fraction(1, frame_rate)
        frame.colorspace = Colorspace.ITU709
        frame.color_range = ColorRange.MPEG
        yield frame


def _compose_planes(sources: list[Planes], size: tuple[int, int], progress: float) -> Planes:
    """Resample the view at one moment, of the first picture, the last, or both."""
    share = _find_share(progress) if len(sources) > 1 else 0.0
    first, last = sources[0], sources[-1]
    if share in (0.0, 1.0):
        return _view(last, size, 1 - progress) if share else _view(first, size, progress)
    views = zip(_view(first, size, progress), _view(last, size, 1 - progress), strict=True)
    luma, blue, red = (Image.blend(one, other, share) for one, other in views)
    return luma, blue, red


def _view(planes: Planes, size: tuple[int, int], progress: float) -> Planes:
    half = (size[0] // 2, size[1] // 2)
    luma, blue, red = (
        _resample(plane, pixels, Image.Resampling.BILINEAR, _find_box(plane.size, progress))
        for plane, pixels in zip(planes, (size, half, half), strict=True)
    )
    return luma, blue, red


def _resample(
    plane: Image.Image, size: tuple[int, int], filtering: Image.Resampling, box: Box | None = None
) -> Image.Image:
    resizer: Any = plane  # its stub names numpy, which is not installed
    return resizer.resize(size, filtering, box=box)


def _find_box(size: tuple[int, int], progress: float) -> Box:
    """Return the visible part of the picture: all of it at first, then less and less, towards the upper right."""
    eased = (1 - math.cos(math.pi * progress)) / 2
    scale = 1 - (1 - 1 / (1 + _ZOOM)) * eased
    width, height = size[0] * scale, size[1] * scale
    across, down = 0.5 + _TRAVEL * (eased - 0.5), 0.5 - _TRAVEL * (eased - 0.5)
    left, top = (size[0] - width) * across, (size[1] - height) * down
    return left, top, left + width, top + height


def _find_share(progress: float) -> float:
    """Return the opacity of the last frame, from 0 to 1."""
    start, end = _DISSOLVE
    linear = min(1.0, max(0.0, (progress - start) / (end - start)))
    return linear * linear * (3 - 2 * linear)


def _pad_rows(plane: Image.Image, line_bytes: int) -> bytes:
    """Return a plane's bytes with every row padded to the encoder's line length."""
    return plane.crop((0, 0, line_bytes, plane.height)).tobytes()


@functools.cache
def _compute_chord(sample_rate: int) -> "array[float]":
    """Compute two periods of the chord or more: an audio frame from any sample of the first period on."""
    period = sample_rate // math.gcd(*_CHORD_HERTZ)
    turn = 2 * math.pi / sample_rate
    once = array(
        "f",
        (_CHORD_LEVEL * sum(math.sin(turn * hertz * index) for hertz in _CHORD_HERTZ) for index in range(period)),
    )
    return once * (1 + math.ceil(_AUDIO_FRAME_SAMPLES / period))


def _play_chord(sample_count: int, sample_rate: int) -> Iterator[AudioFrame]:
    """Generate a quiet chord that fades in and out; its tones have a common divisor, so a short part of it repeats."""
    chord, period = _compute_chord(sample_rate), sample_rate // math.gcd(*_CHORD_HERTZ)
    fade_samples = _FADE_SECONDS * sample_rate
    for start in range(0, sample_count, _AUDIO_FRAME_SAMPLES):
        stop = min(sample_count, start + _AUDIO_FRAME_SAMPLES)
        level = min(1.0, min(start, sample_count - stop) / fade_samples)
        samples = chord[start % period :][: stop - start]
        if level < 1:
            samples = array("f", (level * sample for sample in samples))
        frame = AudioFrame(format="fltp", layout="mono", samples=stop - start)
        plane = frame.planes[0]
        plane.update(samples.tobytes().ljust(plane.buffer_size, b"\0"))
        frame.sample_rate = sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, sample_rate)
        yield frame
