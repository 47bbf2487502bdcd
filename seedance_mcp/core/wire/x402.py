"""The x402 rail: the authorization we sign, the PAYMENT-SIGNATURE we send, the PAYMENT-RESPONSE we get.

An x402 payment of scheme `exact` is an EIP-3009 `TransferWithAuthorization`: a message that anyone may bring to the
token contract once, between `validAfter` and `validBefore`. The contract keeps each nonce, which is what makes
sending the same credential again safe and signing a second one dangerous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from seedance_mcp.core.errors import ChainError, StudioProtocolError
from seedance_mcp.core.wire.json import (
    Json,
    decode_base64_json,
    encode_base64_json,
    find_list,
    find_object,
    find_text,
    is_address,
    pad_address,
    read_amount,
    read_text,
)
from seedance_mcp.core.wire.offers import Offer, Offers

PAYMENT_SIGNATURE_HEADER = "PAYMENT-SIGNATURE"
PAYMENT_RESPONSE_HEADER = "payment-response"
PAYMENT_IDENTIFIER_EXTENSION = "payment-identifier"

_AUTHORIZATION_USED_TOPIC = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
"""Of `AuthorizationUsed(address,bytes32)`; both are indexed. Source: EIP-3009."""
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_NETWORK_NAME = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
"""Source: CAIP-2, "Syntax"."""

_TRANSFER_TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDomain:
    """The EIP-712 domain of a token, from the owner's pins, never from an offer.

    Attributes:
        network: CAIP-2 name of an EVM chain, `eip155:<chain id>`.
        asset: The token's contract address.
        name: The token's EIP-712 name.
        version: The token's EIP-712 version.
    """

    network: str
    asset: str
    name: str
    version: str

    @property
    def chain_id(self) -> int:
        """The number after `eip155:`."""
        return int(self.network.removeprefix("eip155:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """An EIP-3009 transfer before its signature. Not a secret: it becomes money only when signed.

    Attributes:
        payer: Checksummed address that pays.
        pay_to: Address that is paid.
        amount_micro_usdc: Exact amount.
        valid_after: Unix seconds; the transfer is void up to and including it.
        valid_before: Unix seconds; the transfer is void from it on.
        nonce: `0x` and 64 hexadecimal digits, chosen by us at random.
    """

    payer: str
    pay_to: str
    amount_micro_usdc: int
    valid_after: int
    valid_before: int
    nonce: str


def build_typed_data(authorization: Authorization, domain: TokenDomain) -> dict[str, object]:
    """The EIP-712 document whose hash is signed.

    Source: EIP-3009, `transferWithAuthorization`; EIP-712; x402 v2 scheme `exact` on EVM.
    """
    return {
        "types": _TRANSFER_TYPES,
        "primaryType": "TransferWithAuthorization",
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": domain.chain_id,
            "verifyingContract": domain.asset,
        },
        "message": {
            "from": authorization.payer,
            "to": authorization.pay_to,
            "value": authorization.amount_micro_usdc,
            "validAfter": authorization.valid_after,
            "validBefore": authorization.valid_before,
            "nonce": authorization.nonce,
        },
    }


def build_payment(authorization: Authorization, offer: Offer, offers: Offers) -> dict[str, object]:
    """The payment payload without its signature: what the ledger keeps, and what `encode_payment` completes.

    `accepted` and `resource` echo the studio's own words, because it compares them with what it asked.

    Source: x402 v2 specification, section 5.2 (PaymentPayload).
    """
    payment: dict[str, object] = {
        "x402Version": 2,
        "payload": {
            "authorization": {
                "from": authorization.payer,
                "to": authorization.pay_to,
                "value": str(authorization.amount_micro_usdc),
                "validAfter": str(authorization.valid_after),
                "validBefore": str(authorization.valid_before),
                "nonce": authorization.nonce,
            }
        },
        "accepted": dict(offer.terms),
    }
    if offers.resource:
        payment["resource"] = dict(offers.resource)
    extensions = dict(offers.extensions)
    identified = extensions.get(PAYMENT_IDENTIFIER_EXTENSION)
    if isinstance(identified, dict):
        # The id is the nonce: one payment, one id, the same on every sending.
        info = find_object(cast("Json", identified), "info")
        extensions[PAYMENT_IDENTIFIER_EXTENSION] = {
            **cast("Json", identified),
            "info": {**info, "id": "pay_" + authorization.nonce.removeprefix("0x")},
        }
    if extensions:
        payment["extensions"] = extensions
    return payment


def read_authorization(payment: Json) -> Authorization:
    """The authorization inside a payment that `build_payment` made.

    Raises:
        StudioProtocolError: The document is not such a payment.
    """
    what = "A stored payment's authorization"
    fields = find_object(find_object(payment, "payload"), "authorization")
    payer, pay_to, nonce = (read_text(fields, key, what) for key in ("from", "to", "nonce"))
    if not is_address(payer) or not is_address(pay_to) or _HASH.fullmatch(nonce) is None:
        raise StudioProtocolError(f"{what} is damaged.")
    return Authorization(
        payer=payer,
        pay_to=pay_to,
        amount_micro_usdc=read_amount(fields.get("value"), what),
        valid_after=read_amount(fields.get("validAfter"), what),
        valid_before=read_amount(fields.get("validBefore"), what),
        nonce=nonce,
    )


def build_authorization_state_call(
    authorization: Authorization, domain: TokenDomain, *, block: int | None = None
) -> list[object]:
    """Parameters of the `eth_call` that asks the token whether an authorization was used, at a block or now.

    Source: EIP-3009, `authorizationState(address,bytes32)`, selector 0xe94a0102; Ethereum JSON-RPC, `eth_call`.
    """
    payer = pad_address(authorization.payer).removeprefix("0x")
    data = "0xe94a0102" + payer + authorization.nonce.removeprefix("0x")
    return [{"to": domain.asset, "data": data}, "latest" if block is None else hex(block)]


def build_use_query(
    authorization: Authorization, domain: TokenDomain, first_block: int, last_block: int
) -> list[object]:
    """Return the parameters of the `eth_getLogs` that asks in which transaction an authorization was used.

    Source: Ethereum execution API; EIP-3009, `AuthorizationUsed`.
    """
    blocks = {"fromBlock": hex(first_block), "toBlock": hex(last_block)}
    return [{"address": domain.asset, "topics": _list_use_topics(authorization), **blocks}]


def find_use(logs: object, authorization: Authorization, domain: TokenDomain) -> str | None:
    """Return the transaction in which an authorization was used, by the token's own event; None where there is none.

    Args:
        logs: What a node calls a list of events: the answer to `eth_getLogs`, or a receipt's `logs`.
        authorization: Whose event is looked for.
        domain: The token's.
    """
    for log in cast("list[object]", logs) if isinstance(logs, list) else []:
        if not isinstance(log, dict):
            continue
        event = cast("Json", log)
        topics = [str(topic).lower() for topic in find_list(event, "topics")]
        transaction = find_text(event, "transactionHash") or ""
        is_the_token = (find_text(event, "address") or "").lower() == domain.asset.lower()
        if is_the_token and topics == _list_use_topics(authorization) and _HASH.fullmatch(transaction):
            return transaction
    return None


def find_nonce(payment: Json) -> str:
    """Return the nonce of a stored payment's authorization, which names it on the chain; empty where it has none."""
    return _matching(_HASH, find_text(find_object(find_object(payment, "payload"), "authorization"), "nonce"))


