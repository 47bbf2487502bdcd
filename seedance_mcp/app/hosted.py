"""Hosted runtime: one ledger, studio client and wallet for all callers of a process, and the services of each caller.

A caller's services use the ledger as that caller: its payments count against its own budget and the wallet's. The
poller and the downloads belong to the process. Must not know tokens or HTTP.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from seedance_mcp.app.opening import open_owners_wallet, open_shared_ledger, open_studio
from seedance_mcp.app.runtime import Start, keep_up, load_services, prune_hourly
from seedance_mcp.config.hosted import HostedSettings
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.wallet import Wallet
    from seedance_mcp.app.picker import Picker
    from seedance_mcp.app.services import Parts, QuoteServices, Services
    from seedance_mcp.core.records import Job

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

    async def picker(self) -> Picker:
        """Refuse: there is no page for a picture yet.

        Raises:
            ImageError: Always.
        """
        raise ImageError("This server cannot take a picture by a link yet.", "Give the picture's https URL.")

    async def find_thumbnail(self, job: Job) -> bytes | None:
        """Return the small JPEG of a finished job, unless the owner switched thumbnails off."""
        if job.thumbnail is None or not self.hosted.settings.owner.thumbnails:
            return None
        from seedance_mcp.adapters.media.thumbnails import read_thumbnail

        return await read_thumbnail(Path(job.thumbnail))


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
    """
    owner = settings.owner
    await load_services()
    wallet = await open_owners_wallet(owner)

    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    async with open_shared_ledger(owner) as opened, open_studio(owner, sign_in) as studio:
        from seedance_mcp.app.services import Parts

        ledger = opened.with_defaults(settings.caller_caps)
        parts = Parts(settings=owner, ledger=ledger, studio=studio, start=start, changed=changed)
        runtime = HostedRuntime(settings, ledger, parts, wallet)
        await anyio.to_thread.run_sync(runtime.make_objects_dir)
        start(lambda: keep_up(runtime.services))
        start(lambda: prune_hourly(runtime.services))
        yield runtime


class HostedRuntime:
    """What all callers of a process share, and the services of each caller.

    Attributes:
        settings: Of the hosted server.
        ledger: Of all callers.
        services: Of the process itself: its poller, its downloads, its reconciler.

    Args:
        settings: Of the hosted server.
        ledger: Of all callers.
        parts: What services are made of.
        wallet: Pays.
    """

    def __init__(self, settings: HostedSettings, ledger: PostgresLedger, parts: Parts, wallet: Wallet) -> None:
        from seedance_mcp.app.services import build_services

        self.settings = settings
        self.ledger = ledger
        self.services = build_services(parts, wallet)
        self._parts = parts
        self._callers: dict[Caller, CallerRuntime] = {}

    def for_caller(self, caller: Caller) -> CallerRuntime:
        """Return what the tools use in a call of a caller; its work in progress is shared by all its calls."""
        known = self._callers.get(caller)
        if known is None:
            while len(self._callers) >= CALLERS_MAX:
                self._callers.pop(next(iter(self._callers)))
            self._callers[caller] = known = CallerRuntime(self, caller, self._build_for(caller))
        return known

    def _build_for(self, caller: Caller) -> Services:
        from seedance_mcp.app.services import build_services

        ledger = self.ledger.for_caller(caller.id, sees_jobs=caller.is_admin, sees_sums=caller.is_admin)
        parts = replace(self._parts, ledger=ledger)
        return build_services(parts, self.services.wallet, shared=self.services)

    async def list_database_problems(self) -> list[str]:
        """Return why nothing may be bought with the database, as sentences; empty if all is well.

        Raises:
            LedgerError: It cannot be reached.
        """
        return await self.ledger.list_problems(is_single=self.settings.is_single)

    async def list_object_problems(self) -> list[str]:
        """Return why no picture or video can be stored, as sentences; empty if all is well."""
        try:
            await anyio.to_thread.run_sync(self.make_objects_dir)
        except ConfigError as exc:
            return [exc.what]
        return []

    def make_objects_dir(self) -> None:
        """Make the folder of pictures and videos where there is none.

        Raises:
            ConfigError: It cannot be made or written.
        """
        folder = self.settings.objects_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            writable = os.access(folder, os.W_OK | os.X_OK)
        except OSError as exc:
            raise ConfigError(f"The folder of SEEDANCE_OBJECTS_URL cannot be made: {exc.strerror}.") from exc
        if not writable:
            raise ConfigError("The folder of SEEDANCE_OBJECTS_URL cannot be written.")
