"""The MPP rail: challenges, verification and settlement by the official SDK, on a Tempo chain in memory.

Challenges, credentials and receipts are the SDK's types. The SDK authenticates the echoed challenge, checks the
transaction against it and broadcasts it. Our code is the chain, the simulation before the handler, and the refusals of
the makers' framework, which differ from the SDK's. This module sets no prices and runs no handlers.

Source: `pympp` 0.16, server side; wire captures of `@agentcash/router` 1.20.0 (refusals, realm with the port, the
zero-amount charge beside a sign-in).
"""

import base64
import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from eth_utils.address import to_checksum_address
from mpp import Challenge, Credential, Receipt
from mpp.errors import CredentialReplayedError, PaymentError
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import server as tempo
from mpp.server.mpp import Mpp
from mpp.store import MemoryStore
from starlette.requests import Request

from seedance_mcp.sandbox.api.answers import RefusalError
from seedance_mcp.sandbox.api.sign_in import format_time
from seedance_mcp.sandbox.chains.local_chain import RevertError
from seedance_mcp.sandbox.chains.tempo import (
    CHAIN_ID,
    NETWORK,
    TOKEN_ADDRESS,
    TempoChain,
    Transfer,
    read_envelope,
    read_transaction,
)
from seedance_mcp.sandbox.chains.tempo_rpc import IN_PROCESS_URL, TempoTransport
from seedance_mcp.sandbox.faults import Fault
from seedance_mcp.sandbox.payments.paywall import PaymentRejectedError, Resource, Verified
from seedance_mcp.sandbox.payments.tampering import tamper_charge

LIFETIME_SECONDS = 300
HEADER_CHARACTERS_MAX = 65_536
TAMPERED_MAX = 1_000
SPONSOR_MICRO_USDC = 1_000_000_000

_SPENT = "MPP payment failed: Payment verification failed: Transaction hash has already been used."


@dataclass(frozen=True, slots=True, kw_only=True)
class MppPayment:
    """A verified payment to settle; one with a receipt is settled already."""

    server: Mpp
    credential: Credential
    receipt: Receipt | None = None


