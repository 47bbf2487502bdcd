"""Messages between the server and a decoding process: a JSON header and bytes, each preceded by its length.

Both sides bound what they read: the bytes may be hostile, and so may a process that a picture has compromised. This
module does not read pictures.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any, cast

HEADER_BYTES_MAX = 64 * 1024
DATA_BYTES_MAX = 64 * 1024 * 1024

_LENGTHS = struct.Struct(">II")

Header = dict[str, Any]


def write_message(stream: IO[bytes], header: Header, data: bytes = b"") -> None:
    """Write one message and flush it.

    Raises:
        OSError: The other side has ended.
    """
    encoded = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(encoded), len(data)) + encoded)
    stream.write(data)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[Header, bytes]:
    """Read one message.

    Raises:
        EOFError: The other side has ended.
        ValueError: Too long, or not a JSON object.
    """
    header_bytes, data_bytes = _LENGTHS.unpack(_read(stream, _LENGTHS.size))
    if header_bytes > HEADER_BYTES_MAX or data_bytes > DATA_BYTES_MAX:
        raise ValueError("The message is too long.")
    header = cast("object", json.loads(_read(stream, header_bytes)))
    if not isinstance(header, dict):
        raise ValueError("The header is not an object.")
    return cast("Header", header), _read(stream, data_bytes)


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
