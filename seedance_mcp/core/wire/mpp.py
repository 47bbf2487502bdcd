"""The MPP rail: the signed Tempo charge, the `Authorization: Payment` header and the `Payment-Receipt` header.

A charge is one `transferWithMemo` of a TIP-20 dollar inside a Tempo transaction (type 0x76) with an *expiring nonce*:
any holder of the signed bytes may broadcast them once, before `validBefore`. The memo identifies the challenge. The
payer pays the network fee in the same token, at most gas limit times gas price. Or a sponsor pays it: it adds its
signature and broadcasts the transaction. Then its hash is unknown to the payer, and the transfer is found by its memo.

A *server-broadcast* charge (`pull` on the wire) is sent to the studio as a signed transaction, which the studio
broadcasts once it has accepted the work. A *client-broadcast* charge (`push` on the wire) is broadcast by the payer
first, and the studio receives only its hash.

Reading needs no library. The official `mpp` types build memos and credentials; they load inside the functions that need
them, and only for a payment on this rail.
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
"""Gas limit of a charge, as in the official clients; a transfer uses about 280,000.

Source: `mpp.methods.tempo.client`."""
GAS_PRICE_DEFAULT = 20_000_000_000
"""Tempo's base fee in attodollars per gas, used if the chain cannot be read."""
ATTODOLLARS_PER_MICRODOLLAR = 10**12
SPONSORED_TIP_MAX = 10_000_000_000
"""Highest priority fee that a sponsor signs, in attodollars per gas. Source: `mpp.methods.tempo.fee_payer_policy`."""
NONCE_KEY = 2**256 - 1
"""Key of expiring nonces. The chain keeps what the payer signed until it expires, and includes it once, also if several
sponsors sign it. Source: Tempo's expiring nonce, `keccak256(encode_for_signing || sender)`."""

_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_TRANSFER_WITH_MEMO = "95777d59"
"""Selector of `transferWithMemo(address,uint256,bytes32)`. Source: TIP-20."""
_BALANCE_OF = "70a08231"
_TRANSFER_WITH_MEMO_TOPIC = "0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0"
"""Topic of `TransferWithMemo(address,address,uint256,bytes32)`; all but the amount are indexed. Source: TIP-20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedChargeTerms:
    """The accepted chain and tokens of a charge; from the profile, never from an offer.

    Attributes:
        chain_id: The id of the Tempo chain.
        currencies: TIP-20 contracts in lower case, preferred first.
    """

    chain_id: int
    currencies: tuple[str, ...]

    @property
    def network(self) -> str:
        """Return the CAIP-2 name of the chain."""
        return f"eip155:{self.chain_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An unsigned Tempo transfer. It is no secret: only the signature makes it valid.

    Attributes:
        payer: Checksummed address that pays.
        memo: `0x` and 64 hexadecimal digits that identify the challenge.
        valid_before: Unix seconds from which the transaction is invalid.
        gas_price: Maximum attodollars per gas.
        sponsored: True if a sponsor pays the network fee.
        pushed: True if it is client-broadcast.
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
        """Return the single call of the transaction. Source: TIP-20, `transferWithMemo(address,uint256,bytes32)`."""
        recipient = pad_address(self.pay_to).removeprefix("0x")
        memo = self.memo.lower().removeprefix("0x")
        return f"0x{_TRANSFER_WITH_MEMO}{recipient}{self.amount_micro_usdc:064x}{memo}"


def is_sponsored(offer: Offer) -> bool:
    """Return True if the studio offers to pay the network fee. Source: the Tempo method's `methodDetails.feePayer`."""
    return find_object(offer.extra, "methodDetails").get("feePayer") is True


def is_pushed(offer: Offer) -> bool:
    """Return True if the studio accepts only client-broadcast charges.

    Source: the Tempo method's `methodDetails.supportedModes`.
    """
    modes = find_object(offer.extra, "methodDetails").get("supportedModes")
    return isinstance(modes, list) and "push" in modes and "pull" not in modes


