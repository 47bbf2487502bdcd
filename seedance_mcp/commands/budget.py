"""The budget of a batch: which of its orders fit into what is left, found before the first of them is bought."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedance_mcp import policy
from seedance_mcp.commands.console import open_ledger
from seedance_mcp.config import Settings
from seedance_mcp.order import Order
from seedance_mcp.policy import Cost
from seedance_mcp.shots import Shot

if TYPE_CHECKING:
    from seedance_mcp.questions import Proposal
    from seedance_mcp.quotes import Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a batch needs of the budget, and what of it fits.

    Attributes:
        begun: The places of the orders that take nothing more: bought before, or with a payment that is not over.
        fitting: The places of those that may be bought, with those begun; what was never bought comes first.
        wanted: How many are to be bought anew.
        cost_micro_usdc: What all of them need, uploads and known fees included.
        room_micro_usdc: What is left of the narrowest budget.
        budget: Its name.
    """

    begun: list[int]
    fitting: list[int]
    wanted: int
    cost_micro_usdc: int
    room_micro_usdc: int
    budget: str

    @property
    def whole(self) -> bool:
        """Whether all of it fits."""
        return self.cost_micro_usdc <= self.room_micro_usdc

    @property
    def new(self) -> int:
        """How many of those that fit are to be bought anew."""
        return len(self.fitting) - len(self.begun)


async def find_fit(animator: Any, settings: Settings, shots: list[Shot], quotes: "list[Quote]") -> Fit:
    """Hold a batch against the budgets; the limits still judge each purchase, when it is made.

    Raises:
        LedgerError: The books cannot be read.
    """
    with open_ledger(settings) as ledger:
        spend = policy.Spend() if ledger is None else ledger.spend(time.time())
    room, budget = min(policy.find_room(settings.limits, spend))
    begun: list[int] = []
    order = list(range(len(shots)))
    _, cost = choose(shots, quotes, order, begun=begun)
    if cost > room:  # only now: each picture is read once more for it
        stages = [await animator.find_stage(shot.order) for shot in shots]
        begun = [number for number in order if stages[number] == "begun"]
        # What was refused before may be refused again, and must not keep the budget from what was never bought.
        order.sort(key=lambda number: stages[number] == "tried")
        _, cost = choose(shots, quotes, order, begun=begun)
    fitting, _ = choose(shots, quotes, order, begun=begun, room_micro_usdc=room)
    wanted = len(shots) - len(begun)
    return Fit(begun=begun, fitting=fitting, wanted=wanted, cost_micro_usdc=cost, room_micro_usdc=room, budget=budget)


def choose(
    shots: "Sequence[Shot]",
    quotes: "Sequence[Quote]",
    order: Sequence[int],
    *,
    begun: Sequence[int],
    room_micro_usdc: int | None = None,
) -> tuple[list[int], int]:
    """Return the places of the orders that fit, taken in this order, and what they cost together.

    The same order twice is one purchase, and the same picture one upload. An order without a known price, or with one
    above its own limit, costs nothing here: it is judged when it is bought.
    """
    chosen: list[int] = []
    total = 0
    orders: set[Order] = set()
    pictures: set[str] = set()
    for number in order:
        shot, quote, cost = shots[number], quotes[number], 0
        named = {name for name in (shot.order.image, shot.order.last_image) if name is not None}
        if number not in begun and shot.order not in orders and _may_cost(shot, quote):
            cost = _find_cost(quote, uploads_max=len(named - pictures))
        if room_micro_usdc is not None and total + cost > room_micro_usdc:
            continue
        chosen.append(number)
        if cost:
            total += cost
            orders.add(shot.order)
            pictures |= named
    return chosen, total


def add_costs(proposals: "Mapping[Order, Proposal]") -> Cost:
    """Return what some orders can cost together: the same picture is uploaded once."""
    total = Cost(price_micro_usdc=0)
    pictures: set[str] = set()
    for order, proposal in proposals.items():
        named = {name for name in (order.image, order.last_image) if name is not None}
        total = total.plus(proposal.cost.with_uploads(len(named - pictures)))
        pictures |= named
    return total


def _may_cost(shot: Shot, quote: "Quote") -> bool:
    limits = (quote.max_price_per_video_micro_usdc, shot.max_price_micro_usdc)
    return quote.cost is not None and all(limit is None or quote.cost.total_micro_usdc <= limit for limit in limits)


def _find_cost(quote: "Quote", *, uploads_max: int) -> int:
    """Return what an order takes of a budget, where some of its pictures are uploaded for another one."""
    return 0 if quote.cost is None else quote.cost.with_uploads(uploads_max).total_micro_usdc
