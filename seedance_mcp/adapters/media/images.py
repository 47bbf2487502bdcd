"""Images: recognition of a picture by decoding its bytes, never by its name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from seedance_mcp.adapters.media.decoder import DecoderEndedError, run_decoder
from seedance_mcp.adapters.media.messages import Header
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.wire.generation import ASPECT_RATIOS, AspectRatio

IMAGE_BYTES_MAX = 10_000_000
"""Largest picture. Source: contract section 2, media rules."""

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_REFUSALS = {
    "unreadable": ("is not a readable JPEG, PNG, GIF or WebP picture", "Convert it to PNG or JPEG."),
    "pixels": ("has more than 80 million pixels", "Make it smaller and try again."),
    "memory": ("takes too much memory to decode", "Make it smaller and try again."),
    "seconds": ("takes too long to decode", "Save it anew as a plain PNG or JPEG and try again."),
    "crash": ("breaks the decoder", "Save it anew as a plain PNG or JPEG and try again."),
}
"""Error text and next step for each refusal of the decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture's bytes and format; width and height are those of the upright picture."""

    data: bytes = field(repr=False)
    sha256: str
    media_type: str
    width: int
    height: int

    @property
    def size_bytes(self) -> int:
        """Return its size in bytes."""
        return len(self.data)

    @property
    def file_name(self) -> str:
        """Return the name for the studio, which is never the user's path."""
        return f"{self.sha256[:16]}.{_EXTENSIONS[self.media_type]}"


async def decode_image(data: bytes, name: str) -> Image:
    """Decode a picture.

    Raises:
        ImageError: Not a picture in one of the four formats, or not decodable within bounds.
        InternalError: The decoder cannot be started.
    """
    if not data:
        raise ImageError(f"{name} is empty.")
    if len(data) > IMAGE_BYTES_MAX:
        raise ImageError(f"{name} is larger than {IMAGE_BYTES_MAX // 1_000_000} MB.", "Make it smaller and try again.")
    found, _ = await decode("inspect", data, name)
    media_type, width, height = str(found["media_type"]), int(found["width"]), int(found["height"])
    return Image(data=data, sha256=hashlib.sha256(data).hexdigest(), media_type=media_type, width=width, height=height)


async def decode(operation: str, data: bytes, name: str) -> tuple[Header, bytes]:
    """Return the decoder's answer to one operation on a picture; an error calls it `name`.

    Raises:
        ImageError: The decoder refused the picture, or ended.
        InternalError: The decoder cannot be started.
    """
    try:
        found, result = await run_decoder(operation, data)
        refusal = found.get("refused")
    except DecoderEndedError as exc:
        found, result, refusal = {}, b"", "seconds" if exc.too_slow else "crash"
    if refusal is not None:
        what, hint = _REFUSALS[refusal]
        raise ImageError(f"{name} {what}.", hint)
    return found, result


def nearest_aspect_ratio(width: int, height: int) -> AspectRatio:
    """Return the studio's aspect ratio that is nearest to a picture's."""

    def distance(ratio: AspectRatio) -> int:
        # |log| without floats: compare w*b with h*a by their quotient in either direction, scaled to integers.
        a, b = (int(part) for part in ratio.split(":"))
        one, other = width * b, height * a
        return max(one, other) * 1_000_000 // min(one, other)

    return min(ASPECT_RATIOS, key=distance)
