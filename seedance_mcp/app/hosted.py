"""Hosted runtime: one ledger, studio client and wallet for all callers of a process, and the services of each caller.

A caller's services use the ledger as that caller: its payments count against its own budget and the wallet's. The
poller and the downloads belong to the process. Must not know tokens or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.app.opening import open_objects, open_owners_wallet, open_shared_ledger, open_studio
from seedance_mcp.app.runtime import Start, keep_up, load_services, prune_hourly, watch_closing
from seedance_mcp.config.hosted import HostedSettings
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.films import FILM_PREFIX

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.storage.store import ObjectStore
    from seedance_mcp.adapters.wallet import Wallet
    from seedance_mcp.app.hosted_picker import HostedPicker
    from seedance_mcp.app.replica import Replica
    from seedance_mcp.app.services import Parts, QuoteServices, Services
    from seedance_mcp.app.video_links import VideoLinks
    from seedance_mcp.core.films import Film
    from seedance_mcp.core.records import Job
    from seedance_mcp.generation.films import FilmService
    from seedance_mcp.generation.slots import SlotPictures

DOWNLOADS_FOLDER = "downloads"
"""Below the data folder: videos of this process until they are stored."""
OBJECTS_WAIT_SECONDS = 2
"""How long the store of pictures and videos may take to answer a check."""
OBJECTS_FRESH_SECONDS = 5
"""How long it counts as usable after a check: each check of a bucket is a request that is paid for."""
CALLERS_MAX = 1_000
"""How many callers' services a process keeps; those of the caller that was first are built again."""


@dataclass(frozen=True, slots=True)
class CallerRuntime:
    """What the tools use in a call of one caller; see `app.runtime.CallRuntime`.

    Attributes:
        hosted: What all callers share.
        caller: Whose call it is.
        caller_services: The services with the caller's ledger.
    """

    hosted: HostedRuntime
    caller: Caller
    caller_services: Services

    async def settings(self) -> Settings:
        """Return the owner's settings."""
        return self.hosted.settings.owner

    async def services(self) -> Services:
        """Return the caller's services."""
        return self.caller_services

    async def quote_services(self) -> QuoteServices:
        """Return the caller's services; a hosted server has a wallet."""
        return self.caller_services

    async def picker(self) -> HostedPicker:
        """Return what opens links to the server's page for a picture."""
        from seedance_mcp.app.hosted_picker import HostedPicker

        return HostedPicker(pictures=self.hosted.find_pictures(self.caller), public_url=self.hosted.settings.public_url)

    async def find_thumbnail(self, job: Job) -> bytes | None:
        """Return the small JPEG of a finished job, unless the owner switched thumbnails off."""
        if job.thumbnail_key is None or job.pruned_at is not None or not self.hosted.settings.owner.thumbnails:
            return None
        from seedance_mcp.adapters.media.thumbnails import THUMBNAIL_BYTES_MAX

        try:
            chunks = self.hosted.store.read(job.thumbnail_key, end=THUMBNAIL_BYTES_MAX)
            return b"".join([chunk async for chunk in chunks])
        except StorageError:  # a nicety
            return None


@asynccontextmanager
async def open_hosted(
    settings: HostedSettings, *, start: Start, changed: Callable[[str], None]
) -> AsyncGenerator[HostedRuntime]:
    """Open the wallet, the ledger and the studio's client, and start the background work.

    Args:
        settings: Of the hosted server.
        start: Starts a background task.
        changed: Told the id of a job whenever something about it changes.

    Raises:
        ConfigError: There is no wallet, or its key cannot be read.
        LedgerError: The database cannot be reached, or has another version of the ledger.
        StorageError: The folder of pictures and videos cannot be made.
    """
    owner = settings.owner
    await load_services()
    wallet = await open_owners_wallet(owner)

    async with (
        open_shared_ledger(owner, follows_clock=True) as opened,
        open_studio(owner, _sign_in_with(wallet), now=opened.now) as studio,
    ):
        from seedance_mcp.app.replica import open_replica
        from seedance_mcp.app.services import Parts
        from seedance_mcp.generation.slots import SlotPictures
        from seedance_mcp.jobs.archive import SharedArchive

        ledger = opened.with_defaults(settings.caller_caps)
        store = await open_objects(settings.objects)
        links = _build_links(settings, ledger.now)
        parts = Parts(
            settings=owner,
            ledger=ledger,
            studio=studio,
            start=start,
            changed=changed,
            shared=SharedArchive(owner.data_dir / DOWNLOADS_FOLDER, store, ledger),
            links=links,
            pictures=SlotPictures(ledger, store),
            now=ledger.now,
        )
        async with open_replica(
            parts, wallet.address, owner=ledger.owner, changed=changed, find_keys=settings.state_keys.current
        ) as replica:
            parts = replace(parts, follower=replica.follower)
            runtime = HostedRuntime(settings, ledger, store, links, parts, wallet, replica)
            runtime.begin_work(start)
            yield runtime


def _sign_in_with(wallet: Wallet) -> Callable[[Callable[[str], str]], Awaitable[tuple[str, str]]]:
    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    return sign_in


