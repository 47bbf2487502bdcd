"""Chains: what became of a payment, by the word of the chain that it was made for.

On Base it is `authorizationState` of the nonce; on Tempo the receipt of the very transaction that we signed, or, where
a sponsor signed, too, and so decided its hash, the event with our memo. Used means that the money moved. "Unused" is
final only at a block after the credential's expiry, and only from a node that has come so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from seedance_mcp.errors import StudioError, StudioProtocolError
from seedance_mcp.ledger import Payment
from seedance_mcp.policy import Pins
from seedance_mcp.studio import Studio
from seedance_mcp.wire.encoding import Json
from seedance_mcp.wire.mpp import (
    Charge,
    build_log_query,
    find_transaction,
    read_charge,
    read_inclusion,
    read_log_transaction,
)
from seedance_mcp.wire.offers import Rail
from seedance_mcp.wire.x402 import build_authorization_state_call, read_authorization, read_word

CHARGE_WINDOW_SECONDS = 120
"""How long before its expiry a charge's event is looked for: longer than a charge lives."""
NODES_LAG_SECONDS = 15
"""How far behind the node that looks for a charge may be: behind one address there are several."""
BISECTIONS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a credential, for good.

    Attributes:
        used: Whether the money moved; False where it never will.
        transaction: Its hash, where it is known.
        fee_micro_usdc: What the network kept; None where nobody said.
    """

    used: bool
    transaction: str = ""
    fee_micro_usdc: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block's number, and its time in Unix seconds."""

    number: int
    time: int


@dataclass(frozen=True, slots=True)
class Chains:
    """Asks the chains of one profile.

    Attributes:
        studio: Carries the questions.
        pins: Which token is asked about.
    """

    studio: Studio
    pins: Pins

    def has_one(self, payment: Payment) -> bool:
        """Whether there is a chain that can be asked about a payment."""
        pinned = self.pins.x402 if payment.rail == "x402" else self.pins.mpp
        return pinned is not None and self.studio.knows_chain(payment.rail)

    async def find_fate(self, payment: Payment) -> Fate | None:
        """The chain's word on a payment; None where it cannot be said now."""
        if payment.document is None or not self.has_one(payment):
            return None
        try:
            # The block first, the state second and at that block or later: "unused" is then final.
            latest = await self._read_block("latest", payment.rail)
            if latest is None:
                return None
            if payment.rail == "mpp":
                return await self._find_charge_fate(payment.document, latest)
            return await self._find_authorization_fate(payment.document, latest)
        except StudioError:
            return None

    async def _read_block(self, block: str, rail: Rail) -> Block | None:
        found = await self.studio.call_rpc("eth_getBlockByNumber", [block, False], rail=rail)
        if not isinstance(found, Mapping):
            return None
        fields = cast("Mapping[str, object]", found)
        return Block(number=read_word(fields.get("number")), time=read_word(fields.get("timestamp")))

    async def _find_authorization_fate(self, document: Json, latest: Block) -> Fate | None:
        authorization = read_authorization(document)
        assert self.pins.x402 is not None  # noqa: S101 - `has_one` said so
        # Of a dead credential we ask at that very block: a node that has not come so far answers with an error.
        block = latest.number if latest.time >= authorization.valid_before else None
        call = build_authorization_state_call(authorization, self.pins.x402, block=block)
        if read_word(await self.studio.call_rpc("eth_call", call)) != 0:
            return Fate(used=True)
        return None if block is None else Fate(used=False)

    async def _find_charge_fate(self, document: Json, latest: Block) -> Fate | None:
        """A reverted transaction is over as well: its nonce is spent, and its fee."""
        charge, transaction = read_charge(document), find_transaction(document)
        if charge.sponsored:
            transaction = await self._find_sponsored(charge, latest)
            if transaction is not None:
                return Fate(used=True, transaction=transaction, fee_micro_usdc=0)
        elif transaction is None:
            return None
        else:
            receipt = await self.studio.call_rpc("eth_getTransactionReceipt", [transaction], rail="mpp")
            inclusion = read_inclusion(receipt)
            if inclusion is not None:
                return Fate(used=inclusion.succeeded, transaction=transaction, fee_micro_usdc=inclusion.fee_micro_usdc)
        is_over = latest.time >= charge.valid_before + NODES_LAG_SECONDS
        return Fate(used=False, fee_micro_usdc=0) if is_over else None

    async def _find_sponsored(self, charge: Charge, latest: Block) -> str | None:
        """The transaction of a charge whose hash its sponsor decided, by the memo in its event."""
        first = await self._find_block(charge.valid_before - CHARGE_WINDOW_SECONDS, 0, latest.number)
        last = await self._find_block(charge.valid_before, first, latest.number)
        query = build_log_query(charge, first, last)
        return read_log_transaction(await self.studio.call_rpc("eth_getLogs", query, rail="mpp"))

    async def _find_block(self, moment: int, low: int, high: int) -> int:
        """The first Tempo block at a moment or later, from `low` on; `high` where there is none.

        Raises:
            StudioError: The chain does not know its own blocks.
        """
        for _ in range(BISECTIONS_MAX):
            if low >= high:
                break
            middle = (low + high) // 2
            block = await self._read_block(hex(middle), "mpp")
            if block is None:
                raise StudioProtocolError(f"The chain does not know its block {middle}.")
            low, high = (low, middle) if block.time >= moment else (middle + 1, high)
        return high
