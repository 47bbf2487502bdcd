"""Services: put together all that the interfaces can do for one wallet at one studio."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.adapters.media.videos import is_missing
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.concurrency import Flights, Start
from seedance_mcp.core.errors import PurchaseUnderwayError, StudioUnreachableError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Recipient
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.generation.pricing import Pricing
from seedance_mcp.generation.questions import Proposal, build_proposal
from seedance_mcp.generation.quotes import Consent, Quote, QuoteMemory
from seedance_mcp.generation.quoting import Quoting
from seedance_mcp.generation.request import Order, PreparedOrder, prepare
from seedance_mcp.generation.service import Ordering
from seedance_mcp.generation.source_images import FETCHED_SECONDS, Picture, SourceImages
from seedance_mcp.generation.untracked import UntrackedJobs
from seedance_mcp.generation.uploads import UPLOAD_PRICE_MICRO_USDC, Hosted, Hosting
from seedance_mcp.jobs.downloads import Delivery
from seedance_mcp.jobs.history import History, Recent
from seedance_mcp.jobs.poller import Changed, JobWatcher, Report
from seedance_mcp.jobs.retention import prune
from seedance_mcp.jobs.untracked import Adoption
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import Funds
from seedance_mcp.payments.executor import Buyer
from seedance_mcp.payments.push import ChargeBroadcaster
from seedance_mcp.payments.reconciler import Recovery
from seedance_mcp.payments.settlement import Chains
from seedance_mcp.payments.untracked import UntrackedPayments
from seedance_mcp.payments.wallet_status import Account, Standing

BOUGHT_BEFORE = "This clip was bought before; nothing is paid for it again."
VERIFY_SECONDS = 5
"""How long the chain may take to say that a finished job was paid for, while a caller waits."""


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

    The moments that end a wait are those of the event loop's clock, `anyio.current_time()`: nobody can set it back.

    Args:
        settings: The owner's word.
        wallet: Signs.
        ledger: Remembers.
        studio: Is asked and paid.
        start: Starts a background task that outlives the call.
        changed: Told the id of a job whenever something about it changes.
        now: Unix seconds, for what is compared with the ledger, the studio or a chain.
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
        rpc = ChainRpc(studio.http, {"x402": profile.rpc_urls, "mpp": profile.tempo_rpc_urls})
        funds = Funds(rpc=rpc, pins=profile.pins, wallet=None if wallet.problem else wallet.address)
        buyer = Buyer(
            wallet=wallet,
            ledger=ledger,
            studio=studio,
            limits=limits,
            pins=profile.pins,
            funds=funds,
            broadcaster=ChargeBroadcaster(rpc=rpc, ledger=ledger, funds=funds, is_allowed=limits.push_allowed, now=now),
            now=now,
        )
        chains = Chains(rpc=rpc, pins=profile.pins)
        self._recovery = Recovery(buyer=buyer, ledger=ledger, studio=studio, chains=chains, now=now)
        self._pricing = Pricing(
            studio=studio, wallet=wallet.address, now=now, signable=self._is_signable, memory=ledger
        )
        self._images = SourceImages(
            ledger=ledger,
            studio=studio,
            fetches=Flights[Picture](start, keep_seconds=FETCHED_SECONDS),
            image_dirs=settings.image_dirs,
            now=now,
        )
        self._hosting = Hosting(
            buyer=buyer,
            recovery=self._recovery,
            ledger=ledger,
            studio=studio,
            flights=Flights[Hosted](start),
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
            memory=QuoteMemory(now),
        )
        self._delivery = Delivery(
            studio=studio,
            ledger=ledger,
            folder=settings.videos_dir,
            pause_seconds=profile.poll_seconds_min,
            start=start,
            now=now,
        )
        self._watcher = JobWatcher(
            studio=studio,
            ledger=ledger,
            save=self._delivery.deliver,
            start=start,
            expected_seconds=self.expected_seconds,
            poll_seconds_min=profile.poll_seconds_min,
            changed=changed,
            now=now,
        )
        self._ordering = Ordering(
            buyer=buyer,
            recovery=self._recovery,
            hosting=self._hosting,
            pricing=self._pricing,
            quoting=self._quoting,
            ledger=ledger,
            flights=Flights[Job](start),
            watcher=self._watcher,
            delivery=self._delivery,
            untracked=UntrackedJobs(studio=studio, ledger=ledger, wallet=wallet.address, now=now),
            untracked_payments=UntrackedPayments(chains=chains, ledger=ledger, wallet=wallet.address, now=now),
            now=now,
        )
        self._renewals = Flights[Job](start)
        self._account = Account(address=wallet.address, settings=settings, ledger=ledger, funds=funds, now=now)
        self._adoption = Adoption(
            studio=studio,
            delivery=self._delivery,
            flights=Flights[Job](start),
            wallet=wallet.address,
            expected_seconds=self.expected_seconds,
            poll_seconds_min=profile.poll_seconds_min,
            now=now,
        )
        self._history = History(
            studio=studio, ledger=ledger, adopt=self._adoption.show, latest=self._watcher.latest, now=now
        )

    # ── what the tools do ────────────────────────────────────────────────────────────────────────────────────────

    async def upload_image(self, image: str, *, deadline: float = math.inf) -> Hosted:
        """Host a picture at the studio; the same bytes are paid for once.

        Args:
            image: A local path or an https URL.
            deadline: The moment at which to stop waiting; a purchase goes on.

        Raises:
            ImageError, PolicyError, PaymentError, StudioError: As their names say.
        """
        picture = hosted = None
        with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
            picture = await self._images.load(image)
            hosted = await self._hosting.host(picture)
            await self._delivery.keep_frames(picture.image)
        if hosted is not None:
            return hosted
        if picture is None:
            raise StudioUnreachableError("The picture's host is slow.", "Make the same call again in a minute.")
        raise PurchaseUnderwayError(
            "The upload is still under way.", charge="held", amount_micro_usdc=UPLOAD_PRICE_MICRO_USDC
        )

    async def quote_price(
        self, order: Order, *, max_price_micro_usdc: int | None = None, can_ask: bool = True
    ) -> Quote:
        """Return what an order would cost: nothing where it was bought; never spends, not even the upload.

        Args:
            order: What to make.
            max_price_micro_usdc: The most that the call allows, or None.
            can_ask: Whether a person can be asked where the owner wants a yes.

        Raises:
            ImageError, RequestError: The order cannot be carried out.
            StudioError: The studio cannot be asked.
        """
        prepared = await self._prepare(order)
        stage = self._ordering.find_stage(prepared)
        if stage == "begun":
            return self._quoting.quote_begun(prepared, self._ordering.find_job(prepared))
        return await self._quoting.quote(
            prepared, max_price_micro_usdc=max_price_micro_usdc, can_ask=can_ask, stage=stage
        )

    async def find_proposal(self, order: Order, *, max_price_micro_usdc: int | None = None) -> Proposal | None:
        """Return what a person must be asked about, or None where there is nothing to ask.

        What is asked is remembered like any quote, so that asking twice asks the same.

        Args:
            order: What to make.
            max_price_micro_usdc: The most that the call allows, or None.

        Raises:
            SeedanceError: As `quote_price`; also where the purchase would be refused whatever a person says.
        """
        prepared = await self._prepare(order)
        if self._ordering.find_stage(prepared) == "begun" or self._ledger.find_freeze() is not None:
            return None  # bought already, or not to be bought: the purchase says so itself
        quoted = self._quoting.find_quoted(prepared)
        cost, recipients = (None, ()) if quoted is None else (quoted.cost, quoted.recipients)
        if cost is None:
            quote = await self._quoting.quote(prepared, max_price_micro_usdc=max_price_micro_usdc, remember=False)
            if quote.error is not None:
                raise quote.error
            cost, recipients = quote.cost, quote.recipients
            if cost is None or not quote.needs_approval:
                return None
            key = await self._pricing.choose_key(order.model, prepared.keys)
            self._quoting.memory.pin(key, cost, recipients)
        if not recipients:
            raise StudioUnreachableError("The studio does not say whom it would be paid at, so no person can be asked.")
        return build_proposal(order, cost, recipients) if self._quoting.needs_approval(cost, recipients) else None

    async def animate_image(
        self,
        order: Order,
        *,
        max_price_micro_usdc: int | None,
        agreed_micro_usdc: int = 0,
        agreed_recipients: tuple[Recipient, ...] | None = None,
        prepare_until: float = math.inf,
        deadline: float,
        report: Report | None = None,
    ) -> Animation:
        """Buy a clip once and wait for it a while.

        Args:
            order: What to make.
            max_price_micro_usdc: The most that this call allows for the clip, its uploads and fees, or None.
            agreed_micro_usdc: The cost that a person said yes to; above `ask_above`, no more than that is paid.
            agreed_recipients: Whom the person was shown; no one else is paid. None where no one was asked.
            prepare_until: The moment at which to give up reading pictures; nothing is bought then.
            deadline: The moment at which to stop waiting; the work goes on.
            report: Told how the job gets on.

        Raises:
            SeedanceError: Each says whether money moved.
        """
        consent = Consent(
            max_price_micro_usdc=max_price_micro_usdc,
            agreed_micro_usdc=agreed_micro_usdc,
            recipients=agreed_recipients,
        )
        prepared, job = None, None
        notes: tuple[str, ...] = ()
        with anyio.move_on_after(max(prepare_until - anyio.current_time(), 0.001)):
            prepared = await self._prepare(order)
            job = self._ordering.find_job(prepared)
            if job is None:
                notes = (await self._pricing.estimate(prepared.request)).notes
        if prepared is None:
            return Animation(job=None, begun=False)
        if job is not None:
            notes = (BOUGHT_BEFORE,)
            if job.pruned_at is None and is_missing(job.file):
                job = await self._fetch_again(job, deadline=deadline)
        else:
            with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
                job = await self._ordering.place(prepared, consent)
        if job is not None:
            job = await self._watcher.wait(job, deadline=deadline, report=report)
            job = await self._delivery.wait_thumbnail(job)
        return Animation(job=job, notes=notes + self._ordering.take_notes(prepared))

    async def get_job(
        self, job_id: str, *, deadline: float, answer_until: float = math.inf, report: Report | None = None
    ) -> Job:
        """Read a job, wait for it a while, and save its video as soon as there is one.

        Args:
            job_id: The studio's id.
            deadline: The moment at which to stop waiting; the job goes on.
            answer_until: The moment until which the studio may take to tell of a job that is not ours.
            report: Told how the job gets on.

        Raises:
            JobNotFoundError: Neither the ledger nor the studio knows it for this wallet.
            VideoGoneError: The saved file is missing, and the studio does not have the video any more.
            SeedanceError: The studio does not answer, or the video cannot be saved yet.
        """
        job = self._ledger.find_job(job_id)
        if job is None:
            job = await self._adoption.get_job(job_id, deadline=deadline, answer_until=answer_until, report=report)
        else:
            if job.expired_at is not None or (job.pruned_at is None and is_missing(job.file)):
                job = await self._fetch_again(job, deadline=deadline)
            job = await self._watcher.wait(job, deadline=deadline, report=report)
        return await self._delivery.wait_thumbnail(await self._verify(job))

    async def list_jobs(self, limit: int) -> Recent:
        """Recent jobs, newest first: ours, and those that only the studio remembers."""
        return await self._history.list_jobs(limit)

    async def wallet_status(self) -> Standing:
        """How the account stands: balances, limits, what was spent, what is not over."""
        return await self._account.read()

    async def _verify(self, job: Job) -> Job:
        """Return a finished job after asking the chain, once, whether its payment moved."""
        payment = self._ledger.find_payment(job.payment_id) if job.finished else None
        if payment is None or not self._recovery.can_verify(payment):
            return job
        with anyio.move_on_after(VERIFY_SECONDS):
            await self._recovery.verify(payment)
        return self._ledger.find_job(job.job_id) or job

    async def write_off(self, payment: Payment) -> Payment:
        """Take the owner's word that a payment never moved: see `Recovery.write_off`."""
        return await self._recovery.write_off(payment)

    def find_job(self, job_id: str) -> Job | None:
        """The latest that is known here of a job of ours; nobody is asked."""
        job = self._ledger.find_job(job_id)
        return None if job is None else self._watcher.latest(job)

    def prune(self) -> None:
        """Delete saved videos and pictures that are older than the owner keeps them.

        Raises:
            ConfigError, LedgerError: As `retention.prune`.
        """
        if self._settings.keep_days is not None:
            days, folder = self._settings.keep_days, self._settings.videos_dir
            prune(folder, self._ledger, older_than_days=days, now=self._now())

    async def resume(self) -> None:
        """Take up what an earlier process left, and keep looking into what is not over; runs until cancelled."""
        await self._ordering.resume()

    async def _fetch_again(self, job: Job, *, deadline: float) -> Job:
        """Ask the studio once more for a paid video that is not on disk; the work goes on after the deadline."""
        with anyio.move_on_after(max(deadline - anyio.current_time(), 0.001)):
            return await self._renewals.join(job.job_id, lambda: self._delivery.fetch_again(job))
        return job

    def expected_seconds(self, job: Job) -> float:
        """How long a job like this is expected to take."""
        return self._ledger.typical_seconds(job.arguments) or self._settings.profile.job_seconds

    async def _prepare(self, order: Order) -> PreparedOrder:
        return await prepare(order, images=self._images, limits=self._settings.limits, wallet=self.wallet.address)

    def _is_signable(self, offer: Offer) -> bool:
        limits, pins = self._settings.limits, self._settings.profile.pins
        return policy.find_objection(offer, limits, pins, payer=self.wallet.address, now=self._now()) is None
