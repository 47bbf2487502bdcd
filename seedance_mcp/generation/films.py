"""Films: buy the shots of a storyboard as ordinary videos, and join them.

One price is agreed to, and the whole sum is reserved in one transaction before the first shot is bought; each shot
draws from it. The shots of a chain follow each other, and chains are made side by side. A film is worked on by one
process at a time; another one goes on where it ended. Must not pay by itself: `RequestPurchaser` buys each shot.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import FilmError, JobNotFoundError, LedgerError, PriceTooHighError
from seedance_mcp.core.films import Film, Shot
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Approval, Limits, Recipient
from seedance_mcp.core.next_steps import NextStep, OwnerOnly, Setting
from seedance_mcp.generation.film_files import FilmFiles
from seedance_mcp.generation.film_plans import FilmPlan
from seedance_mcp.generation.film_quotes import FilmQuote, FilmQuoter
from seedance_mcp.generation.film_request import FilmRequest
from seedance_mcp.generation.film_work import LEASE_SECONDS, PASSING, FilmWork
from seedance_mcp.generation.purchases import RequestPurchaser
from seedance_mcp.generation.service import GenerationService
from seedance_mcp.payments import policy

log = logging.getLogger("seedance_mcp")

LOOK_SECONDS = 0.5
"""Pause between two looks at a film that a caller waits for."""

CLOCK_SECONDS = 0.01
"""How exactly a time comes back from the ledger."""

Report = Callable[[Film], Awaitable[None]]
"""Told how a film gets on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmService:
    """Makes films for one wallet at one studio.

    Attributes:
        generation: Buys their shots.
        quoter: Quotes them.
        files: Where shots are read and films are kept.
        start: Starts a background task.
        now: Unix seconds.
        works: What this process works on, by film; callers of one server share it.
    """

    generation: GenerationService
    quoter: FilmQuoter
    ledger: Ledger
    limits: Limits
    files: FilmFiles
    start: Start
    now: Callable[[], float]
    works: dict[str, FilmWork] = field(default_factory=dict[str, FilmWork])

    async def quote(self, request: FilmRequest) -> FilmQuote:
        """Return what a film would cost; see `FilmQuoter`."""
        return await self.quoter.quote(request)

    async def check(self, quote: FilmQuote) -> None:
        """Raise where a limit or the wallet forbids the sum of a film; see `FilmQuoter`."""
        await self.quoter.check(quote)

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
        self.quoter.check_sum(cost, quote.plan.request) if cost else None
        film = await self._open(quote.plan, quote.shares_micro_usdc, agreed_recipients)
        return await self.wait(film, deadline=deadline, report=report)

    async def get(self, film_id: str, *, deadline: float, report: Report | None = None) -> Film:
        """Wait for a film a while, and go on with it if its process is gone.

        Raises:
            JobNotFoundError: There is no such film of this caller.
        """
        film = await self._find(film_id)
        self.start(partial(self.take_over, film))
        return await self.wait(film, deadline=deadline, report=report)

    async def cancel(self, film_id: str) -> Film:
        """Buy nothing more for a film; what was bought stays.

        Raises:
            JobNotFoundError: There is no such film of this caller.
        """
        await self._find(film_id)
        film = await self.ledger.cancel_film(film_id, now=self.now())
        work = self.works.get(film_id)
        if work is not None:
            work.stop()
        return film or await self._find(film_id)

    async def resume(self) -> None:
        """Go on with the films of this wallet that an earlier process left."""
        for film in await self.ledger.running_films():
            if self.is_ours(film):
                await self.take_over(film)

    def is_ours(self, film: Film) -> bool:
        """Return True if a film is of this wallet and this studio."""
        service = self.generation
        return film.wallet == service.wallet and film.studio == service.images.studio.origin

    async def take_over(self, film: Film) -> None:
        """Go on with a film that runs and that no process works on; one process gets it.

        A film that cannot go on is stopped with the reason, unless that may pass.
        """
        film_id, now = film.film_id, self.now()
        if film.state != "running" or film_id in self.works or film.lease_until > now:
            return
        lease_until = now + LEASE_SECONDS
        if not await self.ledger.claim_film(film_id, now=now, lease_until=lease_until):
            return
        try:
            await self._continue(replace(film, lease_until=lease_until))
        except PASSING as exc:
            log.warning("Film %s cannot go on now: %s", film_id, exc.what)
            note = f"It cannot go on now: {exc.describe()}"
            with suppress(LedgerError):  # its lease ends by itself
                await self.ledger.record_film(replace(film, note=note), now=self.now())
                await self.ledger.leave_film(film_id)
        except SeedanceError as exc:
            log.warning("Film %s cannot go on: %s", film_id, exc.what)
            await self.ledger.record_film(replace(film, state="stopped", problem=str(exc)), now=self.now())

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

    async def _open(
        self,
        plan: FilmPlan,
        shares: tuple[int, ...],
        recipients: tuple[Recipient, ...] | None,
        *,
        claimed: Film | None = None,
    ) -> Film:
        """Reserve the sum of a film and take its lease, in one transaction, and begin to work on it.

        A film that a process works on, or that is complete, stays as it is.

        Args:
            plan: Its shots.
            shares: The most that each shot may still cost.
            recipients: Whom a person was shown; None where no one was asked.
            claimed: The film as it was left, where this process has taken its lease already.
        """
        now, amount, service = self.now(), sum(shares), self.generation
        film = Film(
            film_id=plan.film_id,
            studio=service.images.studio.origin,
            wallet=service.wallet,
            definition=plan.request.describe(),
            shots=tuple(Shot(share_micro_usdc=share) for share in shares),
            created_at=now,
        )
        known = await self.ledger.find_film(plan.film_id)
        is_lost = known is not None and await self.files.is_missing(known)
        async with self.ledger.lock_budget(sync=True) as budget:
            found = await budget.find_film(plan.film_id)
            if claimed is None and found is not None and _is_made(found, now, is_lost=is_lost):
                return found
            if claimed is not None and (found is None or not _is_held(found, claimed.lease_until)):
                return claimed
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
            if found is not None:
                film = replace(film, shots=_keep_known(film.shots, found.shots))
            film = await budget.open_film(film, amount_micro_usdc=amount, now=now, lease_until=now + LEASE_SECONDS)
        self._begin(plan, film, recipients)
        return film

    async def _continue(self, film: Film) -> None:
        """Go on with a film whose lease this process has taken, at the prices that were approved.

        Raises:
            SeedanceError: Its pictures cannot be read any more, or a limit forbids the rest.
        """
        plan = await self.quoter.plan(FilmRequest.read(film.definition))
        if plan.film_id != film.film_id:
            raise FilmError("A picture of the film has changed.", "Order the film again with its pictures.")
        progress = self.generation.progress
        begun = [(await progress.read(shot.prepared)).stage == "begun" for shot in plan.shots]
        shares = [0 if one else shot.share_micro_usdc for one, shot in zip(begun, film.shots, strict=True)]
        await self._open(plan, tuple(shares), None, claimed=film)

    def _begin(self, plan: FilmPlan, film: Film, recipients: tuple[Recipient, ...] | None) -> None:
        earlier = self.works.get(film.film_id)
        if earlier is not None:  # of an order that was cancelled a moment ago
            earlier.stop()
        self.works[film.film_id] = work = FilmWork(
            plan=plan,
            film=film,
            recipients=recipients,
            purchaser=self._draw_from(film.reservation_id),
            generation=self.generation,
            ledger=self.ledger,
            files=self.files,
            now=self.now,
            end=self._end,
        )
        self.start(work.run)

    def _end(self, work: FilmWork) -> bool:
        """Forget a work that has ended; returns False if another one has taken its place."""
        if self.works.get(work.film.film_id) is not work:
            return False
        del self.works[work.film.film_id]
        return True

    def _draw_from(self, reservation_id: int | None) -> RequestPurchaser:
        """Return what buys requests, with payments that draw from a film's sum."""
        own, ledger = self.generation.purchaser, self.ledger.drawing_from(reservation_id)
        executor = replace(own.executor, ledger=ledger)
        checker = replace(own.checker, ledger=ledger)
        return replace(own, executor=executor, checker=checker, uploader=replace(own.uploader, executor=executor))


def _is_made(film: Film, now: float, *, is_lost: bool) -> bool:
    """Return True if a film is complete and there, or a process works on it."""
    if film.state == "running":
        return film.lease_until > now
    return film.state == "complete" and not is_lost


def _is_held(film: Film, lease_until: float) -> bool:
    """Return True if no one else has taken a film's lease since we did, and it was not cancelled."""
    return film.state == "running" and abs(film.lease_until - lease_until) < CLOCK_SECONDS


def _keep_known(shots: tuple[Shot, ...], earlier: tuple[Shot, ...]) -> tuple[Shot, ...]:
    """Return shots with what is known of them. What was bought keeps its share: its payment may yet be refused."""
    return tuple(
        replace(before, share_micro_usdc=shot.share_micro_usdc or before.share_micro_usdc, error=None)
        for shot, before in zip(shots, earlier, strict=True)
    )