def _list_use_topics(authorization: Authorization) -> list[str]:
    return [_AUTHORIZATION_USED_TOPIC, pad_address(authorization.payer), authorization.nonce.lower()]


def read_word(result: object) -> int:
    """A 32-byte word, or a block's quantity, from a JSON-RPC result.

    Raises:
        ChainError: Not a hexadecimal number.
    """
    if isinstance(result, str) and _QUANTITY.fullmatch(result):
        return int(result, 16)
    raise ChainError("The chain's answer is not a number.")


def encode_payment(payment: Json, signature: str) -> str:
    """The value of the PAYMENT-SIGNATURE header.

    Args:
        payment: What `build_payment` made.
        signature: `0x` and 130 hexadecimal digits.
    """
    payload = {"authorization": cast("Json", payment["payload"])["authorization"], "signature": signature}
    return encode_base64_json({**payment, "payload": payload})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What PAYMENT-RESPONSE says: x402 calls it the settlement response.

    Attributes:
        success: Whether the transfer is on the chain.
        transaction: Its hash; empty where it failed, or where what is named is no hash.
        network: CAIP-2 name of the chain; empty where what is named is none.
        payer: Address that paid, where the studio says so.
    """

    success: bool
    transaction: str
    network: str
    payer: str | None


def read_settlement(header: str) -> Settlement:
    """Read a PAYMENT-RESPONSE header.

    Its words end up in front of a reader and in a link, so only a hash is taken for a hash.

    Raises:
        StudioProtocolError: Not base64 of a JSON object.

    Source: x402 v2 specification, section 5.3 (SettlementResponse).
    """
    document = decode_base64_json(header, "The PAYMENT-RESPONSE header")
    payer = find_text(document, "payer")
    return Settlement(
        success=document.get("success") is True,
        transaction=_matching(_HASH, find_text(document, "transaction")),
        network=_matching(_NETWORK_NAME, find_text(document, "network")),
        payer=payer if is_address(payer) else None,
    )


def _matching(pattern: re.Pattern[str], text: str | None) -> str:
    return text if text is not None and pattern.fullmatch(text) else ""
