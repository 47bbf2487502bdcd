"""Parts: what services are made of, and what the interfaces get. `app.services` puts them together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.app.video_links import VideoLinks
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.callers import OWNER, Caller
from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.generation.film_quotes import FilmQuoter
from seedance_mcp.generation.films import FilmService
from seedance_mcp.generation.quotes import QuoteMemory
from seedance_mcp.generation.service import GenerationService, QuoteService
from seedance_mcp.generation.slots import SlotPictures
from seedance_mcp.jobs.archive import SharedArchive
from seedance_mcp.jobs.follower import Changed, JobFollower
from seedance_mcp.jobs.service import JobService
from seedance_mcp.payments.reconciler import Reconciler
from seedance_mcp.payments.verification import PaymentVerifier
from seedance_mcp.payments.wallet_status import WalletStatusReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the services are made of.

    Attributes:
        settings: The owner's settings.
        ledger: Records payments and jobs.
        studio: Is asked and paid.
        start: Starts a background task that outlives the call.
        changed: Told the id of a job whenever something about it changes.
        shared: Where replicas keep videos; None where they are files of this machine.
        links: Makes links to these videos.
        pictures: Pictures that one caller gave; None where there is one machine.
        follower: Follows jobs for several replicas, where there are; else a poller of this process does.
        now: Unix seconds, for what is compared with the ledger, the studio or a chain.
        caller: Whose services they are; the ledger is this caller's.
        key_caller: The caller in idempotency keys; empty where all callers share their purchases.
        memory: Remembers quotes; None for the memory of this process.
    """

    settings: Settings
    ledger: Ledger
    studio: Studio
    start: Start
    changed: Changed = lambda _: None
    shared: SharedArchive | None = None
    links: VideoLinks | None = None
    pictures: SlotPictures | None = None
    follower: JobFollower | None = None
    now: Callable[[], float] = time.time
    caller: Caller = OWNER
    key_caller: str = ""
    memory: QuoteMemory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteServices:
    """What the interfaces can do without a key.

    Attributes:
        ledger: Records payments and jobs.
        studio: Is asked.
        generation: Quotes.
        verifier: Records the outcome of payments by the chain.
        wallet_status: Reads balances, limits and unfinished payments.
        film_quoter: Quotes films.
    """

    ledger: Ledger
    studio: Studio
    generation: QuoteService
    film_quoter: FilmQuoter
    verifier: PaymentVerifier
    wallet_status: WalletStatusReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(QuoteServices):
    """All that the interfaces can do for one wallet at one studio.

    Attributes:
        wallet: Signs.
        generation: Uploads, quotes and generates.
        jobs: Gets and lists jobs.
        films: Makes films.
        links: Makes links to videos that replicas share; None where they are files of this machine.
        reconciler: Determines the outcome of unfinished payments.
    """

    wallet: Wallet
    generation: GenerationService
    jobs: JobService
    films: FilmService
    links: VideoLinks | None
    reconciler: Reconciler
