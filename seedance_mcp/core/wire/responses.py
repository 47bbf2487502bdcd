"""One paid HTTP exchange as values: the request, the response, the receipt, and the outcome for the money."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from seedance_mcp.core.errors import StudioProtocolError
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.edge import find_edge_answer
from seedance_mcp.core.wire.jobs import read_studio_error, read_submitted_job, read_upload_ticket
from seedance_mcp.core.wire.json import Headers, Json, find_header, find_text, parse_json_object
from seedance_mcp.core.wire.mpp import PAYMENT_RECEIPT_HEADER, read_payment_receipt
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.x402 import PAYMENT_RESPONSE_HEADER, read_settlement

Purpose = Literal["upload", "generation"]

REFUSING_STATUSES = frozenset({400, 401, 402, 403, 404, 405, 409, 413, 415, 422})
"""Statuses with which this request settled nothing: validation, verification and handler precede settlement."""


_SPENT_HASH = re.compile(r"transaction hash (has )?already (been )?used")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidRequest:
    """A paid POST request. The same bytes of `body` are quoted and paid for.

    Attributes:
        purpose: The kind of purchase, for the ledger.
        idempotency_key: The idempotency key: the same key is never paid twice.
        aliases: Other keys under which the same purchase may have been made before; see `idempotency`.
        url: Full URL.
        body: JSON bytes.
        arguments: The caller's arguments, for people to read later.
    """

    purpose: Purpose
    idempotency_key: str
    url: str
    body: bytes
    arguments: Json = field(default_factory=dict[str, object])
    aliases: tuple[str, ...] = ()

    @property
    def studio(self) -> str:
        """Return the origin of `url`."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Return every key for the lookup of an earlier purchase, without duplicates."""
        return tuple(dict.fromkeys((self.idempotency_key, *self.aliases)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole response, read within a bound. Header names are in lower case."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof of settlement.

    Attributes:
        rail: The rail of the payment.
        network: CAIP-2 name of the chain.
        transaction: Hash of the transfer; empty if neither the studio nor the chain reported it.
        verified: True if the chain has confirmed it; None if the chain was not read yet, or does not know.
        nonce: The nonce that identifies an x402 payment on the chain if its hash is unknown.
    """

    rail: Rail
    network: str
    transaction: str
    verified: bool | None = None
    nonce: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The money moved, and the answer has the result. `receipt` is None if the answer has none."""

    receipt: Receipt | None
    answer: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """This request settled nothing. The credential stays valid until it expires."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The studio reports that this credential was used before: an earlier request settled, and its answer was lost."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """The answer does not show whether the money moved."""

    reason: str


Outcome = Settled | Refused | Spent | Unclear


def read_outcome(response: Response, rail: Rail, network: str = "") -> Outcome:
    """Return the outcome of a paid request. Any document is accepted; the function never raises.

    Args:
        response: The response.
        rail: The rail of the payment.
        network: The network of the payment, which an MPP receipt does not name.

    Source: contract sections 6 and 13; the order of work of the studio's server framework.
    """
    status, body = response.status, response.body
    edge = find_edge_answer(status, response.headers, body)
    if edge is not None:
        return Unclear(reason=f"status {status}: {edge}")
    if 200 <= status < 300:
        return Settled(receipt=_find_receipt(response.headers, rail, network), answer=body)
    reason = f"status {status}, {read_studio_error(body)}"
    if _reports_spent(status, body, rail):
        return Spent(reason=reason)
    if status in REFUSING_STATUSES:
        return Refused(reason=reason)
    return Unclear(reason=reason)


def holds_result(purpose: Purpose, answer: bytes) -> bool:
    """Return True if a paid answer names the result: a job, or an upload ticket."""
    try:
        _ = read_submitted_job(answer) if purpose == "generation" else read_upload_ticket(answer)
    except StudioProtocolError:
        return False
    return True


def _reports_spent(status: int, body: bytes, rail: Rail) -> bool:
    """Return True if the studio reports that an earlier request with this credential settled.

    Source: contract section 13: 500 "Transaction hash has already been used" on MPP; `mpp.errors`: 403 with the same.
    """
    if rail == "x402":
        return status == 402 and "nonce_already_used" in _find_field(body, "reason")
    said = f"{_find_field(body, 'error')} {_find_field(body, 'detail')}".lower()
    return status in (403, 409, 500) and _SPENT_HASH.search(said) is not None


def _find_receipt(headers: Headers, rail: Rail, network: str) -> Receipt | None:
    try:
        if rail == "mpp":
            header = find_header(headers, PAYMENT_RECEIPT_HEADER)
            transaction = None if header is None else read_payment_receipt(header)
            return None if transaction is None else Receipt(rail=rail, network=network, transaction=transaction)
        header = find_header(headers, PAYMENT_RESPONSE_HEADER)
        if header is None:
            return None
        settlement = read_settlement(header)
    except StudioProtocolError:
        return None
    if not settlement.success:
        return None  # no proof: the answer counts as paid without a transaction
    return Receipt(rail=rail, network=settlement.network, transaction=settlement.transaction)


def _find_field(body: bytes, name: str) -> str:
    try:
        return find_text(parse_json_object(body, "The refusal"), name) or ""
    except StudioProtocolError:
        return ""


def describe_answer(response: Response) -> str:
    """Return an unpaid answer in a few words, for an error's text."""
    edge = find_edge_answer(response.status, response.headers, response.body)
    if edge is not None:
        return f"status {response.status}: {edge}"
    return (
        f"status {response.status}, {read_studio_error(response.body)}"
        if response.body
        else f"status {response.status}"
    )


def quote_url(url: str) -> str:
    """Return a URL of the studio as quoted, bounded text without its query, which may contain a token."""
    return quote_text(url.partition("?")[0], 120)
