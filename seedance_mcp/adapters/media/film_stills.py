"""Stills of a video: its last frame, and frames as pictures in the colours that players show.

This module runs in the film process.
"""

from __future__ import annotations

import io
from pathlib import Path

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image

from seedance_mcp.adapters.media.film_reading import RefusedError, decode_frames, open_video

UNSPECIFIED = 2
"""A colour tag that says nothing. Source: ITU-T H.273, table 4."""
HD_HEIGHT = 720
"""From this height on, players take an untagged video for BT.709."""


def read_last_frame(file: Path) -> bytes:
    """Return the last frame that a player shows, as a PNG.

    The seek saves time only: where nothing can be decoded from there on, the video is decoded from its start.

    Raises:
        RefusedError: The video cannot be used.
    """
    with open_video(file) as container:
        stream = container.streams.video[0]
        end = max(
            (packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None), default=0
        )
        latest: VideoFrame | None = None
        for offset in (end, None):
            if offset is None:
                container.seek(0)
            else:
                container.seek(offset, stream=stream)
            for frame in decode_frames(container, is_lenient=True):
                latest = frame
            if latest is not None:
                break
        if latest is None:
            raise RefusedError("empty")
        return _encode_png(latest)


def _encode_png(frame: VideoFrame) -> bytes:
    buffer = io.BytesIO()
    draw_picture(frame).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def draw_picture(frame: VideoFrame, size: tuple[int, int] | None = None) -> Image.Image:
    """Return a frame as a picture, of another size where one is named."""
    width, height = size or (frame.width, frame.height)
    rgb = frame.reformat(
        width,
        height,
        format="rgb24",
        src_colorspace=find_colourspace(frame),
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC,
    )
    plane = rgb.planes[0]
    return Image.frombytes("RGB", (width, height), bytes(plane), "raw", "RGB", plane.line_size, 1)


def find_colourspace(frame: VideoFrame) -> int:
    """Return a frame's colour space, or the one that players assume for a frame of its size without one."""
    if int(frame.colorspace) != UNSPECIFIED:
        return int(frame.colorspace)
    return int(Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601)
