"""Runtime: open the services that the owner's settings describe, when a tool first needs them.

A host sees our tools before the HTTP client, the key or the ledger is loaded. A broken setting or a missing wallet
is the first call's error, not a server that does not start.
"""

import contextlib
import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import anyio
import anyio.to_thread

from seedance_mcp.app.opening import open_existing_ledger, open_ledger, open_owners_wallet, open_studio
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.wallet import Wallet
    from seedance_mcp.app.picker import Picker, PicturePicker
    from seedance_mcp.app.services import Parts, QuoteServices, Services
    from seedance_mcp.config.settings import Settings
    from seedance_mcp.core.records import Job
    from seedance_mcp.generation.reopening import LedgerReopener

log = logging.getLogger("seedance_mcp")

BROKEN_SECONDS = 60
"""How long after a fault of our own what is not over is looked into again."""
PRUNE_SECONDS = 3600
"""Pause between two looks for videos and pictures that are older than the owner keeps them."""
RESUME_SECONDS = 3
"""How long after its start a server that no one calls looks for what an earlier one left."""

Start = Callable[[Callable[[], Awaitable[None]]], object]
ResolveSandbox = Callable[["Settings"], Awaitable["Settings"]]
"""Returns the settings to use; starts an embedded sandbox if they ask for one."""


class CallRuntime(Protocol):
    """What a tool uses: the settings and the services of the caller of this call. See `Runtime` for each."""

    async def settings(self) -> "Settings":
        """Return the owner's settings."""
        ...

    async def services(self) -> "Services":
        """Return the services with the owner's wallet."""
        ...

    async def quote_services(self) -> "QuoteServices":
        """Return services that can ask for prices."""
        ...

    async def picker(self) -> "PicturePicker":
        """Return what opens pages on which a person gives a picture."""
        ...

    async def find_thumbnail(self, job: "Job") -> bytes | None:
        """Return the small JPEG of a finished job, or None."""
        ...


class Runtime:
    """Opens everything once, and closes it with the server.

    Args:
        environ: The process environment.
        resolve_sandbox: Returns the settings to use; starts an embedded sandbox if they ask for one.
        start: Starts a background task.
        changed: Told the id of a job whenever something about it changes.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        resolve_sandbox: ResolveSandbox,
        start: Start,
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._environ = environ
        self._resolve_sandbox = resolve_sandbox
        self._start = start
        self._changed = changed
        self._stack = AsyncExitStack()
        self._lock, self._resolving, self._picking = anyio.Lock(), anyio.Lock(), anyio.Lock()
        self._settings: Settings | None = None
        self._parts: Parts | None = None
        self._wallet: Wallet | None = None
        self._services: Services | None = None
        self._quote_services: QuoteServices | None = None
        self._picker: Picker | None = None

    async def settings(self) -> "Settings":
        """Return the owner's settings; with what is not understood in them, settings that sign nothing.

        Raises:
            ConfigError: They do not say whom to talk to, or where the ledger is.
            LedgerError: A sandbox's ledger cannot be used.
        """
        async with self._resolving:  # one sandbox, however many calls come first
            if self._settings is None:
                self._settings = await self._resolve_sandbox(await anyio.to_thread.run_sync(self._read))
            return self._settings

    def _read(self) -> "Settings":
        from seedance_mcp.config.settings import list_unread_files, read_settings  # in a thread, by the first call

        for file in list_unread_files(self._environ):
            log.warning("%s is not read: the settings file is the one in the data folder itself.", file)
        settings = read_settings(self._environ, blocking=True)
        if settings.limits.problem is not None:
            log.warning("Nothing can be bought: %s", settings.limits.problem)
        return settings

    async def services(self) -> "Services":
        """Return the services with the owner's wallet.

        Raises:
            ConfigError: No wallet, or a wrong setting.
            LedgerError: The ledger cannot be opened.
        """
        async with self._lock:
            if self._services is None:
                settings = await self.settings()
                await load_services()
                self._wallet = wallet = await open_owners_wallet(settings)
                parts = await self._open_parts()
                from seedance_mcp.app.services import build_services

                self._services = services = build_services(parts, wallet)
                self._start(lambda: keep_up(services))
                self._start(services.films.resume)
                if settings.database_url is not None:
                    self._start(lambda: watch_closing(services, settings))
                if settings.limits.problem is None:
                    self._start(lambda: prune_hourly(services))
            return self._services

    async def resume_left(self) -> None:
        """Take up what an earlier process left, once a host has had the time to get to know us.

        A video that was paid for may be waiting at a URL that expires in minutes, and no one need ask for it.
        """
        await anyio.sleep(RESUME_SECONDS)
        with contextlib.suppress(SeedanceError):  # the first call says what is wrong
            settings = await anyio.to_thread.run_sync(_read_settings, self._environ)
            if not settings.embedded and await _has_unfinished_work(settings):
                await self.services()

    async def quote_services(self) -> "QuoteServices":
        """Return services that can ask for prices even where no wallet is set.

        Raises:
            ConfigError: A wrong setting.
            LedgerError: The ledger cannot be opened.
        """
        try:
            return await self.services()
        except ConfigError as exc:
            async with self._lock:
                if self._quote_services is None:
                    parts = await self._open_parts()
                    from seedance_mcp.app.services import build_quote_services

                    self._quote_services = build_quote_services(parts, exc)
                return self._quote_services

    async def picker(self) -> "Picker":
        """Return what opens pages on which a person gives a picture.

        Raises:
            ConfigError: The settings do not say where the data folder is.
        """
        async with self._picking:
            if self._picker is None:
                settings = await self.settings()
                await anyio.to_thread.run_sync(importlib.import_module, "seedance_mcp.app.picker")
                from seedance_mcp.adapters.media.received import ReceivedPictures
                from seedance_mcp.app.picker import Picker

                received = ReceivedPictures(settings.pictures_dir, settings.videos_dir)
                self._picker = Picker(received, profile=settings.profile.name, start=self._start)
                self._stack.callback(self._picker.close)
            return self._picker

    async def find_thumbnail(self, job: "Job") -> bytes | None:
        """Return the small JPEG of a finished job, unless the owner switched thumbnails off."""
        if job.thumbnail is None or not (await self.settings()).thumbnails:
            return None
        from seedance_mcp.adapters.media.thumbnails import read_thumbnail  # loaded by now

        return await read_thumbnail(Path(job.thumbnail))

    async def _open_parts(self) -> "Parts":
        """Open the ledger and the studio's client, once."""
        if self._parts is None:
            settings = await self.settings()
            await load_services()
            from seedance_mcp.app.services import Parts

            ledger = await self._stack.enter_async_context(open_ledger(settings))
            studio = await self._stack.enter_async_context(open_studio(settings, self._sign_in))
            self._parts = Parts(
                settings=settings, ledger=ledger, studio=studio, start=self._start, changed=self._changed
            )
        return self._parts

    async def _sign_in(self, build: Callable[[str], str]) -> tuple[str, str]:
        """Sign in with the owner's wallet.

        Raises:
            ConfigError: There is none.
        """
        wallet = self._wallet or await open_owners_wallet(await self.settings())
        return wallet.address, await wallet.sign_in(build(wallet.address))

    async def close(self) -> None:
        """Close what was opened."""
        await self._stack.aclose()


