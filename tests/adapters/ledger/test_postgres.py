"""The ledger in a PostgreSQL database: its schema, its clock, its callers, and what happens if it goes away."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_mcp.core.errors import BudgetExceededError, LedgerError
from seedance_mcp.core.limits import BudgetCap
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.payments.policy import check_caps
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, reserve, settle, sign, write_offer, write_request
from tests.ledgers import PostgresStore
from tests.postgres import BOUNCER_PORT, Cluster, require_postgres, start_bouncer

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

AHEAD_SECONDS = 60
SOCKET = ".s.PGSQL.5432"
WRITERS = 16
DAY = 24 * 3600


@pytest.fixture
def cluster() -> Cluster:
    return require_postgres()


@pytest.fixture
def url(cluster: Cluster) -> Generator[str]:
    with cluster.database() as made:
        yield made


@pytest.fixture
def empty_url(cluster: Cluster) -> Generator[str]:
    """A database without a ledger."""
    with cluster.database(template="template0") as made:
        yield made


@pytest.fixture
async def ledger(url: str) -> AsyncGenerator["PostgresLedger"]:
    async with open_one(url) as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_one(url: str, **options: Any) -> AsyncGenerator["PostgresLedger"]:
    """Open a ledger as another replica does."""
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    opened = await PostgresLedger.open(url, **options)
    try:
        yield opened
    finally:
        await opened.close()


def add_caller(url: str, caller: str, **caps: int) -> None:
    """Make a caller's budget, with caps such as `max_per_day_micro_usdc`."""
    columns, values = ", ".join(["scope", *caps]), ", ".join([f"'{caller}'", *map(str, caps.values())])
    PostgresStore(url).execute(f"INSERT INTO budgets ({columns}) VALUES ({values})")  # noqa: S608 - our own words


async def buy(ledger: "PostgresLedger", amount: int, *, now: float = NOW) -> Payment:
    """Reserve as the executor does, within the caps that the database keeps."""
    async with ledger.lock_budget() as budget:
        check_caps(amount, await budget.find_caps(now))
        return await budget.reserve(
            write_request(f"{now}-{time.monotonic()}"),
            write_offer(amount),
            wallet=WALLET,
            hold_until=int(now) + 60,
            now=now,
        )


# ── schema ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_database_without_a_ledger_names_the_command_to_run(empty_url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    with pytest.raises(LedgerError, match=r"has no ledger yet.* Run once: seedance-mcp migrate"):
        await PostgresLedger.open(empty_url)


async def test_migrating_twice_changes_nothing(empty_url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres_migrations import SCRIPTS, Migrated, migrate

    assert await migrate(empty_url) == Migrated(0, len(SCRIPTS))
    assert await migrate(empty_url) == Migrated(len(SCRIPTS), len(SCRIPTS))


async def test_processes_that_migrate_at_once_make_one_ledger(empty_url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres_migrations import SCRIPTS, migrate

    done = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))

    assert sorted(one.before for one in done) == [0, len(SCRIPTS), len(SCRIPTS), len(SCRIPTS)]


