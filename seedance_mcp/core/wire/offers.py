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
from urllib.parse import urlsplit

from seedance_mcp.core.errors import StudioProtocolError, quote_text
from seedance_mcp.core.money import MicroUSDC
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
"""How many entries one 402 may have."""
LIFETIME_SECONDS_MAX = 10**9
"""Thirty years: a whole number above this is not a time, whoever may sign it."""
_PORTS = {"https": 443, "http": 80}


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


def read_offers(status: int, headers: Headers, body: bytes, *, url: str | None = None) -> Offers:
    """Read the payment challenge of an unpaid request.

    The terms are those of the PAYMENT-REQUIRED header. Where there is none, a body that is a whole x402 version 2
    document stands for it. An `error` with a `message` in the body only says in words that a payment is wanted.

    Args:
        status: HTTP status of the answer.
        headers: Response headers, names in lower case.
        body: Response body; empty, a `checkout_session` for people, a copy of the header's document, or that document.
        url: What was asked for; a resource that only the body names must be this one.

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
        raise StudioProtocolError(_describe_silence(said))
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
    """Read a whole x402 document from the body, as strictly as from the header: its terms are echoed in one."""
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


def _describe_silence(said: Json) -> str:
    """Why a 402 without a challenge cannot be paid, in the studio's own words where it has some."""
    error = find_text(said, "error")
    return "The studio answered 402 without saying how to pay" + (f": {quote_text(error)}." if error else ".")


def _read_body(body: bytes) -> Json:
    """Return the object in a 402's body; an empty one for nothing, a page for people, or another document."""
    if not body.strip().startswith((b"{", b"[")):
        return {}
    said = parse_json(body, "The 402 body")
    return cast("Json", said) if isinstance(said, dict) else {}


def _check_refusal(said: Json) -> None:
    """Raise on a body that refuses a payment or a sign-in: we have made none, so this is no price.

    Source: contract sections 7 and 13: a payment refused is `error` and `reason`; a sign-in refused is `error`, one of
    the `siwx_` codes, and `message`.
    """
    error = said.get("error")
    if error is not None and ("reason" in said or str(error).startswith("siwx_")):
        raise StudioProtocolError(f"The studio refused a payment that was not made: {quote_text(error)}.")


def _check_agreement(document: Json, said: Json) -> None:
    """Raise where the body names other terms than the header does."""
    for key in ("accepts", "x402Version"):
        if key in said and said[key] != document.get(key):
            raise StudioProtocolError(f"The studio's 402 says one thing in its header and another in its body ({key}).")
    ours, theirs = document.get("resource"), said.get("resource")
    if None not in (ours, theirs) and ours != theirs and _find_url(document) != (_find_url(said) or ""):
        raise StudioProtocolError("The studio's 402 says one thing in its header and another in its body (resource).")


def _find_resource(headers: Headers, document: Json, said: Json, url: str | None) -> Json:
    """Return what the payment is for. Where only the body names it, it must be what was asked for.

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
    """Compare two URLs; the case of the host and a default port do not count. Nothing else is forgiven."""
    try:
        parts = [urlsplit(url) for url in (one, other)]
        places = [(part.scheme, part.hostname, part.port or _PORTS.get(part.scheme)) for part in parts]
    except ValueError:
        return False
    rests = [(part.username, part.password, part.path, part.query, part.fragment) for part in parts]
    return places[0] == places[1] and rests[0] == rests[1] and one.isascii() and one.isprintable()


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
