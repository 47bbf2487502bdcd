"""SIGN-IN-WITH-X: proof of the wallet's address, without a payment.

A sign-in is an EIP-4361 text, signed with EIP-191 and sent as structured JSON in the SIGN-IN-WITH-X header. Its nonce
is used once and is valid for five minutes. Only a text about the called URL is signed: a studio could replay a
signature for another origin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import (
    Headers,
    decode_base64_json,
    encode_base64_json,
    find_header,
    find_object,
    find_text,
    parse_json_object,
    read_text,
)
from seedance_mcp.core.wire.offers import PAYMENT_REQUIRED_HEADER, SIGN_IN_EXTENSION

SIGN_IN_HEADER = "SIGN-IN-WITH-X"
SIGN_IN_SECONDS_MAX = 15 * 60
"""Longest lifetime of a sign-in that is signed; the studio's is five minutes."""
CLOCK_SKEW_SECONDS_MAX = 120
"""Largest accepted difference between the studio's clock and ours."""

_NONCE = re.compile(r"[0-9A-Za-z]{8,128}")
_LINE = re.compile(r"[\x20-\x7e]*")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
"""A time by RFC 3339. Python's reader accepts any character for the `T`, even one that starts a new line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """The fields of one EIP-4361 text. Times stay unchanged text: the signature is over the characters."""

    domain: str
    uri: str
    chain_id: str
    nonce: str
    issued_at: str
    expiration_time: str
    statement: str | None


def read_sign_in(headers: Headers, body: bytes) -> SignIn:
    """Read the sign-in challenge of a 402, from its header or, without one, from its body.

    Raises:
        StudioProtocolError: No readable challenge, or one that also names a price.

    Source: x402 v2 extension `sign-in-with-x`; contract section 7.
    """
    header = find_header(headers, PAYMENT_REQUIRED_HEADER)
    if header is not None:
        document = decode_base64_json(header, "The PAYMENT-REQUIRED header")
    else:
        document = parse_json_object(body, "The sign-in challenge")
    if document.get("accepts"):
        raise StudioProtocolError("The studio asks for a payment on a route that is free.")
    extension = find_object(find_object(document, "extensions"), SIGN_IN_EXTENSION)
    info = find_object(extension, "info")
    if not info:
        raise StudioProtocolError("The studio wants a sign-in but sent no challenge for it.")
    what = "The sign-in challenge"
    if info.get("version") != "1" or info.get("type") != "eip191":
        raise StudioProtocolError(f"{what} is not an EIP-4361 text of version 1 for an EVM wallet.")
    return SignIn(
        domain=read_text(info, "domain", what),
        uri=read_text(info, "uri", what),
        chain_id=read_text(info, "chainId", what),
        nonce=read_text(info, "nonce", what),
        issued_at=read_text(info, "issuedAt", what),
        expiration_time=read_text(info, "expirationTime", what),
        statement=find_text(info, "statement"),
    )


def check_sign_in(sign_in: SignIn, *, url: str, chain_id: str, now: float) -> None:
    """Check that a sign-in is for the called URL, our chain and the current time, and is plain text.

    Args:
        sign_in: The challenge.
        url: The called URL, with its query.
        chain_id: The pinned network, e.g. `eip155:8453`.
        now: Unix seconds.

    Raises:
        StudioProtocolError: With the first invalid field.

    Source: EIP-4361, "Wallet Implementer Guidelines"; contract section 13 (the bare host; a port is legal).
    """
    called = urlsplit(url)
    if not sign_in.domain.isascii() or sign_in.domain.lower() not in {
        (called.hostname or "").lower(),
        called.netloc.lower(),
    }:
        raise StudioProtocolError(
            f"A sign-in for the domain {quote_text(sign_in.domain, 80)} was requested by {called.netloc}."
        )
    if sign_in.uri != url:
        raise StudioProtocolError(f"A sign-in for {quote_text(sign_in.uri, 120)} was requested at {url}.")
    if sign_in.chain_id != chain_id:
        raise StudioProtocolError(
            f"A sign-in for chain {quote_text(sign_in.chain_id, 40)} was requested; ours is {chain_id}."
        )
    if _NONCE.fullmatch(sign_in.nonce) is None:
        raise StudioProtocolError("The sign-in's nonce is not 8 to 128 letters and digits.")
    if sign_in.statement is not None and _LINE.fullmatch(sign_in.statement) is None:
        raise StudioProtocolError("The sign-in's statement is not one line of plain text.")
    issued, expires = _read_time(sign_in.issued_at), _read_time(sign_in.expiration_time)
    if issued > now + CLOCK_SKEW_SECONDS_MAX:
        raise StudioProtocolError("The sign-in was issued in the future. Is this machine's clock right?")
    if expires <= now:
        raise StudioProtocolError("The sign-in has already expired. Is this machine's clock right?")
    if expires - issued > SIGN_IN_SECONDS_MAX:
        raise StudioProtocolError("The sign-in would be valid for more than fifteen minutes.")


def prepare_sign_in(*, url: str, chain_id: str, nonce: str, now: float) -> SignIn:
    """Build a sign-in without a challenge, for a studio that accepts one.

    Args:
        url: The called URL.
        chain_id: The pinned network.
        nonce: 32 hexadecimal digits from a cryptographic source.
        now: Unix seconds.

    Source: EIP-4361. A studio was observed to accept a nonce that it has not issued; no document promises it.
    """
    return SignIn(
        domain=urlsplit(url).hostname or "",
        uri=url,
        chain_id=chain_id,
        nonce=nonce,
        issued_at=_write_time(now - 1),  # not in the future for a studio whose clock is slightly behind
        expiration_time=_write_time(now + 240),
        statement="Sign in to verify your wallet identity",
    )


def build_message(sign_in: SignIn, address: str) -> str:
    """Return the text to sign, for a checksummed address.

    Source: EIP-4361, "Message Format".
    """
    statement = f"\n{sign_in.statement}\n" if sign_in.statement else "\n"
    return (
        f"{sign_in.domain} wants you to sign in with your Ethereum account:\n{address}\n{statement}\n"
        f"URI: {sign_in.uri}\nVersion: 1\nChain ID: {sign_in.chain_id.removeprefix('eip155:')}\n"
        f"Nonce: {sign_in.nonce}\nIssued At: {sign_in.issued_at}\nExpiration Time: {sign_in.expiration_time}"
    )


def encode_sign_in(sign_in: SignIn, address: str, signature: str) -> str:
    """Return the value of the SIGN-IN-WITH-X header.

    Source: x402 v2 extension `sign-in-with-x`, "Client Proof".
    """
    fields: dict[str, object] = {
        "domain": sign_in.domain,
        "uri": sign_in.uri,
        "version": "1",
        "chainId": sign_in.chain_id,
        "type": "eip191",
        "nonce": sign_in.nonce,
        "issuedAt": sign_in.issued_at,
        "expirationTime": sign_in.expiration_time,
    }
    if sign_in.statement:
        fields["statement"] = sign_in.statement
    return encode_base64_json({**fields, "address": address, "signature": signature})


def _read_time(text: str) -> float:
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    raise StudioProtocolError(f"The sign-in's time {quote_text(text, 40)} is not written as RFC 3339 says.")


def _write_time(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
