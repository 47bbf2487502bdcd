"""Reservations in PostgreSQL: how many a second, against a bare psycopg loop of the same statements?

A part of `benchmarks/hosted.py`. Each run has an empty ledger and each writer a connection of its own. The bare loop
sends the statements that the ledger sends, recorded from one reservation, and reads their rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import psycopg
from psycopg.rows import dict_row

from benchmarks.reservations import HOLD_SECONDS, NOW, OFFER
from seedance_mcp.adapters.ledger.callers import CallerTransaction, Viewpoint
from seedance_mcp.adapters.ledger.driver import Row, Session
from seedance_mcp.adapters.ledger.postgres import PostgresLedger
from seedance_mcp.adapters.ledger.postgres_driver import PostgresDriver, connection_settings, translate_query
from seedance_mcp.core.error_base import PaymentState
from seedance_mcp.core.wire.responses import PaidRequest
from tests.postgres import start_cluster

ROUNDS = 3
"""How often each pair is measured; the median counts."""
BEGIN = """BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '10s';
    SET LOCAL idle_in_transaction_session_timeout = '5s';
    SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) AS now;
    SELECT 1 AS locked FROM budgets WHERE scope = '' FOR UPDATE;
    SELECT 1 AS locked FROM budgets WHERE scope = 'bench' FOR UPDATE"""
CALLER = "bench"
VIEWPOINT = Viewpoint(caller=CALLER, sees_jobs=False, sees_sums=False)
ADD_CALLER = """
    INSERT INTO callers (id, name, created_at) VALUES ('bench', 'bench', 0);
    INSERT INTO budgets (scope, max_per_day_micro_usdc, max_total_micro_usdc) VALUES ('bench', 1e12, 1e12)"""

Statement = tuple[str, dict[str, object]]
Reserve = Callable[[str], Coroutine[Any, Any, None]]
"""Makes one reservation, under a key."""


class Recorder:
    """A session that notes its statements."""

    def __init__(self, session: Session) -> None:
        self.statements: list[Statement] = []
        self.owner = session.owner
        self.owner_is_gone = session.owner_is_gone
        self._session = session

    async def fetch_all(self, query: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Note and run a statement."""
        self.statements.append((query, dict(parameters or {})))
        return await self._session.fetch_all(query, parameters)

    async def fetch_one(self, query: str, parameters: Mapping[str, object] | None = None) -> Row | None:
        """Note and run a statement."""
        rows = await self.fetch_all(query, parameters)
        return rows[0] if rows else None

    async def execute(self, query: str, parameters: Mapping[str, object] | None = None) -> int:
        """Note and run a statement."""
        self.statements.append((query, dict(parameters or {})))
        return await self._session.execute(query, parameters)

    async def execute_many(self, query: str, parameters: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that no reservation has."""
        await self._session.execute_many(query, parameters)

    async def check_storage(
        self, *, payment_state: PaymentState = "none", amount_micro_usdc: int = 0, payment_id: int | None = None
    ) -> None:
        """Do nothing."""


def build_request(key: str) -> PaidRequest:
    """Return a request of its own for each key."""
    return PaidRequest(purpose="generation", idempotency_key=key, url="https://s/api", body=b"{}")


async def reserve(transaction: CallerTransaction, key: str) -> None:
    """Do what an executor does before it signs."""
    request = build_request(key)
    await transaction.find_latest_payment(request.keys)
    await transaction.find_freeze()
    await transaction.find_recipients("https://s", OFFER.network)
    await transaction.spend(NOW)
    await transaction.find_caps(NOW)
    await transaction.reserve(request, OFFER, wallet="0x0", hold_until=int(NOW) + HOLD_SECONDS, now=NOW)


@contextmanager
def make_database() -> Generator[str]:
    """Make an empty ledger with one caller, who has caps; yields its URL."""
    with start_cluster().database() as url:
        with psycopg.connect(url) as connection:
            connection.execute(ADD_CALLER.encode())
        yield url


async def record(url: str) -> list[Statement]:
    """Return the statements of one reservation, between BEGIN and COMMIT."""
    driver = PostgresDriver(url)
    await driver.open()
    async with driver.transaction(budget_of=CALLER) as session:
        recorder = Recorder(session)
        await reserve(CallerTransaction(recorder, VIEWPOINT), "recorded")
    await driver.close()
    return recorder.statements


@asynccontextmanager
async def open_ledger(url: str) -> AsyncGenerator[Reserve]:
    """Open a ledger; yields what reserves with it."""
    ledger = await PostgresLedger.open(url)
    callers = ledger.for_caller(CALLER)

    async def reserve_one(key: str) -> None:
        async with callers.lock_budget() as transaction:
            await reserve(transaction, key)

    await reserve_one("warm")
    yield reserve_one
    await ledger.close()


def make_bare(statements: list[Statement]) -> Callable[[str], AbstractAsyncContextManager[Reserve]]:
    """Return what opens a bare connection; what it yields sends the recorded statements."""
    queries = [(translate_query(query), parameters) for query, parameters in statements]
    keys = ("key", "key_0")

    @asynccontextmanager
    async def open_bare(url: str) -> AsyncGenerator[Reserve]:
        connection = await psycopg.AsyncConnection[dict[str, Any]].connect(
            url, row_factory=dict_row, **connection_settings()
        )

        async def reserve_one(key: str) -> None:
            await connection.execute(BEGIN.encode())
            for query, parameters in queries:
                mine = parameters | {name: key for name in keys if name in parameters}
                cursor = await connection.execute(query, mine)
                if cursor.description is not None:
                    await cursor.fetchall()
            await connection.execute(b"COMMIT")

        await reserve_one("warm")
        yield reserve_one
        await connection.close()

    return open_bare


async def measure(
    open_one: Callable[[str], AbstractAsyncContextManager[Reserve]], writers: int, reservations: int
) -> float:
    """Return the reservations per second of some writers on an empty ledger, once all are connected."""
    each = max(1, reservations // writers)

    async def work(reserve_one: Reserve, name: str) -> None:
        for index in range(each):
            await reserve_one(f"{name}-{index}")

    with make_database() as url:
        async with AsyncExitStack() as stack:
            ready = [await stack.enter_async_context(open_one(url)) for _ in range(writers)]
            began = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for number, reserve_one in enumerate(ready):
                    tasks.start_soon(work, reserve_one, str(number))
            return writers * each / (time.perf_counter() - began)


async def compare(writers: int, reservations: int) -> dict[str, float]:
    """Return both rates and their ratio, measured in turns."""
    with make_database() as url:
        bare = make_bare(await record(url))
    pairs = [
        (await measure(open_ledger, writers, reservations), await measure(bare, writers, reservations))
        for _ in range(ROUNDS)
    ]
    return {
        "writers": writers,
        "ledger_per_second": round(statistics.median(ledger for ledger, _ in pairs)),
        "bare_per_second": round(statistics.median(bare for _, bare in pairs)),
        "ratio": round(statistics.median(ledger / bare for ledger, bare in pairs), 2),
    }
