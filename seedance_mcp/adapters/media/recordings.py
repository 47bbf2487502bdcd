"""Recordings: videos and sounds that a prompt may refer to, recognised by their bytes.

They leave the machine as they are. This module must not decode them, and must not trust a name.

Source: contract section 9 (types that the studio takes); ISO/IEC 14496-12, section 4.3 (brands); ISO/IEC 11172-3,
section 2.4.1.3 (frame header); id3.org, ID3v2, section 3.1.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field

from seedance_mcp.adapters.media.contents import find_recording
from seedance_mcp.adapters.media.images import Image, prepare_image
from seedance_mcp.core.errors import ImageError
from seedance_mcp.core.wire.containers import NotAVideoError, read_container
from seedance_mcp.core.wire.generation import MediaKind

RECORDING_BYTES_MAX = 20 * 1024 * 1024
"""The largest video or sound that is sent: the studio's own bound for an upload."""
KINDS = "MP4, QuickTime, WebM, MP3, WAV or M4A"
"""The formats that are taken, for a person."""

_CONTAINERS = {"mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm"}
_EXTENSIONS = {
    "video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "audio/mpeg": "mp3", "audio/wav": "wav",
    "audio/mp4": "m4a",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A video or a sound.

    Attributes:
        data: The bytes of the file, which are sent unchanged.
        sha256: Their hash: the recording's identity.
        media_type: Of the bytes.
    """

    data: bytes = field(repr=False)
    sha256: str
    media_type: str

    @property
    def size_bytes(self) -> int:
        """Return how many bytes are sent."""
        return len(self.data)

    @property
    def file_name(self) -> str:
        """Return the name that the studio gets to see: ours, never the user's path."""
        return f"{self.sha256[:16]}.{_EXTENSIONS[self.media_type]}"

    @property
    def width(self) -> int:
        """Return 0: nothing depends on the size of a video."""
        return 0

    @property
    def height(self) -> int:
        """Return 0, as `width`."""
        return 0


async def prepare_reference(data: bytes, name: str) -> Image | Recording:
    """Return a picture, a video or a sound as it may leave the machine.

    Args:
        data: The bytes of a file.
        name: What an error calls it.

    Raises:
        ImageError: None of these, not whole, or too large.
        InternalError: The decoder of pictures cannot be started.
    """
    found = find_recording(data)
    if found is None:
        return await prepare_image(data, name)
    if len(data) > RECORDING_BYTES_MAX:
        raise ImageError(
            f"{name} has {len(data):,} bytes; a video or a sound may have {RECORDING_BYTES_MAX:,}.",
            "Make it shorter or smaller.",
        )
    try:
        if found not in ("audio/mpeg", "audio/wav"):
            container = read_container(io.BytesIO(data), len(data)).extension
            found = found if found == "audio/mp4" else _CONTAINERS.get(container)
    except NotAVideoError as exc:
        raise ImageError(f"{name} {exc}.", "Get the whole file and try again.") from exc
    if found is None:
        raise ImageError(f"{name} is a Matroska video.", f"Convert it to {KINDS}.")
    return Recording(data=data, sha256=hashlib.sha256(data).hexdigest(), media_type=found)


def find_kind(media_type: str) -> MediaKind:
    """Return what a media type is of."""
    kind = media_type.partition("/")[0]
    return "video" if kind == "video" else "audio" if kind == "audio" else "image"
