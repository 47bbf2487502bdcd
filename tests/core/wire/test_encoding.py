"""The readers that all parsers use: headers, base64, JSON, addresses and amounts."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.wire.json import (
    HEADER_CHARACTERS_MAX,
    JSON_BYTES_MAX,
    JSON_DEPTH_MAX,
    decode_base64_json,
    encode_base64_json,
    encode_json,
    find_date,
    find_header,
    find_list,
    find_object,
    find_text,
    is_address,
    is_network,
    parse_json,
    parse_json_object,
    read_amount,
    read_text,
)

from .hostile import BODIES, VALUES

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_encoded_document_is_decoded_again(document: dict[str, Any]) -> None:
    assert parse_json_object(encode_json(document), "It") == document
    header = encode_base64_json(document)
    assert decode_base64_json(header, "It") == document
    assert decode_base64_json(header.rstrip("="), "It") == document
    assert decode_base64_json(header.replace("+", "-").replace("/", "_"), "It") == document


@given(BODIES)
def test_parsed_document_can_be_serialised_again(body: bytes) -> None:
    try:
        document = parse_json_object(body, "It")
    except StudioProtocolError:
        return
    assert parse_json_object(encode_json(document), "It") == document


@given(st.text() | BODIES.map(lambda body: base64.b64encode(body).decode()))
def test_hostile_headers_raise_only_our_errors(text: str) -> None:
    said = ""
    try:
        decode_base64_json(text, "It")
    except StudioProtocolError as exc:
        said = str(exc)
    assert len(said) < 400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{}{}", "not JSON"),
        ('{"a":NaN}', "not JSON"),
        ('{"a":Infinity}', "not JSON"),
        ('{"a":1e999}', "not JSON"),
        ('{"a":' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a":"\\udc00"}', "not Unicode"),
        ('{"\\ud800":1}', "not Unicode"),
        ("[" * (JSON_DEPTH_MAX + 1) + "]" * (JSON_DEPTH_MAX + 1), "deeper than"),
        ('"' + "a" * JSON_BYTES_MAX + '"', "larger than"),
    ],
)
def test_unserialisable_json_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(StudioProtocolError, match=says):
        parse_json(text, "It")


@pytest.mark.parametrize(
    "data",
    [b'["\\udc00"]', b'{"\\ud800":1}', b'{"\xed\xa0\x80":1}', '["\ud800"]'.encode("utf-16", "surrogatepass")],
    ids=["escape", "name", "UTF-8", "UTF-16"],
)
def test_half_a_character_is_refused_in_any_encoding(data: bytes) -> None:
    with pytest.raises(StudioProtocolError, match="not Unicode"):
        parse_json(data, "It")


def test_json_just_within_the_depth_is_read() -> None:
    depth = JSON_DEPTH_MAX - 1
    assert parse_json("[" * depth + "]" * depth, "It")
    assert parse_json('"' + "a" * (JSON_BYTES_MAX - 2) + '"', "It")


def test_surrogate_pair_is_one_character() -> None:
    assert parse_json('"\\ud83d\\ude00"', "It") == "😀"


def test_repeated_name_is_refused_in_headers_only() -> None:
    twice = b'{"a":1,"a":2}'
    assert parse_json_object(twice, "It") == {"a": 2}
    with pytest.raises(StudioProtocolError):
        decode_base64_json(base64.b64encode(twice).decode(), "It")


def test_header_beyond_the_bound_is_refused_before_it_is_decoded() -> None:
    text = "e30" + "=" * HEADER_CHARACTERS_MAX
    assert decode_base64_json(text[:HEADER_CHARACTERS_MAX], "The header") == {}
    with pytest.raises(StudioProtocolError, match=f"The header is longer than {HEADER_CHARACTERS_MAX} characters"):
        decode_base64_json(text, "The header")


def test_repeated_header_is_refused() -> None:
    headers = [("a", "1"), ("b", "2"), ("b", "2")]
    assert find_header(headers, "a") == "1"
    assert find_header(headers, "c") is None
    with pytest.raises(StudioProtocolError, match="2 b headers"):
        find_header(headers, "b")
    with pytest.raises(StudioProtocolError, match="longer than"):
        find_header([("a", "x" * 70_000)], "a")


@given(VALUES)
def test_field_of_another_type_counts_as_absent(value: Any) -> None:
    document = {"key": value}
    assert find_text(document, "key") == (value if isinstance(value, str) and value else None)
    assert find_object(document, "key") == (value if isinstance(value, dict) else {})
    assert list(find_list(document, "key")) == (value if isinstance(value, list) else [])


@given(st.lists(st.tuples(st.just("date"), st.text(max_size=80)), max_size=2))
def test_unreadable_date_is_none(headers: list[tuple[str, str]]) -> None:
    assert find_date(headers) is None or len(headers) == 1


def test_date_is_utc_in_every_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for zone in ("GMT", "+0000", "-0000"):
            assert find_date([("date", f"Mon, 23 Nov 2026 16:27:56 {zone}")]) == 1_795_451_276
    finally:
        monkeypatch.undo()
        time.tzset()
    assert find_date([("date", "Mon, 23 Nov 2026 16:27:56 GMT")] * 2) is None


def test_missing_required_text_is_named() -> None:
    for document in ({}, {"key": ""}, {"key": 1}, {"key": "x" * 9000}):
        with pytest.raises(StudioProtocolError, match="It has no usable 'key'"):
            read_text(document, "key", "It")


@pytest.mark.parametrize(
    "text",
    [
        "", "0x", "0x" + "0" * 39, "0x" + "0" * 41, "0X" + "0" * 40, "0" * 42, "0x" + "g" * 40, "0x" + "0" * 40 + "\n",
        " 0x" + "0" * 40, "0x" + "\uff10" * 40, "0x" + "0" * 39 + "\u0430", None, 0, b"0x" + b"0" * 40,
    ],
)  # fmt: skip
def test_only_0x_and_40_ascii_hexadecimal_digits_are_an_address(text: object) -> None:
    assert not is_address(text)


def test_address_may_be_in_any_case() -> None:
    for cased in (str.lower, str.upper, str.swapcase):
        write: Callable[[str], str] = cased
        assert is_address("0x" + write("833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"))


@pytest.mark.parametrize(
    "text", ["eip155:", "eip155:0", "eip155:01", "eip155:²", "eip155:1 ", "solana:5eykt4", 8453, None]
)
def test_only_an_evm_chain_in_plain_digits_is_a_network(text: object) -> None:
    assert not is_network(text)
    assert is_network("eip155:8453")


@given(st.integers(min_value=0, max_value=10**15))
def test_amount_is_read_as_written(amount: int) -> None:
    assert read_amount(str(amount), "It") == amount


@given(st.text() | VALUES)
def test_amount_is_canonical_digits_or_refused(value: object) -> None:
    amount, said = 0, ""
    try:
        amount = read_amount(value, "It")
    except StudioProtocolError as exc:
        said = str(exc)
    assert said or value == str(amount)
    assert len(said) < 300
    assert 0 <= amount <= 10**15


def test_json_is_compact_and_in_the_given_order() -> None:
    assert encode_json({"b": 1, "a": "ü"}) == '{"b":1,"a":"ü"}'.encode()
    assert base64.b64decode(encode_base64_json({"b": 1})) == b'{"b":1}'
    assert json.loads(encode_json({"a": [True, None]})) == {"a": [True, None]}
