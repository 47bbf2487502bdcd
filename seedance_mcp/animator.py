"""The animator: knows the order of steps from a picture to a saved clip, and nothing of how each is done.

Every spending step runs as a flight: a background task under the purchase's fingerprint, which callers join and may
leave. A call that comes again while the first is unfinished joins it; a call that comes again afterwards finds the
job. Leaving stops the waiting, never the bookkeeping.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from seedance_mcp import media, policy
from seedance_mcp.config import Settings
from seedance_mcp.errors import (
    ImageError,
    JobNotFoundError,
    PaymentOutcomeUnknownError,
    PolicyError,
    PriceTooHighError,
    PurchaseUnderwayError,
    SeedanceError,
    StudioError,
    StudioRejectedError,
    VideoUnsavedError,
)
from seedance_mcp.flights import Flights, Start
from seedance_mcp.hosting import UPLOAD_PRICE_MICRO_USDC, Hosted, Hosting, Picture
from seedance_mcp.ledger import Job, Ledger, Payment
from seedance_mcp.pricing import Priced, Pricing
from seedance_mcp.purchase import Buyer, refused_error, unknown_error
from seedance_mcp.recovery import Recovery
from seedance_mcp.studio import Studio
from seedance_mcp.wallet import Wallet
from seedance_mcp.watcher import JobWatcher, Report
from seedance_mcp.wire.generation import AspectRatio, GenerationRequest, Model, Resolution, check_request
from seedance_mcp.wire.offers import Offer

FRESH_SECONDS = 24 * 3600
"""For so long the same request is answered with the same job; `take` asks for another one."""
QUOTE_SECONDS = 600
"""For so long a quote binds: no more is signed for the same request."""
QUOTES_MAX = 1000
TAKE_UP_SECONDS = 75
"""How long we wait for another process that is busy with the same purchase."""
TAKE_UP_POLL_SECONDS = 0.25
SAVE_ATTEMPTS_MAX = 3
RECOVERY_SECONDS_MIN, RECOVERY_SECONDS_MAX = 5, 120
"""Pauses between two rounds over the unfinished payments of this wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller asks for, in the tools' words."""

    image: str
    prompt: str
    last_image: str | None = None
    model: Model = "seedance-fast"
    duration: int = 4
    resolution: Resolution = "480p"
    aspect_ratio: AspectRatio | Literal["auto"] = "auto"
    camera_fixed: bool | None = None
    generate_audio: bool | None = None
    seed: int | None = None
    take: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedOffer:
    """An offer of the studio's, and why it may not be signed (None where it may)."""

    offer: Offer
    objection: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an order would cost, and whether the limits allow it.

    Attributes:
        exact: From a real unpaid 402; otherwise from the price table.
        price_micro_usdc: The clip's price, or None where nobody knows it.
        upload_micro_usdc: What hosting the pictures would cost besides.
        refusal: Why it would be refused now, or None.
        day_left_micro_usdc: What is left of the budget for 24 hours.
    """

    exact: bool
    price_micro_usdc: int | None
    upload_micro_usdc: int
    offers: tuple[JudgedOffer, ...]
    refusal: str | None
    warning: str | None
    notes: tuple[str, ...]
    max_price_per_video_micro_usdc: int
    day_left_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Animation:
    """A clip on its way.

    Attributes:
        job: The job, or None where it is still being bought.
        notes: What the caller should know about the request.
    """

    job: Job | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An order whose pictures were read: its request has an identity now."""

    request: GenerationRequest
    pictures: tuple[Picture, ...]
    fingerprint: str


