"""Callers in the database: what each may see and spend, and what stops one of them."""

import contextlib
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_mcp.core.callers import CallerCaps
from seedance_mcp.core.errors import BudgetExceededError, LedgerError, SpendingFrozenError
from seedance_mcp.core.freezes import check_not_frozen
from seedance_mcp.core.limits import Approval, Limits
from seedance_mcp.core.records import Payment
from seedance_mcp.payments.policy import check_caps, check_price
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, settle, sign, write_offer, write_request
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

WRITERS = 16
CALLERS = ("ann", "bob", "cid", "dot", "eve")


@pytest.fixture
def store() -> Generator[PostgresStore]:
    """A database with the budgets of five callers."""
    with require_postgres().database() as url:
        made = PostgresStore(url)
        for name in CALLERS:
            made.execute(f"INSERT INTO budgets (scope) VALUES ('{name}')")  # noqa: S608 - our own words
        yield made


@pytest.fixture
async def ledger(store: PostgresStore) -> AsyncGenerator["PostgresLedger"]:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    opened = await PostgresLedger.open(store.address)
    yield opened
    await opened.close()


def cap(store: PostgresStore, caller: str, **caps: int) -> None:
    changes = ", ".join(f"{name} = {value}" for name, value in caps.items())
    store.execute(f"UPDATE budgets SET {changes} WHERE scope = '{caller}'")  # noqa: S608 - our own words


async def buy(ledger: "PostgresLedger", amount: int = 100, *, key: str | None = None, now: float = NOW) -> Payment:
    """Reserve as the executor does, within the freezes and caps that the database keeps."""
    async with ledger.lock_budget() as budget:
        check_not_frozen(await budget.find_freeze())
        check_caps(amount, await budget.find_caps(now))
        return await budget.reserve(
            write_request(key or f"{id(budget)}-{amount}"),
            write_offer(amount),
            wallet=WALLET,
            hold_until=int(now) + 60,
            now=now,
        )


async def make_job(ledger: "PostgresLedger", caller: str, amount: int = 100) -> str:
    """Pay for a job of a caller; returns its id."""
    own = ledger.for_caller(caller)
    payment = await settle(own, await sign(own, await buy(own, amount, key=f"{caller}-{amount}")))
    await ledger.add_job(payment, f"job-{caller}", studio=STUDIO, status="pending", now=NOW)
    return f"job-{caller}"


async def test_a_caller_sees_its_own_payments_and_jobs_alone(ledger: "PostgresLedger") -> None:
    mine, theirs = await make_job(ledger, "ann", 100), await make_job(ledger, "bob", 70)
    await sign(ledger.for_caller("bob"), await buy(ledger.for_caller("bob"), 30))
    ann = ledger.for_caller("ann")

    assert [job.job_id for job in await ann.recent_jobs(9)] == [mine]
    assert await ann.find_job(theirs) is await ann.find_job("unknown") is None
    assert {payment.caller for payment in await ann.recent_payments(9)} == {"ann"}
    assert await ann.held_payments(NOW) == []
    assert (await ann.find_visible_spend(NOW)).total_micro_usdc == 100


async def test_the_owner_and_who_is_allowed_see_everything(ledger: "PostgresLedger") -> None:
    await make_job(ledger, "ann", 100)
    await make_job(ledger, "bob", 70)

    for seeing in (ledger, ledger.for_caller("ann", sees_jobs=True, sees_sums=True)):
        assert len(await seeing.recent_jobs(9)) == len(await seeing.recent_payments(9)) == 2
        assert await seeing.find_visible_spend(NOW) == await ledger.spend(NOW)


async def test_what_keeps_from_paying_twice_reads_everyones_rows(ledger: "PostgresLedger") -> None:
    """Another caller's job must not look like one that no payment of the wallet made."""
    theirs = await make_job(ledger, "bob")
    held = await sign(ledger.for_caller("bob"), await buy(ledger.for_caller("bob"), 30))
    ann = ledger.for_caller("ann")

    assert await ann.has_job(theirs)
    assert [payment.id for payment in await ann.awaited_payments(WALLET, NOW)] == [held.id]
    assert await ann.find_payment(held.id) is not None


async def test_no_text_for_a_caller_names_what_others_spent(ledger: "PostgresLedger", store: PostgresStore) -> None:
    cap(store, "", max_per_day_micro_usdc=200)
    await make_job(ledger, "bob", 170)
    ann = ledger.for_caller("ann")

    with pytest.raises(BudgetExceededError) as refused:
        await buy(ann, 40)
    with pytest.raises(BudgetExceededError) as limited:
        check_price(40, Limits(max_per_day_micro_usdc=200), spend=await ann.spend(NOW), approval=Approval(40, "so"))

    assert "$0.00004 is more than is left of the wallet's budget per day." in refused.value.what
    assert "$0.00004 is more than is left of the budget for 24 hours (SEEDANCE_MAX_PER_DAY)." in limited.value.what


