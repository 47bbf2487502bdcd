"""Dead replicas: what a killed process held passes on before its leases end by themselves."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.jobs.dead_replicas import DeadReplicas

KEY = "poll:0x1"
SECONDS = 20


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
async def others(url: str) -> AsyncGenerator[list["PostgresLedger"]]:
    """The one that watches, and the one that polls."""
    from seedance_mcp.adapters.ledger.leases import REPLICA_KEY
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    async with AsyncExitStack() as stack:
        opened = [await PostgresLedger.open(url) for _ in range(2)]
        for ledger in opened:
            stack.push_async_callback(ledger.close)
        _, polling = opened
        for key in (REPLICA_KEY + polling.owner, KEY):
            assert await polling.take_lease(key, polling.owner) is not None
        yield opened


@pytest.fixture
def dead(others: list["PostgresLedger"]) -> "DeadReplicas":
    from seedance_mcp.jobs.dead_replicas import DeadReplicas

    return DeadReplicas(others[0], up_seconds=0)


@asynccontextmanager
async def listening(ledger: "PostgresLedger", url: str) -> AsyncGenerator[None]:
    """Keep the session of a replica open while the block runs."""
    from seedance_mcp.adapters.ledger.claims import CHANNELS
    from seedance_mcp.adapters.ledger.listening import listen
    from seedance_mcp.adapters.ledger.sessions import name_session

    is_open = anyio.Event()

    def hear(channel: str, text: str) -> None:
        is_open.set()

    async def run() -> None:
        await listen(url, CHANNELS, hear, owner=ledger.owner)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        with anyio.fail_after(SECONDS):
            await is_open.wait()
        yield
        tasks.cancel_scope.cancel()
    with anyio.fail_after(SECONDS):
        while name_session(ledger.owner) in await ledger.list_sessions():
            await anyio.sleep(0.01)


def miss_a_renewal(url: str) -> None:
    PostgresStore(url).execute("UPDATE leases SET until = until - 4.5")


async def test_leases_of_a_dead_replica_end_before_their_time(
    others: list["PostgresLedger"], dead: "DeadReplicas", url: str
) -> None:
    watching, polling = others
    async with listening(polling, url):
        await dead.end_leases()
    await dead.end_leases()  # it has renewed a moment ago
    assert not await watching.is_free(KEY)
    miss_a_renewal(url)
    await dead.end_leases()
    assert await watching.is_free(KEY)


async def test_leases_of_a_frozen_replica_last_to_their_end(
    others: list["PostgresLedger"], dead: "DeadReplicas", url: str
) -> None:
    async with listening(others[1], url):
        await dead.end_leases()
        miss_a_renewal(url)
        await dead.end_leases()
        assert not await others[0].is_free(KEY)


async def test_leases_of_a_replica_whose_session_was_never_seen_last_to_their_end(
    others: list["PostgresLedger"], dead: "DeadReplicas", url: str
) -> None:
    miss_a_renewal(url)
    await dead.end_leases()
    await dead.end_leases()
    assert not await others[0].is_free(KEY)


async def test_no_replica_is_dead_just_after_a_start_of_the_database(
    others: list["PostgresLedger"], dead: "DeadReplicas", url: str
) -> None:
    dead.up_seconds = 10**9
    async with listening(others[1], url):
        await dead.end_leases()
    miss_a_renewal(url)
    await dead.end_leases()
    assert not await others[0].is_free(KEY)


async def test_replica_that_renews_in_the_meantime_keeps_its_leases(others: list["PostgresLedger"], url: str) -> None:
    watching, polling = others
    miss_a_renewal(url)
    await polling.renew_leases(polling.owner)
    await watching.end_missed_leases(polling.owner)
    assert not await watching.is_free(KEY)
