"""Generation service: what the interfaces offer around a video: upload, quote, ask a person, generate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import anyio

from seedance_mcp.core.errors import ImageError, PurchaseUnderwayError, StudioUnreachableError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Limits, Recipient
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.records import Job
from seedance_mcp.generation.picture_checks import check_risk, describe_pictures, find_risk
from seedance_mcp.generation.preparation import PreparedRequest, prepare
from seedance_mcp.generation.pricing import Estimate, Pricing
from seedance_mcp.generation.purchases import RequestPurchaser
from seedance_mcp.generation.questions import Proposal, build_proposal
from seedance_mcp.generation.quotes import Consent, Quote
from seedance_mcp.generation.quoting import Quoting
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.generation.source_images import SourceImages
from seedance_mcp.generation.stages import Progress, ProgressReader
from seedance_mcp.generation.upload_lookup import UPLOAD_PRICE_MICRO_USDC
from seedance_mcp.generation.uploads import CompletedUpload, Uploader
from seedance_mcp.jobs.downloads import VideoDownloader
from seedance_mcp.jobs.follower import Report
from seedance_mcp.jobs.service import JobService

BOUGHT_BEFORE = "This video was bought before; nothing is paid for it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """A video on its way.

    Attributes:
        job: The job, or None where it is still being bought.
        begun: Whether the purchase has begun; if not, nothing is bought until the call is made again.
        notes: What the caller should know about the request.
    """

    job: Job | None
    begun: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is known of a request before it is bought.

    Attributes:
        estimate: What the price table knows; None if it was bought before, or if the studio is slow.
    """

    prepared: PreparedRequest
    progress: Progress
    notes: tuple[str, ...]
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteService:
    """Quotes videos for one payer at one studio. Needs an address, or none, and no key.

    Attributes:
        images: Reads the pictures that callers name.
        progress: Knows what was bought before.
        limits: What the owner allows.
        wallet: The paying address; empty without a wallet.
        caller: Whose purchases they are; empty where all who use the ledger share them.
    """

    images: SourceImages
    pricing: Pricing
    quoting: Quoting
    progress: ProgressReader
    ledger: Ledger
    limits: Limits
    wallet: str
    caller: str = ""

    async def quote(
        self,
        request: VideoRequest,
        *,
        can_ask: bool = True,
    ) -> Quote:
        """Return what a request would cost: nothing where it was bought; never spends, not even the upload.

        Args:
            request: What to make.
            can_ask: Whether a person can be asked where the owner wants a yes.

        Raises:
            ImageError, RequestError: The request cannot be carried out.
            StudioError: The studio cannot be asked.
        """
        prepared = await self._prepare(request)
        progress = await self.progress.read(prepared)
        if progress.stage == "begun":
            return await self.quoting.quote_begun(prepared, progress.job)
        quote = await self.quoting.quote(
            prepared, max_price_micro_usdc=request.max_price_micro_usdc, can_ask=can_ask, stage=progress.stage
        )
        return _add_picture_checks(quote, prepared, accept_risk=request.accept_risk)

    async def find_proposal(self, request: VideoRequest) -> Proposal | None:
        """Return what a person must be asked about, or None where there is nothing to ask.

        What is asked is remembered like any quote, so that asking twice asks the same.

        Args:
            request: What to make.

        Raises:
            SeedanceError: As `quote`; also where the purchase would be refused whatever a person says.
        """
        prepared = await self._prepare(request)
        if (await self.progress.read(prepared)).stage == "begun" or await self.ledger.find_freeze() is not None:
            return None  # bought already, or not to be bought: the purchase says so itself
        quoted = await self.quoting.find_quoted(prepared)
        cost, recipients = (None, ()) if quoted is None else (quoted.cost, quoted.recipients)
        if cost is None:
            quote = await self.quoting.quote(
                prepared, max_price_micro_usdc=request.max_price_micro_usdc, remember=False
            )
            if quote.error is not None:
                raise quote.error
            cost, recipients = quote.cost, quote.recipients
            if cost is None or not quote.needs_approval:
                return None
            key = await self.pricing.choose_key(prepared.request.route, prepared.keys)
            await self.quoting.memory.pin(key, cost, recipients)
        if not recipients:
            raise StudioUnreachableError("The studio names no recipient, so no person can be asked to approve it.")
        return build_proposal(request, cost, recipients) if self.quoting.needs_approval(cost, recipients) else None

    async def _prepare(self, request: VideoRequest) -> PreparedRequest:
        return await prepare(request, images=self.images, limits=self.limits, wallet=self.wallet, caller=self.caller)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationService(QuoteService):
    """Generates videos for one wallet at one studio.

    The moments that end a wait are those of the event loop's clock, `anyio.current_time()`: no one can set it back.

    Attributes:
        uploads: Uploads pictures.
        jobs: Waits for jobs and fetches their videos.
        downloads: Keeps what a video was made of.
    """

    uploads: Uploader
    purchaser: RequestPurchaser
    jobs: JobService
    downloads: VideoDownloader

    async def upload(self, image: str, *, deadline: float = math.inf) -> CompletedUpload:
        """Host a picture at the studio; the same bytes are paid for once.

        Args:
            image: A local path or an https URL.
            deadline: The moment at which to stop waiting; a purchase goes on.

        Raises:
            ImageError, PolicyError, PaymentError, StudioError: As their names say.
        """
        picture = hosted = None
        with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
            picture = await self.images.load(image)
            hosted = await self.uploads.upload(picture)
            await self.downloads.keep_frames(picture.frame)
        if hosted is not None:
            return hosted
        if picture is None:
            raise StudioUnreachableError("The picture's host is slow.", NextStep("{0} in a minute.", Repeat()))
        raise PurchaseUnderwayError(
            "The upload is still under way.", payment_state="held", amount_micro_usdc=UPLOAD_PRICE_MICRO_USDC
        )

    async def generate(
        self,
        request: VideoRequest,
        *,
        agreed_micro_usdc: int = 0,
        agreed_recipients: tuple[Recipient, ...] | None = None,
        prepare_until: float = math.inf,
        deadline: float,
        report: Report | None = None,
    ) -> GenerationResult:
        """Buy a video once and wait for it a while.

        Args:
            request: What to make.
            agreed_micro_usdc: The cost that a person said yes to; above `ask_above`, no more than that is paid.
            agreed_recipients: Whom the person was shown; no one else is paid. None where no one was asked.
            prepare_until: The moment at which to give up reading pictures; nothing is bought then.
            deadline: The moment at which to stop waiting; the work goes on.
            report: Told how the job gets on.

        Raises:
            SeedanceError: Each says whether money moved.
        """
        consent = Consent(
            max_price_micro_usdc=request.max_price_micro_usdc,
            agreed_micro_usdc=agreed_micro_usdc,
            recipients=agreed_recipients,
        )
        found = await self._look_up(request, until=prepare_until)
        if found is None:
            return GenerationResult(job=None, begun=False)
        prepared, job = found.prepared, found.progress.job
        if job is None:
            if found.progress.stage != "begun":
                check_risk(prepared.pictures, accept_risk=request.accept_risk)
            with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
                job = await self.purchaser.purchase(prepared, consent, found.estimate)
        elif await self.jobs.is_missing(job):
            job = await self.jobs.fetch_again(job, deadline=deadline)
        if job is not None:
            job = await self.jobs.wait(job, deadline=deadline, report=report)
        return GenerationResult(job=job, notes=found.notes + self.purchaser.take_notes(prepared))

    async def _look_up(self, request: VideoRequest, *, until: float) -> _Found | None:
        """Read a request's pictures, what was bought for it before, and its price in the table, once for all uses.

        Returns:
            What was found; None if the pictures could not be read until then.
        """
        found = None
        with anyio.move_on_after(max(until - anyio.current_time(), 0.001)):
            prepared = await self._prepare(request)
            progress = await self.progress.read(prepared)
            if progress.job is not None:
                return _Found(prepared=prepared, progress=progress, notes=(BOUGHT_BEFORE,))
            notes = _describe(prepared)
            found = _Found(prepared=prepared, progress=progress, notes=notes)
            estimate = await self.pricing.estimate(prepared.request)
            return replace(found, estimate=estimate, notes=notes + estimate.notes)
        return found

    async def resume(self) -> None:
        """Take up what an earlier process left, and keep looking into what is not over; runs until cancelled."""
        await self.purchaser.resume()


def _describe(prepared: PreparedRequest) -> tuple[str, ...]:
    request = prepared.request
    return describe_pictures(prepared.pictures, request.aspect_ratio, are_frames=not request.references)


def _add_picture_checks(quote: Quote, prepared: PreparedRequest, *, accept_risk: bool) -> Quote:
    """Return a quote with what is to be known of its pictures, and refused if they are likely to be refused."""
    error, risk = quote.error, find_risk(prepared.pictures)
    try:
        check_risk(prepared.pictures, accept_risk=accept_risk)
    except ImageError as exc:
        error = error or exc
    warnings = [one for one in (quote.warning, risk) if one is not None]
    notes = _describe(prepared)
    return replace(quote, error=error, warning=" ".join(warnings) or None, notes=notes + quote.notes)
