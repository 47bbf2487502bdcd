"""Wallet status: what the wallet holds, what may still be spent, and which payments are unfinished. Spends nothing.

A chain that does not answer in time leaves a gap in the answer, never a call that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seedance_mcp.config.profiles import Profile
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.callers import OWNER, Caller
from seedance_mcp.core.films import Reservation
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Cap, Limits, Spend
from seedance_mcp.core.records import Payment
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import Balance, BalanceReader

UNFINISHED_MAX = 20
"""How many unfinished payments are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletStatus:
    """How the account stands now, as far as a caller may see it.

    Attributes:
        address: The paying wallet's; empty for a caller who may not see it.
        spend: What was spent, and what is held, in the last 24 hours and in all.
        day_left_micro_usdc: What may still be spent today.
        unfinished: Payments that hold budget until it is known what became of them, the oldest first.
        more_unfinished: How many there are beside them.
        held_micro_usdc: What all of them hold, network fees included; it is part of what was spent.
        freeze: The owner's stop, if one stands.
        caps: Those that the ledger keeps for the caller, with what counts against each.
        reservations: The sums that films have reserved; what is left of them is part of what was spent.
        is_own: True if the sums and payments are the caller's own, not the wallet's.
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
    caps: tuple[Cap, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletStatusReader:
    """One wallet at one studio.

    Attributes:
        address: The paying wallet's.
        settings: The owner's settings.
        ledger: Knows what was spent.
        balance_reader: Asks the chains.
        now: Unix seconds.
        caller: Who asks. Only an admin sees the wallet: its address, its balances, and what all have spent.
    """

    address: str
    settings: Settings
    ledger: Ledger
    balance_reader: BalanceReader
    now: Callable[[], float]
    caller: Caller = OWNER

    async def read(self) -> WalletStatus:
        """Look at everything; a chain that does not answer is waited for a moment."""
        now = self.now()
        spend, caps = await self.ledger.find_visible_spend(now), await self.ledger.find_caps(now)
        limits, sees_wallet = self.settings.limits, self.caller.is_admin
        held = [
            payment
            for payment in await self.ledger.held_payments(now)
            if sees_wallet or payment.caller == self.caller.id
        ]
        return WalletStatus(
            profile=self.settings.profile,
            address=self.address if sees_wallet else "",
            balances=await self.balance_reader.list_balances() if sees_wallet else (),
            limits=limits,
            spend=spend,
            day_left_micro_usdc=policy.find_day_left(limits, spend, caps),
            unfinished=tuple(held[:UNFINISHED_MAX]),
            more_unfinished=len(held[UNFINISHED_MAX:]),
            held_micro_usdc=sum(payment.cost_micro_usdc for payment in held),
            freeze=await self.ledger.find_freeze(),
            caps=tuple(cap for cap in caps if not cap.is_private),
            reservations=tuple(await self.ledger.list_reservations(now)),
            is_own=not sees_wallet,
        )
