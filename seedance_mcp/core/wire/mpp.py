"""The MPP rail: the Tempo charge we sign, the `Authorization: Payment` we send, the `Payment-Receipt` we get.

A charge is one `transferWithMemo` of a TIP-20 dollar inside a Tempo transaction (type 0x76) with an *expiring nonce*:
whoever holds the signed bytes may bring them to the chain once, before `validBefore`. The memo names the challenge.
The payer pays the network fee, in the same dollar, and never more than gas limit times gas price; or a sponsor pays it,
who signs besides us and brings the transaction to the chain. Its hash is then not ours to know, and the memo finds it.

A charge is *pulled* where the studio gets the signed transaction and brings it to the chain once the work is accepted.
It is *pushed* where the payer does that before, and the studio gets only its hash.

Reading needs no library. Building a memo and a credential is left to the official `mpp` types, which load here, inside
the functions that need them, and never before somebody really pays on this rail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from seedance_mcp.core.errors import ChainError, StudioProtocolError
from seedance_mcp.core.wire.json import (
    Json,
    decode_base64_json,
    find_object,
    find_text,
    is_address,
    pad_address,
    read_amount,
)
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.x402 import read_word

PAYMENT_RECEIPT_HEADER = "payment-receipt"
GAS_LIMIT = 1_000_000
"""What the official clients allow one charge; a transfer uses about 280,000. Source: `mpp.methods.tempo.client`."""
GAS_PRICE_DEFAULT = 20_000_000_000
"""Tempo's base fee in attodollars per gas, where the chain cannot be asked."""
ATTODOLLARS_PER_MICRODOLLAR = 10**12
SPONSORED_TIP_MAX = 10_000_000_000
"""A sponsor signs for no higher priority fee, in attodollars per gas. Source: `mpp.methods.tempo.fee_payer_policy`."""
NONCE_KEY = 2**256 - 1
"""The key of expiring nonces: the chain keeps what the payer signed until it expires, and takes it once, whoever
sponsors it how often. Source: Tempo's expiring nonce, `keccak256(encode_for_signing || sender)`."""

_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_TRANSFER_WITH_MEMO = "95777d59"
"""Selector of `transferWithMemo(address,uint256,bytes32)`. Source: TIP-20."""
_BALANCE_OF = "70a08231"
_TRANSFER_WITH_MEMO_TOPIC = "0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0"
"""Of `TransferWithMemo(address,address,uint256,bytes32)`; all but the amount are indexed. Source: TIP-20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MppPins:
    """The chain and the dollars of the owner's, from the profile, never from an offer.

    Attributes:
        chain_id: Of the Tempo chain.
        currencies: TIP-20 contracts in lower case, preferred first.
    """

    chain_id: int
    currencies: tuple[str, ...]

    @property
    def network(self) -> str:
        """CAIP-2 name of the chain."""
        return f"eip155:{self.chain_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A Tempo transfer before its signature. Not a secret: it becomes money only when signed.

    Attributes:
        payer: Checksummed address that pays.
        memo: `0x` and 64 hexadecimal digits that name the challenge.
        valid_before: Unix seconds; the transaction is void from it on.
        gas_price: Attodollars per gas, at most.
        sponsored: Whether somebody else pays the network fee.
        pushed: Whether we bring it to the chain ourselves.
    """

    payer: str
    chain_id: int
    currency: str
    pay_to: str
    amount_micro_usdc: int
    memo: str
    valid_before: int
    gas_limit: int
    gas_price: int
    sponsored: bool = False
    pushed: bool = False

    @property
    def call_data(self) -> str:
        """The one call of the transaction. Source: TIP-20, `transferWithMemo(address,uint256,bytes32)`."""
        recipient = pad_address(self.pay_to).removeprefix("0x")
        memo = self.memo.lower().removeprefix("0x")
        return f"0x{_TRANSFER_WITH_MEMO}{recipient}{self.amount_micro_usdc:064x}{memo}"


def is_sponsored(offer: Offer) -> bool:
    """Whether the studio offers to pay the network fee. Source: the Tempo method's `methodDetails.feePayer`."""
    return find_object(offer.extra, "methodDetails").get("feePayer") is True


