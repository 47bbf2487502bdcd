"""Bounded readers of headers, base64, JSON and untrusted JSON fields, which all other parsers use.

This module has the bounds on untrusted input. It knows no protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import cast

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.money import MICRO_USDC_MAX
from seedance_mcp.core.texts import quote_text

HEADER_CHARACTERS_MAX = 64 * 1024
"""Longest header value that is decoded. A real challenge is about 3 KiB."""
DATE_CHARACTERS_MAX = 64
JSON_BYTES_MAX = 1024 * 1024
"""Largest document that is parsed. A page of a hundred jobs is about 100 KiB."""
JSON_DEPTH_MAX = 64
"""Deepest document that is parsed. An openapi.json is about 15 deep, and writers fail on much deeper documents."""
TEXT_CHARACTERS_MAX = 8192
"""Longest text field that is kept."""

Headers = Sequence[tuple[str, str]]
"""Response headers in order, with names in lower case; a name may occur more than once."""

Json = Mapping[str, object]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NETWORK = re.compile(r"eip155:[1-9][0-9]{0,17}")
_DIGITS = re.compile(r"0|[1-9][0-9]{0,29}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HALVES = (b"\\u", b"\xed", b"\0")
"""One of these is in all bytes that hold half a surrogate pair: an escape, its UTF-8, or the NUL of UTF-16 and 32."""


def find_header(headers: Headers, name: str) -> str | None:
    """Return the single value of a header, or None.

    Raises:
        StudioProtocolError: The header occurs more than once, or is too long.
    """
    values = [value for key, value in headers if key == name]
    if not values:
        return None
    if len(values) > 1:
        raise StudioProtocolError(f"The studio sent {len(values)} {name} headers where one is allowed.")
    if len(values[0]) > HEADER_CHARACTERS_MAX:
        raise StudioProtocolError(f"The studio's {name} header is longer than {HEADER_CHARACTERS_MAX} characters.")
    return values[0]


def find_date(headers: Headers) -> float | None:
    """Return the Unix seconds of the Date header, or None if it is missing or unreadable.

    Source: RFC 9110, section 6.6.1.
    """
    values = [value for key, value in headers if key == "date"]
    if len(values) != 1 or len(values[0]) > DATE_CHARACTERS_MAX:
        return None
    from email.utils import parsedate_to_datetime  # loads half of the email package, for one header

    try:
        moment = parsedate_to_datetime(values[0])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()  # never this machine's time zone
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def parse_json(data: bytes | str, what: str, *, unique: bool = False) -> object:
    """Parse one JSON document of bounded size and depth; `what` names it in the error.

    A parsed document can always be serialised again. The terms of an offer are echoed, so half a surrogate pair or a
    number like `1e999` (read as infinity) would fail later, when a payment is already reserved.

    Raises:
        StudioProtocolError: Not JSON, too large, too deep, or with text or numbers that cannot be serialised as JSON.
    """
    if len(data) > JSON_BYTES_MAX:
        raise StudioProtocolError(f"{what} is larger than {JSON_BYTES_MAX} bytes.")
    return _load(data, what, unique=unique)


def _load(data: bytes | str, what: str, *, unique: bool = False) -> object:
    try:
        value = cast(
            "object",
            json.loads(
                data,
                parse_constant=_refuse_constant,
                parse_float=_read_float,
                object_pairs_hook=_read_unique if unique else None,
            ),
        )
    except (ValueError, RecursionError) as exc:  # UnicodeDecodeError is a ValueError
        raise StudioProtocolError(f"{what} is not JSON: {quote_text(_decode(data), 80)}.") from exc
    _check_tree(value, what, may_have_halves=isinstance(data, str) or any(mark in data for mark in _HALVES))
    return value


def _check_tree(value: object, what: str, *, may_have_halves: bool) -> None:
    """Check that a document is not too deep and its text is Unicode text.

    Args:
        value: The document.
        what: Names it in the error.
        may_have_halves: Whether a text or name in it can hold half a surrogate pair.
    """
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                if may_have_halves and _SURROGATE.search(item):
                    raise StudioProtocolError(f"{what} holds text that is not Unicode: {quote_text(item, 60)}.")
            elif isinstance(item, dict):
                if may_have_halves:
                    below += cast("dict[str, object]", item)
                below += cast("dict[str, object]", item).values()
            elif isinstance(item, list):
                below += cast("list[object]", item)
        if not below:
            return
        level = below
    raise StudioProtocolError(f"{what} is nested deeper than {JSON_DEPTH_MAX} levels.")


def parse_json_object(data: bytes | str, what: str, *, unique: bool = False) -> Json:
    """Parse a JSON object like `parse_json`; with `unique`, refuse a repeated name in one object."""
    return _require_object(parse_json(data, what, unique=unique), what)


def _require_object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise StudioProtocolError(f"{what} is JSON, but not an object.")
    return cast("Json", value)


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _read_unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object; refuse a repeated name, of which two readers may use different values."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name is used twice")
    return fields


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _decode(data: bytes | str) -> str:
    return data if isinstance(data, str) else data[:400].decode("utf-8", "replace")


def encode_json(value: Mapping[str, object]) -> bytes:
    """Serialise to compact UTF-8 JSON in the given order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def encode_base64_json(value: Mapping[str, object]) -> str:
    """Encode as padded standard base64 over UTF-8 JSON, as in the x402 and SIWX headers.

    Source: wire-level rules of x402 v2, transports/http; observed on every capture.
    """
    return base64.b64encode(encode_json(value)).decode("ascii")


