"""Opening: the one place that opens the ledger, the studio's client and the wallet that the owner's settings name.

Each function imports what it opens when it is called, so that no start waits for a database or an HTTP client.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
    from seedance_mcp.adapters.studio.client import Studio
    from seedance_mcp.adapters.wallet import Wallet
    from seedance_mcp.config.settings import Settings


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncGenerator[SQLiteLedger]:
    """Open the ledger, making it where there is none.

    Raises:
        LedgerError: It cannot be used.
    """
    from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger

    ledger = await SQLiteLedger.open(settings.ledger_file)
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def open_existing_ledger(settings: Settings) -> AsyncGenerator[SQLiteLedger | None]:
    """Open the ledger where there is one.

    Raises:
        LedgerError: It cannot be used.
    """
    if not settings.ledger_file.exists():
        yield None
        return
    async with open_ledger(settings) as ledger:
        yield ledger


def open_studio(settings: Settings, sign_in: Callable[[Callable[[str], str]], Awaitable[tuple[str, str]]]) -> Studio:
    """Return the studio's client, to be entered as an async context manager.

    Args:
        settings: Name the studio.
        sign_in: Signs an EIP-4361 text; returns the wallet's checksummed address and the signature.
    """
    from seedance_mcp.adapters.studio.client import Address, Studio

    profile = settings.profile
    address = Address(
        studio_url=profile.studio_url,
        blob_url=profile.blob_url,
        chain_id=profile.sign_in_chain,
        allow_loopback_http=profile.allow_loopback_http,
    )
    return Studio(address, sign_in)


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
