"""Replicas for tests: each has services and background tasks of its own, on one database and one sandbox.

As a program (`python -m tests.jobs.replicas`) it is one replica, which buys what its standard input asks for:
`buy PICTURE TAKE`. It prints its process number first.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.app.opening import open_studio
from seedance_mcp.app.parts import Parts, Services
from seedance_mcp.app.services import build_services
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.records import Job
from seedance_mcp.generation.request import VideoRequest

if TYPE_CHECKING:  # psycopg may be missing where the tests are collected
    from seedance_mcp.app.replica import Replica

WAIT_SECONDS = 30
BUY = "buy"


@dataclass
class Machine:
    """One replica.

    Attributes:
        changes: Ids of the jobs that its callers were told a change of.
    """

    services: Services
    replica: "Replica"
    changes: list[str] = field(default_factory=list[str])

    async def buy(self, picture: Path | str, take: int = 1, *, wait: float = WAIT_SECONDS) -> Job:
        """Order a video and wait for it as a tool does."""
        request = VideoRequest(image=str(picture), prompt="x", take=take)
        result = await self.services.generation.generate(request, deadline=anyio.current_time() + wait)
        assert result.job is not None
        return result.job

    async def order(self, picture: Path | str, take: int = 1) -> Job:
        """Order a video and wait until it is bought."""
        job = None
        while job is None:
            request = VideoRequest(image=str(picture), prompt="x", take=take)
            job = (await self.services.generation.generate(request, deadline=anyio.current_time() + 0.5)).job
        return job

    async def get(self, job_id: str, *, wait: float = WAIT_SECONDS) -> Job:
        """Wait for a job as a tool does."""
        return await self.services.jobs.get(job_id, deadline=anyio.current_time() + wait)


@asynccontextmanager
async def open_machine(
    environ: Mapping[str, str],
    *,
    resumes: bool = False,
    now: Callable[[], float] = time.time,
    find_keys: Callable[[], tuple[bytes, ...]] | None = None,
    caller: str = "",
) -> AsyncGenerator[Machine]:
    """Start a replica on these settings; it ends like one that is drained.

    Args:
        environ: Settings.
        resumes: Whether it also looks into what is not over, as a server does.
        now: Its clock.
        find_keys: Returns the state keys; None sends no webhook messages.
        caller: Id of the caller who buys; empty for the owner.
    """
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.app.replica import open_replica

    settings = read_settings(dict(environ))
    wallet = await open_wallet(settings.wallet_key, settings.wallet_file)
    changes: list[str] = []

    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    async with AsyncExitStack() as stack:
        ledger = await PostgresLedger.open(settings.database_url or "", clock=now)
        stack.push_async_callback(ledger.close)
        studio = await stack.enter_async_context(open_studio(settings, sign_in))
        tasks = anyio.create_task_group()

        def start(work: Callable[[], Awaitable[None]]) -> None:
            tasks.start_soon(_run, work)

        parts = Parts(settings=settings, ledger=ledger, studio=studio, start=start, now=now)
        replica = await stack.enter_async_context(
            open_replica(parts, wallet.address, owner=ledger.owner, changed=changes.append, find_keys=find_keys)
        )
        await stack.enter_async_context(tasks)  # it ends before what its tasks use
        services = build_services(replace(parts, ledger=ledger.for_caller(caller), follower=replica.follower), wallet)
        start(lambda: replica.run(services.generation.purchaser.take_over))
        if resumes:
            start(services.generation.resume)
        yield Machine(services, replica, changes)
        tasks.cancel_scope.cancel()


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _serve() -> None:
    async with open_machine(os.environ, resumes=True) as machine, anyio.create_task_group() as tasks:
        await machine.services.studio.list_jobs()
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().split():
            if line[0] == BUY:
                tasks.start_soon(machine.buy, line[1], int(line[2]))
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(_serve)
