"""Batch budget: find which requests fit into the limits and the balance before the first is bought."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.cli.batch_input import Shot
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.limits import NO_BALANCES, Cost, WalletBalances
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.payments import policy

if TYPE_CHECKING:
    from seedance_mcp.generation.questions import Proposal
    from seedance_mcp.generation.quotes import Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFit:
    """What a batch needs of the budget, and what of it fits.

    Attributes:
        begun: The places of the requests that take nothing more: bought before, or with an unfinished payment.
        fitting: The places of those that may be bought, with those begun; what was never bought comes first.
        wanted: How many are to be bought anew.
        cost_micro_usdc: What all of them need, uploads and known fees included.
        remaining_micro_usdc: What is left of the narrowest budget.
        budget: Its name.
    """

    begun: list[int]
    fitting: list[int]
    wanted: int
    cost_micro_usdc: int
    remaining_micro_usdc: int
    budget: str

    @property
    def whole(self) -> bool:
        """Whether all of it fits."""
        return self.cost_micro_usdc <= self.remaining_micro_usdc

    @property
    def new(self) -> int:
        """How many of those that fit are to be bought anew."""
        return len(self.fitting) - len(self.begun)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one request of a batch still needs after those that are bought before it.

    Attributes:
        ways: The offers that could be signed for each payment; empty where no terms are known.
    """

    cost: Cost
    ways: tuple[tuple[Offer, ...], ...] = ()


NOTHING = Need(cost=Cost(price_micro_usdc=0))
"""Bought before, or bought with another request of the batch."""


@dataclass(slots=True, kw_only=True)
class Means:
    """What a batch may spend; each request that fits takes its part.

    Attributes:
        remaining_micro_usdc: What is left of a budget; None where none counts.
        wallet_balances: What the wallet holds; an unknown balance passes nothing over.
    """

    remaining_micro_usdc: int | None = None
    wallet_balances: WalletBalances = NO_BALANCES

    def take(self, need: Need) -> bool:
        """Take what a request needs; return False and take nothing if there is not enough."""
        total = need.cost.total_micro_usdc
        if self.remaining_micro_usdc is not None and total > self.remaining_micro_usdc:
            return False
        paid, left = policy.pay_in_turn(need.ways, self.wallet_balances)
        if len(paid) < len(need.ways):
            return False
        self.wallet_balances = left
        if self.remaining_micro_usdc is not None:
            self.remaining_micro_usdc -= total
        return True


async def read_remaining_budgets(settings: Settings) -> list[policy.RemainingBudget]:
    """Read what is left of each budget.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    async with open_existing_ledger(settings) as ledger:
        spend = policy.Spend() if ledger is None else await ledger.spend(time.time())
    return policy.find_remaining_budget(settings.limits, spend)


async def find_fit(settings: Settings, shots: "Sequence[Shot]", quotes: "Sequence[Quote]") -> BudgetFit:
    """Hold a batch against the budgets; the limits still judge each purchase, when it is made.

    A request whose price is unknown or above its own limit costs nothing here: it is judged when it is bought.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    remaining, budget, _ = min(await read_remaining_budgets(settings))
    begun = [number for number, quote in enumerate(quotes) if quote.stage == "begun"]
    judged = [
        quote if _may_cost(shot, quote) else replace(quote, cost=None)
        for shot, quote in zip(shots, quotes, strict=True)
    ]
    sequence = sort_by_stage(quotes)
    _, needs = choose(judged, sequence)
    fitting, _ = choose(judged, sequence, fits=Means(remaining_micro_usdc=remaining).take)
    return BudgetFit(
        begun=begun,
        fitting=fitting,
        wanted=len(shots) - len(begun),
        cost_micro_usdc=add_up(needs).total_micro_usdc,
        remaining_micro_usdc=remaining,
        budget=budget,
    )


def sort_by_stage(quotes: "Sequence[Quote]") -> list[int]:
    """Return the places of the requests in the sequence in which they are bought.

    A request that was refused before may be refused again. It comes last, so that it keeps no budget from the others.
    """
    return sorted(range(len(quotes)), key=lambda number: quotes[number].stage == "tried")


def choose(
    quotes: "Sequence[Quote]", sequence: Iterable[int], *, fits: Callable[[Need], bool] = lambda _: True
) -> tuple[list[int], list[Need]]:
    """Return the places of the requests that fit, taken in this sequence, and what they need.

    The same request twice is one purchase, and the same picture one upload, whatever they are called.
    """
    chosen: list[int] = []
    needs: list[Need] = []
    bought: set[str] = set()
    hosted: set[str] = set()
    for number in sequence:
        quote = quotes[number]
        need = NOTHING if quote.key in bought else _find_need(quote, hosted)
        if not fits(need):
            continue
        chosen.append(number)
        needs.append(need)
        if quote.cost is not None:
            bought.add(quote.key)
            hosted.update(quote.payments.uploads)
    return chosen, needs


def add_up(needs: Iterable[Need]) -> Cost:
    """Return what several requests cost together."""
    total = Cost(price_micro_usdc=0)
    for need in needs:
        total = total.plus(need.cost)
    return total


def add_costs(proposals: "Mapping[VideoRequest, Proposal]") -> Cost:
    """Return what some requests can cost together: the same picture is uploaded once."""
    total = Cost(price_micro_usdc=0)
    pictures: set[str] = set()
    for request, proposal in proposals.items():
        named = set(request.files)
        total = total.plus(proposal.cost.with_uploads(len(named - pictures)))
        pictures |= named
    return total


def _may_cost(shot: Shot, quote: "Quote") -> bool:
    limits = (quote.max_price_per_video_micro_usdc, shot.request.max_price_micro_usdc)
    return quote.cost is not None and all(limit is None or quote.cost.total_micro_usdc <= limit for limit in limits)


def _find_need(quote: "Quote", hosted: set[str]) -> Need:
    """Return what a request needs if some of its pictures are uploaded for another one."""
    cost, uploads, ways = quote.cost, quote.payments.uploads, quote.payments.ways
    if cost is None:
        return NOTHING
    new = [number for number, sha256 in enumerate(uploads) if sha256 not in hosted]
    return Need(
        cost=cost.with_uploads(len(new)), ways=(*(ways[number] for number in new if ways), *ways[len(uploads) :])
    )
