"""The account: what the wallet holds, what may still be spent, and what is not over yet. Reads, and never spends.

A chain that does not answer in time leaves a gap in the answer, never a call that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from seedance_mcp import policy
from seedance_mcp.config import Profile, Settings
from seedance_mcp.errors import StudioError
from seedance_mcp.ledger import Ledger, Payment
from seedance_mcp.policy import Limits, Spend
from seedance_mcp.studio import Studio
from seedance_mcp.wire.mpp import build_balance_call
from seedance_mcp.wire.offers import Rail
from seedance_mcp.wire.x402 import read_word

BALANCE_SECONDS = 2
"""How long a chain is waited for."""
UNFINISHED_MAX = 20
"""How many unfinished payments are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the wallet holds on one rail; the amount is None where the chain did not say."""

    rail: Rail
    network: str
    token: str
    amount_micro_usdc: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the account stands now.

    Attributes:
        address: The paying wallet's.
        spend: What was spent, and what is held, in the last 24 hours and in all.
        day_left_micro_usdc: What may still be spent today.
        unfinished: Payments that hold budget until it is known what became of them.
    """

    profile: Profile
    address: str
    balances: tuple[Balance, ...]
    limits: Limits
    spend: Spend
    day_left_micro_usdc: int
    unfinished: tuple[Payment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One wallet at one studio.

    Attributes:
        address: The paying wallet's.
        settings: The owner's word.
        ledger: Knows what was spent.
        studio: Asks the chain.
        now: Unix seconds.
    """

    address: str
    settings: Settings
    ledger: Ledger
    studio: Studio
    now: Callable[[], float]

    async def read(self) -> Standing:
        """Look at everything; takes `BALANCE_SECONDS` at most."""
        spend = self.ledger.spend(self.now())
        limits = self.settings.limits
        return Standing(
            profile=self.settings.profile,
            address=self.address,
            balances=await self._read_balances(),
            limits=limits,
            spend=spend,
            day_left_micro_usdc=min(room for room, _ in policy.find_room(limits, spend)),
            unfinished=tuple(self.ledger.held_payments(self.now())[:UNFINISHED_MAX]),
        )

    async def _read_balances(self) -> tuple[Balance, ...]:
        """Every pinned token, all asked at once."""
        pins = self.settings.profile.pins
        wanted: list[tuple[Rail, str, str]] = []
        if pins.x402 is not None:
            wanted.append(("x402", pins.x402.network, pins.x402.asset))
        if pins.mpp is not None:
            wanted.extend(("mpp", pins.mpp.network, token) for token in pins.mpp.currencies)
        held: dict[tuple[Rail, str, str], int] = {}

        async def ask(key: tuple[Rail, str, str]) -> None:
            rail, _, token = key
            with suppress(StudioError):
                answer = await self.studio.call_rpc("eth_call", build_balance_call(token, self.address), rail=rail)
                if answer is not None:
                    held[key] = read_word(answer)  # micro-USDC: these tokens have six decimals

        with anyio.move_on_after(BALANCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                for key in wanted:
                    tasks.start_soon(ask, key)
        return tuple(
            Balance(rail=rail, network=network, token=token, amount_micro_usdc=held.get((rail, network, token)))
            for rail, network, token in wanted
        )
