"""Hostile pictures that a studio or the author of an image URL might send."""

from io import BytesIO

from PIL import Image

_SCAN = b"\xff\xda"


def build_slow_picture(*, scans: int = 9000, side: int = 2000) -> bytes:
    """Return a small progressive JPEG with its last scan repeated; each scan has 16 bytes and decodes in about 4 ms."""
    buffer = BytesIO()
    Image.new("RGB", (side, side), (40, 90, 160)).save(buffer, "JPEG", progressive=True, quality=50)
    data = buffer.getvalue()
    last = data.rindex(_SCAN)
    return data[:last] + data[last:-2] * scans + data[-2:]


def build_huge_canvas() -> bytes:
    """Return a WebP of a few hundred bytes that declares a canvas of two gigabytes."""
    buffer = BytesIO()
    still = Image.new("RGB", (16, 16), "teal")
    still.save(buffer, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "white")])
    data = bytearray(buffer.getvalue())
    start = data.index(b"VP8X") + 12
    data[start : start + 6] = (16383 - 1).to_bytes(3, "little") * 2
    return bytes(data)
