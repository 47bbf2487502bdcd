"""Tasks of one process on one ledger: nothing blocks the event loop, and nothing is half written."""

import contextlib

import anyio
import anyio.lowlevel
import pytest

from seedance_mcp.core.errors import BudgetExceededError, LedgerError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Spend
from tests.adapters.ledger.rows import NOW, WALLET, reserve, write_offer, write_request
from tests.ledgers import Store


async def test_a_locked_ledger_does_not_block_the_event_loop(ledger: Ledger, store: Store) -> None:
    commit = store.lock()

    async def unlock() -> None:
        await anyio.lowlevel.checkpoint()
        commit()  # only a free event loop gets here before the write gives up

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(unlock)
        await reserve(ledger)
    assert (await ledger.spend(NOW)).total_micro_usdc == 40_000


async def test_a_cancelled_call_still_writes_what_it_began(ledger: Ledger, store: Store) -> None:
    commit = store.lock()
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
        commit()
    found = await ledger.find_freeze()
    assert found is not None
    assert found.reason == "stop"
    assert not went_on, "the cancellation is delivered once the row is written"


async def test_a_cancelled_transaction_still_commits_as_a_whole(ledger: Ledger) -> None:
    with anyio.CancelScope() as scope:
        async with ledger.lock_budget() as transaction:
            scope.cancel()
            await transaction.reserve(write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
            assert (await transaction.spend(NOW)).total_micro_usdc == 40_000
    assert (await ledger.spend(NOW)).total_micro_usdc == 40_000


async def test_another_task_reads_nothing_of_an_open_transaction(ledger: Ledger) -> None:
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


async def test_tasks_reserve_one_after_the_other(ledger: Ledger) -> None:
    granted: list[int] = []

    async def buy() -> None:
        with contextlib.suppress(BudgetExceededError):
            granted.append((await reserve(ledger, 400, cap=1_000)).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(buy)
    assert len(granted) == 2
    assert (await ledger.spend(NOW)).total_micro_usdc == 800


@pytest.mark.parametrize(("store", "writers"), [("sqlite", 8), ("postgres", 16)], indirect=["store"])
async def test_writers_with_connections_of_their_own_reach_the_cap_exactly(store: Store, writers: int) -> None:
    granted: list[int] = []

    async def buy() -> None:
        mine = await store.open()
        for _ in range(4):
            with contextlib.suppress(BudgetExceededError):
                granted.append((await reserve(mine, 400, cap=4_000)).amount_micro_usdc)
        await mine.close()

    ledger = await store.open()
    async with anyio.create_task_group() as tasks:
        for _ in range(writers):
            tasks.start_soon(buy)
    spent = (await ledger.spend(NOW)).total_micro_usdc
    await ledger.close()
    assert sum(granted) == spent == 4_000


async def test_a_closed_ledger_says_so(ledger: Ledger) -> None:
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        await ledger.spend(NOW)
