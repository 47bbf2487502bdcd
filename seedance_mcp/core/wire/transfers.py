"""A token's transfers from one address to another, from a node's event log; the same on Base and on Tempo.

Source: Ethereum execution API, `eth_getLogs`; ERC-20 and TIP-20, the event `Transfer`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from seedance_mcp.core.errors import ChainError
from seedance_mcp.core.wire.json import Json, find_text, pad_address
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.x402 import read_word

_TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""Topic of `Transfer(address,address,uint256)`; both addresses are indexed. Source: ERC-20."""
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """A recipient of one token on one chain."""

    rail: Rail
    network: str
    asset: str
    pay_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One transfer of a token.

    Attributes:
        transaction: Its hash, in lower case.
        amount_micro_usdc: Its amount in the token's smallest unit.
        block_number: The block that contains it.
        time: Unix seconds of that block, or None if the node does not report it.
    """

    transaction: str
    amount_micro_usdc: int
    block_number: int
    time: int | None


def build_transfer_query(*, token: str, payer: str, pay_to: str, first_block: int, last_block: int) -> list[object]:
    """Return the parameters of the `eth_getLogs` that lists a token's transfers between two addresses."""
    topics = [_TRANSFER_TOPIC, pad_address(payer), pad_address(pay_to)]
    return [{"address": token, "topics": topics, "fromBlock": hex(first_block), "toBlock": hex(last_block)}]


def read_transfers(logs: object) -> list[Transfer]:
    """Read the answer to the query of `build_transfer_query`.

    Raises:
        ChainError: Not a list of transfers.
    """
    if not isinstance(logs, list):
        raise ChainError("The chain's answer is not a list of events.")
    return [_read_transfer(log) for log in cast("list[object]", logs)]


def _read_transfer(log: object) -> Transfer:
    event: Json = cast("Json", log) if isinstance(log, dict) else {}
    transaction = find_text(event, "transactionHash") or ""
    if _HASH.fullmatch(transaction) is None:
        raise ChainError("The chain's answer is not a list of events.")
    time = event.get("blockTimestamp")  # newer nodes only
    return Transfer(
        transaction=transaction.lower(),
        amount_micro_usdc=read_word(event.get("data")),
        block_number=read_word(event.get("blockNumber")),
        time=None if time is None else read_word(time),
    )
