"""The mark of the sandbox: on every frame, at the same place, so that no one takes its video for the model's.

It is in the lower left corner, which the zoom moves out of the view: a video that continues another one does not show a
second mark. It covers what is below it, so that a mark on a mark is the same mark.
"""

import functools
import math

from PIL import Image, ImageDraw, ImageFont

TEXT = "SANDBOX"
_SHARE = 0.05
_PIXELS_MIN = 12
_TEXT_SHARE = 0.62
_GROUND, _INK, _NO_COLOUR = 40, 215, 128


def mark_frame(planes: tuple[Image.Image, Image.Image, Image.Image]) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Put the mark on a frame (studio-range YUV, the colour planes at half the sides), and return it."""
    luma, blue, red = planes
    mark, (left, top) = _draw(luma.height), find_place(luma.height)
    luma.paste(mark, (left, top))
    for plane in (blue, red):
        plane.paste(_NO_COLOUR, (left // 2, top // 2, (left + mark.width) // 2, (top + mark.height) // 2))
    return planes


def find_place(height: int) -> tuple[int, int]:
    """Return the left and the top of the mark in a video of a height, both even."""
    high = _draw(height).height
    return high // 2, (height - high - high // 2) // 2 * 2


@functools.cache
def _draw(height: int) -> Image.Image:
    """Draw the mark's luma; its sides are multiples of four, so that it fits the colour planes."""
    high = 4 * round(max(_PIXELS_MIN, height * _SHARE) / 4)
    font = ImageFont.load_default(size=high * _TEXT_SHARE)
    left, top, right, bottom = font.getbbox(TEXT)
    mark = Image.new("L", (4 * math.ceil((right - left + high * 0.8) / 4), high), _GROUND)
    ImageDraw.Draw(mark).text(((mark.width - right - left) / 2, (high - bottom - top) / 2), TEXT, fill=_INK, font=font)
    return mark
