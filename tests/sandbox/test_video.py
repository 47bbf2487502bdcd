"""Rendered videos match their plan, as an independent decoder reads them."""

import io
from dataclasses import replace
from typing import Any

import av
import pytest
from PIL import Image

from seedance_mcp.sandbox import EXAMPLE_IMAGE
from seedance_mcp.sandbox.mark import find_place
from seedance_mcp.sandbox.video import (
    ENCODINGS,
    THUMBNAIL_BYTES_MAX,
    RenderError,
    RenderPlan,
    render_cached,
    render_video,
)
from tests.films import measure_distance

from .client import draw_image

FRAME_SECONDS = 1 / 24
SMALL = RenderPlan(duration_seconds=1, size=(320, 180), audio=False)


def read_frame(video: bytes, *, last: bool = False) -> Image.Image:
    with av.open(io.BytesIO(video), "r") as container:
        frames: list[Any] = list(container.decode(video=0))
    return frames[-1 if last else 0].to_image()


def read_colour(picture: Image.Image) -> tuple[int, ...]:
    pixel = picture.getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize(
    ("plan", "size"),
    [
        (RenderPlan(duration_seconds=1, short_side=480), (854, 480)),
        (RenderPlan(duration_seconds=1, short_side=720, audio=False), (1280, 720)),
        (RenderPlan(duration_seconds=1, short_side=480, aspect_ratio=(9, 16)), (480, 854)),
        (RenderPlan(duration_seconds=1, short_side=480, aspect_ratio=(1, 1)), (480, 480)),
        (RenderPlan(duration_seconds=1, short_side=480, aspect_ratio=(4, 3)), (640, 480)),
        (RenderPlan(duration_seconds=1, short_side=480, aspect_ratio=(21, 9)), (1120, 480)),
        (RenderPlan(duration_seconds=1, short_side=480, aspect_ratio=None), (480, 672)),
        (RenderPlan(duration_seconds=13, size=(160, 90)), (160, 90)),
    ],
)
def test_video_has_the_requested_length_size_and_sound(plan: RenderPlan, size: tuple[int, int]) -> None:
    rendered = render_video([draw_image((250, 350), kind="JPEG")], plan)

    with av.open(io.BytesIO(rendered.video), "r") as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert (video.width, video.height) == size
        assert video.average_rate == 24
        assert video.frames == plan.duration_seconds * 24
        assert container.duration is not None
        assert abs(container.duration / av.time_base - plan.duration_seconds) <= FRAME_SECONDS
        assert [stream.codec_context.name for stream in container.streams.audio] == (["aac"] if plan.audio else [])
    assert rendered.video.index(b"moov") < rendered.video.index(b"mdat")
    with Image.open(io.BytesIO(rendered.thumbnail)) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert len(rendered.thumbnail) <= THUMBNAIL_BYTES_MAX
        assert abs(thumbnail.width / thumbnail.height - size[0] / size[1]) < 0.02


def test_video_starts_with_first_and_ends_with_last_picture() -> None:
    rendered = render_video([draw_image(colour="red"), draw_image(colour="blue")], SMALL)

    red, _, blue = read_colour(read_frame(rendered.video))
    assert (red > 200, blue < 60) == (True, True)
    red, _, blue = read_colour(read_frame(rendered.video, last=True))
    assert (red < 60, blue > 200) == (True, True)


def test_colours_are_preserved() -> None:
    rendered = render_video([draw_image(colour="#3a7d44")], SMALL)

    seen = read_colour(read_frame(rendered.video))

    assert all(abs(one - other) <= 6 for one, other in zip(seen, (0x3A, 0x7D, 0x44), strict=True))


