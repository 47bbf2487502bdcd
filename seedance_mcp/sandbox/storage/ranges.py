"""Parts of a video: the store sends the bytes from a position on, honestly or not.

A named fault switches ranges on; `faults.VIDEO_RANGES` describes its kinds. Without it the store sends whole videos
only and names no version of them, as the recorded one does.

Source: RFC 9110, sections 13.1.5 (If-Range), 14.2 (Range) and 14.4 (Content-Range).
"""

import hashlib
import re
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from starlette.requests import Request

_RANGE = re.compile(r"bytes=([0-9]+)-")


@dataclass(frozen=True, slots=True)
class VideoPart:
    """What is sent of a video.

    Attributes:
        content: The bytes.
        status: 200 for a whole video, 206 for the rest of one.
        headers: Those of the version and of the range.
        is_measured: Whether the length is announced.
    """

    content: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    is_measured: bool = True


def cut_video(video: bytes, request: Request, kind: str | None) -> VideoPart:
    """Return the part of a video that a request is answered with.

    Args:
        video: The whole video.
        request: May ask for the rest of it.
        kind: One of `faults.VIDEO_RANGES`; None for a store without ranges.
    """
    if kind is None:
        return VideoPart(video, headers={"accept-ranges": "none"})
    etag = f'"{secrets.token_hex(8) if kind == "new_etag" else hashlib.sha256(video).hexdigest()[:16]}"'
    etag = f"W/{etag}" if kind == "weak_etag" else etag
    headers = {"accept-ranges": "bytes", "etag": etag}
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    is_same = request.headers.get("if-range", etag) == etag and kind != "weak_etag"
    if found is None or not is_same or kind == "ignored" or int(found[1]) >= len(video):
        return VideoPart(video, headers=headers)
    start = int(found[1])
    headers["content-range"] = f"bytes {start}-{len(video) - 1}/{len(video)}"
    rest = video[start:]
    match kind:
        case "other_range":
            headers["content-range"] = f"bytes 0-{len(video) - 1}/{len(video)}"
            return VideoPart(video, 206, headers)
        case "other_position":
            return VideoPart(video[: len(rest)], 206, headers)
        case "more_bytes":
            return VideoPart(rest + bytes(1000), 206, headers, is_measured=False)
        case "fewer_bytes":
            return VideoPart(rest[:-1000], 206, headers, is_measured=False)
        case "refused":
            return VideoPart(b"", 416, {"content-range": f"bytes */{len(video)}"})
        case _:
            return VideoPart(rest, 206, headers)


async def send_in_pieces(content: bytes) -> AsyncGenerator[bytes]:
    """Yield a body whose length is not announced."""
    yield content[: len(content) // 2]
    yield content[len(content) // 2 :]
