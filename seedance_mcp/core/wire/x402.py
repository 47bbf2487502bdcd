"""The x402 rail: the signed authorization, the PAYMENT-SIGNATURE header and the PAYMENT-RESPONSE header.

An x402 payment of scheme `exact` is an EIP-3009 `TransferWithAuthorization`: a message that anyone may submit to the
token contract once, between `validAfter` and `validBefore`. The contract stores each used nonce. So sending the same
credential again is safe, and signing a second one is dangerous.
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
"""Topic of `AuthorizationUsed(address,bytes32)`; both are indexed. Source: EIP-3009."""
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_NETWORK_NAME = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
"""A network name. Source: CAIP-2, "Syntax"."""

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
    """The EIP-712 domain of a token; from the profile, never from an offer.

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
        """Return the number after `eip155:`."""
        return int(self.network.removeprefix("eip155:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """An unsigned EIP-3009 transfer. It is no secret: only the signature makes it valid.

    Attributes:
        payer: Checksummed address that pays.
        pay_to: Address of the recipient.
        amount_micro_usdc: Exact amount.
        valid_after: Unix seconds up to and including which the transfer is invalid.
        valid_before: Unix seconds from which the transfer is invalid.
        nonce: `0x` and 64 random hexadecimal digits of ours.
    """

    payer: str
    pay_to: str
    amount_micro_usdc: int
    valid_after: int
    valid_before: int
    nonce: str


def build_typed_data(authorization: Authorization, domain: TokenDomain) -> dict[str, object]:
    """Build the EIP-712 document whose hash is signed.

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
    """Build the payment payload without its signature, for the ledger and for `encode_payment`.

    `accepted` and `resource` echo the studio's values, because the studio compares them with its offer.

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
        # The id is the nonce: one payment has one id, the same in every request.
        info = find_object(cast("Json", identified), "info")
        extensions[PAYMENT_IDENTIFIER_EXTENSION] = {
            **cast("Json", identified),
            "info": {**info, "id": "pay_" + authorization.nonce.removeprefix("0x")},
        }
    if extensions:
        payment["extensions"] = extensions
    return payment


def read_authorization(payment: Json) -> Authorization:
    """Read the authorization of a payment that `build_payment` returned.

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
    """Return the parameters of the `eth_call` that reads if an authorization was used, at a block or now.

    Source: EIP-3009, `authorizationState(address,bytes32)`, selector 0xe94a0102; Ethereum JSON-RPC, `eth_call`.
    """
    payer = pad_address(authorization.payer).removeprefix("0x")
    data = "0xe94a0102" + payer + authorization.nonce.removeprefix("0x")
    return [{"to": domain.asset, "data": data}, "latest" if block is None else hex(block)]


def build_use_query(
    authorization: Authorization, domain: TokenDomain, first_block: int, last_block: int
) -> list[object]:
    """Return the parameters of the `eth_getLogs` that finds the transaction that used an authorization.

    Source: Ethereum execution API; EIP-3009, `AuthorizationUsed`.
    """
    blocks = {"fromBlock": hex(first_block), "toBlock": hex(last_block)}
    return [{"address": domain.asset, "topics": _list_use_topics(authorization), **blocks}]


def find_use(logs: object, authorization: Authorization, domain: TokenDomain) -> str | None:
    """Return the transaction that used an authorization, from the token's event; None if there is none.

    Args:
        logs: A list of events: the answer to `eth_getLogs`, or a receipt's `logs`.
        authorization: The authorization.
        domain: The token's domain.
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
    """Return the nonce of a stored payment's authorization, its identity on the chain; empty if it has none."""
    return _matching(_HASH, find_text(find_object(find_object(payment, "payload"), "authorization"), "nonce"))


def _list_use_topics(authorization: Authorization) -> list[str]:
    return [_AUTHORIZATION_USED_TOPIC, pad_address(authorization.payer), authorization.nonce.lower()]


def read_word(result: object) -> int:
    """Read a 32-byte word, or a block's quantity, from a JSON-RPC result.

    Raises:
        ChainError: Not a hexadecimal number.
    """
    if isinstance(result, str) and _QUANTITY.fullmatch(result):
        return int(result, 16)
    raise ChainError("The chain's answer is not a number.")


def encode_payment(payment: Json, signature: str) -> str:
    """Return the value of the PAYMENT-SIGNATURE header.

    Args:
        payment: The result of `build_payment`.
        signature: `0x` and 130 hexadecimal digits.
    """
    payload = {"authorization": cast("Json", payment["payload"])["authorization"], "signature": signature}
    return encode_base64_json({**payment, "payload": payload})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The content of PAYMENT-RESPONSE, the settlement response of x402.

    Attributes:
        success: True if the transfer is on the chain.
        transaction: Its hash; empty if it failed or the value is no hash.
        network: CAIP-2 name of the chain; empty if the value is none.
        payer: Address that paid, if the studio reports it.
    """

    success: bool
    transaction: str
    network: str
    payer: str | None


def read_settlement(header: str) -> Settlement:
    """Read a PAYMENT-RESPONSE header.

    Its values are shown to readers and used in a link, so only a valid hash is returned.

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
