"""The order of work on a paid route, on every rail.

Unpaid: price the body and answer 402 with one offer per rail. Paid: read the body (400), verify the payment
(402 with `error` and `reason`, and a fresh challenge), run the handler (its own refusals), settle (500),
answer. Nothing is settled unless the handler succeeded, and the handler's result stays if the settlement fails: the
makers' framework does so, and its clients must handle it.

A rail knows one payment protocol. This module has the order and the faults between its steps; it does not read
payments.

Source: `@agentcash/router` 1.20.0 (order of steps, bodies and headers of refusals).
"""

import base64
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from anyio import Event, sleep
from starlette.requests import Request
from starlette.responses import Response

from seedance_mcp.sandbox.api.answers import (
    DroppedAnswer,
    HungAnswer,
    RefusalError,
    build_edge_fault,
    build_json,
    dump_json,
)
from seedance_mcp.sandbox.api.schema import Schema
from seedance_mcp.sandbox.faults import Fault, FaultSwitches
from seedance_mcp.sandbox.payments.shapes import reshape_challenge

SEEN_PAYMENTS_MAX = 10_000
_FAULTS_FOR_PAYMENT = ("error_for_payment", "page_for_payment", "bot_check_for_payment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """The resource for sale: one route, for one request."""

    url: str
    path: str
    description: str
    tag: str
    body_schema: Schema
    ceiling_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A payment that would settle, and its payer."""

    payer: str
    payment: Any


class PaymentRejectedError(Exception):
    """A payment that failed verification.

    Attributes:
        reason: The error code.
        silent: True if the answer is the challenge without an error, as on MPP.
    """

    def __init__(self, reason: str, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.silent = silent


class Rail(Protocol):
    """One payment protocol of the studio."""

    name: str

    def carries_payment(self, request: Request) -> bool:
        """Return True if a request pays on this rail."""
        ...

    def build_challenge(
        self, resource: Resource, price_micro_usdc: int, tampering: Fault | None = None
    ) -> dict[str, str]:
        """Build the headers that offer a resource for a price, changed by a fault if one is given."""
        ...

    def build_sign_in_headers(self, url: str) -> dict[str, str]:
        """Build the headers that this rail adds to a sign-in challenge."""
        ...

    async def verify(self, request: Request, resource: Resource, price_micro_usdc: int) -> Verified:
        """Verify the payment of a request, or raise `PaymentRejectedError`."""
        ...

    async def settle(self, payment: Any, *, broken: bool = False) -> tuple[str, dict[str, str]] | None:
        """Settle and return the transaction and the answer's headers, or None if no money moved."""
        ...

    def forge_receipt(self, payment: Any) -> dict[str, str]:
        """Build the headers of an answer whose receipt names a transaction that does not exist."""
        ...

    def describe_payment(self, request: Request) -> dict[str, Any]:
        """Describe what a request's payment authorizes, without its signature."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class Paywall:
    """Sells resources for payments on its rails."""

    def __init__(self, rails: Sequence[Rail], faults: FaultSwitches, stopping: Event) -> None:
        self._rails = tuple(rails)
        self._faults = faults
        self._stopping = stopping
        self.purposes: dict[str, str] = {}
        """Path that was paid for, by settled transaction."""
        self.seen_payments: list[dict[str, Any]] = []
        """All signed payments that this studio received, settled or not."""

    def find_rail(self, request: Request) -> Rail | None:
        """Return the first rail that a request pays on, as in the framework."""
        for rail in self._rails:
            if rail.carries_payment(request):
                self.seen_payments = [
                    *self.seen_payments[-SEEN_PAYMENTS_MAX:],
                    {"path": request.url.path, **rail.describe_payment(request)},
                ]
                return rail
        return None

    def challenge(
        self, resource: Resource, price_micro_usdc: int, *, rejected: PaymentRejectedError | None = None
    ) -> Response:
        """Build a payment challenge: terms in headers, and a body only if a payment was rejected."""
        headers = {
            "cache-control": "no-store",
            "content-type": "application/json",
            "x-agent-identity": build_agent_identity(resource.url),
        }
        tampering = self._faults.take("tampered_offer")
        for rail in self._rails:
            headers |= rail.build_challenge(resource, price_micro_usdc, tampering)
        if rejected is None or rejected.silent:
            shape = self._faults.take("challenge_shape")
            headers, body = (headers, b"") if shape is None else reshape_challenge(headers, str(shape.argument))
            return Response(body, 402, headers)
        refusal = {"error": f"Payment rejected ({rejected.reason}): {rejected}", "reason": rejected.reason}
        return Response(dump_json(refusal), 402, headers)

    def build_sign_in_headers(self, url: str) -> dict[str, str]:
        """Build the headers that the rails add to a sign-in challenge."""
        return {name: value for rail in self._rails for name, value in rail.build_sign_in_headers(url).items()}

    async def close(self) -> None:
        """Close the rails' connections."""
        for rail in self._rails:
            await rail.close()

    async def charge(
        self,
        request: Request,
        rail: Rail,
        *,
        resource: Resource,
        price_micro_usdc: int,
        serve: Callable[[str], Awaitable[dict[str, Any]]],
    ) -> Response:
        """Sell to a paid request whose body is already known to be valid.

        Args:
            request: The paid request.
            rail: The rail it pays on.
            resource: The resource that is sold.
            price_micro_usdc: Its price.
            serve: The handler; takes the payer's address, makes the resource and returns the answer's body.

        Raises:
            RefusalError: If the handler refuses, or 500 if the settlement fails.
        """
        fault = next(filter(None, map(self._faults.take, _FAULTS_FOR_PAYMENT)), None)
        if fault is not None:
            return build_edge_fault(fault)
        try:
            verified = await rail.verify(request, resource, price_micro_usdc)
        except PaymentRejectedError as rejected:
            return self.challenge(resource, price_micro_usdc, rejected=rejected)
        if self._faults.take("second_402"):
            return self.challenge(resource, price_micro_usdc)
        body = await serve(verified.payer)
        if fault := self._faults.take("slow_settle"):
            await sleep(fault.seconds)
        if self._faults.take("false_receipt"):
            return build_json(body, headers=rail.forge_receipt(verified.payment))
        broken = self._faults.take("fail_settlement") is not None
        settled = await rail.settle(verified.payment, broken=broken)
        if settled is None:
            raise RefusalError(500, "Settlement failed")
        transaction, headers = settled
        self.purposes[transaction] = resource.path
        if self._faults.take("wrong_hash"):
            headers = rail.forge_receipt(verified.payment)
        if self._faults.take("settle_then_402"):
            return self.challenge(resource, price_micro_usdc)
        return await self._answer(body, headers)

    async def _answer(self, body: dict[str, Any], headers: dict[str, str]) -> Response:
        """Answer a settled request, unless a fault prevents it."""
        if fault := self._faults.take("slow_answer"):
            await sleep(fault.seconds)
        if self._faults.take("settle_then_500"):
            raise RefusalError(500, "Settlement failed")
        if self._faults.take("drop_after_settle"):
            return DroppedAnswer()
        if self._faults.take("hang_after_settle"):
            return HungAnswer(self._stopping)
        return build_json(body, headers={"cache-control": "private", **headers})


def build_agent_identity(url: str) -> str:
    """Build the optional identity challenge that every 402 response carries and a client may ignore.

    Source: captures show about 300 characters of unpadded base64url; the content is our own choice.
    """
    challenge = dump_json({"type": "did-challenge", "nonce": secrets.token_hex(32), "audience": url})
    return base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
