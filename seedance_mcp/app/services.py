"""Services: put together all that the interfaces can do for one wallet at one studio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.concurrency import Flights, Start
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
from seedance_mcp.generation.uploads import Hosted, Hosting
from seedance_mcp.jobs.downloads import Delivery
from seedance_mcp.jobs.history import History
from seedance_mcp.jobs.poller import Changed, JobWatcher
from seedance_mcp.jobs.service import JobService
from seedance_mcp.jobs.untracked import Adoption
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import Funds
from seedance_mcp.payments.executor import Buyer
from seedance_mcp.payments.purchase import Purchaser
from seedance_mcp.payments.push import ChargeBroadcaster
from seedance_mcp.payments.reconciler import Recovery
from seedance_mcp.payments.settlement import Chains
from seedance_mcp.payments.untracked import UntrackedPayments
from seedance_mcp.payments.wallet_status import Account

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
    reconciler: Recovery
    wallet_status: Account


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
        return policy.find_objection(offer, limits, profile.pins, payer=wallet.address, now=now()) is None

    async def expected_seconds(job: Job) -> float:
        return await ledger.typical_seconds(job.arguments) or profile.job_seconds

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
    reconciler = Recovery(buyer=buyer, ledger=ledger, studio=studio, chains=chains, now=now)
    pricing = Pricing(studio=studio, wallet=wallet.address, now=now, signable=is_signable, memory=ledger)
    images = SourceImages(
        ledger=ledger,
        studio=studio,
        fetches=Flights[Picture](start, keep_seconds=FETCHED_SECONDS),
        image_dirs=settings.image_dirs,
        now=now,
    )
    purchaser = Purchaser(ledger=ledger, recovery=reconciler, now=now)
    uploads = Hosting(
        buyer=buyer,
        purchaser=purchaser,
        ledger=ledger,
        studio=studio,
        flights=Flights[Hosted](start),
        blob_url=profile.blob_url,
        now=now,
    )
    quoting = Quoting(
        hosting=uploads,
        pricing=pricing,
        ledger=ledger,
        limits=limits,
        pins=profile.pins,
        funds=funds,
        now=now,
        memory=QuoteMemory(now),
    )
    downloads = Delivery(
        studio=studio,
        ledger=ledger,
        folder=settings.videos_dir,
        pause_seconds=profile.poll_seconds_min,
        start=start,
        now=now,
    )
    poller = JobWatcher(
        studio=studio,
        ledger=ledger,
        save=downloads.deliver,
        start=start,
        expected_seconds=expected_seconds,
        poll_seconds_min=profile.poll_seconds_min,
        changed=changed,
        now=now,
    )
    request_purchaser = RequestPurchaser(
        buyer=buyer,
        purchaser=purchaser,
        recovery=reconciler,
        hosting=uploads,
        pricing=pricing,
        quoting=quoting,
        ledger=ledger,
        flights=Flights[Job](start),
        watcher=poller,
        delivery=downloads,
        untracked=UntrackedJobs(studio=studio, ledger=ledger, wallet=wallet.address, now=now),
        untracked_payments=UntrackedPayments(chains=chains, ledger=ledger, wallet=wallet.address, now=now),
        now=now,
    )
    wallet_status = Account(address=wallet.address, settings=settings, ledger=ledger, funds=funds, now=now)
    untracked = Adoption(
        studio=studio,
        delivery=downloads,
        flights=Flights[Job](start),
        wallet=wallet.address,
        expected_seconds=expected_seconds,
        poll_seconds_min=profile.poll_seconds_min,
        now=now,
    )
    history = History(studio=studio, ledger=ledger, adopt=untracked.show, latest=poller.latest, now=now)
    jobs = JobService(
        ledger=ledger,
        poller=poller,
        downloads=downloads,
        untracked=untracked,
        history=history,
        renewals=Flights[Job](start),
        verify=partial(_verify, reconciler, ledger),
        folder=settings.videos_dir,
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


async def _verify(reconciler: Recovery, ledger: Ledger, job: Job) -> Job:
    """Return a finished job after asking the chain, once, whether its payment moved."""
    payment = await ledger.find_payment(job.payment_id) if job.finished else None
    if payment is None or not reconciler.can_verify(payment):
        return job
    with anyio.move_on_after(VERIFY_SECONDS):
        await reconciler.verify(payment)
    return await ledger.find_job(job.job_id) or job
