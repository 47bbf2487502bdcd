"""Offers: the ways to pay that a 402 names.

A 402 has four meanings (payment challenge, sign-in challenge, payment refused, sign-in refused), and only the first
may ever lead to a signature over money. `read_offers` reads that one and raises on the other three.

Reading is tolerant of entries that we do not know, so that one strange entry does not spoil the good ones; it is
strict about the ones we do. Whether an offer may be *signed* is not judged here but in `policy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from seedance_mcp.errors import StudioProtocolError, quote_text
from seedance_mcp.money import MicroUSDC
from seedance_mcp.wire.challenges import Challenge, read_challenges
from seedance_mcp.wire.encoding import (
    Headers,
    Json,
    decode_base64_json,
    find_date,
    find_header,
    find_object,
    find_text,
    is_address,
    is_network,
    parse_json,
    read_amount,
    read_text,
)

Rail = Literal["x402", "mpp"]

PAYMENT_REQUIRED_HEADER = "payment-required"
SIGN_IN_EXTENSION = "sign-in-with-x"
ACCEPTS_MAX = 32
"""How many entries one 402 may have."""
LIFETIME_SECONDS_MAX = 10**9
"""Thirty years: a whole number above this is not a time, whoever may sign it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One acceptable way to pay, as the studio wrote it.

    Attributes:
        rail: `x402` or `mpp`.
        scheme: The rail's own word: `exact` for x402, `charge` for MPP.
        network: CAIP-2 name of the chain, e.g. `eip155:8453`.
        asset: The token's contract address, as written.
        pay_to: The recipient's address, as written.
        amount_micro_usdc: The price in the token's smallest unit.
        lifetime_seconds: How long the studio would like a signature to live (`maxTimeoutSeconds`); 0 on MPP.
        expires_at: Unix seconds at which an MPP challenge ends; None on x402.
        extra: What the rail says besides; for x402 the EIP-712 domain name and version, for MPP the whole request.
        terms: The entry verbatim, to be echoed in the credential; for MPP the challenge's parameters.
    """

    rail: Rail
    scheme: str
    network: str
    asset: str
    pay_to: str
    amount_micro_usdc: MicroUSDC
    lifetime_seconds: int
    expires_at: float | None = None
    extra: Json = field(default_factory=dict[str, object])
    terms: Json = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What is sent back for an offer: one request header. Whoever holds its value can bring it to the chain.

    Attributes:
        header: The header's name.
        value: The header's value; a secret until it expires.
        raw_transaction: What must be on the chain first, signed; empty where the studio brings it there.
    """

    header: str
    value: str = field(repr=False)
    raw_transaction: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """Everything that one payment challenge says.

    Attributes:
        resource: The x402 `resource` object, verbatim, to be echoed; empty on a pure MPP challenge.
        extensions: The x402 `extensions` object, verbatim.
        offers: The entries that we could read, in the studio's order.
        passed_over: One line for each entry that we could not read, for the error text.
        answered_at: Unix seconds of the studio's clock when it answered, where it says.
    """

    resource: Json
    extensions: Json
    offers: tuple[Offer, ...]
    passed_over: tuple[str, ...]
    answered_at: float | None = None

    @property
    def is_mpp_alone(self) -> bool:
        """Whether no offer that we could read is on x402."""
        return all(offer.rail == "mpp" for offer in self.offers)

    @property
    def resource_url(self) -> str | None:
        """The URL that the studio says this payment is for."""
        return find_text(self.resource, "url")


def read_offers(status: int, headers: Headers, body: bytes) -> Offers:
    """Read the payment challenge of an unpaid request.

    Args:
        status: HTTP status of the answer.
        headers: Response headers, names in lower case.
        body: Response body; empty, a `checkout_session` for people, or a copy of the header's document.

    Raises:
        StudioProtocolError: Not a payment challenge: another status, a sign-in, a refusal, or nothing readable.

    Source: x402 v2 specification, section 5.1 (PaymentRequired) and transports/http; MPP: `wire.challenges`; contract
    section 13.
    """
    if status != 402:
        raise StudioProtocolError(f"Expected a 402 with the price, got status {status}.")
    document = _read_document(headers)
    _check_body(body, document)
    challenges, passed_over = read_challenges(headers)
    if document is None and not challenges and not passed_over:
        raise StudioProtocolError(_describe_silence(body))
    offers: list[Offer] = []
    entries = () if document is None else _read_accepts(document, may_be_empty=bool(challenges))
    for read, given in ((_read_entry, entries), (_read_charge, challenges)):
        for entry in given:
            try:
                offers.append(read(entry))
            except StudioProtocolError as exc:
                passed_over.append(exc.what.rstrip("."))
    return Offers(
        resource={} if document is None else find_object(document, "resource"),
        extensions={} if document is None else find_object(document, "extensions"),
        offers=tuple(offers),
        passed_over=tuple(passed_over),
        answered_at=find_date(headers),
    )


def _read_document(headers: Headers) -> Json | None:
    header = find_header(headers, PAYMENT_REQUIRED_HEADER)
    if header is None:
        return None
    document = decode_base64_json(header, "The PAYMENT-REQUIRED header")
    _check_version(document)
    return document


