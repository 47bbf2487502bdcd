"""Contents: name what bytes are that are not a picture, so that an error can say it. Pure; decodes nothing."""

from __future__ import annotations

HEAD_BYTES = 1024

_BRANDS = {
    b"heic": "a HEIC picture", b"heix": "a HEIC picture", b"hevc": "a HEIC picture", b"heim": "a HEIC picture",
    b"mif1": "a HEIF picture", b"msf1": "a HEIF picture", b"avif": "an AVIF picture", b"avis": "an AVIF picture",
    b"qt  ": "a video", b"isom": "a video", b"mp42": "a video", b"mp41": "a video", b"M4V ": "a video",
    b"crx ": "a camera's raw file",
}  # fmt: skip
"""Source: ISO/IEC 14496-12, section 4.3, major brands; mp4ra.org."""
_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture or a camera's raw file"),
    (b"MM\0*", "a TIFF picture or a camera's raw file"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a video"),
)
_MARKUP = ((b"<svg", "an SVG drawing"), (b"<!doctype html", "a web page"), (b"<html", "a web page"))


def name_contents(data: bytes) -> str | None:
    """Return what bytes are, with its article, or None if they have no known signature."""
    head = data[:HEAD_BYTES]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a video or a picture of an unknown kind")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for tag, name in _MARKUP:
        if tag in text and text.startswith(b"<"):
            return name
    if text.startswith((b"{", b"[")):
        return "a JSON document"
    return "a text" if _is_text(head) else None


def find_recording(data: bytes) -> str | None:
    """Return the media type of bytes that begin like a video or a sound, or None for anything else."""
    head = data[:HEAD_BYTES]
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"M4A ", b"M4B "):
            return "audio/mp4"
        return None if "picture" in _BRANDS.get(head[8:12], "") or head[8:12] == b"crx " else "video/mp4"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    return "audio/mpeg" if head.startswith(b"ID3") or _is_mp3_frame(head) else None


def _is_mp3_frame(head: bytes) -> bool:
    """Return True for the header of an MPEG audio frame of layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, rate, frequency = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer == 1 and rate not in (0, 15) and frequency != 3


def is_heif(data: bytes) -> bool:
    """Return True for bytes that only the HEIF decoder reads."""
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def _is_text(head: bytes) -> bool:
    try:
        return bool(head) and head.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False
