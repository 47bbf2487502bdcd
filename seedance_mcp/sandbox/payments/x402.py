"""The x402 rail: offers, verification and settlement by the official SDK.

The SDK's resource server builds and matches requirements, its facilitator verifies and settles payments, and its
codecs encode and decode headers. Our code is only the chain and the wire details in which the makers' framework
differs from the SDK. This module sets no prices and runs no handlers.

Source: x402 v2, scheme `exact` on EVM; wire captures of `@agentcash/router` 1.20.0 for refusals.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from anyio import sleep, to_thread
from starlette.requests import Request
from x402.facilitator import x402FacilitatorSync
from x402.http.utils import decode_payment_signature_header, encode_payment_response_header
from x402.mechanisms.evm.exact.facilitator import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    ExactEvmScheme as FacilitatorScheme,
)
from x402.mechanisms.evm.exact.server import (  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
    ExactEvmScheme as ServerScheme,
)
from x402.schemas import (
    AssetAmount,
    PaymentPayload,
    PaymentRequirements,
    ResourceConfig,
    ResourceInfo,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from x402.server import x402ResourceServer

from seedance_mcp.sandbox.api.answers import encode_header
from seedance_mcp.sandbox.api.schema import Schema
from seedance_mcp.sandbox.chains.local_chain import NETWORK, TOKEN_ADDRESS, TOKEN_NAME, TOKEN_VERSION, LocalChain
from seedance_mcp.sandbox.chains.signer import ChainSigner
from seedance_mcp.sandbox.faults import Fault
from seedance_mcp.sandbox.payments.paywall import PaymentRejectedError, Resource, Verified
from seedance_mcp.sandbox.payments.tampering import tamper_offer

PAYMENT_HEADER = "payment-signature"
LIFETIME_SECONDS = 300
HEADER_CHARACTERS_MAX = 65_536
TAMPERED_MAX = 1_000
# Source: captures: the framework tries to settle three times, with these pauses between.
SETTLE_RETRY_SECONDS = (0.5, 1.0)

_UNDECODABLE = "X-PAYMENT header could not be decoded: Invalid payment signature header"
_JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class X402Payment:
    """A verified payment to settle."""

    payload: PaymentPayload
    requirements: PaymentRequirements


class LocalFacilitator:
    """The official facilitator on the local chain, in a worker thread: signatures take milliseconds."""

    def __init__(self, chain: LocalChain) -> None:
        self._facilitator = x402FacilitatorSync()
        self._facilitator.register([NETWORK], FacilitatorScheme(ChainSigner(chain)))

    async def verify(self, payload: PaymentPayload, requirements: PaymentRequirements) -> VerifyResponse:
        """Verify a payment."""
        return await to_thread.run_sync(self._facilitator.verify, payload, requirements)

    async def settle(self, payload: PaymentPayload, requirements: PaymentRequirements) -> SettleResponse:
        """Settle a payment."""
        return await to_thread.run_sync(self._facilitator.settle, payload, requirements)

    def get_supported(self) -> SupportedResponse:
        """Return the kinds of payments that can be settled."""
        return self._facilitator.get_supported()


class X402Rail:
    """Issues, verifies and settles x402 payments."""

    name = "x402"

    def __init__(self, chain: LocalChain, *, pay_to: str) -> None:
        self._chain = chain
        self._pay_to = pay_to.lower()  # live, payTo is in lower case and the asset is checksummed
        self._tampered: list[PaymentRequirements] = []
        self._server = x402ResourceServer(LocalFacilitator(chain))
        scheme: Any = ServerScheme()  # in the SDK, its parameter names differ from its protocol's
        self._server.register(NETWORK, scheme)
        self._server.initialize()

    def carries_payment(self, request: Request) -> bool:
        """Return True if a request pays on this rail."""
        return PAYMENT_HEADER in request.headers

    def build_challenge(
        self, resource: Resource, price_micro_usdc: int, tampering: Fault | None = None
    ) -> dict[str, str]:
        """Build the header that offers a resource for a price."""
        [offer] = self._build_requirements(price_micro_usdc)
        if tampering is not None:
            offer = tamper_offer(offer, str(tampering.argument), ceiling_micro_usdc=resource.ceiling_micro_usdc)
            self._tampered = [*self._tampered[-TAMPERED_MAX:], offer]
        info = ResourceInfo(
            url=resource.url,
            description=resource.description,
            mime_type="application/json",
            tags=[resource.tag],
            service_name="StableStudio",
        )
        document = {
            "x402Version": 2,
            # The framework names the method, for which the SDK's ResourceInfo has no field.
            "resource": info.model_dump(by_alias=True, exclude_none=True) | {"method": "POST"},
            "accepts": [offer.model_dump(by_alias=True)],
            "extensions": {"bazaar": _build_bazaar(resource.body_schema)},
        }
        return {"payment-required": encode_header(document)}

    def build_sign_in_headers(self, url: str) -> dict[str, str]:
        """Return no headers: on this rail a sign-in is not a payment."""
        del url
        return {}

    async def close(self) -> None:
        """Do nothing: the chain is in this process."""

    async def verify(self, request: Request, resource: Resource, price_micro_usdc: int) -> Verified:
        """Verify a request's payment.

        Raises:
            PaymentRejectedError: If it is not a payment for this resource at this price, or would not settle.
        """
        payload = _read_payload(request.headers[PAYMENT_HEADER])
        # A tampered offer is accepted if the client signs it, as a thief would accept it.
        available = [*self._build_requirements(price_micro_usdc), *self._tampered]
        requirements = self._server.find_matching_requirements(available, payload)
        if requirements is None:
            message = "Signed payment requirements did not match any server-built requirement"
            raise PaymentRejectedError("requirements_mismatch", message)
        try:
            result = await self._server.verify_payment(payload, requirements)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:  # the SDK does not validate its input
            raise PaymentRejectedError("invalid_payload", "The payment payload could not be read") from exc
        if not result.is_valid:
            reason = result.invalid_reason or "invalid_payment"
            raise PaymentRejectedError(reason, result.invalid_message or reason)
        return Verified(payer=str(result.payer), payment=X402Payment(payload=payload, requirements=requirements))

    async def settle(self, payment: Any, *, broken: bool = False) -> tuple[str, dict[str, str]] | None:
        """Settle a verified payment, with two retries.

        Args:
            payment: What `verify` returned.
            broken: Pretend that the chain cannot be reached.

        Returns:
            The transaction and the headers of the answer, or None if the money did not move.
        """
        assert isinstance(payment, X402Payment)  # noqa: S101  # narrows the seam's Any to what our verify returned
        for pause_seconds in (0.0, *SETTLE_RETRY_SECONDS):
            await sleep(pause_seconds)
            if broken:
                continue
            result = await self._server.settle_payment(payment.payload, payment.requirements)
            if result.success:
                receipt = SettleResponse(
                    success=True, payer=result.payer, transaction=result.transaction, network=result.network
                )
                return result.transaction, {"payment-response": encode_payment_response_header(receipt)}
        return None

    def forge_receipt(self, payment: Any) -> dict[str, str]:
        """Build the headers of an answer whose receipt names a transaction that does not exist."""
        assert isinstance(payment, X402Payment)  # noqa: S101  # narrows the seam's Any to what our verify returned
        receipt = SettleResponse(success=True, transaction="0x" + secrets.token_hex(32), network=NETWORK)
        return {"payment-response": encode_payment_response_header(receipt)}

    def describe_payment(self, request: Request) -> dict[str, Any]:
        """Describe what a request's payment authorizes, without its signature."""
        try:
            payload = _read_payload(request.headers[PAYMENT_HEADER])
        except PaymentRejectedError as exc:
            return {"rail": self.name, "problem": exc.reason}
        return {
            "rail": self.name,
            "network": payload.accepted.network,
            "asset": payload.accepted.asset,
            **_describe_authorization(payload),
        }

    def _build_requirements(self, price_micro_usdc: int) -> list[PaymentRequirements]:
        domain = {"name": TOKEN_NAME, "version": TOKEN_VERSION}
        price = AssetAmount(amount=str(price_micro_usdc), asset=TOKEN_ADDRESS, extra=domain)
        return self._server.build_payment_requirements(
            ResourceConfig(
                scheme="exact",
                pay_to=self._pay_to,
                price=price,
                network=NETWORK,
                max_timeout_seconds=LIFETIME_SECONDS,
            )
        )


