"""Sign-in with a wallet: issues SIWX challenges and verifies the proofs.

`signinwithethereum`, an EIP-4361 implementation that shares no code with the client under test, writes the message
that must have been signed, and `eth_account` recovers its signer, as that library does. This module keeps the nonces
that were used; it does not know what a route does.

Source: CAIP-122 / EIP-4361 for the message; wire captures of `@agentcash/router` 1.20.0 for the envelope, for
the bare host in `domain`, and for the order and wording of refusals.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import is_address, to_checksum_address
from pydantic import ValidationError
from siwe import SiweMessage  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
from starlette.requests import Request
from x402.extensions.sign_in_with_x.parse import parse_siwx_header
from x402.extensions.sign_in_with_x.schema import build_siwx_schema
from x402.extensions.sign_in_with_x.types import SIWxPayload

from seedance_mcp.sandbox.api.answers import RefusalError, read_origin
from seedance_mcp.sandbox.chains.local_chain import CHAIN_ID, NETWORK

HEADER = "sign-in-with-x"
EXTENSION = "sign-in-with-x"
STATEMENT = "Sign in to verify your wallet identity"
LIFETIME_SECONDS = 300
HEADER_CHARACTERS_MAX = 8192
NONCES_MAX = 100_000

_MESSAGES = {
    "siwx_malformed": "Malformed SIWX payload",
    "siwx_expired": "SIWX message expired — request a new challenge",
    "siwx_nonce_used": "Nonce already used — request a new challenge",
    "siwx_invalid_signature": "Invalid signature — wallet mismatch or corrupted proof",
}


class SignInError(RefusalError):
    """A rejected proof: a 402 response without a new challenge."""

    def __init__(self, code: str) -> None:
        super().__init__(402, code)
        self.body = {"error": code, "message": _MESSAGES[code]}


class SignInVerifier:
    """Issues sign-in challenges, and identifies callers by their proofs."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def build_challenge(self, request: Request, description: str) -> dict[str, Any]:
        """Build the 402 document of a signed-in route, with a fresh nonce."""
        now = self._clock()
        info = {
            "domain": request.url.hostname or "",
            "uri": str(request.url),
            "version": "1",
            "chainId": NETWORK,
            "type": "eip191",
            "nonce": secrets.token_hex(16),
            "issuedAt": format_time(now),
            "expirationTime": format_time(now + LIFETIME_SECONDS),
            "statement": STATEMENT,
        }
        # The framework nests its whole declaration under `schema`, one level deeper than the specification.
        declaration: dict[str, Any] = {
            "info": {"version": "1"},
            "supportedChains": [],
            "schema": build_siwx_schema(),
            "_options": {},
        }
        return {
            "x402Version": 2,
            "error": "SIWX authentication required",
            "resource": {"url": str(request.url), "description": description, "mimeType": "application/json"},
            "accepts": [],
            "extensions": {
                EXTENSION: {
                    "info": info,
                    "supportedChains": [{"chainId": NETWORK, "type": "eip191"}],
                    "schema": {EXTENSION: declaration},
                }
            },
        }

    def read_caller(self, request: Request) -> str | None:
        """Return the checksummed address that a request proves, or None if it carries no proof.

        Raises:
            SignInError: If the proof is rejected.
        """
        header = request.headers.get(HEADER)
        if header is None:
            return None
        proof = _read_proof(header)
        _check_place(proof, request)
        self._check_times(proof)
        if proof.nonce in self._seen:
            raise SignInError("siwx_nonce_used")
        _check_signature(proof)
        self._remember(proof.nonce)
        return proof.address

    def _check_times(self, proof: SIWxPayload) -> None:
        now = self._clock()
        age_seconds = now - _read_time(proof.issued_at)
        if age_seconds < 0:
            _refuse("siwx_malformed")
        if age_seconds > LIFETIME_SECONDS or (proof.expiration_time and _read_time(proof.expiration_time) <= now):
            _refuse("siwx_expired")
        if proof.not_before and _read_time(proof.not_before) > now:
            _refuse("siwx_malformed")

    def _remember(self, nonce: str) -> None:
        """Store a used nonce for as long as a message with it could be accepted."""
        now = self._clock()
        if len(self._seen) >= NONCES_MAX:
            self._seen = {nonce: until for nonce, until in self._seen.items() if until > now}
        self._seen[nonce] = now + 2 * LIFETIME_SECONDS


def format_time(unix_seconds: float) -> str:
    """Format a time as the studio does: UTC, milliseconds, Z."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_proof(header: str) -> SIWxPayload:
    """Decode the header.

    Raises:
        SignInError: `siwx_malformed` for anything that is not the structured JSON, plain EIP-4361 text
        included.
    """
    if len(header) > HEADER_CHARACTERS_MAX:
        _refuse("siwx_malformed")
    try:
        return parse_siwx_header(header)
    except (ValueError, RecursionError) as exc:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise SignInError("siwx_malformed") from exc


def _check_place(proof: SIWxPayload, request: Request) -> None:
    """Check that the proof is for this host and this chain.

    Source: captures: `domain` is the bare host, without a port, and `uri` only has to start with the origin.
    """
    origin = read_origin(request)
    if (
        proof.domain != request.url.hostname
        or not (proof.uri == origin or proof.uri.startswith(f"{origin}/"))
        or proof.chain_id != NETWORK
        or proof.type != "eip191"
    ):
        _refuse("siwx_malformed")


def _check_signature(proof: SIWxPayload) -> None:
    # The framework rebuilds the message with the EIP-55 form, so a lower-case address never matches what was
    # signed.
    if not is_address(proof.address) or to_checksum_address(proof.address) != proof.address:
        _refuse("siwx_invalid_signature")
    try:
        message = SiweMessage.model_validate(
            {
                "domain": proof.domain,
                "address": proof.address,
                "statement": proof.statement,
                "uri": proof.uri,
                "version": proof.version,
                "chain_id": CHAIN_ID,
                "nonce": proof.nonce,
                "issued_at": proof.issued_at,
                "expiration_time": proof.expiration_time,
                "not_before": proof.not_before,
                "request_id": proof.request_id,
                "resources": proof.resources,
            }
        )
    except ValidationError as exc:
        raise SignInError("siwx_malformed") from exc
    if _recover_signer(message, proof.signature) != proof.address:
        _refuse("siwx_invalid_signature")


def _recover_signer(message: SiweMessage, signature: str) -> str | None:
    """Return the address that signed a message; None if the signature is none.

    `SiweMessage.verify` does the same with a new `Web3`, which takes three times as long as the rest of a sign-in.
    """
    try:
        return Account.recover_message(encode_defunct(text=message.prepare_message()), signature=signature)
    except Exception:  # the library documents none; any of them means that these bytes are no signature
        return None


def _read_time(text: str) -> float:
    try:
        time_read = datetime.fromisoformat(text)
    except ValueError as exc:
        raise SignInError("siwx_malformed") from exc
    return (time_read if time_read.tzinfo else time_read.replace(tzinfo=UTC)).timestamp()


def _refuse(code: str) -> NoReturn:
    raise SignInError(code)
