"""Funds: what the wallet holds and what a network would keep, as far as the chains can be asked in a moment.

Owns the two seconds and the half minute: a chain that does not answer blocks nothing, it only leaves a balance unknown.
Decides nothing; `policy` judges by what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from seedance_mcp.errors import StudioError
from seedance_mcp.policy import Pins, Purse
from seedance_mcp.studio import Studio
from seedance_mcp.wire.mpp import GAS_PRICE_DEFAULT, Inclusion, build_balance_call, read_inclusion
from seedance_mcp.wire.offers import Offer, Offers, Rail
from seedance_mcp.wire.x402 import read_word

ASK_SECONDS = 2
"""How long all questions together may take."""
FRESH_SECONDS = 30
"""How long an answer is believed, also that there is none."""
TOKENS_MAX = 8
"""How many balances are asked for one choice."""


@dataclass(frozen=True, slots=True)
class Funds:
    """Asks the chains of one wallet.

    Attributes:
        studio: Carries the questions.
        pins: Only pinned tokens on pinned chains are asked about.
        wallet: Our address.
        now: Unix seconds.
    """

    studio: Studio
    pins: Pins
    wallet: str
    now: Callable[[], float]
    _known: dict[tuple[str, str], tuple[float, int | None]] = field(
        default_factory=dict[tuple[str, str], tuple[float, int | None]]
    )

    async def look(self, offers: Offers, *, fresh: bool = False) -> Purse:
        """What the wallet holds of the offered tokens, and Tempo's gas price where MPP is offered.

        Args:
            offers: The challenge.
            fresh: Ask again, whatever was answered a moment ago.
        """
        wanted = [key for offer in offers.offers[:TOKENS_MAX] if (key := self._find_key(offer)) is not None]
        if any(offer.rail == "mpp" for offer in offers.offers) and self.pins.mpp is not None:
            wanted.append((self.pins.mpp.network, _GAS))
        with anyio.move_on_after(ASK_SECONDS):
            async with anyio.create_task_group() as tasks:
                for key in dict.fromkeys(wanted):
                    if fresh or self._known.get(key, (-FRESH_SECONDS, None))[0] + FRESH_SECONDS <= self.now():
                        self._known[key] = (self.now(), None)
                        tasks.start_soon(self._ask, key)
        found = {key: self._known[key][1] for key in wanted}
        gas_price = next((value for key, value in found.items() if key[1] == _GAS), None)
        return Purse(
            balances={key: value for key, value in found.items() if value is not None and key[1] != _GAS},
            gas_price=gas_price or GAS_PRICE_DEFAULT,
        )

    def forget(self) -> None:
        """A payment has changed what is held."""
        self._known.clear()

    async def find_inclusion(self, transaction: str) -> Inclusion | None:
        """What the Tempo chain says of a transaction now; None where it knows none.

        Raises:
            StudioError: It cannot be asked.
        """
        receipt = await self.studio.call_rpc("eth_getTransactionReceipt", [transaction], rail="mpp")
        return read_inclusion(receipt, transaction)

    async def find_fee(self, transaction: str) -> int | None:
        """The network's fee of a settled charge, or None where the chain does not say it in time."""
        with anyio.move_on_after(ASK_SECONDS):
            try:
                inclusion = await self.find_inclusion(transaction)
            except StudioError:
                return None
            return None if inclusion is None else inclusion.fee_micro_usdc
        return None

    def _find_key(self, offer: Offer) -> tuple[str, str] | None:
        """The chain and token of an offer, where both are pinned."""
        token, mpp, asset = self.pins.x402, self.pins.mpp, offer.asset.lower()
        if token is not None and (offer.network, asset) == (token.network, token.asset.lower()):
            return offer.network, asset
        if mpp is not None and offer.network == mpp.network and asset in mpp.currencies:
            return offer.network, asset
        return None

    async def _ask(self, key: tuple[str, str]) -> None:
        network, token = key
        rail: Rail = "x402" if self.pins.x402 is not None and network == self.pins.x402.network else "mpp"
        try:
            if token == _GAS:
                answer = await self.studio.call_rpc("eth_gasPrice", [], rail=rail)
            else:
                answer = await self.studio.call_rpc("eth_call", build_balance_call(token, self.wallet), rail=rail)
            self._known[key] = (self.now(), read_word(answer))
        except StudioError:
            return  # it stays unknown for as long as an answer would be believed


_GAS = "gas"
