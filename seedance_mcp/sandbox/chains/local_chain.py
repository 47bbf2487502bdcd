"""One USDC contract on one chain, in memory.

The single token contract keeps balances and, for every signer, the authorization nonces that were used. Money moves
only by EIP-3009 `transferWithAuthorization`, whose rules are checked in the order of the deployed FiatToken: the
window, the nonce, the signature, the balance. The chain has one block per second, and a block's number is the number
of seconds since the chain began. So a client that waits for an authorization to expire can read the time from the
chain.

This module keeps balances, nonces, receipts and the chain's clock. It sets no prices and does no HTTP. Every method
may be called from any thread.

Source: EIP-3009 (transferWithAuthorization), EIP-712 (the signed digest), FiatTokenV2_2 (revert reasons).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from seedance_mcp.sandbox.chains.balances import Balances

CHAIN_ID = 402402
NETWORK = f"eip155:{CHAIN_ID}"
TOKEN_ADDRESS = "0x5A4dB0c500000000000000000000000000000402"  # noqa: S105  # a public contract
TOKEN_NAME = "Sandbox USDC"  # noqa: S105  # an EIP-712 domain
TOKEN_VERSION = "1"  # noqa: S105  # an EIP-712 domain
TOKEN_DECIMALS = 6

TRANSFER_TOPIC = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
USED_TOPIC = "0x" + keccak(text="AuthorizationUsed(address,bytes32)").hex()
# EIP-2: a signature with s in the upper half of the curve order is a copy of another one; FiatToken refuses it.
_S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

_AUTHORIZATION_FIELDS = [
    {"name": "from", "type": "address"},
    {"name": "to", "type": "address"},
    {"name": "value", "type": "uint256"},
    {"name": "validAfter", "type": "uint256"},
    {"name": "validBefore", "type": "uint256"},
    {"name": "nonce", "type": "bytes32"},
]


class RevertError(Exception):
    """The token contract refused a call; the text is the one that a node reports."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"execution reverted: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One EIP-3009 transfer authorization, its amount in micro-USDC and its times in Unix seconds."""

    payer: str
    recipient: str
    amount_micro_usdc: int
    valid_after: int
    valid_before: int
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One completed transfer."""

    transaction: str
    payer: str
    recipient: str
    amount_micro_usdc: int
    nonce: str
    block_number: int
    at: float


