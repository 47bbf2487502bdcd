"""Comparing: whether two pictures look alike, however their files were written.

It never says that two pictures are the same: only equal bytes are.
"""

from __future__ import annotations

from seedance_mcp.adapters.media.images import decode

DIFFERENCE_MAX = 10
"""How far the colours of two small copies may be apart on average, of 255, for the pictures to look alike."""


async def look_alike(one: bytes, other: bytes) -> bool:
    """Return True if two pictures may be the same one, written by another program or another version.

    Raises:
        ImageError: One of them is no picture.
        InternalError: The decoder cannot be started.
    """
    _, first = await decode("sketch", one, "One picture")
    _, second = await decode("sketch", other, "The other picture")
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) <= DIFFERENCE_MAX * len(first)