def is_pushed(offer: Offer) -> bool:
    """Whether the studio takes only charges that their payer brought to the chain.

    Source: the Tempo method's `methodDetails.supportedModes`.
    """
    modes = find_object(offer.extra, "methodDetails").get("supportedModes")
    return isinstance(modes, list) and "push" in modes and "pull" not in modes


def was_pushed(document: Json | None) -> bool:
    """Whether a stored payment is a charge that we bring to the chain ourselves."""
    return document is not None and find_object(document, "transaction").get("push") is True


def network_fee(gas_price: int) -> int:
    """The most that a charge's network fee can be, in micro-dollars, rounded up."""
    return -(-GAS_LIMIT * gas_price // ATTODOLLARS_PER_MICRODOLLAR)


def build_charge(
    offer: Offer, *, payer: str, valid_before: int, gas_price: int, client_id: str | None = None
) -> dict[str, object]:
    """The charge without its signature: what the ledger keeps, and what the wallet signs.

    One transfer is all that we ever sign, so the document has no room for another call.

    Args:
        offer: An MPP offer that `policy` allowed.
        payer: Our address.
        valid_before: Unix seconds.
        gas_price: Attodollars per gas, at most.
        client_id: What the memo names us by. A studio may give two purchases of one price the same challenge within
            one millisecond; without a difference of ours they would be one transaction, and one of them unpaid.
    """
    from mpp.methods.tempo.attribution import encode  # loads only for a payment on this rail

    chain_id = offer.network.removeprefix("eip155:")
    return {
        "challenge": dict(offer.terms),
        "source": f"did:pkh:eip155:{chain_id}:{payer}",
        "transaction": {
            "chainId": int(chain_id),
            "gas": GAS_LIMIT,
            "maxFeePerGas": gas_price,
            "validBefore": valid_before,
            "from": payer,
            "currency": offer.asset,
            "to": offer.pay_to,
            "amount": str(offer.amount_micro_usdc),
            "memo": encode(
                challenge_id=str(offer.terms["id"]), server_id=str(offer.terms["realm"]), client_id=client_id
            ),
            **({"feePayer": True} if is_sponsored(offer) else {}),
            **({"push": True} if is_pushed(offer) else {}),
        },
    }


def read_charge(document: Json) -> Charge:
    """The transfer inside a document that `build_charge` made.

    Raises:
        StudioProtocolError: The document is not such a charge.
    """
    what = "A stored payment's charge"
    fields = find_object(document, "transaction")
    addresses = [fields.get(name) for name in ("from", "currency", "to")]
    numbers = [fields.get(name) for name in ("chainId", "validBefore", "gas", "maxFeePerGas")]
    memo = find_text(fields, "memo")
    if not all(is_address(address) for address in addresses) or memo is None or _HASH.fullmatch(memo) is None:
        raise StudioProtocolError(f"{what} is damaged.")
    if not all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers):
        raise StudioProtocolError(f"{what} is damaged.")
    payer, currency, pay_to = (str(address) for address in addresses)
    chain_id, valid_before, gas_limit, gas_price = cast("list[int]", numbers)
    return Charge(
        payer=payer,
        chain_id=chain_id,
        currency=currency,
        pay_to=pay_to,
        amount_micro_usdc=read_amount(fields.get("amount"), what),
        memo=memo,
        valid_before=valid_before,
        gas_limit=gas_limit,
        gas_price=gas_price,
        sponsored=fields.get("feePayer") is True,
        pushed=fields.get("push") is True,
    )


def credential_header(document: Json) -> str:
    """The header that the challenge wants its credential in. Source: draft-ietf-httpauth-payment, `header`."""
    return find_text(find_object(document, "challenge"), "header") or "Authorization"


