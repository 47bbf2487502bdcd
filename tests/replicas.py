"""Replicas in the test's process: services with one ledger in PostgreSQL and one store of objects."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.app.services import Parts, Services, build_services
from seedance_mcp.app.video_links import VideoLinks, derive_keys
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.jobs.archive import SharedArchive
from tests.shelves import Shelf

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

PUBLIC_URL = "http://videos.test"
KEYS = derive_keys([b"k" * 32])


def read_replica_settings(sandbox: "Sandbox", key: str, folder: Path, url: str) -> Settings:
    """Return the settings of a replica with a data folder of its own."""
    return read_settings(
        {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": sandbox.url,
            "SEEDANCE_WALLET_KEY": key,
            "SEEDANCE_DATA_DIR": str(folder),
            "SEEDANCE_DATABASE_URL": url,
        }
    )


@asynccontextmanager
async def open_replica(settings: Settings, shelf: Shelf) -> AsyncGenerator[Services]:
    """Open the services of one replica; they end with the block, in the middle of whatever they do."""
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    wallet = await open_wallet(settings.wallet_key, settings.wallet_file)

    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    profile = settings.profile
    address = Address(
        studio_url=profile.studio_url,
        blob_url=profile.blob_url,
        chain_id=profile.sign_in_chain,
        allow_loopback_http=profile.allow_loopback_http,
    )
    async with AsyncExitStack() as stack:
        ledger: PostgresLedger = await PostgresLedger.open(settings.database_url or "")
        stack.push_async_callback(ledger.close)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        studio = await stack.enter_async_context(Studio(address, sign_in))

        def start(work: Callable[[], Awaitable[None]]) -> None:
            async def run() -> None:
                await work()

            tasks.start_soon(run)

        archive = SharedArchive(settings.data_dir / "downloads", await shelf.open(), ledger)
        links = VideoLinks(public_url=PUBLIC_URL, keys=KEYS, seconds=900)
        parts = Parts(settings=settings, ledger=ledger, studio=studio, start=start, shared=archive, links=links)
        yield build_services(parts, wallet)
        tasks.cancel_scope.cancel()