def decode_base64_json(text: str, what: str) -> Json:
    """Decode base64 over a JSON object; in the standard or URL-safe alphabet, padded or not.

    These headers decide about money and identity, so a repeated name in one object is refused.

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
    return _require_object(_load(data, what, unique=True), what)


def read_text(document: Json, key: str, what: str) -> str:
    """Return a required, non-empty text field."""
    text = find_text(document, key)
    if text is None:
        raise StudioProtocolError(f"{what} has no usable {key!r}.")
    return text


def find_text(document: Json, key: str) -> str | None:
    """Return a text field, or None if it is absent, empty, not text, or too long."""
    value = document.get(key)
    if isinstance(value, str) and 0 < len(value) <= TEXT_CHARACTERS_MAX:
        return value
    return None


def find_object(document: Json, key: str) -> Json:
    """Return an object field; an empty object if it is absent or of another type."""
    value = document.get(key)
    return cast("Json", value) if isinstance(value, dict) else {}


def find_list(document: Json, key: str) -> Sequence[object]:
    """Return a list field; an empty list if it is absent or of another type."""
    value = document.get(key)
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def is_address(text: object) -> bool:
    """Return True for an EVM address in any case."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


def pad_address(address: str) -> str:
    """Return an address as a word of 32 bytes: `0x` and 64 hexadecimal digits. Source: Solidity ABI, `address`."""
    return "0x" + address.lower().removeprefix("0x").rjust(64, "0")


def is_network(text: object) -> bool:
    """Return True for the CAIP-2 name of an EVM chain, such as `eip155:8453`."""
    return isinstance(text, str) and _NETWORK.fullmatch(text) is not None


def same_address(one: str, other: str) -> bool:
    """Compare two EVM addresses without case: a studio sends `payTo` in lower case and `asset` checksummed."""
    return one.lower() == other.lower()


def read_amount(value: object, what: str) -> int:
    """Read an amount in the token's smallest unit: a string of decimal digits without leading zeros.

    Raises:
        StudioProtocolError: A sign, a fraction, an exponent, hexadecimal, a JSON number, or above a billion dollars.
    """
    if not isinstance(value, str) or _DIGITS.fullmatch(value) is None:
        raise StudioProtocolError(f"{what} is {quote_text(value, 40)}, not a whole amount in decimal digits.")
    if int(value) > MICRO_USDC_MAX:
        raise StudioProtocolError(f"{what} is {quote_text(value, 40)}, which nothing costs.")
    return int(value)