def _check_version(document: Json) -> None:
    version = document.get("x402Version")
    if version != 2 or not isinstance(version, int):
        raise StudioProtocolError(f"The studio speaks x402 version {quote_text(version, 20)}, not 2.")


def _read_accepts(document: Json, *, may_be_empty: bool) -> Sequence[object]:
    """The entries of `accepts`: at least one, and no more than we are ready to compare with each other.

    An empty list beside a sign-in is a sign-in, whatever zero-amount charge stands beside it.
    """
    accepts = document.get("accepts")
    if not isinstance(accepts, list):
        raise StudioProtocolError("The studio's 402 has no list of ways to pay.")
    entries = cast("list[object]", accepts)
    if not entries and SIGN_IN_EXTENSION in find_object(document, "extensions"):
        raise StudioProtocolError("The studio asks for a sign-in where a price was expected.")
    if not entries and not may_be_empty:
        raise StudioProtocolError("The studio's 402 names no way to pay.")
    if len(entries) > ACCEPTS_MAX:
        raise StudioProtocolError(f"The studio's 402 names {len(entries)} ways to pay; at most {ACCEPTS_MAX} are read.")
    return entries


def _describe_silence(body: bytes) -> str:
    """Why a 402 without a challenge in its headers cannot be paid, as far as it can be told."""
    if b'"x402Version"' in body[:4096]:
        return "The studio names its price only in the body, as x402 version 1 did; this version reads the header."
    return "The studio answered 402 without saying how to pay."


def _check_body(body: bytes, document: Json | None) -> None:
    """Refuse a body that is a refusal, or that names other terms than the header does.

    Source: contract section 13: a payment refused is `error` and `reason`, a sign-in refused `error` and `message`.
    """
    text = body.strip()
    if not text.startswith((b"{", b"[")):
        return  # nothing, or a page for people: the terms are in the header
    said = parse_json(text, "The 402 body")
    if not isinstance(said, dict):
        return
    said = cast("Json", said)
    if "error" in said and ("reason" in said or ("message" in said and "accepts" not in said)):
        raise StudioProtocolError(f"The studio refused a payment that was not made: {quote_text(said['error'])}.")
    if document is None:
        return
    for key in ("accepts", "resource", "x402Version"):
        if key in said and said[key] != document.get(key):
            raise StudioProtocolError(f"The studio's 402 says one thing in its header and another in its body ({key}).")


def _read_charge(challenge: object) -> Offer:
    """One MPP challenge; raises on anything that cannot be a Tempo charge of a whole amount.

    Source: the Tempo method's charge request: amount, currency, recipient, methodDetails.
    """
    if not isinstance(challenge, Challenge):
        raise StudioProtocolError("an entry that is not a challenge")
    if (challenge.method, challenge.intent) != ("tempo", "charge"):
        method, intent = quote_text(challenge.method, 20), quote_text(challenge.intent, 20)
        raise StudioProtocolError(f"an MPP challenge of method {method} and intent {intent}, not tempo and charge")
    request = challenge.request
    for key in ("currency", "recipient"):
        if not is_address(request.get(key)):
            raise StudioProtocolError(f"a Tempo charge whose {key} is not an address")
    chain_id = find_object(request, "methodDetails").get("chainId")
    if not isinstance(chain_id, int) or not is_network(f"eip155:{chain_id}"):
        raise StudioProtocolError("a Tempo charge that names no chain")
    return Offer(
        rail="mpp",
        scheme=challenge.intent,
        network=f"eip155:{chain_id}",
        asset=str(request["currency"]),
        pay_to=str(request["recipient"]),
        amount_micro_usdc=MicroUSDC(read_amount(request.get("amount"), "a Tempo charge's amount")),
        lifetime_seconds=0,
        expires_at=challenge.expires_at,
        extra=request,
        terms=challenge.parameters,
    )


def _read_entry(entry: object) -> Offer:
    """One entry of `accepts`; raises on anything that cannot be an EVM token transfer of a whole amount."""
    if not isinstance(entry, Mapping):
        raise StudioProtocolError("an entry that is not an object")
    terms = cast("Json", entry)
    scheme = read_text(terms, "scheme", "An entry of accepts")
    network = read_text(terms, "network", "An entry of accepts")
    name = f"{quote_text(scheme, 20)} on {quote_text(network, 60)}"
    for key in ("asset", "payTo"):
        if not is_address(terms.get(key)):
            raise StudioProtocolError(f"{name}: {key} is not an EVM address")
    lifetime = terms.get("maxTimeoutSeconds")
    if not isinstance(lifetime, int) or isinstance(lifetime, bool) or abs(lifetime) > LIFETIME_SECONDS_MAX:
        raise StudioProtocolError(f"{name}: maxTimeoutSeconds is not a whole number of seconds")
    return Offer(
        rail="x402",
        scheme=scheme,
        network=network,
        asset=str(terms["asset"]),
        pay_to=str(terms["payTo"]),
        amount_micro_usdc=MicroUSDC(read_amount(terms.get("amount"), f"{name}: amount")),
        lifetime_seconds=lifetime,
        extra=find_object(terms, "extra"),
        terms=terms,
    )
