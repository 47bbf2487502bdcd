"""Services: put together all that the interfaces can do at one studio. Opens nothing.

A quote needs an address, or none; only a purchase needs a key. So there are two functions: `build_quote_services`, and
`build_services`, which adds what pays and what follows jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.adapters.wallet import Wallet, can_charge
from seedance_mcp.app.films import build_film_quoter, build_films
from seedance_mcp.app.job_verification import verify_job
from seedance_mcp.app.parts import Parts, QuoteServices, Services
from seedance_mcp.app.polling import build_downloader, build_poller
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.concurrency import SingleFlight
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.generation.call_checks import CallChecker
from seedance_mcp.generation.pricing import Pricing
from seedance_mcp.generation.purchases import RequestPurchaser
from seedance_mcp.generation.quotes import ProcessQuotes
from seedance_mcp.generation.quoting import Quoting
from seedance_mcp.generation.service import GenerationService, QuoteService
from seedance_mcp.generation.source_images import FETCHED_SECONDS, Picture, SourceImages
from seedance_mcp.generation.stages import ProgressReader
from seedance_mcp.generation.untracked import UntrackedJobs
from seedance_mcp.generation.upload_lookup import UploadLookup
from seedance_mcp.generation.uploads import CompletedUpload, Uploader
from seedance_mcp.jobs.history import JobLister
from seedance_mcp.jobs.retention import prune_local
from seedance_mcp.jobs.service import JobService
from seedance_mcp.jobs.shared_retention import prune_shared
from seedance_mcp.jobs.untracked import UntrackedJobReader
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import BalanceReader
from seedance_mcp.payments.executor import PaymentExecutor
from seedance_mcp.payments.planning import Payer, PaymentPlanner
from seedance_mcp.payments.purchase import Purchaser
from seedance_mcp.payments.push import ChargeBroadcaster
from seedance_mcp.payments.reconciler import Reconciler
from seedance_mcp.payments.settlement import SettlementChecker
from seedance_mcp.payments.untracked import UntrackedPayments
from seedance_mcp.payments.verification import PaymentVerifier
from seedance_mcp.payments.wallet_status import WalletStatusReader


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quotes:
    """What quotes, and what a purchase uses of it."""

    images: SourceImages
    lookup: UploadLookup
    pricing: Pricing
    planner: PaymentPlanner
    quoting: Quoting
    progress: ProgressReader
    verifier: PaymentVerifier
    wallet_status: WalletStatusReader


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payments:
    """What pays, and finds out what became of a payment."""

    executor: PaymentExecutor
    reconciler: Reconciler
    purchaser: Purchaser


def build_quote_services(parts: Parts, problem: ConfigError) -> QuoteServices:
    """Wire what works without a wallet.

    Args:
        parts: What they are made of.
        problem: Why there is no wallet.
    """
    quotes = _build_quotes(parts, Payer(address="", can_charge=can_charge(), problem=problem))
    generation = QuoteService(
        images=quotes.images,
        pricing=quotes.pricing,
        quoting=quotes.quoting,
        progress=quotes.progress,
        ledger=parts.ledger,
        limits=parts.settings.limits,
        wallet="",
        caller=parts.key_caller,
    )
    return QuoteServices(
        ledger=parts.ledger,
        studio=parts.studio,
        generation=generation,
        film_quoter=build_film_quoter(parts, generation),
        verifier=quotes.verifier,
        wallet_status=quotes.wallet_status,
    )


def build_services(parts: Parts, wallet: Wallet, *, shared: Services | None = None) -> Services:
    """Wire the services with the wallet that pays.

    Args:
        parts: What they are made of.
        wallet: Pays.
        shared: The services of the server itself, where several callers share it.
    """
    if shared is not None:
        return _build_caller_services(parts, shared)
    quotes = _build_quotes(parts, Payer(address=wallet.address, can_charge=can_charge()))
    payments = _build_payments(parts, quotes, wallet)
    jobs = _build_jobs(parts, quotes, wallet.address)
    generation = _build_generation(parts, quotes, payments, jobs)
    films = build_films(parts, generation)
    return Services(
        wallet=wallet,
        ledger=parts.ledger,
        studio=parts.studio,
        generation=generation,
        film_quoter=films.quoter,
        films=films,
        jobs=jobs,
        links=parts.links,
        reconciler=payments.reconciler,
        verifier=quotes.verifier,
        wallet_status=quotes.wallet_status,
    )


def _build_caller_services(parts: Parts, base: Services) -> Services:
    """Wire the services of one caller of a server that several share.

    What has no caller is the server's own: the wallet, its balances, the poller, downloads, and the answers that could
    not be written down yet. Purchases under way are the caller's: no two callers join one.

    Args:
        parts: Those of the caller; its ledger is the caller's.
        base: The services of the server itself, which look after the work of all callers.
    """
    payer = Payer(address=base.wallet.address, can_charge=can_charge())
    quotes = _build_quotes(parts, payer, base.generation.quoting.planner.balance_reader)
    executor = replace(base.reconciler.executor, ledger=parts.ledger, planner=quotes.planner)
    reconciler = replace(base.reconciler, executor=executor, ledger=parts.ledger, names_jobs=parts.caller.is_admin)
    purchaser = Purchaser(ledger=parts.ledger, reconciler=reconciler, now=parts.now)
    payments = _Payments(executor=executor, reconciler=reconciler, purchaser=purchaser)
    is_admin = parts.caller.is_admin
    jobs = replace(
        base.jobs,
        ledger=parts.ledger,
        untracked=base.jobs.untracked if is_admin else None,
        history=replace(base.jobs.history, ledger=parts.ledger, lists_untracked=is_admin),
    )
    generation = _build_generation(parts, quotes, payments, jobs)
    films = replace(build_films(parts, generation), files=base.films.files, works=base.films.works)
    return Services(
        wallet=base.wallet,
        ledger=parts.ledger,
        studio=parts.studio,
        generation=generation,
        film_quoter=films.quoter,
        films=films,
        jobs=jobs,
        links=parts.links,
        reconciler=reconciler,
        verifier=base.verifier,
        wallet_status=quotes.wallet_status,
    )


def _build_quotes(parts: Parts, payer: Payer, balance_reader: BalanceReader | None = None) -> _Quotes:
    """Wire what prices, quotes and reads balances: it knows who pays, and has no key."""
    profile, limits = parts.settings.profile, parts.settings.limits
    pins, ledger, studio, now = profile.pins, parts.ledger, parts.studio, parts.now

    def is_signable(offer: Offer) -> bool:
        return policy.find_rejection_reason(offer, limits, pins, payer=payer.address, now=now()) is None

    rpc = ChainRpc(studio.http, {"x402": profile.rpc_urls, "mpp": profile.tempo_rpc_urls})
    balance_reader = balance_reader or BalanceReader(rpc=rpc, pins=pins, wallet=payer.address or None)
    planner = _build_planner(parts, payer, balance_reader)
    lookup = UploadLookup(ledger=ledger, studio=studio, wallet=payer.address, now=now)
    pricing = Pricing(
        studio=studio,
        wallet=payer.address,
        now=now,
        signable=is_signable,
        memory=ledger,
        caller=parts.key_caller,
    )
    memory = parts.memory or ProcessQuotes(now)
    checker = CallChecker(uploads=lookup, planner=planner, ledger=ledger, limits=limits, memory=memory, now=now)
    return _Quotes(
        images=_build_images(parts),
        lookup=lookup,
        pricing=pricing,
        planner=planner,
        quoting=Quoting(
            uploads=lookup,
            planner=planner,
            checker=checker,
            pricing=pricing,
            ledger=ledger,
            limits=limits,
            pins=pins,
            now=now,
            memory=memory,
        ),
        progress=ProgressReader(ledger=ledger, now=now),
        verifier=PaymentVerifier(ledger=ledger, settlement_checker=SettlementChecker(rpc=rpc, pins=pins), now=now),
        wallet_status=WalletStatusReader(
            address=payer.address,
            settings=parts.settings,
            ledger=ledger,
            balance_reader=balance_reader,
            now=now,
            caller=parts.caller,
        ),
    )


def _build_planner(parts: Parts, payer: Payer, balance_reader: BalanceReader) -> PaymentPlanner:
    return PaymentPlanner(
        payer=payer,
        limits=parts.settings.limits,
        pins=parts.settings.profile.pins,
        balance_reader=balance_reader,
        now=parts.now,
        names_balances=parts.caller.is_admin,
    )


def _build_images(parts: Parts) -> SourceImages:
    return SourceImages(
        ledger=parts.ledger,
        studio=parts.studio,
        fetches=SingleFlight[Picture](parts.start, keep_seconds=FETCHED_SECONDS),
        given=parts.pictures or _build_received(parts.settings),
        image_dirs=parts.settings.image_dirs if parts.pictures is None else None,
        now=parts.now,
    )


def _build_payments(parts: Parts, quotes: _Quotes, wallet: Wallet) -> _Payments:
    """Wire what signs, sends and reconciles."""
    limits, balance_reader = parts.settings.limits, quotes.planner.balance_reader
    executor = PaymentExecutor(
        wallet=wallet,
        ledger=parts.ledger,
        studio=parts.studio,
        limits=limits,
        pins=parts.settings.profile.pins,
        planner=quotes.planner,
        balance_reader=balance_reader,
        broadcaster=ChargeBroadcaster(
            rpc=balance_reader.rpc,
            ledger=parts.ledger,
            balance_reader=balance_reader,
            is_allowed=limits.push_allowed,
            now=parts.now,
        ),
        now=parts.now,
    )
    reconciler = Reconciler(
        executor=executor,
        ledger=parts.ledger,
        studio=parts.studio,
        settlement_checker=quotes.verifier.settlement_checker,
        verifier=quotes.verifier,
        now=parts.now,
    )
    purchaser = Purchaser(ledger=parts.ledger, reconciler=reconciler, now=parts.now)
    return _Payments(executor=executor, reconciler=reconciler, purchaser=purchaser)


def _build_jobs(parts: Parts, quotes: _Quotes, wallet: str) -> JobService:
    """Wire what follows jobs and saves their videos."""
    ledger, studio, start, now = parts.ledger, parts.studio, parts.start, parts.now
    downloads = build_downloader(parts, wallet)
    store = downloads.store
    poller = parts.follower or build_poller(parts, store, save=downloads.download)
    return JobService(
        ledger=ledger,
        poller=poller,
        downloads=downloads,
        untracked=UntrackedJobReader(studio=studio, store=store),
        history=JobLister(studio=studio, ledger=ledger, store=store, latest=poller.latest),
        renewals=SingleFlight[Job](start),
        verify=partial(verify_job, quotes.verifier, ledger),
        prune_files=_build_retention(parts),
        now=now,
    )


def _build_received(settings: Settings) -> ReceivedPictures:
    return ReceivedPictures(settings.pictures_dir, settings.videos_dir)


def _build_retention(parts: Parts) -> Callable[[], Awaitable[None]]:
    """Wire what deletes old videos and pictures, where this process keeps them."""
    settings = parts.settings
    if parts.shared is not None:
        return partial(prune_shared, parts.shared, keep_days=settings.keep_days, now=parts.now)
    received = _build_received(settings)
    return partial(
        prune_local, settings.videos_dir, received, parts.ledger, keep_days=settings.keep_days, now=parts.now
    )


def _build_generation(parts: Parts, quotes: _Quotes, payments: _Payments, jobs: JobService) -> GenerationService:
    """Wire what uploads pictures and buys videos."""
    ledger, studio, wallet, now = parts.ledger, parts.studio, quotes.lookup.wallet, parts.now
    uploads = _build_uploader(parts, quotes, payments)
    purchaser = RequestPurchaser(
        executor=payments.executor,
        purchaser=payments.purchaser,
        reconciler=payments.reconciler,
        uploader=uploads,
        pricing=quotes.pricing,
        checker=quotes.quoting.checker,
        ledger=ledger,
        single_flight=SingleFlight[Job](parts.start),
        poller=jobs.poller,
        downloader=jobs.downloads,
        untracked=UntrackedJobs(
            studio=studio,
            ledger=ledger,
            wallet=wallet,
            now=now,
            caller=parts.key_caller,
            names_jobs=parts.caller.is_admin,
        ),
        untracked_payments=UntrackedPayments(
            settlement_checker=quotes.verifier.settlement_checker,
            ledger=ledger,
            wallet=wallet,
            now=now,
            names_payments=parts.caller.is_admin,
        ),
        now=now,
    )
    return GenerationService(
        images=quotes.images,
        pricing=quotes.pricing,
        quoting=quotes.quoting,
        progress=quotes.progress,
        ledger=ledger,
        limits=parts.settings.limits,
        wallet=wallet,
        caller=parts.key_caller,
        uploads=uploads,
        purchaser=purchaser,
        jobs=jobs,
        downloads=jobs.downloads,
    )


def _build_uploader(parts: Parts, quotes: _Quotes, payments: _Payments) -> Uploader:
    return Uploader(
        lookup=quotes.lookup,
        executor=payments.executor,
        purchaser=payments.purchaser,
        ledger=parts.ledger,
        studio=parts.studio,
        single_flight=SingleFlight[CompletedUpload](parts.start),
        blob_url=parts.settings.profile.blob_url,
        now=parts.now,
        caller=parts.caller.id,
    )
