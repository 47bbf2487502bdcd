"""What replicas need of a ledger in a database: payments of dead ones, fenced writes, claims and notices."""

import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.core.wire.responses import Refused, Settled
from tests.adapters.ledger.rows import STUDIO, WALLET, reserve, settle, sign
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

SECONDS = 20
OTHER_HOST = "lease_owner = 'elsewhere#' || split_part(lease_owner, '#', 2)"
"""SQL that makes an owner a process of another machine, of which no process number says anything."""


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
async def replicas(url: str) -> AsyncGenerator[list["PostgresLedger"]]:
    """Three replicas, each with a lease of its own name."""
    from seedance_mcp.adapters.ledger.leases import REPLICA_KEY
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    async with AsyncExitStack() as stack:
        opened = [await PostgresLedger.open(url) for _ in range(3)]
        for ledger in opened:
            stack.push_async_callback(ledger.close)
            assert await ledger.take_lease(REPLICA_KEY + ledger.owner, ledger.owner) is not None
        yield opened


def end_leases(url: str, owner: str) -> None:
    """Let the leases of a replica end, as if it had been frozen."""
    PostgresStore(url).execute(f"UPDATE leases SET until = until - 11 WHERE owner = '{owner}'")  # noqa: S608 - ours


async def add_job(ledger: "PostgresLedger", job_id: str, *, progress: int = 0, ended: bool = False) -> None:
    """Buy a job, and write what the studio reports of it."""
    now = time.time()
    payment = await settle(ledger, await sign(ledger, await reserve(ledger, now=now), now=now), now=now)
    await ledger.add_job(payment, job_id, studio=STUDIO, status="pending", now=now)
    seen = JobStatus(
        job_id=job_id, type=None, status="complete" if ended else "loading", progress=progress, error=None,
        video_url="https://v.example/v.mp4" if ended else None, thumbnail_url=None, input=None, created_at=None,
    )  # fmt: skip
    await ledger.update_job(seen, now=now)


async def sign_one(ledger: "PostgresLedger") -> Payment:
    return await sign(ledger, await reserve(ledger, now=time.time()), now=time.time())


async def claim(ledger: "PostgresLedger", payment: Payment) -> Payment | None:
    return await ledger.claim(payment, lease_until=time.time() + 75, now=time.time())


# ── payments ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_payment_of_a_replica_that_stopped_renewing_is_taken_over(
    replicas: list["PostgresLedger"], url: str
) -> None:
    frozen, other, third = replicas
    payment = await sign_one(frozen)
    assert await claim(other, payment) is None
    assert await other.list_left_payments(WALLET) == []

    end_leases(url, frozen.owner)
    seen = await other.find_payment(payment.id)
    assert seen is not None
    assert seen.lease_until == 0
    assert [one.id for one in await other.list_left_payments(WALLET)] == [payment.id]
    taken = await claim(other, payment)
    assert taken is not None
    assert await claim(third, payment) is None
    assert await third.list_left_payments(WALLET) == []


async def test_a_replica_without_a_lease_of_its_own_is_not_taken_for_gone(
    replicas: list["PostgresLedger"], url: str
) -> None:
    payment = await sign_one(replicas[0])
    PostgresStore(url).execute(f"UPDATE payments SET {OTHER_HOST}")  # noqa: S608 - our own words
    assert await claim(replicas[1], payment) is None


async def test_a_frozen_replica_cannot_sign_for_a_reservation_that_was_replaced(
    replicas: list["PostgresLedger"], url: str
) -> None:
    frozen, other, _ = replicas
    now = time.time()
    late = await reserve(frozen, now=now, idempotency_key="same")
    end_leases(url, frozen.owner)
    async with other.lock_budget() as budget:
        found = await budget.find_latest_payment(("same",))
    assert found is not None
    assert not found.counts_against_budget(now)

    await reserve(other, now=now, idempotency_key="same")
    with pytest.raises(LedgerError, match="is not reserved any more"):
        await sign(frozen, late, now=now)
    assert (await other.spend(now)).total_micro_usdc == late.amount_micro_usdc


async def test_a_late_refusal_of_a_replica_that_lost_the_payment_is_not_recorded(
    replicas: list["PostgresLedger"], url: str
) -> None:
    frozen, other, _ = replicas
    payment = await sign_one(frozen)
    end_leases(url, frozen.owner)
    taken = await claim(other, payment)
    assert taken is not None

    late = await frozen.conclude(payment, Refused(reason="nonce used"), now=time.time())
    assert late.state == "signed"
    settled = await other.conclude(taken, Settled(receipt=None, answer=b"{}"), now=time.time())
    assert settled.state == "settled"
    assert (await frozen.conclude(payment, Refused(reason="nonce used"), now=time.time())).state == "settled"


async def test_a_drained_replica_leaves_its_payments_at_once(replicas: list["PostgresLedger"], url: str) -> None:
    drained, other, _ = replicas
    payment = await sign_one(drained)
    await drained.release_leases(drained.owner)
    await other.delete_old_leases()
    assert await claim(other, payment) is not None


