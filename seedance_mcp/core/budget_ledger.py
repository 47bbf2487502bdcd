"""Budget ledger: the part of the ledger's protocol that a purchase uses in the transaction that reserves. Pure."""

from __future__ import annotations

from typing import Protocol

from seedance_mcp.core.films import FilmTransaction
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Cap, Spend
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest


class BudgetReader(Protocol):
    """What counts against the budget, and what may stop a purchase."""

    async def spend(self, now: float) -> Spend:
        """Sum the budget: settled rows and every row that still may settle."""
        ...

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return the caps that the ledger itself keeps, such as a caller's, with what counts against each."""
        ...

    async def find_latest_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        ...

    async def find_freeze(self) -> Freeze | None:
        """Return the freeze that stops this caller, if there is one: the owner's of everything, or of the caller."""
        ...

    async def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses, in lower case, that a studio is known by on a network."""
        ...


class LedgerTransaction(BudgetReader, FilmTransaction, Protocol):
    """What a writer may do while it has the budget's lock."""

    async def reserve(
        self,
        request: PaidRequest,
        offer: Offer,
        *,
        wallet: str,
        hold_until: int,
        now: float,
        fee_micro_usdc: int = 0,
        remember_recipient: bool = True,
    ) -> Payment:
        """Take budget for a purchase that is about to be signed: its price, and the most that its fee can be.

        From now on the studio is known by the offer's recipient; without `remember_recipient`, once the payment has
        settled.
        """
        ...