class MppRail:
    """Issues, verifies and settles MPP charges on Tempo."""

    name = "mpp"

    def __init__(
        self, chain: TempoChain, *, pay_to: str, sponsors: bool = False, client_broadcast: bool = False
    ) -> None:
        self._chain = chain
        self._client_broadcast = client_broadcast
        self._sponsor = TempoAccount.from_key("0x" + secrets.token_hex(32)) if sponsors else None
        if self._sponsor is not None:
            chain.mint(self._sponsor.address, SPONSOR_MICRO_USDC)
        self._pay_to = pay_to.lower()
        self._secret = secrets.token_hex(32)
        self._tampered: list[dict[str, Any]] = []
        self._servers: dict[str, Mpp] = {}
        self._store = MemoryStore()
        self._http = httpx.AsyncClient(transport=TempoTransport(chain))

    def carries_payment(self, request: Request) -> bool:
        """Return True if a request pays on this rail."""
        return request.headers.get("authorization", "").lower().startswith("payment ")

    def build_challenge(
        self, resource: Resource, price_micro_usdc: int, tampering: Fault | None = None
    ) -> dict[str, str]:
        """Build the header that offers a resource for a price."""
        charge = self._build_charge(price_micro_usdc)
        realm, lifetime_seconds = urlsplit(resource.url).netloc, LIFETIME_SECONDS
        if tampering is not None:
            kind = str(tampering.argument)
            charge, realm, lifetime_seconds = tamper_charge(
                charge, realm, lifetime_seconds, kind, ceiling_micro_usdc=resource.ceiling_micro_usdc
            )
            self._tampered = [*self._tampered[-TAMPERED_MAX:], charge]
        return {"www-authenticate": self._write_challenge(charge, realm, lifetime_seconds)}

    def build_sign_in_headers(self, url: str) -> dict[str, str]:
        """Build the zero-amount charge that accompanies a sign-in challenge; it must not be paid."""
        return {
            "www-authenticate": self._write_challenge(self._build_charge(0), urlsplit(url).netloc, LIFETIME_SECONDS)
        }

    async def verify(self, request: Request, resource: Resource, price_micro_usdc: int) -> Verified:
        """Verify a request's payment: its challenge, its transaction, and that the chain would include it now.

        Raises:
            PaymentRejectedError: If it is not a payment for this resource at this price, or would not settle.
            RefusalError: 500 if it was settled before.
        """
        try:
            credential = _read_credential(request.headers["authorization"])
            charge = json.loads(_decode_base64url(credential.challenge.request))
            if self._client_broadcast:
                return await self._accept_broadcast(credential, charge, resource, price_micro_usdc)
            transfer = _read_transfer(credential)
            if self._sponsor is not None:
                transfer = replace(transfer, sponsor=self._sponsor.address)
        except (PaymentError, RevertError, AttributeError, KeyError, TypeError, ValueError) as exc:
            raise PaymentRejectedError("malformed_credential", "not a readable credential", silent=True) from exc
        if self._chain.find_nonce(transfer.nonce_hash) is not None:
            raise RefusalError(500, _SPENT)
        # A tampered charge is accepted if the client signs it, as a thief would accept it.
        if charge not in [self._build_charge(price_micro_usdc), *self._tampered]:
            raise PaymentRejectedError("charge_mismatch", "not a charge for this resource", silent=True)
        server = self._find_server(credential.challenge.realm if charge in self._tampered else _realm_of(resource))
        try:
            validation = await server.validate_credential(credential)
            self._chain.check_transfer(transfer)
        except (PaymentError, RevertError) as exc:
            raise PaymentRejectedError("invalid_payment", str(exc), silent=True) from exc
        payer = to_checksum_address(validation.payer or transfer.payer)
        return Verified(payer=payer, payment=MppPayment(server=server, credential=credential))

    async def _accept_broadcast(
        self, credential: Credential, charge: object, resource: Resource, price_micro_usdc: int
    ) -> Verified:
        """Accept the hash of a transfer on the chain. This uses the hash up, even if the handler refuses afterwards.

        Source: contract section 6.
        """
        if charge != self._build_charge(price_micro_usdc):
            raise PaymentRejectedError("charge_mismatch", "not a charge for this resource", silent=True)
        server = self._find_server(_realm_of(resource))
        try:
            validation = await server.validate_credential(credential)
            receipt = await server.broadcast_credential(credential)
        except CredentialReplayedError as exc:
            raise RefusalError(500, _SPENT) from exc
        except PaymentError as exc:
            raise PaymentRejectedError("invalid_payment", str(exc), silent=True) from exc
        payment = MppPayment(server=server, credential=credential, receipt=receipt)
        return Verified(payer=to_checksum_address(str(validation.payer)), payment=payment)

    async def settle(self, payment: Any, *, broken: bool = False) -> tuple[str, dict[str, str]] | None:
        """Broadcast a verified payment.

        Args:
            payment: What `verify` returned.
            broken: Pretend that the chain cannot be reached.

        Returns:
            The transaction and the headers of the answer, or None if the money did not move.
        """
        assert isinstance(payment, MppPayment)  # noqa: S101  # narrows the seam's Any to what our verify returned
        receipt = payment.receipt
        if receipt is None:
            if broken:
                return None
            try:
                receipt = await payment.server.broadcast_credential(payment.credential)
            except PaymentError:
                return None
        return receipt.reference, {"payment-receipt": receipt.to_payment_receipt()}

    def forge_receipt(self, payment: Any) -> dict[str, str]:
        """Build the headers of an answer whose receipt names a transaction that does not exist."""
        del payment
        return {"payment-receipt": Receipt.success(reference="0x" + secrets.token_hex(32)).to_payment_receipt()}

    def describe_payment(self, request: Request) -> dict[str, Any]:
        """Describe what a request's payment authorizes, without its signature."""
        try:
            credential = _read_credential(request.headers["authorization"])
            if self._client_broadcast:
                return {"rail": self.name, "hash": str(cast("dict[str, object]", credential.payload)["hash"])}
            transfer = _read_transfer(credential)
        except (PaymentError, RevertError, AttributeError, KeyError, TypeError, ValueError):
            return {"rail": self.name, "problem": "malformed_credential"}
        return {
            "rail": self.name,
            "network": f"eip155:{transfer.chain_id}",
            "asset": transfer.token,
            "authorization": {
                "from": transfer.payer,
                "to": transfer.recipient,
                "value": str(transfer.amount_micro_usdc),
                "validBefore": str(transfer.valid_before),
                "nonce": transfer.nonce_hash,
            },
        }

    async def close(self) -> None:
        """Close the SDK's HTTP client."""
        await self._http.aclose()

    def _build_charge(self, price_micro_usdc: int) -> dict[str, Any]:
        """Build the wire request of a charge. Source: captures."""
        details: dict[str, Any] = {"chainId": CHAIN_ID}
        if self._sponsor is not None:
            details["feePayer"] = True
        if self._client_broadcast:
            details["supportedModes"] = ["push"]
        return {
            "amount": str(price_micro_usdc),
            "currency": TOKEN_ADDRESS.lower(),
            "methodDetails": details,
            "recipient": self._pay_to,
        }

    def _write_challenge(self, charge: dict[str, Any], realm: str, lifetime_seconds: int) -> str:
        challenge = Challenge.create(
            secret_key=self._secret,
            realm=realm,
            method="tempo",
            intent="charge",
            request=charge,
            expires=format_time(time.time() + lifetime_seconds),
        )
        return challenge.to_www_authenticate(realm)

    def _find_server(self, realm: str) -> Mpp:
        """Return the SDK's server object for a realm; all of them share the used transactions."""
        if realm not in self._servers:
            methods = tempo.charge(
                recipient=self._pay_to,
                chain_id=CHAIN_ID,
                rpc_url=IN_PROCESS_URL,
                currencies=[TOKEN_ADDRESS.lower()],
                fee_payer=self._sponsor,
                fee_token=TOKEN_ADDRESS if self._sponsor else None,
                allowed_fee_tokens=[TOKEN_ADDRESS],
                store=self._store,
                http_client=self._http,
            )
            self._servers[realm] = Mpp(methods=methods, realm=realm, secret_key=self._secret)
        return self._servers[realm]


def _realm_of(resource: Resource) -> str:
    return urlsplit(resource.url).netloc


def _read_credential(header: str) -> Credential:
    if len(header) > HEADER_CHARACTERS_MAX:
        raise ValueError("too long")
    try:
        return Credential.from_authorization(header)
    except Exception as exc:  # the SDK documents no exceptions here; any of them means an invalid credential
        raise ValueError("not a credential") from exc


def _read_transfer(credential: Credential) -> Transfer:
    payload = cast("dict[str, object]", credential.payload)
    if payload["type"] != "transaction":
        raise ValueError("only signed transactions are taken")
    raw = bytes.fromhex(str(payload["signature"]).removeprefix("0x"))
    return read_envelope(raw) if raw[:1] == b"\x78" else read_transaction(raw)


def _decode_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


__all__ = ["NETWORK", "MppPayment", "MppRail"]
