"""Films: buy the shots of a storyboard as ordinary videos, and join them.

One price is agreed to, and the whole sum is reserved in one transaction before the first shot is bought; each shot
draws from it. The shots of a chain follow each other, and chains are made side by side. A film is worked on by one
process at a time; another one goes on where it ended. Must not pay by itself: `RequestPurchaser` buys each shot.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from seedance_mcp.adapters.media.films import film_support
from seedance_mcp.adapters.media.videos import is_missing
from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    ConfigError,
    FilmError,
    JobNotFoundError,
    PriceTooHighError,
    StudioUnreachableError,
)
from seedance_mcp.core.films import Film, Shot
from seedance_mcp.core.installation import describe_install
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import CHEAPER, Approval, Limits, Recipient
from seedance_mcp.core.next_steps import Argument, NextStep, OwnerOnly, Repeat, Setting
from seedance_mcp.generation.film_plans import FilmPlan, plan_film
from seedance_mcp.generation.film_request import FilmRequest
from seedance_mcp.generation.film_work import LEASE_SECONDS, FilmWork
from seedance_mcp.generation.picture_checks import check_risk
from seedance_mcp.generation.purchases import RequestPurchaser
from seedance_mcp.generation.service import GenerationService
from seedance_mcp.generation.upload_lookup import UPLOAD_PRICE_MICRO_USDC
from seedance_mcp.payments import policy

log = logging.getLogger("seedance_mcp")

LOOK_SECONDS = 0.5
"""Pause between two looks at a film that a caller waits for."""

Report = Callable[[Film], Awaitable[None]]
"""Told how a film gets on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmQuote:
    """What a film would cost.

    Attributes:
        exact: True if the studio named the price of each shot for its own picture.
        shares_micro_usdc: The most that each shot costs, with its uploads and network fees; 0 if it was bought.
        recipients: Whom the payments would go to, each once.
        reservation_id: What the same film has reserved by now, which does not stand in its way; or None.
    """

    plan: FilmPlan
    exact: bool
    shares_micro_usdc: tuple[int, ...]
    recipients: tuple[Recipient, ...]
    reservation_id: int | None

    @property
    def cost_micro_usdc(self) -> int:
        """Return the most that the film costs."""
        return sum(self.shares_micro_usdc)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmService:
    """Makes films for one wallet at one studio.

    Attributes:
        generation: Quotes and buys their shots.
        folder: Where films are saved; None where videos are in an object store, which makes no films yet.
        start: Starts a background task.
        now: Unix seconds.
    """

    generation: GenerationService
    ledger: Ledger
    limits: Limits
    folder: Path | None
    start: Start
    now: Callable[[], float]
    _works: dict[str, FilmWork] = field(default_factory=dict[str, FilmWork])

    async def quote(self, request: FilmRequest) -> FilmQuote:
        """Return what a film would cost; spends nothing.

        Raises:
            SeedanceError: It cannot be made, or the limits forbid a shot.
        """
        self._check_possible()
        service = self.generation
        plan = await plan_film(
            request, images=service.images, limits=self.limits, wallet=service.wallet, caller=service.caller
        )
        known = await self.ledger.find_film(plan.film_id)
        reservation_id = None if known is None else known.reservation_id
        own = self.ledger.drawing_from(reservation_id)
        quoting = replace(service.quoting, ledger=own, checker=replace(service.quoting.checker, ledger=own))
        shares: list[int] = []
        exact, recipients, head = True, dict[Recipient, None](), plan.shots[0].prepared.pictures[0]
        for number, shot in enumerate(plan.shots, 1):
            head = head if shot.is_chained else shot.prepared.pictures[0]
            if (await service.progress.read(shot.prepared)).stage == "begun":
                shares.append(0)
                continue
            check_risk(shot.prepared.pictures, accept_risk=shot.request.accept_risk)
            asked = replace(shot.prepared, pictures=(head, *shot.prepared.pictures[1:]))
            quote = await quoting.quote(asked, max_price_micro_usdc=request.max_price_micro_usdc)
            if quote.error is not None:
                raise quote.error.__class__(f"Shot {number}: {quote.error.what}", quote.error.next_step)
            if quote.cost is None:
                raise StudioUnreachableError(f"Shot {number}: the studio names no price.", NextStep("{0}.", Repeat()))
            uploads = quote.cost.uploads
            if shot.is_chained:  # the frame is uploaded, not the picture that stands in for it
                uploads += 0 if head.sha256 in quote.payments.uploads else 1
            upload_cost = UPLOAD_PRICE_MICRO_USDC + quote.cost.fee_micro_usdc
            shares.append(quote.cost.price_micro_usdc + quote.cost.fee_micro_usdc + uploads * upload_cost)
            exact = exact and quote.exact and not shot.is_chained
            recipients |= dict.fromkeys(quote.recipients)
        return FilmQuote(
            plan=plan,
            exact=exact,
            shares_micro_usdc=tuple(shares),
            recipients=tuple(recipients),
            reservation_id=reservation_id,
        )

    async def check(self, quote: FilmQuote) -> None:
        """Raise where a limit forbids the sum of a film; its reservation checks that again.

        Raises:
            PolicyError: A limit forbids it.
        """
        if quote.cost_micro_usdc:
            now, own = self.now(), self.ledger.drawing_from(quote.reservation_id)
            self._check_sum(quote.cost_micro_usdc, quote.plan.request)
            policy.check_price(
                quote.cost_micro_usdc,
                self.limits,
                spend=await own.spend(now),
                approval=Approval(quote.cost_micro_usdc, "the film may cost"),
            )
            policy.check_caps(quote.cost_micro_usdc, await own.find_caps(now))

    async def order(
        self,
        quote: FilmQuote,
        *,
        agreed_micro_usdc: int = 0,
        agreed_recipients: tuple[Recipient, ...] | None = None,
        deadline: float,
        report: Report | None = None,
    ) -> Film:
        """Make a film, once, and wait for it a while; what was bought before is not bought again.

        Args:
            quote: What it costs.
            agreed_micro_usdc: The sum that a person said yes to; above `ask_above`, no more than that is reserved.
            agreed_recipients: Whom the person was shown; None where no one was asked.
            deadline: The moment at which to stop waiting; the work goes on.
            report: See `Report`.

        Raises:
            SeedanceError: Nothing was bought.
        """
        ask_above, cost = self.limits.ask_above_micro_usdc, quote.cost_micro_usdc
        if ask_above is not None and cost > max(ask_above, agreed_micro_usdc):
            raise PriceTooHighError(
                "The film costs more than a person approved, or than needs no approval (SEEDANCE_ASK_ABOVE).",
                NextStep("{0} ({1}).", OwnerOnly("change that"), Setting("ASK_ABOVE")),
            )
        film = await self._open(quote.plan, quote.shares_micro_usdc, agreed_recipients)
        return await self.wait(film, deadline=deadline, report=report)

    async def get(self, film_id: str, *, deadline: float, report: Report | None = None) -> Film:
        """Wait for a film a while, and go on with it if its process is gone.

        Raises:
            JobNotFoundError: There is no such film of this caller.
        """
        film = await self._find(film_id)
        if film.state == "running" and film_id not in self._works and film.lease_until <= self.now():
            await self._continue(film)
        return await self.wait(film, deadline=deadline, report=report)

    async def cancel(self, film_id: str) -> Film:
        """Buy nothing more for a film; what was bought stays.

        Raises:
            JobNotFoundError: There is no such film of this caller.
        """
        await self._find(film_id)
        film = await self.ledger.cancel_film(film_id, now=self.now())
        work = self._works.get(film_id)
        if work is not None:
            work.stop()
        return film or await self._find(film_id)

    async def resume(self) -> None:
        """Go on with the films of this wallet that an earlier process left."""
        for film in await self.ledger.running_films():
            is_ours = film.wallet == self.generation.wallet and film.studio == self.generation.images.studio.origin
            if is_ours and film.film_id not in self._works and film.lease_until <= self.now():
                await self._continue(film)

    async def wait(self, film: Film, *, deadline: float, report: Report | None = None) -> Film:
        """Wait until a film has ended, or for a while."""
        while film.state == "running":
            if report is not None:
                await report(film)
            remaining = deadline - anyio.current_time()
            if remaining <= 0:
                break
            await anyio.sleep(min(LOOK_SECONDS, remaining))
            film = await self._find(film.film_id)
        return film

    async def _find(self, film_id: str) -> Film:
        film = await self.ledger.find_film(film_id)
        if film is None:
            raise JobNotFoundError(f"There is no film {film_id[:80]}.")
        return film

    def _check_possible(self) -> None:
        """Raise where no film can be made, before anything is paid.

        Raises:
            ConfigError: The library is not installed, or the server keeps its videos elsewhere.
        """
        if not film_support():
            raise ConfigError("Films need the extra `film`, which is not installed.", describe_install("film"))
        if self.folder is None:
            raise ConfigError("This hosted server makes no films.", "Make the shots one by one.")
        policy.check_settings(self.limits)

    def _check_sum(self, cost_micro_usdc: int, request: FilmRequest) -> None:
        """Raise where a film costs more than the owner or the caller allows for one film."""
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

    async def _open(self, plan: FilmPlan, shares: tuple[int, ...], recipients: tuple[Recipient, ...] | None) -> Film:
        """Reserve the sum of a film and take its lease, in one transaction, and begin to work on it.

        A film that a process works on, or that is complete, stays as it is.
        """
        now, amount, service = self.now(), sum(shares), self.generation
        self._check_sum(amount, plan.request) if amount else None
        film = Film(
            film_id=plan.film_id,
            studio=service.images.studio.origin,
            wallet=service.wallet,
            definition=plan.request.describe(),
            shots=tuple(Shot(share_micro_usdc=share) for share in shares),
            created_at=now,
        )
        async with self.ledger.lock_budget() as budget:
            found = await budget.find_film(plan.film_id)
            if found is not None and found.state == "running" and found.lease_until > now:
                return found
            if found is not None and found.state == "complete" and not is_missing(found.file):
                return found
            policy.check_not_frozen(await budget.find_freeze())
            await budget.release_sum(plan.film_id, now=now)
            if amount:
                policy.check_price(
                    amount,
                    self.limits,
                    spend=await budget.spend(now),
                    approval=Approval(amount, "the film may cost"),
                )
                policy.check_caps(amount, await budget.find_caps(now))
            film = await budget.open_film(film, amount_micro_usdc=amount, now=now, lease_until=now + LEASE_SECONDS)
        self._begin(plan, film, recipients)
        return film

    async def _continue(self, film: Film) -> None:
        """Go on with a film; one whose pictures cannot be read any more waits for its call."""
        try:
            quote = await self.quote(FilmRequest.read(film.definition))
            if quote.plan.film_id != film.film_id:
                raise FilmError("A picture of the film has changed.", "Order the film again with its pictures.")
            if quote.cost_micro_usdc > sum(shot.share_micro_usdc for shot in film.shots):
                raise PriceTooHighError("The film now costs more than was approved.", "Order the film again.")
            await self._open(quote.plan, quote.shares_micro_usdc, None)
        except SeedanceError as exc:
            log.warning("Film %s cannot go on: %s", film.film_id, exc.what)

    def _begin(self, plan: FilmPlan, film: Film, recipients: tuple[Recipient, ...] | None) -> None:
        earlier = self._works.get(film.film_id)
        if earlier is not None:  # of an order that was cancelled a moment ago
            earlier.stop()
        self._works[film.film_id] = work = FilmWork(
            plan=plan,
            film=film,
            recipients=recipients,
            purchaser=self._draw_from(film.reservation_id),
            generation=self.generation,
            ledger=self.ledger,
            folder=self.folder or Path(),
            now=self.now,
            end=self._end,
        )
        self.start(work.run)

    def _end(self, work: FilmWork) -> bool:
        """Forget a work that has ended; returns False if another one has taken its place."""
        if self._works.get(work.film.film_id) is not work:
            return False
        del self._works[work.film.film_id]
        return True

    def _draw_from(self, reservation_id: int | None) -> RequestPurchaser:
        """Return what buys requests, with payments that draw from a film's sum."""
        own, ledger = self.generation.purchaser, self.ledger.drawing_from(reservation_id)
        executor = replace(own.executor, ledger=ledger)
        checker = replace(own.checker, ledger=ledger)
        return replace(own, executor=executor, checker=checker, uploader=replace(own.uploader, executor=executor))
