"""The animator: knows the order of steps from a picture to a saved clip, and nothing of how each is done.

Every spending step runs as a flight: a background task under the purchase's fingerprint, which callers join and may
leave. A call that comes again while the first is unfinished joins it; a call that comes again afterwards finds the
job. Leaving stops the waiting, never the bookkeeping.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from seedance_mcp import media, policy
from seedance_mcp.account import Account, Standing
from seedance_mcp.chains import Chains
from seedance_mcp.config import Settings
from seedance_mcp.delivery import Delivery
from seedance_mcp.doubts import held_error
from seedance_mcp.errors import (
    ImageError,
    JobNotFoundError,
    LedgerError,
    PaymentOutcomeUnknownError,
    PurchaseUnderwayError,
    SeedanceError,
    StudioError,
    StudioRejectedError,
    StudioUnreachableError,
)
from seedance_mcp.flights import Flights, Start
from seedance_mcp.funds import Funds
from seedance_mcp.history import History, Recent
from seedance_mcp.hosting import UPLOAD_PRICE_MICRO_USDC, Hosted, Hosting, Picture
from seedance_mcp.ledger import Job, Ledger, Payment
from seedance_mcp.order import Order, PreparedOrder, prepare
from seedance_mcp.pricing import Pricing
from seedance_mcp.purchase import JOIN_ATTEMPTS_MAX, Buyer
from seedance_mcp.quoting import Consent, Quote, Quoting
from seedance_mcp.recovery import Recovery
from seedance_mcp.studio import Studio
from seedance_mcp.wallet import Wallet
from seedance_mcp.watcher import Changed, JobWatcher, Report
from seedance_mcp.wire.jobs import JobStatus
from seedance_mcp.wire.offers import Offer

log = logging.getLogger("seedance_mcp")

FRESH_SECONDS = 24 * 3600
"""For so long the same order is answered with the same job; `take` asks for another one."""
BOUGHT_BEFORE = "This clip was bought before; nothing is paid for it again."
FETCHED_SECONDS = 120
"""For so long a picture is kept that came from a slow host after its caller had gone."""
RECOVERY_SECONDS_MIN, RECOVERY_SECONDS_MAX = 5, 120
"""Pauses between two rounds over the unfinished payments of this wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Animation:
    """A clip on its way.

    Attributes:
        job: The job, or None where it is still being bought.
        begun: Whether the purchase has begun; if not, nothing is bought until the call is made again.
        notes: What the caller should know about the request.
    """

    job: Job | None
    begun: bool = True
    notes: tuple[str, ...] = ()


