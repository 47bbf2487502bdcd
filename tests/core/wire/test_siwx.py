"""Sign-ins: the signed text equals another implementation's, and is only about the called URL."""

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siwe import SiweMessage  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
from siwe.parsed import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    ABNFParsedMessage,
    RegExpParsedMessage,
)

from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.wire.siwx import (
    SignIn,
    build_message,
    check_sign_in,
    encode_sign_in,
    prepare_sign_in,
    read_sign_in,
)
from tests.challenges import CAPTURES, PAYER, answer_with, build_challenge, read_vectors

from .hostile import BODIES, mangled

RECORDED_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
URL = "https://stablestudio.dev/api/jobs/abc?x=1"
CHAIN = "eip155:8453"
NOW = datetime(2026, 11, 23, 16, 28, tzinfo=UTC).timestamp()
ROWS = read_vectors("sign_ins")["rows"]
GOOD = SignIn(
    domain="stablestudio.dev",
    uri=URL,
    chain_id=CHAIN,
    nonce="7e7da93dddcc4728b24d1817d7f6d27b",
    issued_at="2026-11-23T16:27:56.616Z",
    expiration_time="2026-11-23T16:32:56.616Z",
    statement="Sign in to verify your wallet identity",
)


def read(document: Any) -> SignIn:
    answer = answer_with(document)
    return read_sign_in(answer.headers, b"")


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_message_equals_another_implementations(row: dict[str, Any]) -> None:
    message = build_message(SignIn(**row["fields"]), row["address"])
    assert message == row["message"]
    parsers: list[Callable[[str], Any]] = [RegExpParsedMessage, ABNFParsedMessage]
    for parsed in (parse(message) for parse in parsers):
        assert parsed.domain == row["fields"]["domain"]
        assert parsed.uri == row["fields"]["uri"]
        assert parsed.nonce == row["fields"]["nonce"]
        assert getattr(parsed, "statement", None) == row["fields"]["statement"]


@pytest.mark.parametrize(
    ("challenge", "proof"), [("sign_in_challenge", "sign_in_proof"), ("poll_challenge", "poll_proof")]
)
async def test_recorded_sign_in_is_reproduced_exactly(challenge: str, proof: str, tmp_path: Path) -> None:
    recorded = CAPTURES[proof]
    sign_in = read(CAPTURES[challenge])
    check_sign_in(sign_in, url=recorded["uri"], chain_id=CHAIN, now=NOW)
    wallet = await open_wallet(RECORDED_KEY, tmp_path)
    message = build_message(sign_in, wallet.address)
    header = encode_sign_in(sign_in, wallet.address, await wallet.sign_in(message))
    assert json.loads(base64.b64decode(header, validate=True)) == recorded
    assert challenge != "sign_in_challenge" or message == CAPTURES["sign_in_message"]


def test_challenge_may_come_in_the_body_alone() -> None:
    body = json.dumps(CAPTURES["sign_in_challenge"]).encode()
    assert read_sign_in((), body) == read(CAPTURES["sign_in_challenge"])


def test_price_on_a_free_route_is_refused() -> None:
    priced = {**CAPTURES["sign_in_challenge"], "accepts": build_challenge()["accepts"]}
    with pytest.raises(StudioProtocolError, match="a payment on a route that is free"):
        read(priced)


def test_refused_sign_in_is_no_challenge() -> None:
    with pytest.raises(StudioProtocolError, match="sent no challenge"):
        read_sign_in((), json.dumps(CAPTURES["sign_in_refusal"]).encode())


@pytest.mark.parametrize(("key", "value"), [("version", "2"), ("version", 1), ("type", "ed25519"), ("type", None)])
def test_another_kind_of_text_is_refused(key: str, value: object) -> None:
    document = json.loads(json.dumps(CAPTURES["sign_in_challenge"]))
    document["extensions"]["sign-in-with-x"]["info"][key] = value
    with pytest.raises(StudioProtocolError, match="not an EIP-4361 text"):
        read(document)


def test_valid_sign_in_passes_in_every_spelling() -> None:
    for change in (
        {},
        {"statement": None},
        {"domain": "StableStudio.dev"},
        {"issued_at": "2026-11-23T17:27:56+01:00"},
        {"nonce": "a" * 8},
    ):
        check_sign_in(dataclasses.replace(GOOD, **change), url=URL, chain_id=CHAIN, now=NOW)
    local = dataclasses.replace(GOOD, domain="127.0.0.1:4020", uri="http://127.0.0.1:4020/a")
    check_sign_in(local, url="http://127.0.0.1:4020/a", chain_id=CHAIN, now=NOW)