def was_pushed(document: Json | None) -> bool:
    """Return True if a stored payment is a client-broadcast charge."""
    return document is not None and find_object(document, "transaction").get("push") is True


def network_fee(gas_price: int) -> int:
    """Return the maximum network fee of a charge in micro-dollars, rounded up."""
    return -(-GAS_LIMIT * gas_price // ATTODOLLARS_PER_MICRODOLLAR)


def build_charge(
    offer: Offer, *, payer: str, valid_before: int, gas_price: int, client_id: str | None = None
) -> dict[str, object]:
    """Build the charge without its signature, for the ledger and for the wallet to sign.

    Only a single transfer is ever signed, so the document has no field for another call.

    Args:
        offer: An MPP offer that `policy` allowed.
        payer: Our address.
        valid_before: Unix seconds.
        gas_price: Maximum attodollars per gas.
        client_id: Our identifier in the memo, different for every charge. A studio may issue the same challenge for two
            purchases of one price within one millisecond; with the same memo they would be one transaction, and one of
            them unpaid.
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
    """Read the transfer of a document that `build_charge` returned.

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
    """Return the name of the header for the credential. Source: draft-ietf-httpauth-payment, `header`."""
    return find_text(find_object(document, "challenge"), "header") or "Authorization"


def encode_credential(document: Json, payload: dict[str, str]) -> str:
    """Return the value of the credential's header, encoded by the official types.

    Args:
        document: The result of `build_charge`.
        payload: Of type `transaction`, with the signed transaction or its envelope for a sponsor as `signature`; or of
            type `hash`, with the hash of a transaction on the chain. Both are `0x` and hexadecimal digits.

    Source: draft-ietf-httpauth-payment, "Credentials"; the Tempo method's payloads.
    """
    from mpp import ChallengeEcho, Credential  # loads only for a payment on this rail

    echo = ChallengeEcho(**cast("dict[str, str]", dict(find_object(document, "challenge"))))
    return Credential(challenge=echo, payload=payload, source=find_text(document, "source")).to_authorization()


def find_transaction(document: Json) -> str | None:
    """Return the hash of the signed transaction, which is stored with the charge and is no secret once it was sent.

    A sponsored charge has no hash before its sponsor signs.
    """
    found = find_text(document, "hash")
    return found if found is not None and _HASH.fullmatch(found) else None


def read_payment_receipt(header: str) -> str | None:
    """Return the transaction of a `Payment-Receipt`; empty if it is not a hash, None if the payment failed.

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
    """Return the parameters of the `eth_call` that reads a token balance; the same on Base and on Tempo.

    Source: ERC-20 and TIP-20, `balanceOf(address)`.
    """
    return [{"to": token, "data": f"0x{_BALANCE_OF}{pad_address(owner).removeprefix('0x')}"}, "latest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """The outcome of an included transaction.

    Attributes:
        succeeded: True if the money moved. A reverted transaction moves no money but costs its fee.
        fee_micro_usdc: The network fee, rounded up.
    """

    succeeded: bool
    fee_micro_usdc: int


def read_inclusion(receipt: object, transaction: str) -> Inclusion | None:
    """Read the answer to `eth_getTransactionReceipt`; return None if there is no receipt.

    Raises:
        ChainError: Not a receipt, or that of another transaction.

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
    """Return the parameters of the `eth_getLogs` that finds a charge's transfer by its memo.

    Source: Ethereum execution API; TIP-20, `TransferWithMemo`.
    """
    topics = [_TRANSFER_WITH_MEMO_TOPIC, pad_address(charge.payer), pad_address(charge.pay_to), charge.memo.lower()]
    blocks = {"fromBlock": hex(first_block), "toBlock": hex(last_block)}
    return [{"address": charge.currency, "topics": topics, **blocks}]


def read_log_transaction(logs: object) -> str | None:
    """Return the transaction of the first event of an answer to `eth_getLogs`; None if there is no event.

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
