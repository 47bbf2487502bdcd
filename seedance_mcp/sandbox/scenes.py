"""Scenes: the picture from which a video without a first frame is rendered.

A video from references begins with all of them side by side; a video from text with its prompt. This module turns
bytes into bytes. It knows no jobs or URLs and may be called from any thread.
"""

import hashlib
import io
import textwrap
from typing import Any

import av
from av.error import FFmpegError
from PIL import Image, ImageDraw, ImageFont, ImageOps

from seedance_mcp.sandbox.video import RenderError, read_picture

SIDE_PIXELS = 720
TEXT_COLUMNS, LINES_MAX = 28, 9


def draw_scene(contents: list[bytes], prompt: str) -> bytes:
    """Draw the references side by side, or without any the prompt, as a PNG.

    Args:
        contents: Pictures and videos, encoded.
        prompt: What should happen.

    Raises:
        RenderError: If one of them cannot be decoded.
    """
    scene = _join([_read_reference(content) for content in contents]) if contents else _write(prompt)
    buffer = io.BytesIO()
    scene.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _read_reference(content: bytes) -> Image.Image:
    """Return a picture, or the first frame of a video."""
    if content[4:8] != b"ftyp" and not content.startswith(b"\x1aE\xdf\xa3"):
        return read_picture(content)
    try:
        with av.open(io.BytesIO(content)) as opened:
            container: Any = opened  # PyAV's stubs do not tell a readable container from a writable one
            frame: Any = next(container.decode(video=0), None)
    except (FFmpegError, IndexError) as exc:
        raise RenderError("the video could not be decoded") from exc
    if frame is None:
        raise RenderError("the video has no frame")
    return frame.to_image()


def _join(pictures: list[Image.Image]) -> Image.Image:
    columns = 1 if len(pictures) == 1 else 2 if len(pictures) <= 4 else 4
    rows = -(-len(pictures) // columns)
    size = (SIDE_PIXELS // columns, SIDE_PIXELS // columns)
    scene = Image.new("RGB", (columns * size[0], rows * size[1]), "black")
    for index, picture in enumerate(pictures):
        scene.paste(ImageOps.fit(picture, size), (index % columns * size[0], index // columns * size[1]))
    return scene


def _write(prompt: str) -> Image.Image:
    hue = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[0]
    ground = Image.new("HSV", (SIDE_PIXELS * 16 // 9, SIDE_PIXELS), (hue, 150, 110)).convert("RGB")
    lines = textwrap.wrap(prompt, TEXT_COLUMNS)[:LINES_MAX]
    centre = (ground.width // 2, ground.height // 2)
    font = ImageFont.load_default(SIDE_PIXELS // 14)
    ImageDraw.Draw(ground).multiline_text(centre, "\n".join(lines), "white", font, anchor="mm", align="center")
    return ground