class Animator:
    """Everything the tools can do, for one wallet at one studio.

    Args:
        settings: The owner's word.
        wallet: Signs.
        ledger: Remembers.
        studio: Is asked and paid.
        start: Starts a background task that outlives the call.
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
        now: Callable[[], float] = time.time,
    ) -> None:
        pins = settings.profile.pins
        self.limits = settings.limits
        self.wallet = wallet
        self._settings = settings
        self._ledger = ledger
        self._studio = studio
        self._now = now
        self._buyer = Buyer(wallet=wallet, ledger=ledger, studio=studio, limits=settings.limits, pins=pins, now=now)
        self._recovery = Recovery(buyer=self._buyer, ledger=ledger, studio=studio, pins=pins, now=now)
        self._pricing = Pricing(studio=studio, wallet=wallet.address, now=now)
        self._hosting = Hosting(
            buyer=self._buyer,
            recovery=self._recovery,
            ledger=ledger,
            studio=studio,
            flights=Flights[Hosted](start),
            image_dirs=settings.image_dirs,
            now=now,
        )
        self._flights = Flights[Job](start)
        self._watcher = JobWatcher(
            studio=studio,
            ledger=ledger,
            save=self._save,
            start=start,
            expected_seconds=self.expected_seconds,
            poll_seconds_min=settings.profile.poll_seconds_min,
            now=now,
        )
        self._quotes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    # ── what the tools do ────────────────────────────────────────────────────────────────────────────────────────

    async def upload_image(self, image: str) -> Hosted:
        """Host a picture at the studio; the same bytes are paid for once.

        Raises:
            ImageError, PolicyError, PaymentError, StudioError: As their names say.
        """
        return await self._hosting.host(await self._hosting.load(image))

    async def quote_price(self, order: Order, *, max_price_micro_usdc: int | None = None) -> Quote:
        """Say what an order would cost; never spends, not even the upload.

        Raises:
            ImageError, RequestError: The order cannot be carried out.
            StudioError: The studio cannot be asked.
        """
        prepared = await self._prepare(order)
        estimate = await self._pricing.estimate(prepared.request)
        hosted = [picture.url or await self._find_hosted(picture) for picture in prepared.pictures]
        uploads = UPLOAD_PRICE_MICRO_USDC * sum(url is None for url in hosted)
        spend = self._ledger.spend(self._now())
        urls = [url or self._stand_in() for url in hosted]
        priced = await self._try_to_price(prepared, urls)
        if priced is None:
            price, offers, warning, notes = estimate.price_micro_usdc, (), None, estimate.notes
        else:
            price, warning, notes = priced.price_micro_usdc, priced.warning, priced.notes
            offers = tuple(self._judge(offer) for offer in priced.offers.offers)
            self._remember_quote(prepared.fingerprint, price)
        return Quote(
            exact=priced is not None,
            price_micro_usdc=price,
            upload_micro_usdc=uploads,
            offers=offers,
            refusal=self._find_refusal(priced, price, uploads, max_price_micro_usdc, warning),
            warning=warning,
            notes=notes,
            max_price_per_video_micro_usdc=self.limits.max_price_per_video_micro_usdc,
            day_left_micro_usdc=policy.find_room(self.limits, spend)[0][0],
        )

    async def animate_image(
        self, order: Order, *, max_price_micro_usdc: int | None, deadline: float, report: Report | None = None
    ) -> Animation:
        """Buy a clip once and wait for it a while.

        Args:
            order: What to make.
            max_price_micro_usdc: The most that this call allows for the clip, or None.
            deadline: Unix seconds at which to stop waiting; the work goes on.
            report: Told how the job gets on.

        Returns:
            The job as it is by then.

        Raises:
            SeedanceError: Each says whether money moved.
        """
        prepared = await self._prepare(order)
        notes = (await self._pricing.estimate(prepared.request)).notes
        job = self._find_fresh_job(prepared.fingerprint)
        if job is None:
            with anyio.move_on_after(max(deadline - self._now(), 0.001)):
                job = await self._flights.join(
                    prepared.fingerprint, lambda: self._purchase(prepared, max_price_micro_usdc)
                )
        if job is not None:
            job = await self._watcher.wait(job, deadline=deadline, report=report)
        return Animation(job=job, notes=notes)

    async def get_job(self, job_id: str, *, deadline: float, report: Report | None = None) -> Job:
        """Read a job, wait for it a while, and save its video as soon as there is one.

        Raises:
            JobNotFoundError: Neither the ledger nor the studio knows it for this wallet.
            SeedanceError: The studio does not answer, or the video cannot be saved yet.
        """
        job = self._ledger.find_job(job_id) or await self._adopt(job_id)
        if job.finished or job.payment_id == 0:
            return job
        return await self._watcher.wait(job, deadline=deadline, report=report)

    def recent_jobs(self, limit: int) -> list[Job]:
        """The latest jobs in the ledger, newest first."""
        return self._ledger.recent_jobs(limit)

    async def resume(self) -> None:
        """Take up what an earlier process left, and keep looking into what is not over; runs until cancelled."""
        for payment in self._ledger.settled_without_result(self.wallet.address):
            self._recovery.add_job(payment)
        for job in self._ledger.unfinished_jobs(self._studio.origin):
            self._watcher.watch(job)
        pause: float = RECOVERY_SECONDS_MIN
        while True:
            unfinished = self._ledger.unfinished_payments(self.wallet.address, self._now())
            for payment in unfinished:
                await self._recover(payment)
            for payment in self._ledger.settled_without_result(self.wallet.address):
                await self._find_lost_job(payment)
            pause = min(pause * 2, RECOVERY_SECONDS_MAX) if unfinished else RECOVERY_SECONDS_MIN
            await anyio.sleep(pause)

    def expected_seconds(self, job: Job) -> float:
        """How long a job like this is expected to take."""
        return self._ledger.typical_seconds(job.arguments) or self._settings.profile.job_seconds

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _prepare(self, order: Order) -> Prepared:
        if self.limits.models and order.model not in self.limits.models:
            raise PolicyError(
                f"The owner allows {', '.join(self.limits.models)}, not {order.model}.", "Choose an allowed model."
            )
        pictures = [await self._hosting.load(order.image)]
        if order.last_image is not None:
            pictures.append(await self._hosting.load(order.last_image))
        shape = pictures[0]
        request = GenerationRequest(
            model=order.model,
            prompt=order.prompt,
            image=shape.sha256,
            last_image=pictures[1].sha256 if len(pictures) > 1 else None,
            duration_seconds=order.duration,
            resolution=order.resolution,
            aspect_ratio=(
                media.nearest_aspect_ratio(shape.width, shape.height)
                if order.aspect_ratio == "auto"
                else order.aspect_ratio
            ),
            camera_fixed=order.camera_fixed,
            generate_audio=order.generate_audio,
            seed=order.seed,
            take=order.take,
        )
        check_request(request)
        fingerprint = request.fingerprint(wallet=self.wallet.address, studio=self._studio.origin)
        return Prepared(request=request, pictures=tuple(pictures), fingerprint=fingerprint)

    def _find_fresh_job(self, fingerprint: str) -> Job | None:
        job = self._ledger.find_job_by_fingerprint(fingerprint)
        return job if job is not None and (not job.finished or self._now() - job.created_at < FRESH_SECONDS) else None

    async def _purchase(self, prepared: Prepared, max_price_micro_usdc: int | None) -> Job:
        """From a prepared order to a job in the ledger: take up an earlier payment, or host, price and buy."""
        earlier = self._ledger.find_latest_payment(prepared.fingerprint)
        if earlier is not None:
            job = await self._take_up(earlier)
            if job is not None:
                return job
            earlier = self._ledger.find_payment(earlier.id)
        paid_for_uploads = 0
        try:
            estimate = await self._pricing.estimate(prepared.request)
            self._check_estimate(prepared, estimate.price_micro_usdc, max_price_micro_usdc)
            hosted = [await self._host(picture) for picture in prepared.pictures]
            paid_for_uploads = sum(paid for _, paid in hosted)
            try:
                priced = await self._price(prepared, [url for url, _ in hosted])
            except StudioRejectedError as exc:
                if exc.status != 400 or not any(picture.url for picture in prepared.pictures):
                    raise
                # This studio takes only what was uploaded to it; or it cannot reach the caller's URL.
                uploads = [await self._hosting.host(picture) for picture in prepared.pictures]
                paid_for_uploads += sum(upload.paid_micro_usdc for upload in uploads)
                priced = await self._price(prepared, [upload.upload.image_url for upload in uploads])
            if priced.warning is not None and max_price_micro_usdc is None:
                raise PriceTooHighError(priced.warning, "If it is worth that, say so with max_price_usd.")
            payment = await self._buyer.buy(
                priced.request,
                priced.offers,
                self._agree(prepared.fingerprint, max_price_micro_usdc),
                supersedes=earlier,
            )
        except PaymentOutcomeUnknownError as exc:
            job = await self._take_up_unknown(exc)
            if job is not None:
                return job
            raise
        except SeedanceError as exc:
            exc.upload_micro_usdc = exc.upload_micro_usdc or paid_for_uploads
            raise
        return await self._begin(payment)

    async def _begin(self, payment: Payment) -> Job:
        """From a settled payment to a job that is watched."""
        self._recovery.add_job(payment)
        job = self._ledger.find_job_by_fingerprint(payment.fingerprint) or await self._find_lost_job(payment)
        if job is None or job.payment_id != payment.id:
            raise self._lost_error(payment)
        self._watcher.watch(job)
        return job

    async def _take_up_unknown(self, exc: PaymentOutcomeUnknownError) -> Job | None:
        payment = None if exc.payment_id is None else self._ledger.find_payment(exc.payment_id)
        return None if payment is None else await self._take_up(payment)

    async def _take_up(self, payment: Payment) -> Job | None:
        """Bring an earlier payment of the same purchase to its end, whoever is at it.

        Returns:
            Its job; None where it is over and nothing was bought, so that a new purchase may be made.

        Raises:
            PaymentError: It is not over, or it was paid and its job is not to be found yet.
        """
        with anyio.move_on_after(TAKE_UP_SECONDS):
            while payment.holds(self._now()) and payment.state != "refused":
                if payment.lease_until > self._now() or payment.state == "reserved":
                    await anyio.sleep(TAKE_UP_POLL_SECONDS)  # another process, or another call, is at it
                    payment = self._ledger.find_payment(payment.id) or payment
                else:
                    payment = await self._recovery.recover(payment)
                    break
        job = self._ledger.find_job_by_fingerprint(payment.fingerprint)
        if job is not None and job.payment_id == payment.id:
            if job.finished and self._now() - job.created_at >= FRESH_SECONDS:
                return None
            self._watcher.watch(job)
            return job
        if payment.state == "settled":
            return await self._begin(payment)
        if payment.holds(self._now()):
            raise self._held_error(payment)
        return None

    def _held_error(self, payment: Payment) -> SeedanceError:
        if payment.state == "refused":
            return refused_error(payment)
        if payment.state == "signed":
            return unknown_error(payment)
        return PurchaseUnderwayError(
            "Another process was about to make the same purchase.", "Make the same call again in a minute.",
            charge="held", amount_micro_usdc=payment.amount_micro_usdc, payment_id=payment.id,
            held_until=payment.hold_until,
        )  # fmt: skip

    async def _recover(self, payment: Payment) -> None:
        payment = await self._recovery.recover(payment)
        job = self._ledger.find_job_by_fingerprint(payment.fingerprint)
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
        self._watcher.watch(job)
        return job

    def _lost_error(self, payment: Payment) -> SeedanceError:
        return PaymentOutcomeUnknownError(
            "The clip was paid, but the studio's answer named no job and its list has none yet.",
            "It is not bought again. Make the same call in a minute: the studio's list is asked again.",
            charge="settled",
            amount_micro_usdc=payment.amount_micro_usdc,
            payment_id=payment.id,
        )

    # ── hosting and pricing ──────────────────────────────────────────────────────────────────────────────────────

    async def _host(self, picture: Picture) -> tuple[str, int]:
        """A URL that the studio may read, and what it cost."""
        if picture.url is not None:
            return picture.url, 0
        hosted = await self._hosting.host(picture)
        return hosted.upload.image_url, hosted.paid_micro_usdc

    async def _find_hosted(self, picture: Picture) -> str | None:
        upload = await self._hosting.find(picture)
        return None if upload is None else upload.image_url

    def _stand_in(self) -> str | None:
        """Any hosted image of ours: the price does not depend on the picture."""
        upload = self._ledger.latest_upload(studio=self._studio.origin, wallet=self.wallet.address)
        return None if upload is None else upload.image_url

    async def _price(self, prepared: Prepared, urls: list[str]) -> Priced:
        return await self._pricing.ask(
            prepared.request, image_url=urls[0], last_image_url=urls[1] if len(urls) > 1 else None
        )

    async def _try_to_price(self, prepared: Prepared, urls: list[str | None]) -> Priced | None:
        """A real price, or None where it needs an upload first."""
        known = [url for url in urls if url is not None]
        if len(known) < len(urls):
            return None
        try:
            return await self._price(prepared, known)
        except StudioRejectedError as exc:
            stand_in = self._stand_in()
            if exc.status != 400:
                raise
            # The studio takes only uploads, or the stand-in is gone.
            return await self._price(prepared, [stand_in] * len(urls)) if stand_in and stand_in not in known else None

    def _judge(self, offer: Offer) -> JudgedOffer:
        pins = self._settings.profile.pins
        return JudgedOffer(
            offer=offer, objection=policy.find_objection(offer, self.limits, pins, payer=self.wallet.address)
        )

    def _find_refusal(
        self, priced: Priced | None, price: int | None, uploads: int, max_price: int | None, warning: str | None
    ) -> str | None:
        """Why `animate_image` would refuse this now, by asking the same policy."""
        try:
            if priced is not None:
                offer = policy.choose_offer(
                    priced.offers, self.limits, self._settings.profile.pins, payer=self.wallet.address
                )
                price = offer.amount_micro_usdc
            if price is not None:
                approval = policy.agree_price(self.limits, max_price_micro_usdc=max_price, quoted_micro_usdc=None)
                spend = self._ledger.spend(self._now())
                policy.check_price(price, self.limits, spend=spend.plus(uploads), approval=approval)
        except PolicyError as exc:
            return f"{exc.what} {exc.hint}".strip()
        return f"{warning} It needs an explicit max_price_usd." if warning and max_price is None else None

    def _check_estimate(self, prepared: Prepared, estimate: int | None, max_price: int | None) -> None:
        """Before an upload is bought: would the clip fit the limits at the price that the table knows?"""
        uploads = UPLOAD_PRICE_MICRO_USDC * sum(picture.url is None for picture in prepared.pictures)
        if estimate is not None:
            policy.check_price(
                estimate,
                self.limits,
                spend=self._ledger.spend(self._now()).plus(uploads),
                approval=self._agree(prepared.fingerprint, max_price),
            )

    def _agree(self, fingerprint: str, max_price_micro_usdc: int | None) -> policy.Approval:
        quoted_at, quoted = self._quotes.get(fingerprint, (0.0, 0))
        binding = quoted if quoted_at + QUOTE_SECONDS > self._now() else None
        return policy.agree_price(self.limits, max_price_micro_usdc=max_price_micro_usdc, quoted_micro_usdc=binding)

    def _remember_quote(self, fingerprint: str, price: int | None) -> None:
        if price is None:
            return
        self._quotes[fingerprint] = (self._now(), price)
        self._quotes.move_to_end(fingerprint)
        while len(self._quotes) > QUOTES_MAX:
            self._quotes.popitem(last=False)

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _save(self, job: Job) -> Job:
        """Download a complete job's clip, because its URL dies in about 20 minutes.

        Raises:
            VideoUnsavedError: Not this time; the job stays unfinished and is tried again.
        """
        name = media.name_video(job.payment_id, job.job_id, str(job.arguments.get("prompt", "")))
        reason = "The studio named no video."
        for attempt in range(SAVE_ATTEMPTS_MAX):
            if attempt:
                await anyio.sleep(self._settings.profile.poll_seconds_min * 2**attempt)
                job = await self._renew(job)
            if job.video_url is None:
                continue
            try:
                async with self._studio.stream_video(job.video_url) as chunks:
                    file = await media.save_video(chunks, self._settings.videos_dir, name)
            except (StudioError, VideoUnsavedError) as exc:
                reason = exc.what
            else:
                thumbnail = await self._save_thumbnail(job, name)
                return self._ledger.finish_job(
                    job.job_id, file=str(file), thumbnail=None if thumbnail is None else str(thumbnail)
                )
        raise VideoUnsavedError(
            f"The clip is finished but not saved yet. {reason}",
            f"Call get_job with {job.job_id} again soon: its address dies about 20 minutes after completion.",
            charge="settled",
            amount_micro_usdc=job.price_micro_usdc,
            payment_id=job.payment_id,
        )

    async def _renew(self, job: Job) -> Job:
        """Ask once more for the job: a studio may give a fresh address for a dead one."""
        try:
            return self._ledger.update_job(await self._studio.fetch_job(job.job_id), now=self._now()) or job
        except StudioError:
            return job

    async def _save_thumbnail(self, job: Job, name: str) -> Path | None:
        """A thumbnail is a nicety: without it the clip is as good."""
        if job.thumbnail_url is None:
            return None
        try:
            data = await self._studio.fetch_image(job.thumbnail_url, bytes_max=media.IMAGE_BYTES_MAX)
            return await media.save_thumbnail(data, self._settings.videos_dir, name)
        except (StudioError, ImageError, OSError):
            return None

    async def _adopt(self, job_id: str) -> Job:
        """A job of this wallet that the ledger does not know: read it from the studio as it is."""
        try:
            seen = await self._studio.fetch_job(job_id)
        except StudioRejectedError as exc:
            raise JobNotFoundError(
                f"No job {job_id[:80]!r} is known for this wallet.", "list_jobs shows the jobs that are."
            ) from exc
        return Job(
            job_id=seen.job_id, studio=self._studio.origin, wallet=self.wallet.address, payment_id=0, fingerprint="",
            arguments=seen.input or {}, status=seen.status, progress=seen.progress, error=seen.error,
            video_url=seen.video_url, thumbnail_url=seen.thumbnail_url, file=None, thumbnail=None,
            created_at=seen.created_at or self._now(), ended_at=None, price_micro_usdc=0, rail="x402", receipt=None,
        )  # fmt: skip