async def test_the_lease_of_a_replica_that_ended_long_ago_is_deleted(
    replicas: list["PostgresLedger"], url: str
) -> None:
    PostgresStore(url).execute("UPDATE leases SET until = until - 90000")
    await replicas[0].delete_old_leases()
    PostgresStore(url).execute("DO $$ BEGIN ASSERT (SELECT count(*) FROM leases) = 0; END $$")


# ── fenced writes ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_poller_without_its_lease_writes_nothing(replicas: list["PostgresLedger"], url: str) -> None:
    first, second, _ = replicas
    await add_job(first, "j")
    lease = await first.take_lease("poll:0x", first.owner)
    assert lease is not None
    fenced = first.under_lease(lease)
    assert await fenced.expire_job("j", error="x", now=1.0)
    await first.release_lease(lease)
    assert await second.is_free("poll:0x")
    assert await second.take_lease("poll:0x", second.owner) is not None
    with pytest.raises(LedgerError, match="Another replica now has the lease poll:0x"):
        await fenced.revive_job("j")
    job = await fenced.find_job("j")
    assert job is not None
    assert job.status == "failed"


# ── claims ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def claim_unsaved(ledger: "PostgresLedger") -> str | None:
    found = await ledger.claim_unsaved(studio=STUDIO, wallet=WALLET.lower(), owner=ledger.owner)
    return None if found is None else found.job.job_id


async def test_each_finished_job_is_claimed_by_one_replica(replicas: list["PostgresLedger"]) -> None:
    for number in range(7):
        await add_job(replicas[0], f"j{number}", ended=number < 6)
    claimed: list[str | None] = []

    async def take(ledger: "PostgresLedger") -> None:
        while (found := await claim_unsaved(ledger)) is not None:
            claimed.append(found)

    async with anyio.create_task_group() as tasks:
        for ledger in replicas:
            tasks.start_soon(take, ledger)
    assert sorted(claimed, key=str) == [f"j{number}" for number in range(6)]


async def test_a_claim_that_lapsed_goes_to_another_replica_and_fences_the_first(
    replicas: list["PostgresLedger"], url: str
) -> None:
    first, second, _ = replicas
    await add_job(first, "j", ended=True)
    assert await claim_unsaved(first) == "j"
    assert await first.renew_claims(["j"], first.owner) == {"j"}
    PostgresStore(url).execute("UPDATE jobs SET claim_until = claim_until - 61")
    assert await first.renew_claims(["j"], first.owner) == frozenset()
    assert await claim_unsaved(second) == "j"
    with pytest.raises(LedgerError, match="Another replica now saves the video"):
        await first.under_claim("j").finish_job("j", file="/late.mp4", thumbnail=None)
    done = await second.under_claim("j").finish_job("j", file="/v.mp4", thumbnail=None)
    assert (done.file, await claim_unsaved(first)) == ("/v.mp4", None)


async def test_a_failed_download_is_tried_again_later_or_when_a_caller_waits(replicas: list["PostgresLedger"]) -> None:
    first, second, _ = replicas
    await add_job(first, "j", ended=True)
    assert await claim_unsaved(first) == "j"
    await first.give_up_claim("j", first.owner, problem="disk full", retry_seconds=60)
    assert await claim_unsaved(second) is None
    assert [one.problem for one in await second.follow_jobs(["j"])] == ["disk full"]
    await second.want_job("j")
    assert [one.problem for one in await second.follow_jobs(["j", "unknown"])] == [None]
    assert await claim_unsaved(second) == "j"


async def test_running_jobs_are_those_of_the_wallet_that_the_studio_has_not_ended(
    replicas: list["PostgresLedger"],
) -> None:
    await add_job(replicas[0], "running", progress=5)
    await add_job(replicas[0], "ended", ended=True)
    assert await replicas[1].list_running(studio=STUDIO, wallet=WALLET.lower()) == {"running"}
    assert await replicas[1].list_running(studio=STUDIO, wallet="0xother") == frozenset()


# ── notices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_change_of_a_job_is_heard_by_replicas(replicas: list["PostgresLedger"], url: str) -> None:
    from seedance_mcp.adapters.ledger.claims import CHANNELS
    from seedance_mcp.adapters.ledger.listening import listen

    heard: list[tuple[str, str]] = []
    news = anyio.Event()

    def hear(channel: str, text: str) -> None:
        nonlocal news
        heard.append((channel, text))
        news.set()
        news = anyio.Event()

    async def until(*expected: tuple[str, str]) -> None:
        while not set(expected) <= set(heard):
            await news.wait()
        heard.clear()

    ledger = replicas[0]
    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(listen, url, CHANNELS, hear, owner="a"))
            await until(("", ""))
            await add_job(ledger, "j", ended=True)
            await until(("seedance_jobs", "j"), ("seedance_unsaved", "j"))
            await ledger.want_job("j")
            await until(("seedance_wanted", "j"))
            await ledger.release_leases(ledger.owner)
            await until(("seedance_leases", f"replica:{ledger.owner}"))
            PostgresStore(url).execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%LISTEN %'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            await until(("", ""))
            await ledger.report_problem("j", "away")
            await until(("seedance_jobs", "j"))
            await claim_unsaved(ledger)
            await ledger.renew_claims(["j"], ledger.owner)
            assert heard == [], "a claim is no news of a job"
            tasks.cancel_scope.cancel()
