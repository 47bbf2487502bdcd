"""Services: put together all that the interfaces can do for one wallet at one studio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.concurrency import SingleFlight, Start
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.generation.pricing import Pricing
from seedance_mcp.generation.purchases import RequestPurchaser
from seedance_mcp.generation.quotes import QuoteMemory
from seedance_mcp.generation.quoting import Quoting
from seedance_mcp.generation.service import GenerationService
from seedance_mcp.generation.source_images import FETCHED_SECONDS, Picture, SourceImages
from seedance_mcp.generation.untracked import UntrackedJobs
from seedance_mcp.generation.uploads import CompletedUpload, Uploader
from seedance_mcp.jobs.downloads import VideoDownloader
from seedance_mcp.jobs.history import JobLister
from seedance_mcp.jobs.poller import Changed, JobPoller
from seedance_mcp.jobs.service import JobService
from seedance_mcp.jobs.store import JobStore
from seedance_mcp.jobs.untracked import UntrackedJobReader
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import BalanceReader
from seedance_mcp.payments.executor import PaymentExecutor
from seedance_mcp.payments.purchase import Purchaser
from seedance_mcp.payments.push import ChargeBroadcaster
from seedance_mcp.payments.reconciler import Reconciler
from seedance_mcp.payments.settlement import SettlementChecker
from seedance_mcp.payments.untracked import UntrackedPayments
from seedance_mcp.payments.wallet_status import WalletStatusReader

VERIFY_SECONDS = 5
"""How long the chain may take to say that a finished job was paid for, while a caller waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that the interfaces can do for one wallet at one studio.

    Attributes:
        wallet: Signs.
        ledger: Records payments and jobs.
        studio: Is asked and paid.
        generation: Uploads, quotes and generates.
        jobs: Gets and lists jobs.
        reconciler: Determines the outcome of unfinished payments.
        wallet_status: Reads balances, limits and unfinished payments.
    """

    wallet: Wallet
    ledger: Ledger
    studio: Studio
    generation: GenerationService
    jobs: JobService
    reconciler: Reconciler
    wallet_status: WalletStatusReader


def build_services(
    *,
    settings: Settings,
    wallet: Wallet,
    ledger: Ledger,
    studio: Studio,
    start: Start,
    changed: Changed = lambda _: None,
    now: Callable[[], float] = time.time,
) -> Services:
    """Wire the services; opens nothing.

    Args:
        settings: The owner's settings.
        wallet: Signs.
        ledger: Records payments and jobs.
        studio: Is asked and paid.
        start: Starts a background task that outlives the call.
        changed: Told the id of a job whenever something about it changes.
        now: Unix seconds, for what is compared with the ledger, the studio or a chain.
    """
    profile, limits = settings.profile, settings.limits

    def is_signable(offer: Offer) -> bool:
        return policy.find_rejection_reason(offer, limits, profile.pins, payer=wallet.address, now=now()) is None

    async def expected_seconds(job: Job) -> float:
        return await ledger.typical_seconds(job.arguments) or profile.job_seconds

    rpc = ChainRpc(studio.http, {"x402": profile.rpc_urls, "mpp": profile.tempo_rpc_urls})
    balance_reader = BalanceReader(rpc=rpc, pins=profile.pins, wallet=None if wallet.problem else wallet.address)
    executor = PaymentExecutor(
        wallet=wallet,
        ledger=ledger,
        studio=studio,
        limits=limits,
        pins=profile.pins,
        balance_reader=balance_reader,
        broadcaster=ChargeBroadcaster(
            rpc=rpc, ledger=ledger, balance_reader=balance_reader, is_allowed=limits.push_allowed, now=now
        ),
        now=now,
    )
    settlement_checker = SettlementChecker(rpc=rpc, pins=profile.pins)
    reconciler = Reconciler(
        executor=executor, ledger=ledger, studio=studio, settlement_checker=settlement_checker, now=now
    )
    pricing = Pricing(studio=studio, wallet=wallet.address, now=now, signable=is_signable, memory=ledger)
    received = ReceivedPictures(settings.pictures_dir, settings.videos_dir)
    images = SourceImages(
        ledger=ledger,
        studio=studio,
        fetches=SingleFlight[Picture](start, keep_seconds=FETCHED_SECONDS),
        received=received,
        image_dirs=settings.image_dirs,
        now=now,
    )
    purchaser = Purchaser(ledger=ledger, reconciler=reconciler, now=now)
    uploads = Uploader(
        executor=executor,
        purchaser=purchaser,
        ledger=ledger,
        studio=studio,
        single_flight=SingleFlight[CompletedUpload](start),
        blob_url=profile.blob_url,
        now=now,
    )
    quoting = Quoting(
        uploader=uploads,
        pricing=pricing,
        ledger=ledger,
        limits=limits,
        pins=profile.pins,
        balance_reader=balance_reader,
        now=now,
        memory=QuoteMemory(now),
    )
    store = JobStore(ledger=ledger, studio=studio.origin, wallet=wallet.address, folder=settings.videos_dir, now=now)
    downloads = VideoDownloader(
        studio=studio,
        ledger=ledger,
        store=store,
        folder=settings.videos_dir,
        pause_seconds=profile.poll_seconds_min,
        start=start,
        now=now,
    )
    poller = JobPoller(
        studio=studio,
        store=store,
        save=downloads.download,
        start=start,
        expected_seconds=expected_seconds,
        poll_seconds_min=profile.poll_seconds_min,
        changed=changed,
        now=now,
    )
    request_purchaser = RequestPurchaser(
        executor=executor,
        purchaser=purchaser,
        reconciler=reconciler,
        uploader=uploads,
        pricing=pricing,
        quoting=quoting,
        ledger=ledger,
        single_flight=SingleFlight[Job](start),
        poller=poller,
        downloader=downloads,
        untracked=UntrackedJobs(studio=studio, ledger=ledger, wallet=wallet.address, now=now),
        untracked_payments=UntrackedPayments(
            settlement_checker=settlement_checker, ledger=ledger, wallet=wallet.address, now=now
        ),
        now=now,
    )
    wallet_status = WalletStatusReader(
        address=wallet.address, settings=settings, ledger=ledger, balance_reader=balance_reader, now=now
    )
    history = JobLister(studio=studio, ledger=ledger, store=store, latest=poller.latest)
    jobs = JobService(
        ledger=ledger,
        poller=poller,
        downloads=downloads,
        untracked=UntrackedJobReader(studio=studio, store=store),
        history=history,
        renewals=SingleFlight[Job](start),
        verify=partial(_verify, reconciler, ledger),
        folder=settings.videos_dir,
        received=received,
        keep_days=settings.keep_days,
        now=now,
    )
    generation = GenerationService(
        images=images,
        uploads=uploads,
        pricing=pricing,
        quoting=quoting,
        purchaser=request_purchaser,
        jobs=jobs,
        downloads=downloads,
        ledger=ledger,
        limits=limits,
        wallet=wallet.address,
    )
    return Services(
        wallet=wallet,
        ledger=ledger,
        studio=studio,
        generation=generation,
        jobs=jobs,
        reconciler=reconciler,
        wallet_status=wallet_status,
    )


async def _verify(reconciler: Reconciler, ledger: Ledger, job: Job) -> Job:
    """Return a finished job after asking the chain, once, whether its payment moved."""
    if job.payment_id is None or not job.finished:
        return job
    payment = await ledger.find_payment(job.payment_id)
    if payment is None or not reconciler.can_verify(payment):
        return job
    with anyio.move_on_after(VERIFY_SECONDS):
        await reconciler.verify(payment)
    return await ledger.find_job(job.job_id) or job
