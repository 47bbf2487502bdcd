"""Purchases: from a request to its job, bought once, found again, or recovered.

Every purchase is a background task under the request's idempotency key, which callers join and may leave.
A call that comes again while the first is unfinished joins it; a call that comes again afterwards, however much later,
finds the job. Leaving stops the waiting, never the bookkeeping.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import anyio

from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import PriceTooHighError, RecipientChangedError, StudioError, StudioRejectedError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.wire.offers import Offers
from seedance_mcp.generation.call_checks import CallChecker
from seedance_mcp.generation.picture_checks import describe_unread_urls
from seedance_mcp.generation.preparation import PreparedRequest
from seedance_mcp.generation.pricing import Estimate, Pricing
from seedance_mcp.generation.quotes import Consent
from seedance_mcp.generation.source_images import Picture, list_media_types
from seedance_mcp.generation.untracked import UntrackedJobs
from seedance_mcp.generation.uploads import Uploader
from seedance_mcp.jobs.downloads import VideoDownloader
from seedance_mcp.jobs.follower import JobFollower
from seedance_mcp.payments import policy
from seedance_mcp.payments.executor import PaymentExecutor
from seedance_mcp.payments.pending import jobless_error
from seedance_mcp.payments.purchase import Purchaser
from seedance_mcp.payments.reconciler import Reconciler
from seedance_mcp.payments.untracked import UntrackedPayments

log = logging.getLogger("seedance_mcp")

FRAMES_SECONDS = 3
"""How long a bought job is held back for small copies of its pictures."""
RECOVERY_SECONDS_MIN, RECOVERY_SECONDS_MAX = 5, 120
"""Pauses between two rounds over what is not over."""
VERIFY_MAX = 5
"""How many settled payments a chain is asked about in one round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What one call wants to buy.

    Attributes:
        key: The idempotency key of a new purchase, in the dialect that the studio speaks.
        estimate: What the price table knows of it; None if that was not read yet.
    """

    prepared: PreparedRequest
    consent: Consent
    key: str
    estimate: Estimate | None


@dataclass(slots=True)
class _Uploading:
    """Hosts the pictures of one call, and counts what that costs it; an upload is bought only if the rest fits.

    Attributes:
        check_payments: Raises where a payment that only a chain knows may have bought the video.
        estimate_micro_usdc: What the price table knows of the video.
        urls_taken: Whether the studio reads the caller's own URLs.
        paid_micro_usdc: What uploads of this call cost.
        fees_micro_usdc: What the network kept of them.
    """

    uploader: Uploader
    checker: CallChecker
    prepared: PreparedRequest
    consent: Consent
    check_payments: Callable[[Offers, int | None], Awaitable[None]]
    estimate_micro_usdc: int | None
    urls_taken: bool = True
    paid_micro_usdc: int = 0
    fees_micro_usdc: int = 0
    notes: tuple[str, ...] = ()

    @property
    def cost_micro_usdc(self) -> int:
        """Uploads and fees."""
        return self.paid_micro_usdc + self.fees_micro_usdc

    async def upload(self, picture: Picture) -> str:
        """Host one picture; returns its URL.

        Raises:
            SeedanceError: It may not or cannot be hosted.
        """
        hosted = await self.uploader.upload(picture, check=self._check, agreed=self.consent.recipients)
        if hosted.paid_micro_usdc:
            self.paid_micro_usdc += hosted.paid_micro_usdc
            self.fees_micro_usdc += hosted.fee_micro_usdc
            self.notes += hosted.notes + describe_unread_urls([picture])
        return hosted.upload.image_url

    async def _check(self, offers: Offers) -> None:
        await self.check_payments(offers, self.estimate_micro_usdc)
        pictures = [one for one in self.prepared.pictures if one.url is None or not self.urls_taken]
        await self.checker.check_before_upload(
            self.prepared,
            self.consent,
            offers,
            uploads=len({one.sha256 for one in pictures if await self.uploader.lookup.must_buy(one)}),
            estimate_micro_usdc=self.estimate_micro_usdc,
            paid_micro_usdc=self.cost_micro_usdc,
        )


@dataclass(frozen=True, slots=True)
class RequestPurchaser:
    """Brings requests of one wallet to their jobs.

    Attributes:
        single_flight: Purchases under way, by the request's idempotency key.
        poller: Is given every job.
        downloader: Keeps what a video was made of.
        untracked: Finds jobs that the wallet bought and the ledger does not know.
        untracked_payments: Finds payments that only a chain knows.
        now: Unix seconds.
    """

    executor: PaymentExecutor
    purchaser: Purchaser
    reconciler: Reconciler
    uploader: Uploader
    pricing: Pricing
    checker: CallChecker
    ledger: Ledger
    single_flight: SingleFlight[Job]
    poller: JobFollower
    downloader: VideoDownloader
    untracked: UntrackedJobs
    untracked_payments: UntrackedPayments
    now: Callable[[], float]
    _notes: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    _verified_up_to: list[int] = field(default_factory=list[int])

    async def purchase(self, prepared: PreparedRequest, consent: Consent, estimate: Estimate | None) -> Job:
        """Return the job of a request: bought, or joined if it is being bought.

        Args:
            prepared: What is wanted.
            consent: What was said in this call.
            estimate: What the price table knows of it; None if that was not read yet.

        Raises:
            SeedanceError: Each says whether money moved.
        """
        key = await self.pricing.choose_key(prepared.request.route, prepared.keys)
        wanted = _Wanted(prepared=prepared, consent=consent, key=key, estimate=estimate)
        return await self.single_flight.run(key, lambda: self._purchase(wanted))

    def take_notes(self, prepared: PreparedRequest) -> tuple[str, ...]:
        """Return the notes about a request's uploads, once."""
        return tuple(note for key in prepared.keys.all for note in self._notes.pop(key, ()))

    async def resume(self) -> None:
        """Take up what an earlier process left, and keep looking into what is not over; runs until cancelled."""
        pause: float = RECOVERY_SECONDS_MIN
        while True:
            found_some = False
            try:
                found_some = await self._look_into_all()
            except SeedanceError as exc:  # such as a ledger that is locked for a moment: look again later
                log.warning("Unfinished payments cannot be checked now: %s", exc.what)
            pause = min(pause * 2, RECOVERY_SECONDS_MAX) if found_some else RECOVERY_SECONDS_MIN
            await anyio.sleep(pause)

    async def _look_into_all(self) -> bool:
        """One round over everything that is not over; whether there was anything."""
        address = self.executor.wallet.address
        await self.ledger.scrub_tickets(self.now())
        for payment in await self.ledger.settled_without_result(address):
            await self.reconciler.add_job(payment)
        for job in await self.ledger.unfinished_jobs(self.reconciler.studio.origin):
            self.poller.watch(job)
        unfinished = await self.ledger.unfinished_payments(self.now())
        for payment in unfinished:
            await self.take_over(payment)
        lost = await self.ledger.settled_without_result(address)
        for payment in lost:
            await self._find_lost_job(payment)
        return bool(await self._verify_some() or unfinished or lost)

    async def take_over(self, payment: Payment) -> None:
        """Determine the outcome of an unfinished payment, and watch the job that it bought."""
        try:
            await self.reconciler.reconcile(payment)
        except SeedanceError as exc:  # one payment's trouble is not the others'
            log.warning("Payment %d cannot be checked now: %s", payment.id, exc.what)
        await self._watch_job_of(payment)

    async def _verify_some(self) -> int:
        """Ask the chains about a few settled payments, going on behind the last ones; returns how many were due."""
        after_id = self._verified_up_to.pop() if self._verified_up_to else 0
        due = await self.ledger.unverified_payments(after_id=after_id, limit=VERIFY_MAX, now=self.now())
        asked = [payment for payment in due if self.reconciler.verifier.can_verify(payment)]
        for payment in asked:
            await self.reconciler.verifier.verify(payment)
        if len(due) == VERIFY_MAX:
            self._verified_up_to.append(due[-1].id)
        return len(asked)

    async def _purchase(self, wanted: _Wanted) -> Job:
        job = await self.purchaser.purchase_once(
            wanted.prepared.keys.all, deliver=self._deliver, pay=partial(self._pay, wanted)
        )
        with anyio.move_on_after(FRAMES_SECONDS):
            await self.downloader.keep_frames(*(picture.frame for picture in wanted.prepared.pictures))
        return job

    async def _deliver(self, payment: Payment) -> Job | None:
        """Return the job that a reconciled payment bought; None if nothing was bought.

        Raises:
            PaymentOutcomeUnknownError: It was paid, and its job is not to be found yet.
        """
        job = await self.ledger.find_job_of(payment)
        if job is None and payment.state == "settled":
            return await self._begin(payment)
        if job is not None:
            self.poller.watch(job)
        return job

    async def _pay(self, wanted: _Wanted, superseded: Payment | None) -> Job:
        """Return the job of a request that no payment of the ledger bought: one that it lacks, or a new one."""
        job = await self.untracked.find_job(wanted.prepared, wanted.key)
        if job is None:
            return await self._begin(await self._buy(wanted, supersedes=superseded))
        self.poller.watch(job)
        return job

    async def _buy(self, wanted: _Wanted, *, supersedes: Payment | None) -> Payment:
        """Host the pictures where that is needed, ask the price, and buy; an upload is bought only if the rest fits."""
        policy.check_settings(self.executor.limits)  # before anything is asked or uploaded
        policy.check_not_frozen(await self.ledger.find_freeze())
        prepared, consent = wanted.prepared, wanted.consent
        estimate = wanted.estimate or await self.pricing.estimate(prepared.request)
        missing = await self.checker.list_missing(one for one in prepared.pictures if one.url is None)
        await self.pricing.check_uploads(prepared.request.route, list_media_types(missing))
        check_payments = partial(self._check_untracked_payments, prepared)
        uploading = _Uploading(
            self.uploader, self.checker, prepared, consent, check_payments, estimate.price_micro_usdc
        )
        try:
            await self.checker.check_estimate(prepared, consent, uploading.estimate_micro_usdc)
            urls = [picture.url or await uploading.upload(picture) for picture in prepared.pictures]
            try:
                priced = await self.pricing.request_price(prepared.request, urls)
            except StudioRejectedError as exc:
                if exc.status != 400 or not any(picture.url for picture in prepared.pictures):
                    raise
                # This studio reads only what was uploaded to it, or it cannot reach the caller's URL.
                uploading.urls_taken = False
                urls = [await uploading.upload(picture) for picture in prepared.pictures]
                priced = await self.pricing.request_price(prepared.request, urls)
            approval = await self.checker.agree(prepared, consent, uploads_micro_usdc=uploading.cost_micro_usdc)
            await self.checker.check_rise(prepared, priced, consent, approval)
            await check_payments(priced.offers, priced.price_micro_usdc)
            return await self.executor.pay(priced.request, priced.offers, approval, supersedes=supersedes)
        except SeedanceError as exc:
            if isinstance(exc, PriceTooHighError | RecipientChangedError):
                await self.checker.memory.mark_stale(prepared.keys)
            if exc.upload_micro_usdc or not uploading.paid_micro_usdc:
                raise
            raise exc.with_upload_cost(uploading.paid_micro_usdc) from exc
        finally:
            self._keep_notes(prepared.keys.current, uploading.notes)

    async def _check_untracked_payments(self, prepared: PreparedRequest, offers: Offers, price: int | None) -> None:
        """Raise where a payment that only a chain knows may have bought this."""
        await self.untracked_payments.check(
            [offer for offer in offers.offers if self.pricing.signable(offer)],
            price_micro_usdc=price,
            take=prepared.request.take,
            count_unbought=partial(self.untracked.count_unbought_takes, prepared),
        )

    def _keep_notes(self, key: str, notes: tuple[str, ...]) -> None:
        """Keep the notes about a request's uploads for the next caller."""
        if notes:
            self._notes[key] = self._notes.get(key, ()) + notes

    async def _begin(self, payment: Payment) -> Job:
        """From a settled payment to a job that is watched."""
        job = await self.reconciler.add_job(payment)
        job = job or await self.ledger.find_job_of(payment) or await self._find_lost_job(payment)
        if job is None:
            raise jobless_error(payment, self.reconciler.list_candidates(payment))
        self.poller.watch(job)
        return job

    async def _watch_job_of(self, payment: Payment) -> None:
        job = await self.ledger.find_job_of(payment)
        if job is not None:
            self.poller.watch(job)

    async def _find_lost_job(self, payment: Payment) -> Job | None:
        """Return the job of a settled payment whose answer was lost or could not be read."""
        try:
            found = await self.reconciler.find_job(payment)
        except StudioError:
            return None
        if found is None:
            return None
        job = await self.ledger.add_job(
            payment, found.job_id, studio=self.reconciler.studio.origin, status=found.status, now=self.now()
        )
        if job is not None:
            self.poller.watch(job)
        return job
