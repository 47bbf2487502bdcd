"""A replica takes no calls with a database that may forget a commit, and says why."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

import anyio
import anyio.to_thread
import pytest

from seedance_mcp.adapters.ledger.postgres import PostgresLedger
from seedance_mcp.core.errors import LedgerClosedError
from tests.adapters.ledger.rows import reserve
from tests.hosted.database import DatabaseServer
from tests.hosted.deployment import LOOK_SECONDS, READY_SECONDS, Deployment, Plan, Replica, run_deployment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def deployment() -> AsyncGenerator[Deployment]:
    async with run_deployment(Plan(replicas=1, skewed=False, forked=True)) as deployment:
        yield deployment


@asynccontextmanager
async def started(replica: Replica) -> AsyncGenerator[Replica]:
    replica.log.unlink(missing_ok=True)
    replica.start()
    try:
        yield replica
    finally:
        replica.kill()


async def ask_until_answered(replica: Replica) -> tuple[int, str]:
    with anyio.fail_after(READY_SECONDS):
        while True:
            answer = await replica.ask_ready()
            if answer[0]:
                return answer
            assert replica.is_running, replica.tail()
            await anyio.sleep(LOOK_SECONDS)


async def test_a_database_that_confirms_before_it_writes_is_refused(deployment: Deployment) -> None:
    deployment.database.execute("ALTER DATABASE seedance SET synchronous_commit = off")
    try:
        async with started(deployment.replicas[0]) as replica:
            status, why = await ask_until_answered(replica)
            assert (status, "synchronous_commit is off" in why) == (503, True), why
            assert "synchronous_commit is off" in replica.log.read_text()
    finally:
        deployment.database.execute("ALTER DATABASE seedance RESET synchronous_commit")


async def test_a_role_that_confirms_before_it_writes_is_refused(deployment: Deployment) -> None:
    deployment.database.execute("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        async with started(deployment.replicas[0]) as replica:
            status, why = await ask_until_answered(replica)
            assert (status, "synchronous_commit is off" in why) == (503, True), why
    finally:
        deployment.database.execute("ALTER ROLE postgres RESET synchronous_commit")


async def test_a_standby_is_refused_until_it_is_promoted(deployment: Deployment) -> None:
    replica = deployment.replicas[0]
    usual = dict(replica.environ)
    standby = DatabaseServer(deployment.folder / "standby")
    await anyio.to_thread.run_sync(standby.copy_from, deployment.database)
    standby.start()
    try:
        await anyio.to_thread.run_sync(standby.wait_until_ready)
        replica.environ |= {"SEEDANCE_DATABASE_URL": standby.url, "SEEDANCE_DATABASE_DIRECT_URL": standby.url}
        async with started(replica):
            status, why = await ask_until_answered(replica)
            assert (status, "in recovery" in why) == (503, True), why
            assert "in recovery" in replica.log.read_text()

            standby.execute("SELECT pg_promote()")
            await replica.wait_until_ready()
    finally:
        replica.environ = usual
        standby.stop()


async def test_a_promoted_standby_buys_nothing_before_it_was_read(deployment: Deployment) -> None:
    """A crash and a start of the same server change nothing; the standby may lack what was paid last."""
    deployment.database.crash()
    deployment.database.start()
    await anyio.to_thread.run_sync(deployment.database.wait_until_ready)
    standby = DatabaseServer(deployment.folder / "successor")
    await anyio.to_thread.run_sync(standby.copy_from, deployment.database)
    standby.start()
    try:
        await anyio.to_thread.run_sync(standby.wait_until_ready)
        standby.execute("SELECT pg_promote()")
        for url, is_closed in ((deployment.database.url, False), (standby.url, True)):
            ledger = await PostgresLedger.open(url)
            with pytest.raises(LedgerClosedError) if is_closed else nullcontext():
                await reserve(ledger)
            assert (await ledger.find_closing() is not None) is is_closed
            await ledger.close()
    finally:
        standby.stop()