def _build_links(settings: HostedSettings, now: Callable[[], float]) -> VideoLinks:
    from seedance_mcp.app.video_links import VideoLinks, derive_keys

    return VideoLinks(
        public_url=settings.public_url,
        keys=lambda: derive_keys(settings.state_keys.current()),
        seconds=settings.link_seconds,
        now=now,
    )


class HostedRuntime:
    """What all callers of a process share, and the services of each caller.

    Attributes:
        settings: Of the hosted server.
        ledger: Of all callers.
        store: Has pictures and videos.
        links: Signs and checks links to videos.
        services: Of the process itself: its poller, its downloads, its reconciler.
        replica: What this process does for all of them on the same database.
        film_keeper: Goes on with films that another replica left.

    Args:
        settings: Of the hosted server.
        ledger: Of all callers.
        store: Has pictures and videos.
        links: Signs and checks links to videos.
        parts: What services are made of.
        wallet: Pays.
        replica: See above.
    """

    def __init__(
        self,
        settings: HostedSettings,
        ledger: PostgresLedger,
        store: ObjectStore,
        links: VideoLinks,
        parts: Parts,
        wallet: Wallet,
        replica: Replica,
    ) -> None:
        from seedance_mcp.app.films import FilmKeeper
        from seedance_mcp.app.services import build_services

        self.settings = settings
        self.ledger = ledger
        self.store = store
        self.links = links
        self.replica = replica
        self.services = build_services(parts, wallet)
        self.film_keeper = FilmKeeper(base=self.services.films, find_films=self._find_films, start=parts.start)
        self._parts = parts
        self._callers: dict[Caller, CallerRuntime] = {}
        self._objects_checked_at = -inf

    def begin_work(self, start: Start) -> None:
        """Begin what this process does in the background."""
        services = self.services
        start(lambda: self.replica.run(services.generation.purchaser.take_over))
        start(lambda: keep_up(services))
        start(lambda: watch_closing(services, self.settings.owner))
        start(lambda: prune_hourly(services))
        start(self.film_keeper.run)

    def end_work(self) -> None:
        """Begin nothing more in the background: this process is about to end."""
        self.film_keeper.is_ending = True

    async def _find_films(self, caller_id: str) -> FilmService | None:
        """Return what makes the films of a caller; None for one that has ended."""
        if not caller_id:
            return self.services.films
        caller = await self.ledger.find_active(caller_id)
        return None if caller is None else self.for_caller(caller).caller_services.films

    def for_caller(self, caller: Caller) -> CallerRuntime:
        """Return what the tools use in a call of a caller; its work in progress is shared by all its calls."""
        known = self._callers.get(caller)
        if known is None:
            while len(self._callers) >= CALLERS_MAX:
                self._callers.pop(next(iter(self._callers)))
            self._callers[caller] = known = CallerRuntime(self, caller, self._build_for(caller))
        return known

    def _build_for(self, caller: Caller) -> Services:
        from seedance_mcp.app.caller_parts import choose_parts
        from seedance_mcp.app.services import build_services

        own = choose_parts(self._parts, self.ledger, caller, scope=self.settings.caller_scope)
        parts = replace(own, pictures=self.find_pictures(caller))
        return build_services(parts, self.services.wallet, shared=self.services)

    def find_pictures(self, caller: Caller | None = None) -> SlotPictures:
        """Return the pictures of a caller; without one, what takes pictures by the tokens of links."""
        from seedance_mcp.generation.slots import SlotPictures

        return SlotPictures(self.ledger if caller is None else self.ledger.for_caller(caller.id), self.store)

    async def find_job(self, job_id: str, caller: Caller | None) -> Job | Film | None:
        """Return a job or a film of a caller; without one, of any."""
        ledger = self.ledger if caller is None else self.for_caller(caller).caller_services.ledger
        return await (ledger.find_film(job_id) if job_id.startswith(FILM_PREFIX) else ledger.find_job(job_id))

    async def list_database_problems(self) -> list[str]:
        """Return why nothing may be bought with the database, as sentences; empty if all is well.

        Raises:
            LedgerError: It cannot be reached.
        """
        return await self.ledger.list_problems(is_single=self.settings.is_single)

    async def list_notes(self) -> list[str]:
        """Return what a ready server should tell all the same, as sentences: that nothing is bought for a while.

        Raises:
            LedgerError: The database cannot be reached.
        """
        closing = await self.ledger.find_closing()
        return [] if closing is None else [f"Nothing is bought. {closing.describe()} {closing.describe_reading()}"]

    async def list_object_problems(self) -> list[str]:
        """Return why no picture or video can be stored, as sentences; empty if all is well, or was a moment ago."""
        if anyio.current_time() - self._objects_checked_at < OBJECTS_FRESH_SECONDS:
            return []
        with anyio.move_on_after(OBJECTS_WAIT_SECONDS):
            try:
                await self.store.check()
            except StorageError as exc:
                return [exc.what]
            self._objects_checked_at = anyio.current_time()
            return []
        return [f"The object store, {self.store.name}, does not answer."]
