"""A Tempo chain in memory: one TIP-20 dollar, and signed transactions of type 0x76.

The chain checks what a node checks: encoding, signatures, chain, expiring nonce, validity window, the token's one
function, and balances that cover the amount and the highest fee that was signed. It includes what a payer signed at
most once, also if several sponsors sign it.

The chain and the token exist only here, so a transaction that is valid here is worthless on Tempo.

Source: Tempo transaction (0x76) as `pytempo` encodes it; wire captures for the network fee, which the payer or a
sponsor pays in the token itself; Tempo's expiring nonce, kept as the hash of what the payer signed and of the payer.
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import attrs
import rlp  # pyright: ignore[reportMissingTypeStubs]  # untyped
from eth_account import Account
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from pytempo import Call, TempoTransaction  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
from pytempo.models import Signature  # pyright: ignore[reportMissingTypeStubs]  # typed, but not marked so
from rlp.exceptions import (  # pyright: ignore[reportMissingTypeStubs]  # untyped
    DecodingError,
)

from seedance_mcp.sandbox.chains.balances import Balances
from seedance_mcp.sandbox.chains.local_chain import TRANSFER_TOPIC, RevertError

CHAIN_ID = 4024217
NETWORK = f"eip155:{CHAIN_ID}"
TOKEN_ADDRESS = "0x20C0000000000000000000000000000004024217"  # noqa: S105  # a public contract
TOKEN_DECIMALS = 6

GAS_PRICE = 20_000_000_000
"""Price of one unit of gas in attodollars. Source: Tempo's base fee of 2 * 10^10."""
GAS_USED = 278_800
"""Gas of one transfer: with `GAS_PRICE` a fee of 5,576 micro-dollars, as captured."""
ATTODOLLARS_PER_MICRODOLLAR = 10**12
EXPIRING_NONCE_KEY = 2**256 - 1
VALIDITY_SECONDS_MAX = 30
"""Longest validity of an expiring nonce. Source: the newest hardfork that `@foundry-rs/anvil --network tempo` runs."""
TRANSACTION_BYTES_MAX = 16_384