class LocalChain(Balances):
    """One USDC contract with its balances, nonces and receipts."""

    def __init__(self, funded: Mapping[str, int] | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(funded, clock=clock)
        self._used_nonces: set[tuple[str, bytes]] = set()
        self._settlements: dict[str, Settlement] = {}

    def authorization_state(self, authorizer: str, nonce: bytes) -> bool:
        """Return True if an authorizer's nonce was used.

        Source: EIP-3009, `authorizationState`.
        """
        with self._lock:
            return (authorizer.lower(), nonce) in self._used_nonces

    def settlements(self) -> tuple[Settlement, ...]:
        """Return every transfer so far, oldest first."""
        with self._lock:
            return tuple(self._settlements.values())

    def find_settlement(self, transaction: str) -> Settlement | None:
        """Return the transfer with this transaction hash, or None."""
        with self._lock:
            return self._settlements.get(transaction.lower())

    def timestamp(self) -> int:
        """Return the latest block's time in Unix seconds."""
        return int(self._clock())

    def block_number(self, timestamp: int | None = None) -> int:
        """Return the number of the latest block, or of the block of a given second."""
        return 1 + max(0, (self.timestamp() if timestamp is None else timestamp) - self._born_at)

    def block_timestamp(self, number: int) -> int | None:
        """Return the time of a block in Unix seconds, or None for a future block."""
        if not 0 <= number <= self.block_number():
            return None
        return self._born_at + max(0, number - 1)

    def check_transfer(self, authorization: Authorization, signature: bytes) -> None:
        """Run `transferWithAuthorization` without its effect, as `eth_call` does.

        Raises:
            RevertError: If the contract would refuse it.
        """
        payer = authorization.payer.lower()
        now = self.timestamp()
        # EIP-3009: "require(now > validAfter)" and "require(now < validBefore)", both strict.
        if now <= authorization.valid_after:
            raise RevertError("FiatTokenV2: authorization is not yet valid")
        if now >= authorization.valid_before:
            raise RevertError("FiatTokenV2: authorization is expired")
        if self.authorization_state(payer, authorization.nonce):
            raise RevertError("FiatTokenV2: authorization is used or canceled")
        if recover_authorizer(authorization, signature) != payer:
            raise RevertError("FiatTokenV2: invalid signature")
        if self.balance_of(payer) < authorization.amount_micro_usdc:
            raise RevertError("ERC20: transfer amount exceeds balance")

    def transfer(self, authorization: Authorization, signature: bytes) -> str:
        """Transfer the money that an authorization allows, once, and return the transaction hash.

        Raises:
            RevertError: If the contract refuses it; then no money has moved.
        """
        with self._lock:
            self.check_transfer(authorization, signature)
            payer, recipient = authorization.payer.lower(), authorization.recipient.lower()
            self._used_nonces.add((payer, authorization.nonce))
            self._balances[payer] -= authorization.amount_micro_usdc
            self._balances[recipient] = self.balance_of(recipient) + authorization.amount_micro_usdc
            transaction = "0x" + keccak(CHAIN_ID.to_bytes(8) + bytes.fromhex(payer[2:]) + authorization.nonce).hex()
            self._settlements[transaction] = Settlement(
                transaction=transaction,
                payer=to_checksum_address(payer),
                recipient=to_checksum_address(recipient),
                amount_micro_usdc=authorization.amount_micro_usdc,
                nonce="0x" + authorization.nonce.hex(),
                block_number=self.block_number(),
                at=self._clock(),
            )
            return transaction


def recover_authorizer(authorization: Authorization, signature: bytes) -> str | None:
    """Return the lower-case address that signed an authorization, or None for an invalid signature.

    Source: EIP-3009 typehash under EIP-712; EIP-2 for the bound on `s`.
    """
    if len(signature) != 65 or int.from_bytes(signature[32:64]) > _S_MAX:
        return None
    document: dict[str, Any] = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "TransferWithAuthorization": _AUTHORIZATION_FIELDS,
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {
            "name": TOKEN_NAME,
            "version": TOKEN_VERSION,
            "chainId": CHAIN_ID,
            "verifyingContract": TOKEN_ADDRESS,
        },
        "message": {
            "from": authorization.payer,
            "to": authorization.recipient,
            "value": authorization.amount_micro_usdc,
            "validAfter": authorization.valid_after,
            "validBefore": authorization.valid_before,
            "nonce": authorization.nonce,
        },
    }
    # On chain, ecrecover never reverts but returns the zero address. eth-account raises instead, with a different
    # exception in each of its layers.
    recover: Callable[..., str] = Account.recover_message  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # untyped upstream
    try:
        return recover(encode_typed_data(full_message=document), signature=signature).lower()
    except (BadSignature, ValidationError, ValueError):
        return None


def build_transfer_log(settlement: Settlement) -> dict[str, Any]:
    """Build the ERC-20 Transfer event of a settlement, as a node's JSON shows it."""
    return {
        "address": TOKEN_ADDRESS,
        "topics": [TRANSFER_TOPIC, *(_pad_address(who) for who in (settlement.payer, settlement.recipient))],
        "data": "0x" + settlement.amount_micro_usdc.to_bytes(32).hex(),
        "blockNumber": hex(settlement.block_number),
        "transactionHash": settlement.transaction,
        "logIndex": "0x0",
    }


def build_use_log(settlement: Settlement) -> dict[str, Any]:
    """Build the EIP-3009 AuthorizationUsed event of a settlement, as a node's JSON shows it."""
    return {
        "address": TOKEN_ADDRESS,
        "topics": [USED_TOPIC, _pad_address(settlement.payer), settlement.nonce],
        "data": "0x",
        "blockNumber": hex(settlement.block_number),
        "transactionHash": settlement.transaction,
        "logIndex": "0x1",
    }


def _pad_address(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")