async def test_a_newer_ledger_is_not_touched(url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.ledger.postgres_migrations import migrate

    PostgresStore(url).execute("INSERT INTO ledger_versions VALUES (99, now())")
    for refused in (PostgresLedger.open(url), migrate(url)):
        with pytest.raises(LedgerError, match=r"newer version .* Update seedance-mcp"):
            await refused


async def test_a_database_of_something_else_is_not_migrated(empty_url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres_migrations import migrate

    PostgresStore(empty_url).execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(LedgerError, match="another program's tables"):
        await migrate(empty_url)


@pytest.mark.parametrize(
    "address",
    ["postgresql://owner:hunter2@127.0.0.1:1/ledger", "postgresql://owner:hunter2@host:port/ledger", "hunter2"],
)
async def test_no_error_repeats_the_password(address: str) -> None:
    require_postgres()
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    with pytest.raises(LedgerError) as caught:
        await PostgresLedger.open(address)
    assert "hunter2" not in str(caught.value)
    assert caught.value.payment_state == "none"


# ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_write_waits_for_the_disk(url: str, cluster: Cluster) -> None:
    from seedance_mcp.adapters.ledger.postgres_driver import PostgresDriver

    cluster.execute(f"ALTER DATABASE {url.split('/')[3].split('?')[0]} SET synchronous_commit = off")
    driver = PostgresDriver(url)
    await driver.open()
    async with driver.transaction() as session:
        inside = await session.fetch_one("SHOW synchronous_commit")
    await driver.close()
    assert inside == {"synchronous_commit": "on"}


async def test_a_transaction_with_a_failed_statement_is_not_taken_for_written(ledger: "PostgresLedger") -> None:
    with pytest.raises(LedgerError, match="undid a transaction"):  # noqa: PT012 - the block is the test
        async with ledger.lock_budget() as budget:
            with contextlib.suppress(LedgerError):
                await budget.reserve(write_request(), write_offer(0), wallet=WALLET, hold_until=1, now=NOW)
    assert await ledger.recent_payments(10) == []


async def test_a_frozen_process_gives_the_budget_back(url: str) -> None:
    async with open_one(url, idle_seconds=1) as frozen, open_one(url) as other:
        with pytest.raises(LedgerError, match="cannot be used"):  # noqa: PT012 - the block is the test
            async with frozen.lock_budget() as budget:
                await budget.reserve(write_request(), write_offer(7), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
                await reserve(other, 5)  # waits until the server ends the other transaction
        assert (await other.spend(NOW)).total_micro_usdc == 5
        assert (await reserve(frozen, 6)).amount_micro_usdc == 6, "it is usable again"


async def test_a_writer_that_never_ends_is_waited_for_and_then_told(url: str) -> None:
    async with open_one(url) as patient, open_one(url, lock_seconds=1) as impatient, patient.lock_budget():
        with pytest.raises(LedgerError, match="is locked: another seedance-mcp"):
            await reserve(impatient)


async def test_a_restarted_server_is_found_again(ledger: "PostgresLedger", url: str) -> None:
    payment = await reserve(ledger)
    PostgresStore(url).execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert (await sign(ledger, payment)).state == "signed"
    assert (await ledger.spend(NOW)).total_micro_usdc == 40_000


async def test_a_purchase_holds_no_budget_if_the_server_ends_in_its_middle(ledger: "PostgresLedger", url: str) -> None:
    with pytest.raises(LedgerError):  # noqa: PT012 - the block is the test
        async with ledger.lock_budget() as budget:
            PostgresStore(url).execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await budget.reserve(write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
    assert (await ledger.spend(NOW)).total_micro_usdc == 0


CHUNK_BYTES = 65536


class Relay:
    """A Unix socket before the server's, which can swallow the answer to a COMMIT and then hang up.

    Attributes:
        folder: Where it listens.
        is_cutting: Whether the next COMMIT is the last thing that it passes on.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self.is_cutting = False
        self._server = server
        self._cut: asyncio.StreamWriter | None = None
        self._passing: list[asyncio.Task[Any]] = []

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[None]:
        async with await asyncio.start_unix_server(self._pass_on, self.folder / SOCKET):
            yield
        await asyncio.gather(*self._passing)  # no socket of this loop may outlive it

    async def _pass_on(self, asked: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.append(task)
        answers, server = await asyncio.open_unix_connection(self._server / SOCKET)
        answering = asyncio.create_task(self._answer(answers, client))
        with contextlib.suppress(ConnectionError):
            while data := await asked.read(CHUNK_BYTES):
                if self.is_cutting and data.endswith(b"COMMIT\0"):
                    self._cut = client
                server.write(data)
                await server.drain()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        for writer in (server, client):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (
                data := await answers.read(CHUNK_BYTES)
            ) and self._cut is not client:  # else the server has committed
                client.write(data)
                await client.drain()
        client.close()


async def test_a_commit_without_an_answer_counts_as_not_recorded(url: str, cluster: Cluster, tmp_path: Path) -> None:
    relay = Relay(tmp_path, cluster.folder)
    async with relay.listen(), open_one(url.replace(str(cluster.folder), str(tmp_path))) as ledger:
        payment = await reserve(ledger, 7)
        relay.is_cutting = True
        with pytest.raises(LedgerError, match="cannot be used"):
            await sign(ledger, payment)  # raises, so the executor does not send
        relay.is_cutting = False
        found = await ledger.find_payment(payment.id)
        assert found is not None
        assert found.state == "signed", "the server had committed: it counts until the chain has been asked"
        assert (await ledger.spend(NOW + 10**6)).total_micro_usdc == 7


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("skew", [3_600, -3_600])
async def test_a_process_can_take_its_time_from_the_database(url: str, skew: int) -> None:
    async with (
        open_one(url) as right,
        open_one(url, clock=lambda: time.time() + skew, follows_clock=True) as follower,
    ):
        assert follower.now() == pytest.approx(time.time(), abs=30)
        await reserve(follower, 7, now=follower.now())
        (payment,) = await right.recent_payments(1)
        assert payment.created_at == pytest.approx(time.time(), abs=30)
        assert (await right.spend(time.time())).total_micro_usdc == 7


@pytest.mark.parametrize("skew", [AHEAD_SECONDS, -AHEAD_SECONDS])
async def test_a_replica_with_a_wrong_clock_lapses_no_reservation_of_others(url: str, skew: int) -> None:
    now = time.time()
    async with open_one(url) as right, open_one(url, clock=lambda: time.time() + skew) as wrong:
        mine = await reserve(right, 7, now=now)
        theirs = await reserve(wrong, 5, now=now + skew)

        assert (await wrong.spend(now + skew)).total_micro_usdc == (await right.spend(now)).total_micro_usdc == 12
        assert (await sign(right, mine, now=now)).state == (await sign(wrong, theirs, now=now + skew)).state == "signed"


@pytest.mark.parametrize("skew", [AHEAD_SECONDS * 3, -AHEAD_SECONDS * 3])
async def test_a_replica_with_a_wrong_clock_takes_no_lease_of_others(url: str, skew: int) -> None:
    now = time.time()
    async with open_one(url) as right, open_one(url, clock=lambda: time.time() + skew) as wrong:
        payment = await sign(right, await reserve(right, now=now), now=now, lease=75)
        await reserve(wrong, now=now + skew)  # the first transaction compares the clocks
        seen = await wrong.find_payment(payment.id)

        assert seen is not None
        assert (seen.lease_until, seen.hold_until) == (payment.lease_until + skew, payment.hold_until + skew)
        assert await wrong.claim(seen, lease_until=now + skew + 75, now=now + skew) is None
        late = now + 80
        claimed = await wrong.claim(seen, lease_until=late + skew + 75, now=late + skew)
        assert claimed is not None
        await wrong.release(claimed)
        assert await right.claim(payment, lease_until=late + 75, now=late) is not None


@pytest.mark.parametrize("skew", [AHEAD_SECONDS, -AHEAD_SECONDS])
async def test_a_replica_with_a_wrong_clock_sees_a_job_at_its_own_times(url: str, skew: int) -> None:
    now = time.time()
    seen = JobStatus(
        job_id="j", type=None, status="loading", progress=1, error="EXPIRED", video_url="https://v.example/v.mp4",
        thumbnail_url=None, input=None, created_at=None, stalled=True,
    )  # fmt: skip
    async with open_one(url) as right, open_one(url, clock=lambda: time.time() + skew) as wrong:
        payment = await settle(wrong, await sign(wrong, await reserve(wrong, now=now + skew), now=now + skew))
        await wrong.add_job(payment, "j", studio=STUDIO, status="loading", now=now + skew)
        by_wrong = await wrong.update_job(seen, now=now + skew)
        by_right = await right.find_job("j")

    assert by_wrong is not None
    assert by_right is not None
    assert (by_wrong.stalled_at, by_wrong.url_seen_at, by_wrong.created_at) == pytest.approx((now + skew,) * 3, abs=2)
    assert (by_right.stalled_at, by_right.url_seen_at, by_right.created_at) == pytest.approx((now,) * 3, abs=2)


# ── callers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_is_held_to_its_own_budget(ledger: "PostgresLedger", url: str) -> None:
    add_caller(url, "ann", max_per_day_micro_usdc=100)
    add_caller(url, "bob", max_total_micro_usdc=50)
    ann, bob = ledger.for_caller("ann"), ledger.for_caller("bob")
    await settle(ledger, await sign(ledger, await buy(ann, 60)))
    with pytest.raises(BudgetExceededError, match="left of the caller's budget per day"):
        await buy(ann, 41)
    with pytest.raises(BudgetExceededError, match="left of the caller's total budget"):
        await buy(bob, 51)
    assert (await buy(bob, 50)).caller == "bob"
    assert (await ledger.spend(NOW)).total_micro_usdc == 110
    with pytest.raises(BudgetExceededError):
        await buy(bob, 1, now=NOW + 30)
    await buy(bob, 50, now=NOW + 61)  # the reservation has lapsed


async def test_day_week_and_month_are_rolling_windows(ledger: "PostgresLedger", url: str) -> None:
    add_caller(
        url, "ann", max_per_day_micro_usdc=10, max_per_week_micro_usdc=15, max_per_month_micro_usdc=20,
        max_total_micro_usdc=25,
    )  # fmt: skip
    ann = ledger.for_caller("ann")
    for day, amount, full in ((0, 10, "per day"), (1.5, 5, "per week"), (9, 5, "per month"), (40, 5, "total budget")):
        now = NOW + day * DAY
        await sign(ledger, await buy(ann, amount, now=now), now=now)
        with pytest.raises(BudgetExceededError, match=full):
            await buy(ann, 1, now=now)
    caps = [cap for cap in await ann.find_caps(NOW + 40 * DAY) if isinstance(cap, BudgetCap)]
    assert [cap.spent_micro_usdc for cap in caps] == [5, 5, 5, 25]


async def test_the_wallets_own_caps_bind_every_caller(ledger: "PostgresLedger", url: str) -> None:
    PostgresStore(url).execute("UPDATE budgets SET max_per_week_micro_usdc = 100 WHERE scope = ''")
    add_caller(url, "ann")
    await buy(ledger.for_caller("ann"), 60)
    with pytest.raises(BudgetExceededError, match="wallet's budget per week"):
        await buy(ledger, 41)
    assert await ledger.find_caps(NOW) == (
        BudgetCap(max_micro_usdc=100, spent_micro_usdc=60, name="wallet's budget per week"),
    )


async def test_a_caller_without_a_budget_buys_nothing(ledger: "PostgresLedger") -> None:
    with pytest.raises(LedgerError, match="no budget for this caller"):
        await buy(ledger.for_caller("no-one'; DROP TABLE payments; --"), 1)
    assert await ledger.recent_payments(10) == []


async def test_a_job_and_an_upload_belong_to_the_caller_who_paid(ledger: "PostgresLedger", url: str) -> None:
    add_caller(url, "ann")
    payment = await settle(ledger, await sign(ledger, await buy(ledger.for_caller("ann"), 7)))
    await ledger.add_job(payment, "j", studio=STUDIO, status="pending", now=NOW)
    PostgresStore(url).execute("DO $$ BEGIN ASSERT (SELECT caller FROM jobs) = 'ann'; END $$")


async def test_callers_at_once_reach_each_cap_exactly(ledger: "PostgresLedger", url: str) -> None:
    add_caller(url, "ann", max_total_micro_usdc=1_000)
    add_caller(url, "bob", max_per_day_micro_usdc=700)
    granted: dict[str, list[int]] = {"ann": [], "bob": []}

    async def spend(caller: str) -> None:
        for _ in range(4):
            with contextlib.suppress(BudgetExceededError):
                granted[caller].append((await buy(ledger.for_caller(caller), 100)).amount_micro_usdc)

    async with anyio.create_task_group() as tasks:
        for number in range(WRITERS):
            tasks.start_soon(spend, ("ann", "bob")[number % 2])
    assert {caller: sum(amounts) for caller, amounts in granted.items()} == {"ann": 1_000, "bob": 700}
    assert (await ledger.spend(NOW)).total_micro_usdc == 1_700


# ── leases and quotes ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_owner_at_a_time_has_a_lease(ledger: "PostgresLedger") -> None:
    first = await ledger.take_lease("poll", "a")
    assert first is not None
    assert first.term == 1
    assert await ledger.take_lease("poll", "b") is None
    assert await ledger.take_lease("poll", "a") == first
    assert await ledger.renew_leases("a") == {first}
    assert await ledger.renew_leases("b") == frozenset()


async def test_a_lease_that_ended_goes_to_the_next_owner_with_a_higher_term(ledger: "PostgresLedger", url: str) -> None:
    await ledger.take_lease("poll", "a")
    PostgresStore(url).execute("UPDATE leases SET until = until - 11")
    assert await ledger.renew_leases("a") == frozenset(), "it was frozen for too long"
    second = await ledger.take_lease("poll", "b")
    assert second is not None
    assert second.term == 2
    await ledger.release_leases("b")
    third = await ledger.take_lease("poll", "a")
    assert third is not None
    assert third.term == 3


async def test_an_earlier_holder_writes_nothing_any_more(ledger: "PostgresLedger", url: str) -> None:
    from seedance_mcp.adapters.ledger.leases import check_lease
    from seedance_mcp.adapters.ledger.postgres_driver import PostgresDriver

    first = await ledger.take_lease("poll", "a")
    assert first is not None
    await ledger.release_leases("a")
    second = await ledger.take_lease("poll", "a")
    assert second is not None
    driver = PostgresDriver(url)
    await driver.open()
    async with driver.transaction() as session:
        await check_lease(session, second)
        with pytest.raises(LedgerError, match="Another replica now has the lease poll"):
            await check_lease(session, first)
    await driver.close()


async def test_only_one_of_many_takes_a_free_lease(ledger: "PostgresLedger") -> None:
    taken = await asyncio.gather(*(ledger.take_lease("poll", f"owner-{number}") for number in range(16)))
    assert len([lease for lease in taken if lease is not None]) == 1


async def test_a_quote_binds_on_every_replica_until_it_ends(ledger: "PostgresLedger", url: str) -> None:
    await ledger.remember_quote("k", 320_000, {"said": 1}, seconds=600)
    await ledger.remember_quote("k", 310_000, {"said": 2}, seconds=600)
    async with open_one(url) as other:
        assert await other.find_quote(["other", "k"]) == ("k", {"said": 2})
        assert await other.find_quote(["other"]) is None
        PostgresStore(url).execute("UPDATE quotes SET until = until - 601")
        assert await other.find_quote(["k"]) is None
        assert await other.drop_old_quotes() == 1


# ── PgBouncer ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pooled_url(url: str, cluster: Cluster) -> Generator[str]:
    """The same database behind PgBouncer, in transaction mode, with two connections to the server."""
    with start_bouncer(cluster) as folder:
        yield url.replace(f"host={cluster.folder}", f"host={folder}&port={BOUNCER_PORT}")


async def test_behind_pgbouncer_the_cap_is_reached_exactly(pooled_url: str) -> None:
    granted: list[int] = []

    async def spend() -> None:
        async with open_one(pooled_url) as mine:
            for _ in range(4):
                with contextlib.suppress(BudgetExceededError):
                    payment = await reserve(mine, 400, cap=4_000)
                    granted.append((await settle(mine, await sign(mine, payment))).amount_micro_usdc)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(spend)
    async with open_one(pooled_url) as ledger:
        assert sum(granted) == (await ledger.spend(NOW)).total_micro_usdc == 4_000
