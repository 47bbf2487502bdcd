"""Wallet status: what the wallet holds, what may still be spent, and which payments are unfinished. Spends nothing.

A chain that does not answer in time leaves a gap in the answer, never a call that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seedance_mcp.config.profiles import Profile
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Limits, Spend
from seedance_mcp.core.records import Payment
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import Balance, BalanceReader

UNFINISHED_MAX = 20
"""How many unfinished payments are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletStatus:
    """How the account stands now.

    Attributes:
        address: The paying wallet's.
        spend: What was spent, and what is held, in the last 24 hours and in all.
        day_left_micro_usdc: What may still be spent today.
        unfinished: Payments that hold budget until it is known what became of them, the oldest first.
        more_unfinished: How many there are beside them.
        held_micro_usdc: What all of them hold, network fees included; it is part of what was spent.
        freeze: The owner's stop, if one stands.
    """

    profile: Profile
    address: str
    balances: tuple[Balance, ...]
    limits: Limits
    spend: Spend
    day_left_micro_usdc: int
    unfinished: tuple[Payment, ...]
    more_unfinished: int
    held_micro_usdc: int
    freeze: Freeze | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletStatusReader:
    """One wallet at one studio.

    Attributes:
        address: The paying wallet's.
        settings: The owner's settings.
        ledger: Knows what was spent.
        balance_reader: Asks the chains.
        now: Unix seconds.
    """

    address: str
    settings: Settings
    ledger: Ledger
    balance_reader: BalanceReader
    now: Callable[[], float]

    async def read(self) -> WalletStatus:
        """Look at everything; a chain that does not answer is waited for a moment."""
        now = self.now()
        spend, held = await self.ledger.spend(now), await self.ledger.held_payments(now)
        limits = self.settings.limits
        return WalletStatus(
            profile=self.settings.profile,
            address=self.address,
            balances=await self.balance_reader.list_balances(),
            limits=limits,
            spend=spend,
            day_left_micro_usdc=min(remaining for remaining, _ in policy.find_remaining_budget(limits, spend)),
            unfinished=tuple(held[:UNFINISHED_MAX]),
            more_unfinished=len(held[UNFINISHED_MAX:]),
            held_micro_usdc=sum(payment.cost_micro_usdc for payment in held),
            freeze=await self.ledger.find_freeze(),
        )