def _read_settings(environ: Mapping[str, str]) -> "Settings":
    from seedance_mcp.config.settings import read_settings

    return read_settings(environ, blocking=True)


async def load_services() -> None:
    """Import what loads the HTTP client: no handshake should wait for it, and no event loop."""
    await anyio.to_thread.run_sync(importlib.import_module, "seedance_mcp.app.services")


async def keep_up(services: "Services") -> None:
    """Look after what is not over for as long as the server runs, also after a fault of our own in one round."""
    while True:
        try:
            await services.generation.resume()
        except Exception:  # what is paid must be taken up all the same
            log.exception("Checking unfinished work failed")
        await anyio.sleep(BROKEN_SECONDS)


def build_reopener(services: "Services", settings: "Settings") -> "LedgerReopener":
    """Return what opens a ledger in a database after a restore."""
    from seedance_mcp.generation.reopening import LedgerReopener

    purchaser = services.generation.purchaser
    return LedgerReopener(
        ledger=cast("PostgresLedger", services.ledger),
        jobs=purchaser.untracked,
        payments=purchaser.untracked_payments,
        pins=settings.profile.pins,
        limits=settings.limits,
        now=purchaser.now,
    )


async def watch_closing(services: "Services", settings: "Settings") -> None:
    """Open a ledger in a database that was closed after a restore, for as long as the server runs."""
    reopener = build_reopener(services, settings)
    while True:
        try:
            await reopener.run()
        except Exception:  # nothing can be bought without it
            log.exception("Opening the ledger broke")
        await anyio.sleep(BROKEN_SECONDS)


async def prune_hourly(services: "Services") -> None:
    """Delete what is older than the owner keeps it, now and every hour that the server runs."""
    while True:
        try:
            await services.jobs.prune()
        except (SeedanceError, OSError) as exc:  # tidying up must stop nothing
            log.warning("Old files cannot be deleted now: %s", exc)
        await anyio.sleep(PRUNE_SECONDS)


async def _has_unfinished_work(settings: "Settings") -> bool:
    """Return True if the ledger has unfinished work; a server without any stays as light as it started."""
    async with open_existing_ledger(settings) as ledger:
        return ledger is not None and await ledger.has_unfinished_work()
