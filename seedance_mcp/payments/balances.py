"""Balances: what the wallet holds and what a network charges, as far as the chains answer in time.

One cache serves every caller. A chain that does not answer blocks nothing and fails nothing: each caller waits for two
seconds at most, and then the balance is unknown for half a minute. Decides nothing; `policy` judges by what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.core.errors import ChainError
from seedance_mcp.core.limits import PinnedTerms, WalletBalances
from seedance_mcp.core.wire.mpp import GAS_PRICE_DEFAULT, Inclusion, build_balance_call, read_inclusion
from seedance_mcp.core.wire.offers import Offer, Rail
from seedance_mcp.core.wire.x402 import read_word

ASK_SECONDS = 2
"""How long all questions together may take."""
BELIEVED_SECONDS = 30
"""How long an answer is believed, also that there is none."""
TOKENS_MAX = 8
"""How many balances are asked for one choice."""

Key = tuple[str, str]
"""A network and, in lower case, a token on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the wallet holds of one token; the amount is None where the chain did not say."""

    rail: Rail
    network: str
    token: str
    amount_micro_usdc: int | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a chain said, or None where it did not answer; `asked_at` by the event loop's clock."""

    asked_at: float
    value: int | None


@dataclass(slots=True)
class BalanceReader:
    """Asks the chains of one wallet.

    Attributes:
        rpc: Carries the questions.
        pins: Only pinned tokens on pinned chains are asked about.
        wallet: Our address; None where no wallet is set, and then no balance is asked for.
    """

    rpc: ChainRpc
    pins: PinnedTerms
    wallet: str | None
    _known: dict[Key, _Answer] = field(default_factory=dict[Key, _Answer])

    async def look(self, offers: Sequence[Offer], *, fresh: bool = False) -> WalletBalances:
        """Return what the wallet holds of the offered tokens, and Tempo's gas price where MPP is offered.

        Args:
            offers: Those of a challenge, or of several.
            fresh: Ask again, whatever was answered a moment ago.
        """
        keys = dict.fromkeys(key for offer in offers if (key := self._find_key(offer)) is not None)
        wanted = list(keys)[:TOKENS_MAX]
        if any(offer.rail == "mpp" for offer in offers) and self.pins.mpp is not None:
            wanted.append((self.pins.mpp.network, _GAS))
        found = await self._read(wanted, fresh=fresh)
        gas_price = next((value for (_, token), value in found.items() if token == _GAS), None)
        return WalletBalances(
            balances={key: value for key, value in found.items() if value is not None and key[1] != _GAS},
            gas_price=gas_price or GAS_PRICE_DEFAULT,
            is_known=self.wallet is not None,
        )

    async def list_balances(self, *, timeout_seconds: float = ASK_SECONDS) -> tuple[Balance, ...]:
        """Ask for every pinned token now; what is not answered in time stays unknown."""
        tokens: list[tuple[Rail, str, str]] = []
        if self.pins.x402 is not None:
            tokens.append(("x402", self.pins.x402.network, self.pins.x402.asset))
        if self.pins.mpp is not None:
            tokens.extend(("mpp", self.pins.mpp.network, token) for token in self.pins.mpp.currencies)
        keys = [(network, token.lower()) for _, network, token in tokens]
        found = await self._read(keys, fresh=True, timeout_seconds=timeout_seconds)
        return tuple(
            Balance(rail=rail, network=network, token=token, amount_micro_usdc=found[network, token.lower()])
            for rail, network, token in tokens
        )

    def forget(self) -> None:
        """Drop every known balance: a payment has changed them. A chain that did not answer is not asked for it."""
        self._known = {key: answer for key, answer in self._known.items() if answer.value is None}

    async def find_inclusion(self, transaction: str) -> Inclusion | None:
        """Return what the Tempo chain reports of a transaction, or None if it does not know it.

        Raises:
            ChainError: It cannot be asked.
        """
        receipt = await self.rpc.call("eth_getTransactionReceipt", [transaction], rail="mpp")
        return read_inclusion(receipt, transaction)

    async def find_fee(self, transaction: str) -> int | None:
        """Return the network's fee of a settled charge, or None if the chain does not tell in time."""
        with anyio.move_on_after(ASK_SECONDS):
            try:
                inclusion = await self.find_inclusion(transaction)
            except ChainError:
                return None
            return None if inclusion is None else inclusion.fee_micro_usdc
        return None

    def _find_key(self, offer: Offer) -> Key | None:
        """Return the chain and token of an offer if both are pinned."""
        token, mpp, asset = self.pins.x402, self.pins.mpp, offer.asset.lower()
        if token is not None and (offer.network, asset) == (token.network, token.asset.lower()):
            return offer.network, asset
        if mpp is not None and offer.network == mpp.network and asset in mpp.currencies:
            return offer.network, asset
        return None

    async def _read(
        self, keys: Sequence[Key], *, fresh: bool, timeout_seconds: float = ASK_SECONDS
    ) -> dict[Key, int | None]:
        """Return one value for each key, asked for now where nothing is believed of it.

        Every caller waits for its own questions and keeps its own answers, so that no other caller can take them away.
        """
        now, known = anyio.current_time(), self._known
        believed = {
            key: known[key].value
            for key in keys
            if not fresh and key in known and known[key].asked_at + BELIEVED_SECONDS > now
        }
        asked: dict[Key, int | None] = {key: None for key in keys if key not in believed}
        with anyio.move_on_after(timeout_seconds):
            async with anyio.create_task_group() as tasks:
                for key in asked:
                    tasks.start_soon(self._ask, key, asked)
        # `known` is the cache of before: where `forget` was called meanwhile, these answers are kept by no one.
        known |= {key: _Answer(now, value) for key, value in asked.items()}
        return believed | asked

    async def _ask(self, key: Key, answers: dict[Key, int | None]) -> None:
        network, token = key
        rail: Rail = "x402" if self.pins.x402 is not None and network == self.pins.x402.network else "mpp"
        try:
            if token == _GAS:
                answer = await self.rpc.call("eth_gasPrice", [], rail=rail)
            elif self.wallet is None:
                return  # there is no balance that anyone could mean
            else:
                answer = await self.rpc.call("eth_call", build_balance_call(token, self.wallet), rail=rail)
            answers[key] = read_word(answer)
        except ChainError:
            return  # it stays unknown for as long as an answer would be believed


_GAS = "gas"
