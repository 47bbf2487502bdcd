"""Bytes other than a plain MP4 behind a result URL, as other stores were observed to send.

A named fault switches each of them on; `faults` describes them.
"""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import Any, cast

import av

WEBM_WIDTH, WEBM_HEIGHT, WEBM_FRAMES_MAX = 160, 90, 24
"""Size and length of a WebM video; small, because encoding is slow and only the format matters."""


def write_body(video: bytes, kind: str) -> bytes:
    """Return the bytes that are sent instead of a video."""
    return _BODIES[kind](video)


def write_encoded(video: bytes, name: str) -> tuple[bytes, str]:
    """Return a video's bytes in a content encoding, and the header's value."""
    match name:
        case "gzip":
            return gzip.compress(video, compresslevel=1), "gzip"
        case "cut_gzip":
            return gzip.compress(video, compresslevel=1)[:-20], "gzip"
        case "deflate":
            return zlib.compress(video, level=1), "deflate"
        case "plain_gzip":
            return video, "gzip"
        case "aws_chunked":
            return video, "aws-chunked"
        case "empty":
            return video, ""
        case _:
            return video, name


def _open(file: io.BytesIO, mode: str = "r", **options: str) -> Any:
    """Open a container; the library is only partly typed."""
    return cast("Any", av.open)(file, mode, **options)


def write_matroska(video: bytes) -> bytes:
    """Return the same frames and sound in a Matroska file."""
    target = io.BytesIO()
    with _open(io.BytesIO(video)) as source, _open(target, "w", format="matroska") as written:
        streams = {stream.index: written.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                written.mux(packet)
    return target.getvalue()


def write_webm(video: bytes) -> bytes:
    """Return the first frames, scaled down, in a WebM file."""
    target = io.BytesIO()
    with _open(io.BytesIO(video)) as source, _open(target, "w", format="webm") as written:
        stream = written.add_stream("libvpx", rate=24, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = WEBM_WIDTH, WEBM_HEIGHT, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number >= WEBM_FRAMES_MAX:
                break
            written.mux(stream.encode(frame.reformat(WEBM_WIDTH, WEBM_HEIGHT, "yuv420p")))
        written.mux(stream.encode())
    return target.getvalue()


_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "trailing": lambda video: video + bytes(5),
    "styp": lambda video: video[:4] + b"styp" + video[8:],
    "matroska": write_matroska,
    "webm": write_webm,
    "blank": lambda _: b"",
    "json": lambda _: b'{"error": "The link has moved"}',
    "xml": lambda _: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "html": lambda _: b"<!doctype html><html><title>Sign in</title></html>",
}
