"""Images: what a picture's bytes are, said by decoding them, never by their name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from seedance_mcp.adapters.media.decoder import DecoderEndedError, ask_decoder
from seedance_mcp.adapters.media.messages import Header
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.wire.generation import ASPECT_RATIOS, AspectRatio

IMAGE_BYTES_MAX = 10_000_000
"""Source: contract section 2, media rules."""

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_REFUSALS = {
    "unreadable": ("is not a readable JPEG, PNG, GIF or WebP picture", "Convert it to PNG or JPEG."),
    "pixels": ("has more than 80 million pixels", "Make it smaller and try again."),
    "memory": ("takes too much memory to decode", "Make it smaller and try again."),
    "seconds": ("takes too long to decode", "Save it anew as a plain PNG or JPEG and try again."),
    "crash": ("breaks the decoder", "Save it anew as a plain PNG or JPEG and try again."),
}
"""What is said of each refusal of the decoder, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture's bytes and what decoding them says; width and height are as a person sees it."""

    data: bytes = field(repr=False)
    sha256: str
    media_type: str
    width: int
    height: int

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    @property
    def file_name(self) -> str:
        """The name that the studio gets to see: ours, never the user's path."""
        return f"{self.sha256[:16]}.{_EXTENSIONS[self.media_type]}"


async def decode_image(data: bytes, name: str) -> Image:
    """Return what these bytes are.

    Raises:
        ImageError: Not a picture in one of the four formats, or one that cannot be decoded within bounds.
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
    """Return the decoder's answer to one operation on a picture that the text of an error calls `name`.

    Raises:
        ImageError: The decoder refuses the picture, or did not survive it.
        InternalError: The decoder cannot be started.
    """
    try:
        found, result = await ask_decoder(operation, data)
        refusal = found.get("refused")
    except DecoderEndedError as exc:
        found, result, refusal = {}, b"", "seconds" if exc.too_slow else "crash"
    if refusal is not None:
        what, hint = _REFUSALS[refusal]
        raise ImageError(f"{name} {what}.", hint)
    return found, result


def nearest_aspect_ratio(width: int, height: int) -> AspectRatio:
    """The studio's aspect ratio that is nearest to a picture's own shape."""

    def distance(ratio: AspectRatio) -> int:
        # |log| without floats: compare w*b with h*a by their quotient in either direction, scaled to whole numbers.
        a, b = (int(part) for part in ratio.split(":"))
        one, other = width * b, height * a
        return max(one, other) * 1_000_000 // min(one, other)

    return min(ASPECT_RATIOS, key=distance)
