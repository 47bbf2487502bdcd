"""Comparison: do two pictures look alike, regardless of their file formats.

It never decides that two pictures are the same: only equal bytes are.
"""

from __future__ import annotations

from seedance_mcp.adapters.media.images import decode

DIFFERENCE_MAX = 10
"""Largest mean difference between the colours of two small copies, of 255, for pictures that look alike."""


async def look_alike(one: bytes, other: bytes) -> bool:
    """Return True if two files may be of the same picture, written by different programs or versions.

    Raises:
        ImageError: One of them is not a picture.
        InternalError: The decoder cannot be started.
    """
    _, first = await decode("sketch", one, "One picture")
    _, second = await decode("sketch", other, "The other picture")
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) <= DIFFERENCE_MAX * len(first)
