"""A server of several callers, without HTTP: one ledger in PostgreSQL, and the services of each caller."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.app.caller_parts import choose_parts
from seedance_mcp.app.services import Parts, Services, build_services
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.callers import Caller, CallerCaps, CallerScope

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger


@dataclass(frozen=True)
class Team:
    """One replica.

    Attributes:
        ledger: Of everyone.
        base: The services of the replica itself.
        parts: What services are made of.
        scope: Whether callers share their purchases.
    """

    ledger: "PostgresLedger"
    base: Services
    parts: Parts
    scope: CallerScope

    def of(self, caller: Caller) -> Services:
        """Make the services of a caller."""
        parts = choose_parts(self.parts, self.ledger, caller, scope=self.scope)
        return build_services(parts, self.base.wallet, shared=self.base)


async def add_caller(url: str, name: str, *scopes: str, **caps: int) -> Caller:
    """Add a caller as the owner does; returns it as its token finds it."""
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    caller = await _add(ledger, name, *scopes, **caps)
    await ledger.close()
    return caller


async def add_callers(url: str, *names: str) -> list[Caller]:
    """Add callers with the usual scopes: to open the ledger takes longest."""
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    callers = [await _add(ledger, name) for name in names]
    await ledger.close()
    return callers


async def _add(ledger: "PostgresLedger", name: str, *scopes: str, **caps: int) -> Caller:
    token = await ledger.add_caller(name, frozenset(scopes or ("read", "spend")), CallerCaps(**caps))
    caller = await ledger.find_caller(token.id, token.sha256)
    assert caller is not None
    return caller


@asynccontextmanager
async def open_team(
    settings: Settings, *, scope: CallerScope = "caller", defaults: CallerCaps | None = None
) -> AsyncGenerator[Team]:
    """Open what a replica opens."""
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
    ledger = (await PostgresLedger.open(settings.database_url or "")).with_defaults(defaults or CallerCaps())
    async with anyio.create_task_group() as tasks, Studio(address, sign_in) as studio:

        def start(work: Callable[[], Awaitable[None]]) -> None:
            async def run() -> None:
                await work()

            tasks.start_soon(run)

        parts = Parts(settings=settings, ledger=ledger, studio=studio, start=start)
        yield Team(ledger, build_services(parts, wallet), parts, scope)
        tasks.cancel_scope.cancel()
    await ledger.close()
