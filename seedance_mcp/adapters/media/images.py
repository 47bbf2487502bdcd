"""Images: recognition of a picture by decoding its bytes, never by its name."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from seedance_mcp.adapters.media.contents import name_contents
from seedance_mcp.adapters.media.decoder import DecoderEndedError, run_decoder
from seedance_mcp.adapters.media.messages import Header
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.wire.generation import ASPECT_RATIOS, AspectRatio

IMAGE_BYTES_MAX = 64_000_000
"""The largest file that is read: a phone's photograph of 200 megapixels. What is sent has at most 10 MB."""

KEPT_MAX, KEPT_BYTES_MAX = 32, 8_000_000
"""How many prepared pictures are kept, and how many bytes of those that were written anew."""

KINDS = "JPEG, PNG, WebP, GIF, AVIF, TIFF, BMP or HEIC"
"""The formats that are read, for a person; `worker` decides by the bytes."""
METADATA_REMOVED = "metadata removed"
CONVERT_HINT = "Convert it to PNG or JPEG."

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_REFUSALS = {
    "heif": ("is a HEIC picture, and this installation cannot read it", "Save it as JPEG and try again."),
    "pixels": (
        "has too many pixels: 250 million in a JPEG, 80 million in another format, are the most",
        "Make it smaller and try again.",
    ),
    "memory": ("takes too much memory to decode", "Make it smaller and try again."),
    "seconds": ("takes too long to decode", "Save it anew as a plain PNG or JPEG and try again."),
    "crash": ("breaks the decoder", "Save it anew as a plain PNG or JPEG and try again."),
}
"""Error text and next step for each refusal of the decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture, prepared to leave the machine.

    Attributes:
        data: The bytes to send: those of the file if it may stay as it is.
        sha256: Hash of the file's own bytes: the picture's identity.
        media_type: Of the bytes to send.
        width: Of the file's picture as a person sees it, in pixels.
        height: The same.
        sent_size: Width and height of the bytes to send.
        changes: What was done to it, in words.
    """

    data: bytes = field(repr=False)
    sha256: str
    media_type: str
    width: int
    height: int
    sent_size: tuple[int, int]
    changes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Return how many bytes are sent."""
        return len(self.data)

    @property
    def file_name(self) -> str:
        """Return the name that the studio gets to see: ours, never the user's path."""
        return f"{self.sha256[:16]}.{_EXTENSIONS[self.media_type]}"

    @property
    def is_readable_as_it_is(self) -> bool:
        """Return True if the studio could read the file itself: at most its metadata was removed."""
        return not set(self.changes) - {METADATA_REMOVED}


async def prepare_image(data: bytes, name: str) -> Image:
    """Return a picture as it may leave the machine.

    Args:
        data: The bytes of a file.
        name: What an error calls it.

    Raises:
        ImageError: Not a picture, or one that cannot be decoded within bounds.
        InternalError: The decoder cannot be started.
    """
    if not data:
        raise ImageError(f"{name} is empty.")
    if len(data) > IMAGE_BYTES_MAX:
        raise ImageError(f"{name} is larger than {IMAGE_BYTES_MAX // 1_000_000} MB.", "Make it smaller and try again.")
    sha256 = hashlib.sha256(data).hexdigest()
    found, prepared = _kept.find(sha256) or _kept.keep(sha256, *await decode("prepare", data, name))
    width, height = found["seen_size"]
    return Image(
        data=prepared or data,
        sha256=sha256,
        media_type=str(found["media_type"]),
        width=int(width),
        height=int(height),
        sent_size=(int(found["size"][0]), int(found["size"][1])),
        changes=tuple(str(change) for change in found["changes"]),
    )


class _Kept:
    """What the decoder said of the latest pictures: a quote and a purchase, or two takes, are of the same one."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[Header, bytes]] = OrderedDict()
        self._size_bytes = 0

    def find(self, sha256: str) -> tuple[Header, bytes] | None:
        """Return the answer about a picture."""
        if sha256 in self._answers:
            self._answers.move_to_end(sha256)
        return self._answers.get(sha256)

    def keep(self, sha256: str, found: Header, prepared: bytes) -> tuple[Header, bytes]:
        """Keep an answer, drop the oldest beyond the bounds, and return it."""
        self._size_bytes += len(prepared) - len(self._answers.pop(sha256, (found, b""))[1])
        self._answers[sha256] = found, prepared
        while len(self._answers) > KEPT_MAX or self._size_bytes > KEPT_BYTES_MAX:
            _, (_, dropped) = self._answers.popitem(last=False)
            self._size_bytes -= len(dropped)
        return found, prepared


_kept = _Kept()


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
        what, hint = _REFUSALS.get(refusal) or _describe_contents(data, refusal)
        raise ImageError(f"{name} {what}.", hint)
    return found, result


def _describe_contents(data: bytes, refusal: str) -> tuple[str, str]:
    """Return what bytes are that cannot be decoded, and what to do."""
    found = name_contents(data)
    if found is None:
        return "is not a picture", CONVERT_HINT
    if found.removeprefix("a ") in ("JPEG", "PNG", "GIF") or found.endswith("picture"):
        broken = (
            f"is a truncated {found.removeprefix('a ')}" if refusal == "truncated" else f"is {found} that is broken"
        )
        return broken, "Get the whole file and try again." if refusal == "truncated" else CONVERT_HINT
    return f"is {found}, not a picture", "Give the picture itself."


def nearest_aspect_ratio(width: int, height: int) -> AspectRatio:
    """Return the studio's aspect ratio that is nearest to a picture's."""

    def distance(ratio: AspectRatio) -> int:
        # |log| without floats: compare w*b with h*a by their quotient in either direction, scaled to integers.
        a, b = (int(part) for part in ratio.split(":"))
        one, other = width * b, height * a
        return max(one, other) * 1_000_000 // min(one, other)

    return min(ASPECT_RATIOS, key=distance)
