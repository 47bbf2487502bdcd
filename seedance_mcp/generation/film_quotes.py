"""Film quotes: what a film would cost, and whether limits and wallet allow it. Needs no key, and spends nothing.

The sum of all its shots is judged at once: by the limits, and by what the wallet is known to hold. Must not reserve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from seedance_mcp.adapters.media.films import film_support
from seedance_mcp.core.errors import ConfigError, StudioUnreachableError
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import CHEAPER, Approval, Limits, Recipient
from seedance_mcp.core.next_steps import Argument, NextStep, Repeat
from seedance_mcp.core.wire.offers import MicroUSDC, Offer
from seedance_mcp.generation.film_plans import FilmPlan, PlannedShot, plan_film
from seedance_mcp.generation.film_request import FilmRequest
from seedance_mcp.generation.picture_checks import check_risk
from seedance_mcp.generation.quotes import Quote
from seedance_mcp.generation.quoting import Quoting
from seedance_mcp.generation.service import QuoteService
from seedance_mcp.generation.upload_lookup import UPLOAD_PRICE_MICRO_USDC
from seedance_mcp.payments import policy

Ways = tuple[tuple[Offer, ...], ...]
"""For each payment, in order, the offers that could be signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmQuote:
    """What a film would cost.

    Attributes:
        exact: True if the studio named the price of each shot for its own picture.
        shares_micro_usdc: The most that each shot costs, with its uploads and network fees; 0 if it was bought.
        recipients: Whom the payments would go to, each once.
        reservation_id: What the same film has reserved by now, which does not stand in its way; or None.
        ways: How each of its payments could be made.
        wallet_problem: Why there is no wallet to pay with, or None.
    """

    plan: FilmPlan
    exact: bool
    shares_micro_usdc: tuple[int, ...]
    recipients: tuple[Recipient, ...]
    reservation_id: int | None
    ways: Ways = field(repr=False)
    wallet_problem: ConfigError | None

    @property
    def cost_micro_usdc(self) -> int:
        """Return the most that the film costs."""
        return sum(self.shares_micro_usdc)


@dataclass(slots=True)
class _Sum:
    """What was found of the shots so far."""

    shares: list[int] = field(default_factory=list[int])
    exact: bool = True
    recipients: dict[Recipient, None] = field(default_factory=dict[Recipient, None])
    ways: list[tuple[Offer, ...]] = field(default_factory=list[tuple[Offer, ...]])

    def add(self, number: int, shot: PlannedShot, quote: Quote) -> None:
        """Add what a shot costs.

        Raises:
            SeedanceError: The limits forbid it, or the studio names no price.
        """
        if quote.error is not None:
            raise quote.error.at(f"Shot {number}")
        if quote.cost is None:
            raise StudioUnreachableError(f"Shot {number}: the studio names no price.", NextStep("{0}.", Repeat()))
        cost, ways = quote.cost, quote.payments.ways
        has_frame = not shot.is_chained or shot.head is None or shot.head.sha256 in quote.payments.uploads
        uploads = cost.uploads + (0 if has_frame else 1)  # the frame is uploaded, not the picture that stands in for it
        upload_cost = UPLOAD_PRICE_MICRO_USDC + cost.fee_micro_usdc
        self.shares.append(cost.price_micro_usdc + cost.fee_micro_usdc + uploads * upload_cost)
        self.exact = self.exact and quote.exact and not shot.is_chained
        self.recipients |= dict.fromkeys(quote.recipients)
        if ways:
            self.ways += ways if has_frame else (_as_upload(ways[-1]), *ways)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmQuoter:
    """Quotes films for one payer at one studio.

    Attributes:
        service: Quotes their shots.
        limits: What the owner allows.
        now: Unix seconds.
    """

    service: QuoteService
    ledger: Ledger
    limits: Limits
    now: Callable[[], float]

    async def plan(self, request: FilmRequest) -> FilmPlan:
        """Read the pictures of a film.

        Raises:
            SeedanceError: It cannot be made.
        """
        if not film_support():
            raise ConfigError("Films need the extra `film`, which is not installed.", describe_install("film"))
        policy.check_settings(self.limits)
        service = self.service
        return await plan_film(
            request, images=service.images, limits=self.limits, wallet=service.wallet, caller=service.caller
        )

    async def quote(self, request: FilmRequest) -> FilmQuote:
        """Return what a film would cost; spends nothing.

        Raises:
            SeedanceError: It cannot be made, or the limits forbid a shot.
        """
        plan = await self.plan(request)
        known = await self.ledger.find_film(plan.film_id)
        reservation_id = None if known is None else known.reservation_id
        quoting, found = self._draw_from(reservation_id), _Sum()
        for number, shot in enumerate(plan.shots, 1):
            if (await self.service.progress.read(shot.prepared)).stage == "begun":
                found.shares.append(0)
                continue
            check_risk(shot.prepared.pictures, accept_risk=shot.request.accept_risk)
            asked = shot.prepared
            if shot.is_chained and shot.head is not None:
                asked = replace(asked, pictures=(shot.head, *asked.pictures[1:]))
            found.add(number, shot, await quoting.quote(asked, max_price_micro_usdc=request.max_price_micro_usdc))
        return FilmQuote(
            plan=plan,
            exact=found.exact,
            shares_micro_usdc=tuple(found.shares),
            recipients=tuple(found.recipients),
            reservation_id=reservation_id,
            ways=tuple(found.ways),
            wallet_problem=quoting.planner.payer.problem,
        )

    async def check(self, quote: FilmQuote) -> None:
        """Raise where a limit or the wallet forbids the sum of a film; its reservation checks the limits again.

        Raises:
            PolicyError: A limit forbids it, or the wallet is known to hold too little for all its shots.
        """
        if quote.cost_micro_usdc:
            now, own = self.now(), self.ledger.drawing_from(quote.reservation_id)
            self.check_sum(quote.cost_micro_usdc, quote.plan.request)
            policy.check_price(
                quote.cost_micro_usdc,
                self.limits,
                spend=await own.spend(now),
                approval=Approval(quote.cost_micro_usdc, "the film may cost"),
            )
            policy.check_caps(quote.cost_micro_usdc, await own.find_caps(now))
            await self.service.quoting.planner.check_balance(quote.ways, purpose="the film")

    def check_sum(self, cost_micro_usdc: int, request: FilmRequest) -> None:
        """Raise where a film costs more than the owner or the caller allows for one film.

        Raises:
            PriceTooHighError: It does.
        """
        bounds = [
            (self.limits.max_per_film_micro_usdc, "is allowed for one film (SEEDANCE_MAX_PER_FILM)", CHEAPER),
            (
                request.max_price_micro_usdc,
                "this request allows",
                NextStep(
                    "If it is worth more, {0} with a higher {1}.", Repeat(changed=True), Argument("max_price_usd")
                ),
            ),
        ]
        for most, reason, step in bounds:
            if most is not None:
                spend, approval = policy.Spend(), Approval(most, reason, step)
                wide = replace(self.limits, max_per_day_micro_usdc=cost_micro_usdc)
                policy.check_price(cost_micro_usdc, wide, spend=spend, approval=approval)

    def _draw_from(self, reservation_id: int | None) -> Quoting:
        """Return what quotes shots whose film has reserved a sum already."""
        own, quoting = self.ledger.drawing_from(reservation_id), self.service.quoting
        return replace(quoting, ledger=own, checker=replace(quoting.checker, ledger=own))


def _as_upload(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the offers of a video at the price of an upload."""
    return tuple(replace(one, amount_micro_usdc=MicroUSDC(UPLOAD_PRICE_MICRO_USDC)) for one in offers)
