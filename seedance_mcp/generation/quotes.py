"""Quotes: the answer to what a request costs, and the memory of recent answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.idempotency import GenerationKeys
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.limits import NO_BALANCES, Cost, Limits, PinnedTerms, Recipient, WalletBalances
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import NextStep, join_steps
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.generation.stages import Stage
from seedance_mcp.payments import policy

QUOTE_SECONDS = 600
"""How long a quote binds."""
QUOTES_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedOffer:
    """An offer of the studio's, why it may not be signed (None where it may), and what the wallet holds for it.

    Attributes:
        balance_micro_usdc: Of the offered token; None where no one could say.
        fee_micro_usdc: The most that the network may keep in addition to the price.
        token_name: The pinned token's common name, such as "USDC on Base"; None for a token that is not pinned.
    """

    offer: Offer
    rejection_reason: str | None
    balance_micro_usdc: int | None
    fee_micro_usdc: int
    token_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payments:
    """What a call would pay, so that several calls can be added up.

    Attributes:
        uploads: SHA-256 of the pictures whose upload it would buy, each once.
        ways: For each payment the offers that could be signed, preferred first: the uploads in their order, then the
            video. Empty where no terms are known or a limit forbids the call.
        wallet_balances: What the wallet held when they were listed.
        recipients: Whom the payments would go to, each once; empty where the studio does not say.
    """

    uploads: tuple[str, ...] = ()
    ways: tuple[tuple[Offer, ...], ...] = ()
    wallet_balances: WalletBalances = NO_BALANCES
    recipients: tuple[Recipient, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a request would cost, and whether the limits allow it.

    Attributes:
        exact: From a real unpaid 402; otherwise from the price table.
        price_micro_usdc: The video's price, or None where no one knows it.
        upload_micro_usdc: What hosting the pictures would cost in addition.
        cost: All that the call can cost, uploads and network fees included; None where the price is not known.
        error: Why it would be refused now, or None.
        needs_approval: Whether a person must agree to the cost, or to a recipient that changed.
        day_left_micro_usdc: What is left of the budget for 24 hours.
        key: The identity of the purchase: requests with the same one are bought once.
        stage: How far the purchase has come; once it has begun, it costs nothing more.
        job: The job that answers the request for nothing, or None.
        payments: What the call would pay.
        wallet_problem: Why there is no wallet to pay with, or None.
    """

    exact: bool
    price_micro_usdc: int | None
    upload_micro_usdc: int
    cost: Cost | None
    offers: tuple[EvaluatedOffer, ...]
    error: SeedanceError | None
    needs_approval: bool
    warning: str | None
    notes: tuple[str, ...]
    max_price_per_video_micro_usdc: int
    day_left_micro_usdc: int
    key: str
    stage: Stage = "new"
    job: Job | None = None
    payments: Payments = Payments()
    wallet_problem: ConfigError | None = None

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """Whom its payments would go to, each once; empty where the studio does not say."""
        return self.payments.recipients

    @property
    def refusal(self) -> NextStep | None:
        """Why it would be refused now, and what to do."""
        error = self.error or self.wallet_problem
        return None if error is None else join_steps(error.what, error.next_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What was said to one purchase by anyone who wants it, in one call.

    Attributes:
        max_price_micro_usdc: The most that the caller allows, or None.
        agreed_micro_usdc: The cost that a person was asked about in this very call; 0 where no one was.
        recipients: Whom the person was shown; None where no one was asked.
    """

    max_price_micro_usdc: int | None = None
    agreed_micro_usdc: int = 0
    recipients: tuple[Recipient, ...] | None = None


@dataclass(frozen=True, slots=True)
class Quoted:
    """What was said of a request.

    Attributes:
        at: Unix seconds.
        cost: The most that it can cost.
        recipients: Whom its payments would go to.
        is_stale: Whether it was refused since, so that a person must be asked about a fresh price.
    """

    at: float
    cost: Cost
    recipients: tuple[Recipient, ...]
    is_stale: bool = False


class QuoteMemory(Protocol):
    """Remembers the latest quotes, by idempotency key."""

    async def pin(self, key: str, cost: Cost, recipients: tuple[Recipient, ...], *, is_stale: bool = False) -> None:
        """Remember what was said of a request."""

    async def find(self, keys: GenerationKeys) -> Quoted | None:
        """Return the latest quote of a request that still binds."""
        ...

    async def mark_stale(self, keys: GenerationKeys) -> None:
        """Let the next question to a person be about fresh terms: these were refused."""


@dataclass(frozen=True, slots=True)
class ProcessQuotes:
    """Remembers the latest quotes in this process: the `QuoteMemory` of a server that is alone."""

    now: Callable[[], float]
    _quotes: OrderedDict[str, Quoted] = field(default_factory=OrderedDict[str, Quoted])

    async def pin(self, key: str, cost: Cost, recipients: tuple[Recipient, ...], *, is_stale: bool = False) -> None:
        """Remember what was said of a request."""
        self._quotes[key] = Quoted(self.now(), cost, recipients, is_stale)
        self._quotes.move_to_end(key)
        while len(self._quotes) > QUOTES_MAX:
            self._quotes.popitem(last=False)

    async def find(self, keys: GenerationKeys) -> Quoted | None:
        """Return the latest quote of a request that still binds."""
        said = [self._quotes[key] for key in keys.all if key in self._quotes]
        latest = max(said, key=lambda quoted: quoted.at, default=None)
        return latest if latest is not None and latest.at + QUOTE_SECONDS > self.now() else None

    async def mark_stale(self, keys: GenerationKeys) -> None:
        """Let the next question to a person be about fresh terms: these were refused."""
        for key in keys.all:
            if key in self._quotes:
                self._quotes[key] = replace(self._quotes[key], is_stale=True)


def evaluate_offer(
    offer: Offer,
    *,
    limits: Limits,
    pins: PinnedTerms,
    payer: str,
    can_charge: bool,
    wallet_balances: WalletBalances,
    now: float,
    names_balances: bool = True,
) -> EvaluatedOffer:
    """Return an offer with why it may not be signed, and what the wallet holds for it.

    Args:
        offer: The studio's.
        limits: What the owner allows.
        pins: What the owner pays in, and where.
        payer: The paying address.
        can_charge: Whether the libraries of Tempo are installed.
        wallet_balances: What the chains reported.
        now: Unix seconds.
        names_balances: False for a caller who may not see what the wallet holds.
    """
    reason = policy.find_rejection_reason(offer, limits, pins, payer=payer, now=now, wallet_balances=wallet_balances)
    if reason is None and offer.rail not in limits.rails:
        reason = f"{offer.rail} is not among the allowed rails"
    if reason is None and offer.rail == "mpp" and not can_charge:
        reason = f"its libraries are not installed. {describe_install('tempo')}"
    balance = wallet_balances.find_balance(offer)
    if reason is None and balance is not None and balance < wallet_balances.cost_of(offer):
        held = f"${format_usdc(balance)}" if names_balances else "too little"
        reason = f"the wallet holds {held} of its token"
    return EvaluatedOffer(
        offer=offer,
        rejection_reason=reason,
        balance_micro_usdc=balance if names_balances else None,
        fee_micro_usdc=wallet_balances.fee_of(offer),
        token_name=pins.find_token_name(offer.network, offer.asset),
    )


def build_begun_quote(
    key: str, job: Job | None, *, max_price_per_video_micro_usdc: int, day_left_micro_usdc: int
) -> Quote:
    """Return the quote of a request that was bought or is being bought.

    Args:
        key: The idempotency key.
        job: The job that answers the request; None if its payment is pending.
        max_price_per_video_micro_usdc: The owner's limit.
        day_left_micro_usdc: What is left of the budget for 24 hours.
    """
    return Quote(
        exact=True,
        price_micro_usdc=0,
        upload_micro_usdc=0,
        cost=Cost(price_micro_usdc=0),
        offers=(),
        error=None,
        needs_approval=False,
        warning=None,
        notes=(),
        max_price_per_video_micro_usdc=max_price_per_video_micro_usdc,
        day_left_micro_usdc=day_left_micro_usdc,
        key=key,
        stage="begun",
        job=job,
    )