async def test_defaults_hold_for_callers_without_caps_of_their_own(
    ledger: "PostgresLedger", store: PostgresStore
) -> None:
    cap(store, "bob", max_per_day_micro_usdc=300)
    limited = ledger.with_defaults(CallerCaps(max_per_day_micro_usdc=150, max_open=9))
    ann, bob = limited.for_caller("ann"), limited.for_caller("bob")

    await buy(ann, 150)
    with pytest.raises(BudgetExceededError, match="caller's budget per day"):
        await buy(ann, 1)
    await buy(bob, 300)
    await buy(limited, 900)  # the owner is no caller
    assert [type(one).__name__ for one in await bob.find_caps(NOW)] == ["BudgetCap", "OpenCap"]


async def test_open_purchases_are_bounded_until_their_jobs_end(ledger: "PostgresLedger", store: PostgresStore) -> None:
    cap(store, "ann", max_open=2)
    ann = ledger.for_caller("ann")
    await make_job(ledger, "ann", 1)
    await make_job(ledger, "bob", 2)
    paid = await settle(ann, await sign(ann, await buy(ann, 3)))  # its job is not known yet

    with pytest.raises(BudgetExceededError, match="2 of 2 purchases are open"):
        await buy(ann, 4)
    await ledger.add_job(paid, "second", studio=STUDIO, status="pending", now=NOW)
    with pytest.raises(BudgetExceededError):
        await buy(ann, 4)
    store.execute("UPDATE jobs SET status = 'failed' WHERE job_id = 'second'")
    assert (await buy(ann, 4)).caller == "ann"


async def test_five_callers_at_once_reach_every_cap_exactly(ledger: "PostgresLedger", store: PostgresStore) -> None:
    caps = {"ann": 1_000, "bob": 700, "cid": 400, "dot": 900, "eve": 100}
    for caller, amount in caps.items():
        cap(store, caller, max_per_day_micro_usdc=amount)
    cap(store, "cid", max_open=3)
    cap(store, "", max_total_micro_usdc=2_000)
    granted = dict.fromkeys(CALLERS, 0)

    async def spend(number: int) -> None:
        for turn in range(3):
            caller = CALLERS[(number + turn) % 5]
            with contextlib.suppress(BudgetExceededError):
                paid = await buy(ledger.for_caller(caller), key=f"{number}-{turn}")
                granted[caller] += paid.amount_micro_usdc

    async with anyio.create_task_group() as tasks:
        for number in range(WRITERS):
            tasks.start_soon(spend, number)

    assert sum(granted.values()) == 2_000, "the wallet's cap is reached exactly"
    assert all(granted[caller] <= caps[caller] for caller in CALLERS)
    assert granted["cid"] <= 300
    assert (await ledger.spend(NOW)).total_micro_usdc == 2_000
    assert [(await ledger.for_caller(one).find_usage(NOW)).spend.total_micro_usdc for one in CALLERS] == list(
        granted.values()
    )


async def test_a_freeze_of_one_caller_stops_it_alone(ledger: "PostgresLedger") -> None:
    ann, bob = ledger.for_caller("ann"), ledger.for_caller("bob")
    reserved = await buy(ann)
    await ann.freeze("leaked token", now=NOW)

    with pytest.raises(SpendingFrozenError, match="leaked token"):
        await buy(ann)
    with pytest.raises(SpendingFrozenError):
        await sign(ann, reserved)
    await sign(bob, await buy(bob))
    assert await ledger.find_freeze() is None
    assert await ann.unfreeze()
    await buy(ann)


async def test_a_freeze_of_everything_stops_every_caller(ledger: "PostgresLedger") -> None:
    ann = ledger.for_caller("ann")
    await ann.freeze("ann's", now=NOW)
    await ledger.freeze("all", now=NOW)

    with pytest.raises(SpendingFrozenError, match="all"):
        await buy(ann)
    assert await ledger.unfreeze()
    with pytest.raises(SpendingFrozenError, match="ann's"):
        await buy(ann)


async def test_an_unknown_caller_cannot_be_frozen(ledger: "PostgresLedger") -> None:
    with pytest.raises(LedgerError, match="no budget for this caller"):
        await ledger.for_caller("zoe").freeze("", now=NOW)