def _read_payload(header: str) -> PaymentPayload:
    """Decode a PAYMENT-SIGNATURE header.

    Raises:
        PaymentRejectedError: `malformed_payment_header` if it is not one of version 2.
    """
    try:
        if len(header) <= HEADER_CHARACTERS_MAX:
            payload = decode_payment_signature_header(header)
            if isinstance(payload, PaymentPayload):
                return payload
    except (AttributeError, RecursionError, ValueError) as exc:  # bad base64, JSON and shapes are ValueErrors
        raise PaymentRejectedError("malformed_payment_header", _UNDECODABLE) from exc
    raise PaymentRejectedError("malformed_payment_header", _UNDECODABLE)


def _describe_authorization(payload: PaymentPayload) -> dict[str, Any]:
    """Return the signed fields of a payment unchanged, without its signature."""
    signed: Any = payload.payload.get("authorization") or payload.payload.get("permit2Authorization")
    return {"authorization": signed}


def _build_bazaar(body_schema: Schema) -> dict[str, Any]:
    """Build the catalogue entry that the framework adds to every paid challenge."""
    fields: dict[str, Any] = {
        "type": {"type": "string", "const": "http"},
        "method": {"type": "string", "enum": ["POST", "PUT", "PATCH"]},
        "bodyType": {"type": "string", "enum": ["json", "form-data", "text"]},
        "body": {"$schema": _JSON_SCHEMA, **body_schema},
    }
    entry = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {
        "info": {"input": {"type": "http", "method": "POST", "bodyType": "json", "body": {}}},
        "schema": {
            "$schema": _JSON_SCHEMA,
            "type": "object",
            "properties": {"input": entry},
            "required": ["input"],
        },
    }
