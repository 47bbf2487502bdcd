"""Film work: make the shots of one film that are missing, and join them.

The shots of a chain follow each other; chains are made side by side. How far it is stands in the ledger, so that
another process can go on. What a repeated call would continue, such as a payment whose outcome is not known yet, the
work continues itself. Must not pay by itself: `RequestPurchaser` buys each shot, from the film's sum.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import TypeVar

import anyio

from seedance_mcp.adapters.media.images import prepare_image
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    BudgetExceededError,
    ChainError,
    FilmError,
    LedgerClosedError,
    LedgerError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    PriceTooHighError,
    PurchaseUnderwayError,
    StorageError,
    StudioUnreachableError,
    VideoUnsavedError,
)
from seedance_mcp.core.films import Film
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Recipient
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.records import Job
from seedance_mcp.generation.film_files import FilmFiles
from seedance_mcp.generation.film_plans import FilmPlan, PlannedShot
from seedance_mcp.generation.picture_checks import check_risk
from seedance_mcp.generation.preparation import PreparedRequest
from seedance_mcp.generation.purchases import RequestPurchaser
from seedance_mcp.generation.quotes import Consent
from seedance_mcp.generation.service import GenerationService

log = logging.getLogger("seedance_mcp")

LEASE_SECONDS, RENEW_SECONDS = 60, 15
"""How long a process has a film to itself without renewing that, and how often it renews it."""
TITLE_CHARACTERS_MAX = 80
"""How much of a prompt names a chapter."""
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 1, 60
"""Pauses before a step is tried again; the next is twice as long."""
WAITING_SECONDS_MAX = 3600
"""How long one shot, or the joining, waits in all for what passes by itself."""
REFUSALS_MAX = 2
"""How many refused payments of one shot are followed by another one; each waits until the hold of the last is over."""

PASSING = (
    BudgetExceededError,  # the sum is reserved: others have as many purchases open as may be
    ChainError,
    LedgerClosedError,
    LedgerError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    PurchaseUnderwayError,
    StorageError,
    StudioUnreachableError,
    VideoUnsavedError,
)
"""What passes by itself, or is known better after a while. Trying again never buys twice: `RequestPurchaser` goes on
with what was signed."""

T = TypeVar("T")


@dataclass(kw_only=True, eq=False)
class FilmWork:
    """The work on one film in this process.

    Attributes:
        plan: Its shots.
        film: As it is by now.
        recipients: Whom a person agreed to pay, or None.
        purchaser: Buys its shots.
        generation: Knows what was bought before, and waits for videos.
        files: Where its shots are read and the film is kept.
        now: Unix seconds.
        end: Told that this work has ended; returns False if another one has taken its place.
    """

    plan: FilmPlan
    film: Film
    recipients: tuple[Recipient, ...] | None
    purchaser: RequestPurchaser
    generation: GenerationService
    ledger: Ledger
    files: FilmFiles
    now: Callable[[], float]
    end: Callable[[FilmWork], bool]
    _jobs: dict[int, Job] = field(default_factory=dict[int, Job])
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def stop(self) -> None:
        """Begin nothing more; a purchase that has begun is finished all the same."""
        self._scope.cancel()

    async def run(self) -> None:
        """Make the shots that are missing, and join them. A film that is left is free for the next process."""
        film_id = self.film.film_id
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._renew)
                    await self._make()
                    group.cancel_scope.cancel()
        finally:
            if self.end(self):
                with anyio.CancelScope(shield=True):
                    try:
                        await self.ledger.leave_film(film_id)
                    except LedgerError as exc:  # the lease ends by itself
                        log.warning("Film %s cannot be left: %s", film_id, exc.what)

    async def _renew(self) -> None:
        """Keep the lease and the sum while the work goes on; end the work once the film was cancelled."""
        while True:
            await anyio.sleep(RENEW_SECONDS)
            now = self.now()
            try:
                if not await self.ledger.renew_film(self.film.film_id, now=now, lease_until=now + LEASE_SECONDS):
                    self.stop()
            except LedgerError as exc:
                log.warning("The lease of film %s cannot be renewed now: %s", self.film.film_id, exc.what)

    async def _make(self) -> None:
        async with anyio.create_task_group() as group:
            for chain in self.plan.chains:
                group.start_soon(self._make_chain, chain)
        if len(self._jobs) < len(self.plan.shots):
            failed = [number for number, shot in enumerate(self.film.shots, 1) if shot.error is not None]
            await self._write(
                state="stopped",
                problem=f"Stopped at shot {', '.join(map(str, failed))}. The shots that were made are kept.",
            )
            return
        await self._join()

    async def _make_chain(self, chain: list[int]) -> None:
        """Make shots that follow each other; one that fails stops those behind it."""
        before: Job | None = None
        for number in chain:
            try:
                before = await self._trying(f"Shot {number + 1}", partial(self._make_shot, number, before))
            except PriceTooHighError as exc:
                risen = "It costs more by now than its share of the film's price."
                await self._write_shot(number, error=f"{risen} {exc.what} Nothing more was paid for it.")
                return
            except SeedanceError as exc:
                await self._write_shot(number, error=str(exc))
                return
            if before.status != "complete":
                await self._write_shot(number, job=before, error=before.error or "The studio made no video.")
                return
            self._jobs[number] = before

    async def _make_shot(self, number: int, before: Job | None) -> Job:
        service, shot = self.generation, self.plan.shots[number]
        job = (await service.progress.read(shot.prepared)).job
        if job is None:
            share = self.film.shots[number].share_micro_usdc
            consent = Consent(max_price_micro_usdc=share, agreed_micro_usdc=share, recipients=self.recipients)
            job = await self.purchaser.purchase(await self._complete(shot, before), consent, None)
            await self._write_shot(number, job=job)
        elif await service.jobs.is_missing(job):
            job = await service.jobs.fetch_again(job, deadline=inf)
        job = await service.jobs.wait(job, deadline=inf)
        await self._write_shot(number, job=job)
        return job

    async def _trying(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a step, and again where what prevents it may pass.

        Raises:
            SeedanceError: It does not pass, or not in time.
        """
        give_up, pause, refusals = anyio.current_time() + WAITING_SECONDS_MAX, float(RETRY_SECONDS_MIN), 0
        while True:
            try:
                done = await work()
            except PASSING as exc:
                refusals += isinstance(exc, PaymentRefusedError)
                if refusals > REFUSALS_MAX or anyio.current_time() + pause > give_up:
                    raise
                log.info("%s of film %s waits: %s", what, self.film.film_id, exc.what)
                await self._tell(f"{what} waits and is tried again by itself: {exc.describe()}")
                await anyio.sleep(self._find_pause(exc, pause))
                pause = min(pause * 2, RETRY_SECONDS_MAX)
            else:
                if self.film.note is not None:
                    await self._tell(None)
                return done

    def _find_pause(self, exc: SeedanceError, pause: float) -> float:
        """Return the seconds until a step is tried again: a refused payment must be over before."""
        if isinstance(exc, PaymentRefusedError) and exc.held_until is not None:
            return min(max(pause, exc.held_until + 1 - self.now()), WAITING_SECONDS_MAX)
        return pause

    async def _tell(self, note: str | None) -> None:
        """Write why the film waits, as far as the ledger can be written."""
        with contextlib.suppress(LedgerError):
            await self._write(note=note)

    async def _complete(self, shot: PlannedShot, before: Job | None) -> PreparedRequest:
        """Return a request with the bytes of its pictures: a chained shot begins with the frame before it."""
        check_risk(shot.prepared.pictures, accept_risk=shot.request.accept_risk)
        if not shot.is_chained:
            return shot.prepared
        if before is None:
            raise FilmError("The shot before it has no video.", NextStep("{0}.", Repeat()))
        first = shot.prepared.pictures[0]
        image = await prepare_image(await self.files.extract_last_frame(before), "The last frame of the shot before")
        image = replace(image, sha256=first.sha256)
        picture = replace(first, image=image, width=image.width, height=image.height)
        return replace(shot.prepared, pictures=(picture, *shot.prepared.pictures[1:]))

    async def _join(self) -> None:
        jobs = [self._jobs[number] for number in range(len(self.plan.shots))]
        titles = [shot.request.prompt[:TITLE_CHARACTERS_MAX] for shot in self.plan.shots]
        try:
            joined = await self._trying("Joining", lambda: self.files.join(self.film, jobs, titles))
        except SeedanceError as exc:
            await self._write(state="stopped", problem=f"All shots are made, and cannot be joined. {exc}")
            return
        await self._write(state="complete", file=joined.file, video_key=joined.video_key)

    async def _write_shot(self, number: int, *, job: Job | None = None, error: str | None = None) -> None:
        shot = replace(self.film.shots[number], error=error)
        if job is not None:
            shot = replace(shot, job_id=job.job_id, price_micro_usdc=job.known_price_micro_usdc)
        async with self._lock:
            shots = list(self.film.shots)
            shots[number] = shot
            self.film = replace(self.film, shots=tuple(shots))
            await self.ledger.record_film(self.film, now=self.now())

    async def _write(self, **changed: object) -> None:
        async with self._lock:
            self.film = replace(self.film, **changed)  # pyright: ignore[reportArgumentType] - fields of a film
            await self.ledger.record_film(self.film, now=self.now())
