"""Offers: the acceptable payments that a 402 names.

A 402 has four meanings (payment challenge, sign-in challenge, payment refused, sign-in refused), and only the first
may lead to a signature over money. `read_offers` reads that one and raises on the other three.

Unknown entries are skipped, so that one of them does not invalidate the others; known entries are read strictly. This
module does not decide whether an offer may be *signed*; `policy` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import urlsplit

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import (
    HEADER_CHARACTERS_MAX,
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
    parse_json_object,
    read_amount,
    read_text,
)
from seedance_mcp.core.wire.www_authenticate import Challenge, read_challenges

Rail = Literal["x402", "mpp"]

PAYMENT_REQUIRED_HEADER = "payment-required"
SIGN_IN_EXTENSION = "sign-in-with-x"
ACCEPTS_MAX = 32
"""Most entries of one 402."""
LIFETIME_SECONDS_MAX = 10**9
"""Longest lifetime that is accepted as a time, thirty years. The policy bounds the signed lifetime."""
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One acceptable payment, as the studio offers it.

    Attributes:
        rail: `x402` or `mpp`.
        scheme: The rail's name of its scheme: `exact` for x402, `charge` for MPP.
        network: CAIP-2 name of the chain, e.g. `eip155:8453`.
        asset: The token's contract address, unchanged.
        pay_to: The recipient's address, unchanged.
        amount_micro_usdc: The price in the token's smallest unit.
        lifetime_seconds: How long a signature should be valid (`maxTimeoutSeconds`); 0 on MPP.
        expires_at: Unix seconds at which an MPP challenge expires; None on x402.
        extra: The rail's additional fields; for x402 the EIP-712 domain name and version, for MPP the whole request.
        terms: The entry, unchanged, to echo in the credential; for MPP the challenge's parameters.
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
    """The request header that pays an offer. Any holder of its value can broadcast it.

    Attributes:
        header: The header's name.
        value: The header's value; a secret until it expires.
        raw_transaction: The signed transaction that must be broadcast first; empty if the studio broadcasts it.
    """

    header: str
    value: str = field(repr=False)
    raw_transaction: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The content of one payment challenge.

    Attributes:
        resource: The x402 `resource` object, unchanged, to echo; empty on a pure MPP challenge.
        extensions: The x402 `extensions` object, unchanged.
        offers: The readable entries, in the studio's order.
        passed_over: One line for each unreadable entry, for the error text.
        answered_at: Unix seconds of the studio's clock when it answered, or None if unknown.
    """

    resource: Json
    extensions: Json
    offers: tuple[Offer, ...]
    passed_over: tuple[str, ...]
    answered_at: float | None = None

    @property
    def is_mpp_alone(self) -> bool:
        """Return True if no readable offer is on x402."""
        return all(offer.rail == "mpp" for offer in self.offers)

    @property
    def resource_url(self) -> str | None:
        """Return the URL of the resource that the payment is for, according to the studio."""
        return find_text(self.resource, "url")


