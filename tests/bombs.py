"""Compressed bytes and pictures that are large only once they are read: each is written in milliseconds."""

import io
import struct
import zlib

from PIL import Image

MEGABYTE = 1_000_000
JPEG_BLOCK = 16
"""Rows of pixels in one row of blocks, with colors at half the resolution. Source: ITU-T T.81, section A.2."""
RESTARTS = 8
"""Restart markers count modulo eight. Source: ITU-T T.81, section B.1.1.3."""


def build_gzip_bomb(head: bytes, *, zero_megabytes: int) -> bytes:
    """Return a gzip file of some bytes and many zeros. Source: RFC 1952, section 2.3."""
    zeros = bytes(MEGABYTE)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = compressor.compress(head) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    checksum = zlib.crc32(head)
    for _ in range(zero_megabytes):
        checksum = zlib.crc32(zeros, checksum)
    size = len(head) + zero_megabytes * MEGABYTE
    header, end = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x03\0"
    return header + start + block * zero_megabytes + end + struct.pack("<II", checksum, size)


def build_png(width: int, height: int, mode: str = "RGB") -> bytes:
    """Return a black PNG, transparent where it can be. Source: PNG, section 5, and RFC 1950, section 2.2."""
    color, channels = {"RGB": (2, 3), "RGBA": (6, 4)}[mode]
    row = bytes(1 + width * channels)  # no filter, and the pixels
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = compressor.compress(row) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = len(row) * height % 65521 << 16 | 1  # Adler-32 of nothing but zeros
    pixels = b"\x78\xda" + block * height + b"\x03\0" + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def build_jpeg(width: int, height: int, color: str = "teal", **options: object) -> bytes:
    """Return a JPEG of one color: one row of blocks, repeated. Source: ITU-T T.81, section B.2.

    Args:
        width: In pixels.
        height: A multiple of `JPEG_BLOCK`.
        color: Any name that Pillow knows.
        options: Of Pillow.
    """
    buffer = io.BytesIO()
    Image.new("RGB", (width, 2 * JPEG_BLOCK), color).save(buffer, "JPEG", restart_marker_rows=1, **options)
    data = buffer.getvalue()
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])
    head = data[: frame + 5] + height.to_bytes(2) + data[frame + 7 : start]
    row = data[start : data.index(b"\xff\xd0", start)]
    markers = [bytes((0xFF, 0xD0 + number % RESTARTS)) for number in range(height // JPEG_BLOCK - 1)]
    return head + b"".join(row + marker for marker in markers) + row + b"\xff\xd9"
