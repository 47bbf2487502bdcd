"""The bounded ground that every parser stands on: headers, base64, JSON, and fields out of strange JSON.

Owns the bounds on what a stranger may send. Knows no protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from seedance_mcp.errors import StudioProtocolError, quote_text

HEADER_CHARACTERS_MAX = 64 * 1024
"""The longest header value that we decode. A real challenge is about 3 KiB."""
JSON_BYTES_MAX = 1024 * 1024
"""The largest document that we parse. A page of a hundred jobs is about 100 KiB."""
TEXT_CHARACTERS_MAX = 8192
"""The longest single text field that we keep."""

Headers = Sequence[tuple[str, str]]
"""Response headers in order, names in lower case; a name may repeat."""

Json = Mapping[str, object]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_DIGITS = re.compile(r"[0-9]{1,30}")

T = TypeVar("T")


def find_header(headers: Headers, name: str) -> str | None:
    """The one value of a header, or None.

    Raises:
        StudioProtocolError: The header is there more than once, or too long to be honest.
    """
    values = [value for key, value in headers if key == name]
    if not values:
        return None
    if len(values) > 1:
        raise StudioProtocolError(f"The studio sent {len(values)} {name} headers where one is allowed.")
    if len(values[0]) > HEADER_CHARACTERS_MAX:
        raise StudioProtocolError(f"The studio's {name} header is longer than {HEADER_CHARACTERS_MAX} characters.")
    return values[0]


def parse_json(data: bytes | str, what: str) -> object:
    """Parse one JSON document of bounded size and depth; `what` names it in the error.

    Raises:
        StudioProtocolError: Not JSON, too large, too deep, or with numbers that JSON does not have.
    """
    if len(data) > JSON_BYTES_MAX:
        raise StudioProtocolError(f"{what} is larger than {JSON_BYTES_MAX} bytes.")
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:  # UnicodeDecodeError is a ValueError
        raise StudioProtocolError(f"{what} is not JSON: {quote_text(_decode(data), 80)}.") from exc


def parse_json_object(data: bytes | str, what: str) -> Json:
    """Parse a JSON object, as `parse_json`."""
    value = parse_json(data, what)
    if not isinstance(value, dict):
        raise StudioProtocolError(f"{what} is JSON, but not an object.")
    return cast("Json", value)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _decode(data: bytes | str) -> str:
    return data if isinstance(data, str) else data[:400].decode("utf-8", "replace")


def encode_json(value: Mapping[str, object]) -> bytes:
    """Write compact JSON in the given order, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def encode_base64_json(value: Mapping[str, object]) -> str:
    """Padded standard base64 over UTF-8 JSON, as the x402 and SIWX headers want it.

    Source: wire-level rules of x402 v2, transports/http; observed on every capture.
    """
    return base64.b64encode(encode_json(value)).decode("ascii")


def decode_base64_json(text: str, what: str) -> Json:
    """Read base64 over a JSON object; standard or URL-safe alphabet, padded or not.

    Raises:
        StudioProtocolError: Not base64, or not a JSON object.
    """
    if len(text) > HEADER_CHARACTERS_MAX:
        raise StudioProtocolError(f"{what} is longer than {HEADER_CHARACTERS_MAX} characters.")
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise StudioProtocolError(f"{what} is not base64: {quote_text(text, 60)}.") from exc
    return parse_json_object(data, what)


def read_text(document: Json, key: str, what: str) -> str:
    """A required, non-empty text field."""
    text = find_text(document, key)
    if text is None:
        raise StudioProtocolError(f"{what} has no usable {key!r}.")
    return text


def find_text(document: Json, key: str) -> str | None:
    """A text field, or None where it is absent, empty, not text, or absurdly long."""
    value = document.get(key)
    if isinstance(value, str) and 0 < len(value) <= TEXT_CHARACTERS_MAX:
        return value
    return None


def find_object(document: Json, key: str) -> Json:
    """An object field; an empty one where it is absent or something else."""
    value = document.get(key)
    return cast("Json", value) if isinstance(value, dict) else {}


def find_list(document: Json, key: str) -> Sequence[object]:
    """A list field; an empty one where it is absent or something else."""
    value = document.get(key)
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def is_address(text: object) -> bool:
    """Whether this is an EVM address in any case."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


def same_address(one: str, other: str) -> bool:
    """Compare two EVM addresses without case: a studio writes `payTo` in lower case and `asset` checksummed."""
    return one.lower() == other.lower()


def read_amount(value: object, what: str) -> int:
    """An amount in the token's smallest unit: a string of decimal digits, nothing else.

    Raises:
        StudioProtocolError: A sign, a fraction, an exponent, hexadecimal, a JSON number, or more than 30 digits.
    """
    if not isinstance(value, str) or _DIGITS.fullmatch(value) is None:
        raise StudioProtocolError(f"{what} is {quote_text(value, 40)}, not a whole amount in decimal digits.")
    return int(value)