def read_offers(status: int, headers: Headers, body: bytes, *, url: str | None = None) -> Offers:
    """Read the payment challenge of an unpaid request.

    The terms are those of the PAYMENT-REQUIRED header. Without it, a body that is a whole x402 version 2 document
    replaces it. An `error` with a `message` in the body only reports that a payment is required.

    Args:
        status: HTTP status of the answer.
        headers: Response headers, names in lower case.
        body: Response body; empty, a `checkout_session` for people, a copy of the header's document, or that document.
        url: The requested URL; a resource that only the body names must equal it.

    Raises:
        StudioProtocolError: Not a payment challenge: another status, a sign-in, a refusal, or nothing readable.

    Source: x402 v2 specification, section 5.1 (PaymentRequired) and transports/http; MPP: `wire.challenges`; contract
    section 13.
    """
    if status != 402:
        raise StudioProtocolError(f"Expected a 402 with the price, got status {status}.")
    said = _read_body(body)
    _check_refusal(said)
    document = _read_document(headers)
    challenges, passed_over = read_challenges(headers)
    if document is not None:
        _check_agreement(document, said)
    elif "accepts" in said and (said.get("x402Version") == 2 or not challenges):
        document = _read_body_document(body)
    if document is None and not challenges and not passed_over:
        raise StudioProtocolError(_describe_missing_challenge(said))
    offers: list[Offer] = []
    entries = () if document is None else _read_accepts(document, may_be_empty=bool(challenges))
    for read, given in ((_read_entry, entries), (_read_charge, challenges)):
        for entry in given:
            try:
                offers.append(read(entry))
            except StudioProtocolError as exc:
                passed_over.append(exc.what.rstrip("."))
    return Offers(
        resource={} if document is None else _find_resource(headers, document, said, url),
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


def _read_body_document(body: bytes) -> Json:
    """Read a whole x402 document from the body, with the header's bounds: its terms are echoed in a header."""
    if len(body) > HEADER_CHARACTERS_MAX:
        raise StudioProtocolError(f"The studio's offer in the body is longer than {HEADER_CHARACTERS_MAX} bytes.")
    document = parse_json_object(body, "The 402 body", unique=True)
    _check_version(document)
    return document


def _check_version(document: Json) -> None:
    version = document.get("x402Version")
    if version != 2 or not isinstance(version, int):
        raise StudioProtocolError(f"The studio speaks x402 version {quote_text(version, 20)}, not 2.")


def _read_accepts(document: Json, *, may_be_empty: bool) -> Sequence[object]:
    """Return the entries of `accepts`: at least one, and at most `ACCEPTS_MAX`.

    An empty list with a sign-in is a sign-in challenge, also with a zero-amount charge.
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


def _describe_missing_challenge(said: Json) -> str:
    """Describe why a 402 without a challenge cannot be paid, with the studio's text if there is one."""
    error = find_text(said, "error")
    return "The studio answered 402 without saying how to pay" + (f": {quote_text(error)}." if error else ".")


def _read_body(body: bytes) -> Json:
    """Return the object in a 402's body; an empty one for an empty body, an HTML page, or another document."""
    if not body.strip().startswith((b"{", b"[")):
        return {}
    said = parse_json(body, "The 402 body")
    return cast("Json", said) if isinstance(said, dict) else {}


def _check_refusal(said: Json) -> None:
    """Raise if the body refuses a payment or a sign-in: we have sent none, so this is no price.

    Source: contract sections 7 and 13: a payment refused is `error` and `reason`; a sign-in refused is `error`, one of
    the `siwx_` codes, and `message`.
    """
    error = said.get("error")
    if error is not None and ("reason" in said or str(error).startswith("siwx_")):
        raise StudioProtocolError(f"The studio refused a payment that was not made: {quote_text(error)}.")


def _check_agreement(document: Json, said: Json) -> None:
    """Raise if body and header name different terms."""
    for key in ("accepts", "x402Version"):
        if key in said and said[key] != document.get(key):
            raise StudioProtocolError(f"The studio's 402 says one thing in its header and another in its body ({key}).")
    ours, theirs = document.get("resource"), said.get("resource")
    if None not in (ours, theirs) and ours != theirs and _find_url(document) != (_find_url(said) or ""):
        raise StudioProtocolError("The studio's 402 says one thing in its header and another in its body (resource).")


def _find_resource(headers: Headers, document: Json, said: Json, url: str | None) -> Json:
    """Return the resource of the payment. If only the body names it, its URL must be the requested one.

    Source: x402 v2 specification, section 5.1 (`resource`).
    """
    if find_header(headers, PAYMENT_REQUIRED_HEADER) is not None and "resource" in document:
        return find_object(document, "resource")
    named = _find_url(said)
    if named is not None and url is not None and not _is_same_url(named, url):
        raise StudioProtocolError(f"The studio's 402 names something else in its body: {quote_text(named, 120)}.")
    return find_object(said, "resource")


def _find_url(document: Json) -> str | None:
    return find_text(find_object(document, "resource"), "url")


def _is_same_url(one: str, other: str) -> bool:
    """Compare two URLs exactly, except for the case of the host and a default port."""
    try:
        parts = [urlsplit(url) for url in (one, other)]
        places = [(part.scheme, part.hostname, part.port or _PORTS.get(part.scheme)) for part in parts]
    except ValueError:
        return False
    rests = [(part.username, part.password, part.path, part.query, part.fragment) for part in parts]
    return places[0] == places[1] and rests[0] == rests[1] and one.isascii() and one.isprintable()


def _read_charge(challenge: object) -> Offer:
    """Read one MPP challenge; raise if it is not a Tempo charge of a whole amount.

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
    """Read one entry of `accepts`; raise if it is not an EVM token transfer of a whole amount."""
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