def test_video_continues_the_one_whose_last_frame_it_starts_from() -> None:
    one = render_video([EXAMPLE_IMAGE.read_bytes()], SMALL)
    last = read_frame(one.video, last=True)
    buffer = io.BytesIO()
    last.save(buffer, "PNG")

    other = render_video([buffer.getvalue()], SMALL)

    assert measure_distance(last, read_frame(other.video)) < 4
    assert measure_distance(read_frame(one.video), last) > 15
    assert measure_distance(read_frame(other.video), read_frame(other.video, last=True)) > 15


def test_video_ends_with_the_whole_last_picture() -> None:
    sail = EXAMPLE_IMAGE.read_bytes()
    whole = read_frame(render_video([sail], SMALL).video)

    rendered = render_video([draw_image(colour="red"), sail], SMALL)

    assert measure_distance(whole, read_frame(rendered.video, last=True)) < 4


def test_every_frame_has_the_same_mark_at_the_same_place() -> None:
    rendered = render_video([draw_image(colour="red"), draw_image(colour="blue")], SMALL)
    left, top = find_place(180)
    with av.open(io.BytesIO(rendered.video), "r") as container:
        frames: list[Any] = list(container.decode(video=0))
    marks: list[Image.Image] = [frame.to_image().crop((left, top, left + 40, top + 12)) for frame in frames]

    assert max(measure_distance(marks[0], mark) for mark in marks) < 12  # red and blue are more than 100 apart
    levels = [mark.convert("L").tobytes() for mark in marks]
    assert max(min(one) for one in levels) < 80
    assert min(max(one) for one in levels) > 150


def test_each_encoding_differs_from_the_others() -> None:
    seen = set[tuple[object, ...]]()
    for encoding in range(len(ENCODINGS)):
        rendered = render_video([draw_image()], replace(SMALL, duration_seconds=1, audio=True, encoding=encoding))
        with av.open(io.BytesIO(rendered.video), "r") as container:
            video, rates = container.streams.video[0], [stream.rate for stream in container.streams.audio]
            assert abs((container.duration or 0) / av.time_base - 1) < 0.05
            seen.add((video.width, video.height, video.average_rate, video.codec_context.profile, *rates))

    assert seen == {
        (320, 180, 24, "High", 48_000),
        (320, 180, 30, "Constrained Baseline", 44_100),
        (240, 136, 24, "High", 48_000),
        (320, 180, 24, "Main"),
    }


def test_exif_orientation_is_applied() -> None:
    sideways = Image.new("RGB", (200, 100))
    exif = sideways.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    sideways.save(buffer, "JPEG", exif=exif)

    rendered = render_video([buffer.getvalue()], RenderPlan(duration_seconds=1, short_side=480, aspect_ratio=None))

    with av.open(io.BytesIO(rendered.video), "r") as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (480, 960)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_picture_mode_is_rendered(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (64, 48)).save(buffer, "TIFF" if mode == "CMYK" else "PNG")

    rendered = render_video([buffer.getvalue()], RenderPlan(duration_seconds=1, size=(64, 48), audio=False))

    assert rendered.video


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xd8\xff" + bytes(99), draw_image()[:60]])
def test_undecodable_picture_is_a_render_error(content: bytes) -> None:
    with pytest.raises(RenderError):
        render_video([content], RenderPlan(duration_seconds=4))


def test_rendering_can_be_cancelled() -> None:
    with pytest.raises(RenderError, match="cancelled"):
        render_video([draw_image()], RenderPlan(duration_seconds=4), cancelled=lambda: True)


def test_same_pictures_and_plan_are_rendered_once() -> None:
    plan = RenderPlan(duration_seconds=1, size=(64, 48), audio=False)
    red, blue = draw_image(colour="red"), draw_image(colour="blue")
    rendered = render_cached([red], plan)
    assert rendered == render_video([red], plan)
    assert render_cached([red], plan) is rendered
    others = [([blue], plan), ([red, blue], plan), ([red], replace(plan, size=(48, 64)))]
    assert all(render_cached(*other).video == render_video(*other).video != rendered.video for other in others)