class Animator:
    """Everything the tools can do, for one wallet at one studio.

    Args:
        settings: The owner's word.
        wallet: Signs.
        ledger: Remembers.
        studio: Is asked and paid.
        start: Starts a background task that outlives the call.
        changed: Told the id of a job whenever something about it changes.
        now: Unix seconds.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        wallet: Wallet,
        ledger: Ledger,
        studio: Studio,
        start: Start,
        changed: Changed = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        profile, limits = settings.profile, settings.limits
        self.wallet = wallet
        self._settings = settings
        self._ledger = ledger
        self._studio = studio
        self._now = now
        funds = Funds(studio=studio, pins=profile.pins, wallet=wallet.address, now=now)
        self._buyer = Buyer(
            wallet=wallet, ledger=ledger, studio=studio, limits=limits, pins=profile.pins, funds=funds, now=now
        )
        chains = Chains(studio=studio, pins=profile.pins)
        self._recovery = Recovery(buyer=self._buyer, ledger=ledger, studio=studio, chains=chains, now=now)
        self._pricing = Pricing(studio=studio, wallet=wallet.address, now=now, signable=self._is_signable)
        self._hosting = Hosting(
            buyer=self._buyer,
            recovery=self._recovery,
            ledger=ledger,
            studio=studio,
            flights=Flights[Hosted](start),
            fetches=Flights[Picture](start, keep_seconds=FETCHED_SECONDS),
            image_dirs=settings.image_dirs,
            blob_url=profile.blob_url,
            now=now,
        )
        self._quoting = Quoting(
            hosting=self._hosting,
            pricing=self._pricing,
            ledger=ledger,
            limits=limits,
            pins=profile.pins,
            funds=funds,
            now=now,
        )
        self._flights = Flights[Job](start)
        self._hosting_notes: dict[str, tuple[str, ...]] = {}
        delivery = Delivery(
            studio=studio, ledger=ledger, folder=settings.videos_dir, pause_seconds=profile.poll_seconds_min, now=now
        )
        self._watcher = JobWatcher(
            studio=studio,
            ledger=ledger,
            save=delivery.deliver,
            start=start,
            expected_seconds=self.expected_seconds,
            poll_seconds_min=profile.poll_seconds_min,
            changed=changed,
            now=now,
        )
        self._account = Account(address=wallet.address, settings=settings, ledger=ledger, studio=studio, now=now)
        self._history = History(
            studio=studio, ledger=ledger, adopt=self._show_foreign, latest=self._watcher.latest, now=now
        )

    # ── what the tools do ────────────────────────────────────────────────────────────────────────────────────────

    async def upload_image(self, image: str, *, deadline: float = math.inf) -> Hosted:
        """Host a picture at the studio; the same bytes are paid for once.

        Args:
            image: A local path or an https URL.
            deadline: Unix seconds at which to stop waiting; a purchase goes on.

        Raises:
            ImageError, PolicyError, PaymentError, StudioError: As their names say.
        """
        picture = hosted = None
        with anyio.move_on_after(max(deadline - self._now(), 0.001)):
            picture = await self._hosting.load(image)
            hosted = await self._hosting.host(picture)
        if picture is not None and hosted is not None:
            await self._keep_frames(picture)
            return hosted
        if picture is None:
            raise StudioUnreachableError("The picture's host is slow.", "Make the same call again in a minute.")
        raise PurchaseUnderwayError(
            "The upload is still under way.", charge="held", amount_micro_usdc=UPLOAD_PRICE_MICRO_USDC
        )

    async def quote_price(self, order: Order, *, max_price_micro_usdc: int | None = None) -> Quote:
        """Say what an order would cost; never spends, not even the upload.

        Raises:
            ImageError, RequestError: The order cannot be carried out.
            StudioError: The studio cannot be asked.
        """
        return await self._quoting.quote(await self._prepare(order), max_price_micro_usdc=max_price_micro_usdc)

    async def price_to_ask(self, order: Order) -> int | None:
        """The price that a person should be asked about, or None where there is nothing to ask.

        Pinned like any quote, so that asking twice asks the same.

        Raises:
            SeedanceError: As `quote_price`.
        """
        prepared = await self._prepare(order)
        if self._find_fresh_job(prepared.fingerprint) is not None:
            return None
        pinned = self._quoting.find_pinned(prepared.fingerprint)
        if pinned is None:
            pinned = (await self._quoting.quote(prepared, max_price_micro_usdc=None)).price_micro_usdc
            self._quoting.pin(prepared.fingerprint, pinned)
        return pinned

    async def is_begun(self, order: Order) -> bool:
        """Whether an order takes no more of the budget: its clip was bought, or its payment is not over.

        Raises:
            ImageError, RequestError, PolicyError: The order cannot be carried out.
        """
        prepared = await self._prepare(order)
        if self._find_fresh_job(prepared.fingerprint) is not None:
            return True
        payment = self._ledger.find_latest_payment(prepared.fingerprint)
        if payment is None:
            return False
        return payment.holds(self._now()) or (payment.state == "settled" and self._find_job_of(payment) is None)

    async def animate_image(
        self,
        order: Order,
        *,
        max_price_micro_usdc: int | None,
        agreed_micro_usdc: int = 0,
        prepare_until: float = math.inf,
        deadline: float,
        report: Report | None = None,
    ) -> Animation:
        """Buy a clip once and wait for it a while.

        Args:
            order: What to make.
            max_price_micro_usdc: The most that this call allows for the clip, or None.
            agreed_micro_usdc: The price that a person said yes to; above `ask_above`, no more than that is signed.
            prepare_until: Unix seconds at which to give up reading pictures; nothing is bought then.
            deadline: Unix seconds at which to stop waiting; the work goes on.
            report: Told how the job gets on.

        Raises:
            SeedanceError: Each says whether money moved.
        """
        consent = Consent(max_price_micro_usdc=max_price_micro_usdc, agreed_micro_usdc=agreed_micro_usdc)
        prepared, job = None, None
        notes: tuple[str, ...] = ()
        with anyio.move_on_after(max(prepare_until - self._now(), 0.001)):
            prepared = await self._prepare(order)
            job = self._find_fresh_job(prepared.fingerprint)
            if job is None:
                notes = (await self._pricing.estimate(prepared.request)).notes
        if prepared is None:
            return Animation(job=None, begun=False)
        if job is not None:
            notes = (BOUGHT_BEFORE,)
        else:
            with anyio.move_on_after(max(deadline - self._now(), 0.001)):
                job = await self._flights.join(prepared.fingerprint, lambda: self._purchase_and_keep(prepared, consent))
        if job is not None:
            job = await self._watcher.wait(job, deadline=deadline, report=report)
        notes += self._hosting_notes.pop(prepared.fingerprint, ())
        return Animation(job=job, notes=notes)

    async def get_job(
        self, job_id: str, *, deadline: float, answer_until: float = math.inf, report: Report | None = None
    ) -> Job:
        """Read a job, wait for it a while, and save its video as soon as there is one.

        Args:
            job_id: The studio's id.
            deadline: Unix seconds at which to stop waiting; the job goes on.
            answer_until: Unix seconds until which the studio may take to tell of a job that is not ours.
            report: Told how the job gets on.

        Raises:
            JobNotFoundError: Neither the ledger nor the studio knows it for this wallet.
            SeedanceError: The studio does not answer, or the video cannot be saved yet.
        """
        job = self._ledger.find_job(job_id)
        if job is None:
            with anyio.move_on_after(max(answer_until - self._now(), 0.001)):
                job = await self._adopt(job_id)
        if job is None:
            raise StudioUnreachableError("The studio did not tell of the job in time.", "Call again in a minute.")
        if job.finished or job.payment_id == 0:
            return job
        return await self._watcher.wait(job, deadline=deadline, report=report)

    async def list_jobs(self, limit: int) -> Recent:
        """Recent jobs, newest first: ours, and those that only the studio remembers."""
        return await self._history.list_jobs(limit)

    async def wallet_status(self) -> Standing:
        """How the account stands: balances, limits, what was spent, what is not over."""
        return await self._account.read()

    async def write_off(self, payment: Payment) -> Payment:
        """Take the owner's word that a payment never moved: see `Recovery.write_off`."""
        return await self._recovery.write_off(payment)

    def find_job(self, job_id: str) -> Job | None:
        """The latest that is known here of a job of ours; nobody is asked."""
        job = self._ledger.find_job(job_id)
        return None if job is None else self._watcher.latest(job)

    async def resume(self) -> None:
        """Take up what an earlier process left, and keep looking into what is not over; runs until cancelled."""
        pause: float = RECOVERY_SECONDS_MIN
        while True:
            found_some = False
            try:
                found_some = await self._look_into_all()
            except SeedanceError as exc:  # such as books that are locked for a moment: look again later
                log.warning("What is not over cannot be looked into now: %s", exc.what)
            pause = min(pause * 2, RECOVERY_SECONDS_MAX) if found_some else RECOVERY_SECONDS_MIN
            await anyio.sleep(pause)

    async def _look_into_all(self) -> bool:
        """One round over everything that is not over; whether there was anything."""
        for payment in self._ledger.settled_without_result(self.wallet.address):
            self._recovery.add_job(payment)
        for job in self._ledger.unfinished_jobs(self._studio.origin):
            self._watcher.watch(job)
        unfinished = self._ledger.unfinished_payments(self._now())
        for payment in unfinished:
            try:
                await self._recovery.recover(payment)
            except SeedanceError as exc:  # one payment's trouble is not the others'
                log.warning("Payment %d cannot be looked into now: %s", payment.id, exc.what)
            self._watch_job_of(payment)
        lost = self._ledger.settled_without_result(self.wallet.address)
        for payment in lost:
            await self._find_lost_job(payment)
        return bool(unfinished or lost)

    def expected_seconds(self, job: Job) -> float:
        """How long a job like this is expected to take."""
        return self._ledger.typical_seconds(job.arguments) or self._settings.profile.job_seconds

    # ── from an order to a job ───────────────────────────────────────────────────────────────────────────────────

    async def _prepare(self, order: Order) -> PreparedOrder:
        return await prepare(order, hosting=self._hosting, limits=self._settings.limits)

    def _is_signable(self, offer: Offer) -> bool:
        limits, pins = self._settings.limits, self._settings.profile.pins
        return policy.find_objection(offer, limits, pins, payer=self.wallet.address, now=self._now()) is None

    def _find_fresh_job(self, fingerprint: str) -> Job | None:
        job = self._ledger.find_job_by_fingerprint(fingerprint)
        return job if job is not None and self._is_fresh(job) else None

    def _is_fresh(self, job: Job) -> bool:
        return not job.finished or self._now() - job.created_at < FRESH_SECONDS

    async def _purchase_and_keep(self, prepared: PreparedOrder, consent: Consent) -> Job:
        job = await self._purchase(prepared, consent)
        await self._keep_frames(*prepared.pictures)
        return job

    async def _purchase(self, prepared: PreparedOrder, consent: Consent) -> Job:
        """Buy, or join whoever is a moment ahead of us in another process."""
        for _ in range(JOIN_ATTEMPTS_MAX - 1):
            with contextlib.suppress(PurchaseUnderwayError):
                return await self._buy_or_take_up(prepared, consent)
        return await self._buy_or_take_up(prepared, consent)

    async def _keep_frames(self, *pictures: Picture) -> None:
        """Keep what a clip was made of, for people to look at: a nicety, without it the clip is as good."""
        for picture in pictures:
            if picture.image is not None:
                with contextlib.suppress(ImageError, OSError):
                    await media.keep_frame(picture.image, self._settings.videos_dir)

    async def _buy_or_take_up(self, prepared: PreparedOrder, consent: Consent) -> Job:
        """From a prepared order to a job in the ledger: take up an earlier payment, or host, price and buy."""
        earlier = self._ledger.find_latest_payment(prepared.fingerprint)
        if earlier is not None:
            job = await self._take_up(earlier)
            if job is not None:
                return job
            earlier = self._ledger.find_payment(earlier.id)
        try:
            payment = await self._buy(prepared, consent, supersedes=earlier)
        except PaymentOutcomeUnknownError as exc:
            job = None
            with contextlib.suppress(LedgerError):  # books that cannot be written just now: it stays unknown
                unknown = None if exc.payment_id is None else self._ledger.find_payment(exc.payment_id)
                job = None if unknown is None or unknown.purpose == "upload" else await self._take_up(unknown)
            if job is None:
                raise
            return job
        return await self._begin(payment)

    async def _buy(self, prepared: PreparedOrder, consent: Consent, *, supersedes: Payment | None) -> Payment:
        """Host the pictures where that is needed, ask the price, and buy; an upload is bought only if the rest fits."""
        estimate = await self._pricing.estimate(prepared.request)
        self._quoting.check_estimate(prepared, estimate.price_micro_usdc, consent)
        paid_micro_usdc = 0
        try:
            urls: list[str] = []
            for picture in prepared.pictures:
                if picture.url is not None:
                    urls.append(picture.url)
                    continue
                hosted = await self._hosting.host(picture)
                urls.append(hosted.upload.image_url)
                paid_micro_usdc += hosted.paid_micro_usdc
                if hosted.paid_micro_usdc:
                    self._keep_notes(prepared.fingerprint, hosted.notes)
            try:
                priced = await self._pricing.ask(prepared.request, urls)
            except StudioRejectedError as exc:
                if exc.status != 400 or not any(picture.url for picture in prepared.pictures):
                    raise
                # This studio reads only what was uploaded to it, or it cannot reach the caller's URL.
                uploads = [await self._hosting.host(picture) for picture in prepared.pictures]
                paid_micro_usdc += sum(hosted.paid_micro_usdc for hosted in uploads)
                priced = await self._pricing.ask(prepared.request, [hosted.upload.image_url for hosted in uploads])
            self._quoting.check_warning(prepared, priced, consent)
            approval = self._quoting.agree(prepared.fingerprint, consent)
            return await self._buyer.buy(priced.request, priced.offers, approval, supersedes=supersedes)
        except SeedanceError as exc:
            exc.upload_micro_usdc = exc.upload_micro_usdc or paid_micro_usdc
            raise

    def _keep_notes(self, fingerprint: str, notes: tuple[str, ...]) -> None:
        """What is to be said of an order's uploads, for whoever asks for its clip next."""
        if notes:
            self._hosting_notes[fingerprint] = self._hosting_notes.get(fingerprint, ()) + notes

    async def _begin(self, payment: Payment) -> Job:
        """From a settled payment to a job that is watched."""
        self._recovery.add_job(payment)
        job = self._find_job_of(payment) or await self._find_lost_job(payment)
        if job is None:
            by = f" by transaction {payment.receipt.transaction}" if payment.receipt is not None else ""
            raise PaymentOutcomeUnknownError(
                f"The clip was paid{by}, but no answer of the studio's named a job, and its list has none yet.",
                "It is not bought again. Make the same call in a minute: the studio's list is asked again. If it stays "
                "so, tell the owner to give that transaction to the studio's support.",
                charge="settled",
                amount_micro_usdc=payment.amount_micro_usdc,
                payment_id=payment.id,
            )
        self._watcher.watch(job)
        return job

    async def _take_up(self, payment: Payment) -> Job | None:
        """Bring an earlier payment of the same purchase to its end, whoever is at it.

        Returns:
            Its job; None where it is over and nothing was bought, or too long ago to be the same wish, so that a new
            purchase may be made.

        Raises:
            PaymentError: It is not over, or it was paid and its job is not to be found yet.
        """
        payment = await self._recovery.bring_to_end(payment)
        job = self._find_job_of(payment)
        if job is not None:
            self._watcher.watch(job)
            return job if self._is_fresh(job) else None
        if payment.state == "settled":
            return await self._begin(payment)
        if payment.holds(self._now()):
            raise held_error(payment, self._now())
        return None

    # ── jobs of payments ─────────────────────────────────────────────────────────────────────────────────────────

    def _find_job_of(self, payment: Payment) -> Job | None:
        job = self._ledger.find_job_by_fingerprint(payment.fingerprint)
        return job if job is not None and job.payment_id == payment.id else None

    def _watch_job_of(self, payment: Payment) -> None:
        job = self._find_job_of(payment)
        if job is not None:
            self._watcher.watch(job)

    async def _find_lost_job(self, payment: Payment) -> Job | None:
        """The job of a settled payment whose answer was lost or could not be read."""
        try:
            found = await self._recovery.find_job(payment)
        except StudioError:
            return None
        if found is None:
            return None
        job = self._ledger.add_job(
            payment, found.job_id, studio=self._studio.origin, status=found.status, now=self._now()
        )
        if job is not None:
            self._watcher.watch(job)
        return job

    async def _adopt(self, job_id: str) -> Job:
        """A job of this wallet that the ledger does not know: shown as the studio tells it."""
        try:
            seen = await self._studio.fetch_job(job_id)
        except StudioRejectedError as exc:
            if exc.status not in (403, 404):
                raise
            raise JobNotFoundError(
                f"No job {job_id[:80]!r} is known for this wallet.", "Check the id that animate_image gave."
            ) from exc
        return self._show_foreign(seen)

    def _show_foreign(self, seen: JobStatus) -> Job:
        """A job that is not in the ledger, to look at."""
        return Job(
            job_id=seen.job_id, studio=self._studio.origin, wallet=self.wallet.address, payment_id=0, fingerprint="",
            arguments=seen.input or {}, status=seen.status, progress=seen.progress, error=seen.error,
            video_url=seen.video_url, thumbnail_url=seen.thumbnail_url, file=None, thumbnail=None,
            created_at=seen.created_at or self._now(), ended_at=None, price_micro_usdc=0, fee_micro_usdc=0,
            rail="x402", receipt=None,
        )  # fmt: skip