def encode_credential(document: Json, payload: dict[str, str]) -> str:
    """The value of the credential's header, by the official types.

    Args:
        document: What `build_charge` made.
        payload: Of type `transaction` with the signed transaction or its envelope for a sponsor as `signature`; or of
            type `hash`, of a transaction that is on the chain; `0x` and hexadecimal digits.

    Source: draft-ietf-httpauth-payment, "Credentials"; the Tempo method's payloads.
    """
    from mpp import ChallengeEcho, Credential  # loads only for a payment on this rail

    echo = ChallengeEcho(**cast("dict[str, str]", dict(find_object(document, "challenge"))))
    return Credential(challenge=echo, payload=payload, source=find_text(document, "source")).to_authorization()


def find_transaction(document: Json) -> str | None:
    """The hash of the transaction that was signed: kept beside the charge, and no secret once it was sent.

    A sponsored one has none before its sponsor signs.
    """
    found = find_text(document, "hash")
    return found if found is not None and _HASH.fullmatch(found) else None


def read_payment_receipt(header: str) -> str | None:
    """The transaction that a `Payment-Receipt` names; empty where what it names is no hash, None where it failed.

    Raises:
        StudioProtocolError: Not base64 of a JSON object.

    Source: draft-ietf-httpauth-payment, "Payment-Receipt".
    """
    document = decode_base64_json(header, "The Payment-Receipt header")
    if document.get("status") != "success":
        return None
    reference = find_text(document, "reference")
    return reference if reference is not None and _HASH.fullmatch(reference) else ""


def build_balance_call(token: str, owner: str) -> list[object]:
    """Parameters of the `eth_call` that asks a token for a balance; the same on Base and on Tempo.

    Source: ERC-20 and TIP-20, `balanceOf(address)`.
    """
    return [{"to": token, "data": f"0x{_BALANCE_OF}{pad_address(owner).removeprefix('0x')}"}, "latest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """What the chain says of a transaction that it included.

    Attributes:
        succeeded: Whether the money moved; a reverted one moved none, and cost its fee all the same.
        fee_micro_usdc: The network fee, rounded up.
    """

    succeeded: bool
    fee_micro_usdc: int


def read_inclusion(receipt: object, transaction: str) -> Inclusion | None:
    """Read the answer to `eth_getTransactionReceipt`; None where there is none.

    Raises:
        ChainError: Neither this transaction's receipt nor nothing.

    Source: Ethereum execution API; on Tempo `effectiveGasPrice` is in attodollars.
    """
    if receipt is None:
        return None
    if not isinstance(receipt, Mapping):
        raise ChainError("The chain's answer is not a receipt.")
    fields = cast("Json", receipt)
    if (find_text(fields, "transactionHash") or "").lower() != transaction.lower():
        raise ChainError("The chain's answer is the receipt of another transaction.")
    fee = read_word(fields.get("gasUsed")) * read_word(fields.get("effectiveGasPrice"))
    return Inclusion(
        succeeded=read_word(fields.get("status")) == 1, fee_micro_usdc=-(-fee // ATTODOLLARS_PER_MICRODOLLAR)
    )


def build_log_query(charge: Charge, first_block: int, last_block: int) -> list[object]:
    """Parameters of the `eth_getLogs` that asks for a charge's own transfer, by its memo.

    Source: Ethereum execution API; TIP-20, `TransferWithMemo`.
    """
    topics = [_TRANSFER_WITH_MEMO_TOPIC, pad_address(charge.payer), pad_address(charge.pay_to), charge.memo.lower()]
    blocks = {"fromBlock": hex(first_block), "toBlock": hex(last_block)}
    return [{"address": charge.currency, "topics": topics, **blocks}]


def read_log_transaction(logs: object) -> str | None:
    """The transaction of the first event of an answer to `eth_getLogs`; None where there is no event.

    Raises:
        ChainError: Not a list of events.
    """
    what = "The chain's answer is not a list of events."
    if not isinstance(logs, list):
        raise ChainError(what)
    events = cast("list[object]", logs)
    if not events:
        return None
    transaction = find_text(cast("Json", events[0]), "transactionHash") if isinstance(events[0], Mapping) else None
    if transaction is None or _HASH.fullmatch(transaction) is None:
        raise ChainError(what)
    return transaction