TRANSFER_WITH_MEMO_TOPIC = "0x" + keccak(text="TransferWithMemo(address,address,uint256,bytes32)").hex()
_TRANSFER = keccak(text="transfer(address,uint256)")[:4]
_TRANSFER_WITH_MEMO = keccak(text="transferWithMemo(address,uint256,bytes32)")[:4]
_ZERO_ADDRESS = "0x" + "0" * 40
_FIELDS = 14  # thirteen of the body and the sender's signature; this chain has no access keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A decoded transaction: its payer, recipient, amount, validity and maximum fee.

    Attributes:
        transaction: Its hash, known once all parties have signed; empty for an envelope that waits for its sponsor.
        nonce_hash: The chain's identity of an expiring nonce; independent of the sponsor.
        sponsor: The address that pays the fee instead of the payer, or None.
        memo: 32 bytes in hexadecimal, or None for a plain transfer.
        fee_micro_usdc_max: Gas limit times gas price, rounded up.
    """

    transaction: str
    nonce_hash: str
    sponsor: str | None
    chain_id: int
    token: str
    fee_token: str
    payer: str
    recipient: str
    amount_micro_usdc: int
    memo: str | None
    nonce_key: int
    nonce: int
    valid_after: int
    valid_before: int | None
    gas_limit: int
    gas_price: int
    fee_micro_usdc_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoSettlement:
    """One completed transfer, and its fee."""

    transaction: str
    nonce_hash: str
    payer: str
    fee_payer: str
    recipient: str
    amount_micro_usdc: int
    fee_micro_usdc: int
    gas_price: int
    memo: str | None
    block_number: int
    at: float


class TempoChain(Balances):
    """One dollar token with its balances, included transactions and receipts."""

    def __init__(self, funded: Mapping[str, int] | None = None, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(funded, clock=clock)
        self._settlements: dict[str, TempoSettlement] = {}

    def settlements(self) -> tuple[TempoSettlement, ...]:
        """Return every transfer so far, oldest first."""
        with self._lock:
            return tuple(self._settlements.values())

    def find_settlement(self, transaction: str) -> TempoSettlement | None:
        """Return the transfer with this transaction hash, or None."""
        with self._lock:
            return self._settlements.get(transaction.lower())

    def find_nonce(self, nonce_hash: str) -> TempoSettlement | None:
        """Return the transfer that used an expiring nonce, or None."""
        return next((one for one in self.settlements() if one.nonce_hash == nonce_hash), None)

    def timestamp(self) -> int:
        """Return the latest block's time in Unix seconds."""
        return int(self._clock())

    def block_number(self) -> int:
        """Return the number of the latest block."""
        return 1 + max(0, self.timestamp() - self._born_at)

    def block_timestamp(self, number: int) -> int | None:
        """Return the time of a block in Unix seconds, or None for a future block."""
        if not 0 <= number <= self.block_number():
            return None
        return self._born_at + max(0, number - 1)

    def check_transfer(self, transfer: Transfer) -> None:
        """Check that the chain would include a transaction now.

        Raises:
            RevertError: If it would not.
        """
        now = self.timestamp()
        if transfer.chain_id != CHAIN_ID:
            raise RevertError("invalid chain id")
        if not _is_token(transfer.token) or not _is_token(transfer.fee_token):
            raise RevertError("unknown token")
        if transfer.nonce_key != EXPIRING_NONCE_KEY or transfer.nonce != 0 or transfer.valid_before is None:
            raise RevertError("only expiring nonces are used here")
        if now < transfer.valid_after or now >= transfer.valid_before:
            raise RevertError("transaction is not valid now")
        if transfer.valid_before > now + VALIDITY_SECONDS_MAX:
            raise RevertError(f"expiring nonce is valid for more than {VALIDITY_SECONDS_MAX} seconds")
        if transfer.gas_limit < GAS_USED or transfer.gas_price < GAS_PRICE:
            raise RevertError("intrinsic gas or gas price too low")
        with self._lock:
            if self.find_nonce(transfer.nonce_hash) is not None:
                raise RevertError("already known")
            fee_payer = transfer.sponsor or transfer.payer
            needed = {transfer.payer: transfer.amount_micro_usdc}
            needed[fee_payer] = needed.get(fee_payer, 0) + transfer.fee_micro_usdc_max
            if any(self.balance_of(owner) < amount for owner, amount in needed.items()):
                raise RevertError("InsufficientBalance")

    def include(self, raw: bytes) -> TempoSettlement:
        """Transfer the money that a signed transaction allows, once, and take its fee.

        Raises:
            RevertError: If the transaction is not included; then no money has moved.
        """
        transfer = read_transaction(raw)
        with self._lock:
            self.check_transfer(transfer)
            fee = -(-GAS_USED * transfer.gas_price // ATTODOLLARS_PER_MICRODOLLAR)
            payer, recipient = transfer.payer.lower(), transfer.recipient.lower()
            fee_payer = (transfer.sponsor or payer).lower()
            self._balances[payer] -= transfer.amount_micro_usdc
            self._balances[fee_payer] -= fee
            self._balances[recipient] = self.balance_of(recipient) + transfer.amount_micro_usdc
            settlement = TempoSettlement(
                transaction=transfer.transaction,
                nonce_hash=transfer.nonce_hash,
                payer=to_checksum_address(payer),
                fee_payer=to_checksum_address(fee_payer),
                recipient=to_checksum_address(recipient),
                amount_micro_usdc=transfer.amount_micro_usdc,
                fee_micro_usdc=fee,
                gas_price=transfer.gas_price,
                memo=transfer.memo,
                block_number=self.block_number(),
                at=self._clock(),
            )
            self._settlements[transfer.transaction] = settlement
            return settlement


def read_transaction(raw: bytes) -> Transfer:
    """Decode a signed 0x76 transaction of one token transfer, and recover its signer.

    Raises:
        RevertError: If it is not one, is not in canonical encoding, or has an invalid signature.
    """
    if not 0 < len(raw) <= TRANSACTION_BYTES_MAX or raw[0] != 0x76:
        raise RevertError("not a Tempo transaction (0x76)")
    fields, signature = _split(raw)
    with _decoding():
        transaction = attrs.evolve(_build_transaction(fields), sender_signature=signature)
        payer = _recover(transaction.get_signing_hash(), signature)
        sponsor = None
        if fields[11]:
            transaction = attrs.evolve(transaction, sender_address=payer, awaiting_fee_payer=False)
            sponsor = _recover(transaction.get_signing_hash(for_fee_payer=True), transaction.fee_payer_signature)
        if transaction.encode() != raw:
            raise RevertError("not the canonical encoding")
    return _build_transfer(transaction, payer=payer, sponsor=sponsor, transaction="0x" + keccak(raw).hex())


def read_envelope(raw: bytes) -> Transfer:
    """Decode a 0x78 envelope: a transaction that its payer has signed and that needs a sponsor.

    Raises:
        RevertError: If it is not one, or the payer that it names did not sign it.
    """
    if not 0 < len(raw) <= TRANSACTION_BYTES_MAX or raw[0] != 0x78:
        raise RevertError("not an envelope for a sponsor (0x78)")
    fields, signature = _split(raw)
    with _decoding():
        transaction = attrs.evolve(_build_transaction([*fields[:11], b"", *fields[12:]]), awaiting_fee_payer=True)
        payer = _recover(transaction.get_signing_hash(), signature)
        if bytes.fromhex(payer[2:]) != fields[11]:
            raise RevertError("not signed by the payer that it names")
    return _build_transfer(transaction, payer=payer, sponsor=None, transaction="")


def _build_transfer(signed: TempoTransaction, *, payer: str, sponsor: str | None, transaction: str) -> Transfer:
    [call] = signed.calls
    if call.value:
        raise RevertError("the token takes no value")
    recipient, amount, memo = _read_call(call.data)
    fee = -(-signed.gas_limit * signed.max_fee_per_gas // ATTODOLLARS_PER_MICRODOLLAR)
    return Transfer(
        transaction=transaction,
        nonce_hash="0x" + keccak(signed.encode_for_signing() + bytes.fromhex(payer[2:])).hex(),
        sponsor=sponsor,
        chain_id=signed.chain_id,
        token=to_checksum_address(call.to),
        fee_token=to_checksum_address(signed.fee_token or call.to),
        payer=payer,
        recipient=recipient,
        amount_micro_usdc=amount,
        memo=memo,
        nonce_key=signed.nonce_key,
        nonce=signed.nonce,
        valid_after=signed.valid_after or 0,
        valid_before=signed.valid_before,
        gas_limit=signed.gas_limit,
        gas_price=signed.max_fee_per_gas,
        fee_micro_usdc_max=fee,
    )


@contextmanager
def _decoding() -> Generator[None]:
    """Raise `RevertError` for the exceptions that the libraries raise on invalid bytes."""
    try:
        yield
    except (BadSignature, ValidationError, TypeError, ValueError) as exc:
        raise RevertError("the transaction cannot be decoded") from exc


def _recover(signing_hash: bytes, signature: Signature | None) -> str:
    """Return the address that signed, as the SDK's verifier recovers it."""
    if signature is None:
        raise RevertError("not signed")
    recover = cast("Callable[..., str]", Account._recover_hash)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]  # no public door
    return recover(signing_hash, signature=signature.to_bytes())


def _split(raw: bytes) -> tuple[list[Any], Signature]:
    """Return the thirteen fields of a transaction, and its sender's signature."""
    decode = cast("Callable[[bytes], Any]", rlp.decode)  # pyright: ignore[reportUnknownMemberType]  # untyped upstream
    try:
        fields = decode(raw[1:])
        if not isinstance(fields, list) or len(cast("list[Any]", fields)) != _FIELDS:
            raise RevertError("not a plain transaction of one account")
        return cast("list[Any]", fields)[:-1], Signature.from_bytes(cast("list[Any]", fields)[-1])
    except (DecodingError, TypeError, ValueError) as exc:
        raise RevertError("the transaction cannot be decoded") from exc


def _build_transaction(fields: list[Any]) -> TempoTransaction:
    numbers = [int.from_bytes(fields[index], "big") for index in (0, 1, 2, 3, 6, 7)]
    transaction = TempoTransaction.create(
        chain_id=numbers[0],
        max_priority_fee_per_gas=numbers[1],
        max_fee_per_gas=numbers[2],
        gas_limit=numbers[3],
        calls=tuple(Call.create(to=to, value=int.from_bytes(value, "big"), data=data) for to, value, data in fields[4]),
        nonce_key=numbers[4],
        nonce=numbers[5],
        valid_before=int.from_bytes(fields[8], "big") if fields[8] else None,
        valid_after=int.from_bytes(fields[9], "big") if fields[9] else None,
        fee_token=fields[10] or None,
        awaiting_fee_payer=bool(fields[11]),
    )
    if not fields[11]:
        return transaction
    v, r, s = (int.from_bytes(word, "big") for word in fields[11])
    return attrs.evolve(
        transaction,
        fee_payer_signature=Signature(r=r, s=s, v=v),
        sender_address=_ZERO_ADDRESS,  # not known yet
    )


def _read_call(data: bytes) -> tuple[str, int, str | None]:
    """Return the recipient, amount and memo of `transfer` or `transferWithMemo`."""
    selector, arguments = data[:4], data[4:]
    words = [arguments[index : index + 32] for index in range(0, len(arguments), 32)]
    lengths = {_TRANSFER: 64, _TRANSFER_WITH_MEMO: 96}
    if lengths.get(selector) != len(arguments) or any(words[0][:12]):
        raise RevertError("the token has no such function")
    memo = "0x" + words[2].hex() if selector == _TRANSFER_WITH_MEMO else None
    return to_checksum_address(words[0][12:]), int.from_bytes(words[1], "big"), memo


def build_logs(settlement: TempoSettlement) -> list[dict[str, Any]]:
    """Build the events of a settlement in a node's JSON form: a transfer and, if it has one, its memo."""
    place = {
        "address": TOKEN_ADDRESS,
        "data": "0x" + settlement.amount_micro_usdc.to_bytes(32).hex(),
        "blockNumber": hex(settlement.block_number),
        "transactionHash": settlement.transaction,
    }
    who = [_pad_address(settlement.payer), _pad_address(settlement.recipient)]
    logs = [{**place, "topics": [TRANSFER_TOPIC, *who], "logIndex": "0x0"}]
    if settlement.memo is not None:
        logs.append({**place, "topics": [TRANSFER_WITH_MEMO_TOPIC, *who, settlement.memo], "logIndex": "0x1"})
    return logs


def _pad_address(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


def _is_token(address: str) -> bool:
    return address.lower() == TOKEN_ADDRESS.lower()
