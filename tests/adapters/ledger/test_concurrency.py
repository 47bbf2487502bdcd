"""Tasks of one process on one ledger: nothing blocks the event loop, and nothing is half written."""

import contextlib
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.core.errors import BudgetExceededError, LedgerError
from seedance_mcp.core.limits import Spend
from tests.adapters.ledger.rows import NOW, WALLET, reserve, write_offer, write_request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
async def ledger(file: Path) -> AsyncGenerator[SQLiteLedger]:
    opened = await SQLiteLedger.open(file)
    yield opened
    await opened.close()


def lock(file: Path) -> sqlite3.Connection:
    """Begin a transaction as another process would."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


async def test_a_locked_file_does_not_block_the_event_loop(ledger: SQLiteLedger, file: Path) -> None:
    other = lock(file)

    async def unlock() -> None:
        await anyio.lowlevel.checkpoint()
        other.execute("COMMIT")  # only a free event loop gets here before the write gives up

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(unlock)
        await reserve(ledger)
    other.close()
    assert (await ledger.spend(NOW)).total_micro_usdc == 40_000


async def test_a_cancelled_call_still_writes_what_it_began(ledger: SQLiteLedger, file: Path) -> None:
    other = lock(file)
    scope = anyio.CancelScope()
    went_on = False

    async def freeze() -> None:
        nonlocal went_on
        with scope:
            await ledger.freeze("stop", now=NOW)
            await anyio.lowlevel.checkpoint()
            went_on = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(freeze)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        other.execute("COMMIT")
    other.close()
    found = await ledger.find_freeze()
    assert found is not None
    assert found.reason == "stop"
    assert not went_on, "the cancellation is delivered once the row is written"


async def test_a_cancelled_transaction_still_commits_as_a_whole(ledger: SQLiteLedger) -> None:
    with anyio.CancelScope() as scope:
        async with ledger.lock_budget() as transaction:
            scope.cancel()
            await transaction.reserve(write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
            assert (await transaction.spend(NOW)).total_micro_usdc == 40_000
    assert (await ledger.spend(NOW)).total_micro_usdc == 40_000


async def test_another_task_reads_nothing_of_an_open_transaction(ledger: SQLiteLedger) -> None:
    seen: list[Spend] = []

    async def read() -> None:
        seen.append(await ledger.spend(NOW))

    async with anyio.create_task_group() as tasks:
        with pytest.raises(LookupError):  # noqa: PT012 - the block is the test
            async with ledger.lock_budget() as transaction:
                await transaction.reserve(
                    write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW
                )
                tasks.start_soon(read)
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                raise LookupError
    assert seen == [Spend()], "the transaction was rolled back"


async def test_tasks_reserve_one_after_the_other(ledger: SQLiteLedger) -> None:
    granted: list[int] = []

    async def buy() -> None:
        with contextlib.suppress(BudgetExceededError):
            granted.append((await reserve(ledger, 400, cap=1_000)).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(buy)
    assert len(granted) == 2
    assert (await ledger.spend(NOW)).total_micro_usdc == 800


async def test_a_closed_ledger_says_so(ledger: SQLiteLedger) -> None:
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        await ledger.spend(NOW)