HOSTILE = {
    "domain-other": ({"domain": "evil.example"}, "for the domain"),
    "domain-subdomain": ({"domain": "pay.stablestudio.dev"}, "for the domain"),
    "domain-look-alike": ({"domain": "st\u0430blestudio.dev"}, "for the domain"),
    "domain-line-break": ({"domain": "evil.example\nstablestudio.dev"}, "for the domain"),
    "domain-scheme": ({"domain": "https://stablestudio.dev"}, "for the domain"),
    "domain-port": ({"domain": "stablestudio.dev:8443"}, "for the domain"),
    "uri-other-origin": ({"uri": "https://evil.example/api/jobs/abc?x=1"}, "A sign-in for"),
    "uri-other-route": ({"uri": "https://stablestudio.dev/api/upload/confirm"}, "A sign-in for"),
    "uri-without-query": ({"uri": "https://stablestudio.dev/api/jobs/abc"}, "A sign-in for"),
    "uri-line-break": ({"uri": URL + "\nVersion: 1"}, "A sign-in for"),
    "chain-other": ({"chain_id": "eip155:1"}, "for chain"),
    "chain-line-break": ({"chain_id": CHAIN + "\nNonce: 12345678"}, "for chain"),
    "nonce-short": ({"nonce": "1234567"}, "nonce"),
    "nonce-long": ({"nonce": "a" * 129}, "nonce"),
    "nonce-line-break": ({"nonce": "12345678\nIssued At: x"}, "nonce"),
    "nonce-trailing-line-break": ({"nonce": "12345678\n"}, "nonce"),
    "nonce-arabic-digits": ({"nonce": "\u0661" * 8}, "nonce"),
    "statement-two-lines": ({"statement": "Hello\n\nURI: https://evil.example"}, "statement"),
    "statement-control": ({"statement": "Hello\x1b[2J"}, "statement"),
    "statement-look-alike": ({"statement": "S\u0456gn in"}, "statement"),
    "issued-in-the-future": ({"issued_at": "2026-11-23T16:31:00Z"}, "in the future"),
    "issued-long-ago": ({"issued_at": "2026-11-23T16:10:00Z"}, "more than fifteen minutes"),
    "issued-line-break": ({"issued_at": "2026-11-23\n16:27:56.616Z"}, "RFC 3339"),
    "issued-space": ({"issued_at": "2026-11-23 16:27:56.616Z"}, "RFC 3339"),
    "issued-no-zone": ({"issued_at": "2026-11-23T16:27:56.616"}, "RFC 3339"),
    "issued-date": ({"issued_at": "2026-11-23"}, "RFC 3339"),
    "issued-month-13": ({"issued_at": "2026-13-23T16:27:56Z"}, "RFC 3339"),
    "issued-number": ({"issued_at": "1795451276"}, "RFC 3339"),
    "expired": ({"expiration_time": "2026-11-23T16:27:59Z"}, "already expired"),
    "expires-in-ten-years": ({"expiration_time": "2036-11-23T16:32:56Z"}, "more than fifteen minutes"),
    "expires-line-break": ({"expiration_time": "2026-11-23T16:32:56Z\nNot Before: x"}, "RFC 3339"),
}


@pytest.mark.parametrize(("change", "says"), HOSTILE.values(), ids=HOSTILE)
def test_other_sign_in_text_is_not_signed(change: dict[str, str], says: str) -> None:
    with pytest.raises(StudioProtocolError, match=says) as caught:
        check_sign_in(dataclasses.replace(GOOD, **change), url=URL, chain_id=CHAIN, now=NOW)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("now", [NOW, 0.0, 4_000_000_000.5])
def test_prepared_sign_in_passes_our_check_and_another_parser(now: float) -> None:
    sign_in = prepare_sign_in(url=URL, chain_id=CHAIN, nonce="0" * 32, now=now)
    check_sign_in(sign_in, url=URL, chain_id=CHAIN, now=now)
    parsed = SiweMessage.from_message(build_message(sign_in, PAYER))
    assert parsed.chain_id == 8453
    assert str(parsed.uri) == URL


FIELDS = dataclasses.asdict(GOOD)


@st.composite
def bent(draw: st.DrawFn) -> SignIn:
    """Draw the valid sign-in with other text in one of its fields."""
    field = draw(st.sampled_from(sorted(FIELDS)))
    good, put = FIELDS[field], draw(st.text(max_size=3) | st.sampled_from(["\n", "\r\n", " ", "a", "0"]))
    at = draw(st.integers(min_value=0, max_value=len(good)))
    return dataclasses.replace(GOOD, **{field: good[:at] + put + good[draw(st.integers(at, len(good))) :]})


@settings(max_examples=4 * settings().max_examples)
@given(bent())
def test_accepted_sign_in_is_one_plain_text(sign_in: SignIn) -> None:
    try:
        check_sign_in(sign_in, url=URL, chain_id=CHAIN, now=NOW)
    except StudioProtocolError:
        return
    lines = build_message(sign_in, PAYER).splitlines()
    assert len(lines) == (11 if sign_in.statement else 10)
    assert lines[1] == PAYER
    assert f"URI: {URL}" in lines


@given(mangled(CAPTURES["sign_in_challenge"]))
def test_mangled_challenge_is_read_or_raises_only_our_error(document: Any) -> None:
    answer = answer_with(document)
    for headers, body in ((answer.headers, b""), ((), json.dumps(document).encode())):
        try:
            sign_in = read_sign_in(headers, body)
            check_sign_in(sign_in, url=sign_in.uri, chain_id=CHAIN, now=NOW)
        except StudioProtocolError:
            continue
        assert encode_sign_in(sign_in, PAYER, "0x")


@given(st.lists(st.tuples(st.just("payment-required"), st.text()), max_size=2), BODIES)
def test_hostile_bytes_raise_only_our_error(headers: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(StudioProtocolError):
        read_sign_in(headers, body)
