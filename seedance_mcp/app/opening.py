"""Opening: the one place that opens the ledger, the studio's client and the wallet that the owner's settings name.

Each function imports what it opens when it is called, so that no start waits for a database or an HTTP client.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import describe_install

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.moving import Moved
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.ledger.postgres_migrations import Migrated
    from seedance_mcp.adapters.storage.store import ObjectStore
    from seedance_mcp.adapters.studio.client import Studio
    from seedance_mcp.adapters.wallet import Wallet
    from seedance_mcp.config.settings import Settings
    from seedance_mcp.core.ledger import Ledger
    from seedance_mcp.core.objects import BucketAddress


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncGenerator[Ledger]:
    """Open the ledger: in the database that the settings name, or a file, which is made where there is none.

    Raises:
        LedgerError: It cannot be used.
        ConfigError: The libraries of the database are not installed.
    """
    ledger = await _open_file(settings) if settings.database_url is None else await _open_database(settings)
    try:
        yield ledger
    finally:
        await ledger.close()


async def _open_file(settings: Settings) -> Ledger:
    from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger

    return await SQLiteLedger.open(settings.ledger_file)


async def _open_database(settings: Settings, *, follows_clock: bool = False) -> PostgresLedger:
    _check_database_libraries()
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    return await PostgresLedger.open(settings.database_url or "", follows_clock=follows_clock)


@asynccontextmanager
async def open_shared_ledger(settings: Settings, *, follows_clock: bool = False) -> AsyncGenerator[PostgresLedger]:
    """Open the ledger in the database that the settings name: only that has callers.

    Args:
        settings: Of the owner.
        follows_clock: True if the process takes its time from the ledger's `now`.

    Raises:
        LedgerError: It cannot be used.
        ConfigError: The settings name none, or its libraries are not installed.
    """
    if settings.database_url is None:
        raise ConfigError(
            "No database is set; this command needs a shared ledger.",
            "Set SEEDANCE_DATABASE_URL, then run: seedance-mcp migrate",
        )
    ledger = await _open_database(settings, follows_clock=follows_clock)
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def open_existing_ledger(settings: Settings) -> AsyncGenerator[Ledger | None]:
    """Open the ledger where there is one.

    Raises:
        LedgerError: It cannot be used.
    """
    if not settings.has_ledger:
        yield None
        return
    async with open_ledger(settings) as ledger:
        yield ledger


async def migrate_database(settings: Settings) -> Migrated:
    """Make or update the ledger in the database that the settings name.

    Raises:
        LedgerError: It cannot be used.
        ConfigError: The settings name none, or its libraries are not installed.
    """
    url = _find_direct_url(settings)
    from seedance_mcp.adapters.ledger.postgres_migrations import migrate

    return await migrate(url)


async def move_ledger(settings: Settings, file: Path) -> Moved:
    """Move a SQLite ledger into the database that the settings name.

    Raises:
        LedgerError: One of them cannot be used, or the database has a ledger with rows.
        ConfigError: The settings name none, or its libraries are not installed.
    """
    url = _find_direct_url(settings)
    from seedance_mcp.adapters.ledger import moving

    return await moving.move_ledger(file, url)


def _find_direct_url(settings: Settings) -> str:
    if settings.database_direct_url is None:
        raise ConfigError(
            "No database is set, so the ledger is a file, which updates itself.", "Set SEEDANCE_DATABASE_URL."
        )
    _check_database_libraries()
    return settings.database_direct_url


def _check_database_libraries() -> None:
    from importlib.util import find_spec

    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        raise ConfigError("SEEDANCE_DATABASE_URL is set, and psycopg is not installed.", describe_install("hosted"))


def open_studio(
    settings: Settings,
    sign_in: Callable[[Callable[[str], str]], Awaitable[tuple[str, str]]],
    *,
    now: Callable[[], float] = time.time,
) -> Studio:
    """Return the studio's client, to be entered as an async context manager.

    Args:
        settings: Name the studio.
        sign_in: Signs an EIP-4361 text; returns the wallet's checksummed address and the signature.
        now: Unix seconds.
    """
    from seedance_mcp.adapters.studio.client import Address, Studio

    profile = settings.profile
    address = Address(
        studio_url=profile.studio_url,
        blob_url=profile.blob_url,
        chain_id=profile.sign_in_chain,
        allow_loopback_http=profile.allow_loopback_http,
    )
    return Studio(address, sign_in, now=now)


async def open_objects(place: Path | BucketAddress) -> ObjectStore:
    """Open the object store that replicas share; a bucket is sent nothing yet.

    Raises:
        StorageError: A folder cannot be made.
        ConfigError: The library of buckets is not installed.
    """
    if isinstance(place, Path):
        from seedance_mcp.adapters.storage.folder import open_folder

        return await open_folder(place)
    from importlib.util import find_spec

    if find_spec("obstore") is None:
        raise ConfigError("SEEDANCE_OBJECTS_URL is a bucket, and obstore is not installed.", describe_install("hosted"))
    from seedance_mcp.adapters.storage.bucket import open_bucket

    return await open_bucket(place)


async def open_owners_wallet(settings: Settings) -> Wallet:
    """Open the wallet that pays.

    Raises:
        ConfigError: There is none, or its key cannot be read.
    """
    from seedance_mcp.adapters.wallet import open_wallet

    return await open_wallet(*settings.key_places, sandbox=settings.profile.name == "sandbox")


async def read_address(key: str | None, file: Path, password_file: Path | None = None) -> str:
    """Return the checksummed address of a key, or of the one in a file.

    Raises:
        ConfigError: It cannot be read.
    """
    from seedance_mcp.adapters.wallet import open_wallet

    return (await open_wallet(key, file, password_file)).address
