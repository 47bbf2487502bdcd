"""Several replicas on one database: one polls, each video is saved once, and callers of any of them are told."""

import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import anyio.to_thread
import httpx
import pytest

from seedance_mcp.core.errors import LedgerError, VideoUnsavedError
from tests.forks import build_command
from tests.jobs.replicas import Machine, open_machine
from tests.ledgers import PostgresStore
from tests.postgres import BOUNCER_PORT, Cluster, require_postgres, start_bouncer
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

pytestmark = pytest.mark.slow

MakeSandbox = Callable[..., "Sandbox"]
Draw = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
CLIP, UPLOAD = 320_000, 10_000
SECONDS = 60
WAIT_SECONDS_MAX = 25
"""Longest wait of a client that makes its call again."""


@pytest.fixture
def cluster() -> Cluster:
    return require_postgres()


@pytest.fixture
def url(cluster: Cluster) -> Generator[str]:
    with cluster.database() as made:
        yield made


@dataclass
class Bench:
    """What replicas have in common: a studio, a wallet and a database; each has a folder of its own."""

    sandbox: "Sandbox"
    key: str
    folder: Path
    url: str

    def environ(self, name: str) -> dict[str, str]:
        return {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": self.sandbox.url,
            "SEEDANCE_WALLET_KEY": self.key,
            "SEEDANCE_DATA_DIR": str(self.folder / name),
            "SEEDANCE_DATABASE_URL": self.url,
            "SEEDANCE_MAX_PER_DAY": "50",
        }

    @asynccontextmanager
    async def machines(
        self, *names: str, ahead: Sequence[float] = (), environ: Mapping[str, str] | None = None
    ) -> AsyncGenerator[list[Machine]]:
        """Start replicas in this process; `ahead` has the seconds by which each one's clock is wrong."""
        with anyio.fail_after(SECONDS):
            async with AsyncExitStack() as stack:
                started: list[Machine] = []
                for name, seconds in zip_longest(names, ahead, fillvalue=0.0):
                    opened = open_machine(
                        {**self.environ(str(name)), **(environ or {})}, now=partial(read_clock, float(seconds))
                    )
                    started.append(await stack.enter_async_context(opened))
                yield started

    @asynccontextmanager
    async def process(self, name: str) -> AsyncGenerator["Process"]:
        """A replica that is a process of its own."""
        process = await anyio.open_process(
            build_command("tests.jobs.replicas"), env={**os.environ, **self.environ(name)}, cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        async with process:
            assert process.stdout is not None
            yield Process(process, int(await process.stdout.receive()))
            with suppress(ProcessLookupError):
                process.kill()

    async def state(self) -> dict[str, Any]:
        async with httpx.AsyncClient(verify=NO_TLS) as http:
            return (await http.get(f"{self.sandbox.url}/_sandbox/state")).json()

    async def break_with(self, *faults: str) -> None:
        async with httpx.AsyncClient(verify=NO_TLS) as http:
            answer = await http.post(f"{self.sandbox.url}/_sandbox/faults", json={"faults": list(faults)})
            assert answer.status_code == 200

    async def paid(self) -> list[int]:
        return sorted(one["amount_micro_usdc"] for one in (await self.state())["settlements"])

    def saved(self) -> list[Path]:
        return sorted(self.folder.rglob("*.mp4"))


@dataclass
class Process:
    """A replica that can be killed or frozen."""

    process: anyio.abc.Process
    process_id: int

    async def buy(self, picture: Path, take: int = 1) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(f"buy {picture} {take}\n".encode())

    def send(self, number: int) -> None:
        os.kill(self.process_id, number)


@pytest.fixture
def bench(make_sandbox: MakeSandbox, funded_key: str, tmp_path: Path, url: str) -> Bench:
    return Bench(make_sandbox(job_seconds=2), funded_key, tmp_path, url)


def read_clock(ahead: float) -> float:
    return time.time() + ahead


async def find_leader(machines: list[Machine]) -> Machine:
    while not (polling := [one for one in machines if one.replica.is_polling]):
        await anyio.sleep(0.05)
    assert len(polling) == 1
    return polling[0]


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.sleep(0.05)


def end_leases(bench: Bench, *, of: str = "1 = 1") -> None:
    """Let leases end now, as if their holders had been frozen for longer than they last."""
    PostgresStore(bench.url).execute(f"UPDATE leases SET until = until - 11 WHERE {of}")  # noqa: S608 - our own words


def count_polls(state: dict[str, Any]) -> int:
    return sum(number for route, number in state["requests"].items() if route.startswith("GET /api/jobs"))


async def test_one_of_three_replicas_polls_and_each_video_is_saved_once(bench: Bench, make_picture: Draw) -> None:
    picture, jobs = make_picture(), list[Any]()
    async with bench.machines("a", "b", "c", ahead=(0, 55, -55)) as machines:

        async def buy(take: int) -> None:
            jobs.append(await machines[take % 3].buy(picture, take))

        async with anyio.create_task_group() as tasks:
            for take in (1, 2, 3):
                tasks.start_soon(buy, take)
        await find_leader(machines)
        assert {job.status for job in jobs} == {"complete"}
        for machine in machines:
            assert {job.job_id for job in jobs} <= set(machine.changes), "each replica hears of every job"
    assert len(bench.saved()) == 3
    assert await bench.paid() == [UPLOAD] + [CLIP] * 3


async def test_three_replicas_ask_the_studio_about_as_often_as_one(bench: Bench, make_picture: Draw) -> None:
    picture, polls, takes = make_picture(), list[int](), list(range(6, 0, -1))
    for names in (("a",), ("a", "b", "c")):
        before = count_polls(await bench.state())
        async with bench.machines(*names) as machines, anyio.create_task_group() as tasks:
            for number in range(3):
                machine = machines[number % len(machines)]
                tasks.start_soon(machine.buy, picture, takes.pop())
        polls.append(count_polls(await bench.state()) - before)
    assert polls[1] <= polls[0] * 1.5 + 3, polls


async def test_another_replica_polls_at_once_where_one_is_drained(bench: Bench, make_picture: Draw) -> None:
    await bench.break_with("slow_job")
    async with bench.machines("a") as (staying,):
        async with bench.machines("b") as (leaving,):
            await leaving.replica.release()
            end_leases(bench)
            await find_leader([staying, leaving])
            job = await staying.order(make_picture())
            end_leases(bench, of="key LIKE 'poll:%'")
        await wait_until(lambda: staying.replica.is_polling)
        assert (await staying.get(job.job_id)).file is not None
    assert len(bench.saved()) == 1


@pytest.mark.chaos
async def test_a_frozen_poller_is_replaced_and_writes_nothing_when_it_goes_on(bench: Bench, make_picture: Draw) -> None:
    async with bench.process("frozen") as process, bench.machines("b") as (other,):
        job = await other.order(make_picture())
        assert not other.replica.is_polling, "the process was first"
        process.send(signal.SIGSTOP)
        end_leases(bench)
        await wait_until(lambda: other.replica.is_polling)
        done = await other.get(job.job_id)
        process.send(signal.SIGCONT)
        second = await other.buy(make_picture(), 2)
        assert other.replica.is_polling
        term = "(SELECT term FROM leases WHERE key LIKE 'poll:%')"
        PostgresStore(bench.url).execute(f"DO $$ BEGIN ASSERT {term} = 2; END $$")
    assert (done.status, second.status) == ("complete", "complete")
    assert len(bench.saved()) == 2


async def test_the_lease_passes_on_where_the_studio_is_away_for_too_long(bench: Bench, make_picture: Draw) -> None:
    await bench.break_with("slow_job")
    async with bench.machines("a", "b") as machines:
        for machine in machines:
            machine.replica.follower.leader.away_seconds = 1
        await machines[0].order(make_picture())
        first = await find_leader(machines)
        other = machines[1 - machines.index(first)]
        await anyio.to_thread.run_sync(bench.sandbox.stop)
        await wait_until(lambda: other.replica.is_polling)
        assert not first.replica.is_polling


@pytest.mark.chaos
async def test_a_payment_of_a_frozen_replica_is_finished_by_the_one_that_is_asked(
    bench: Bench, make_picture: Draw
) -> None:
    picture = make_picture()
    async with bench.machines("b") as (other,):
        await other.services.generation.upload(str(picture))
        await bench.break_with("hang_after_settle:1")
        async with bench.process("frozen") as process:
            await process.buy(picture)
            while CLIP not in await bench.paid():
                await anyio.sleep(0.05)
            process.send(signal.SIGSTOP)
            end_leases(bench)
            job = await other.buy(picture)
            process.send(signal.SIGCONT)
            assert (await other.buy(picture)).job_id == job.job_id
    assert job.file is not None
    assert await bench.paid() == [UPLOAD, CLIP]


@pytest.mark.chaos
async def test_a_payment_of_a_killed_replica_is_finished_without_a_caller(bench: Bench, make_picture: Draw) -> None:
    picture = make_picture()
    async with bench.machines("a") as (first,):
        await first.services.generation.upload(str(picture))
    await bench.break_with("hang_after_settle:1")
    async with bench.process("killed") as process, bench.machines("b") as (other,):
        await process.buy(picture)
        while CLIP not in await bench.paid():
            await anyio.sleep(0.05)
        process.send(signal.SIGKILL)
        end_leases(bench)
        await wait_until(lambda: len(other.changes) > 0)
        (job,) = await other.services.ledger.recent_jobs(5)
        done = await other.get(job.job_id)
    assert done.file is not None
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_video_that_cannot_be_saved_is_reported_on_every_replica(bench: Bench, make_picture: Draw) -> None:
    await bench.break_with("truncated_video")
    async with bench.machines("a", "b") as machines:
        job = await machines[0].order(make_picture())
        for machine in machines:
            with pytest.raises(VideoUnsavedError, match="The video is finished but not saved yet") as caught:
                await machine.get(job.job_id)
            assert caught.value.payment_state == "settled"
            assert caught.value.amount_micro_usdc == CLIP
            assert caught.value.video_url
        await bench.break_with()
        done = [await machine.get(job.job_id) for machine in machines]
    assert {one.file for one in done} == {str(bench.saved()[0])}


async def test_a_claim_of_a_killed_replica_lapses_and_another_saves_the_video(bench: Bench, make_picture: Draw) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    await bench.break_with("truncated_video")
    async with bench.machines("a") as (machine,):
        job = await machine.order(make_picture())
        with pytest.raises(VideoUnsavedError):
            await machine.get(job.job_id)
        wallet = machine.services.wallet.address
    killed = await PostgresLedger.open(bench.url)
    await killed.want_job(job.job_id)
    assert await killed.claim_unsaved(studio=bench.sandbox.url, wallet=wallet, owner="killed") is not None
    await killed.close()
    await bench.break_with()
    async with bench.machines("b") as (other,):
        waiting = await other.get(job.job_id, wait=3)
        assert (waiting.status, waiting.file) == ("complete", None)
        PostgresStore(bench.url).execute("UPDATE jobs SET claim_until = claim_until - 61")
        assert (await other.get(job.job_id)).file is not None
    assert len(bench.saved()) == 1


async def test_a_job_that_the_ledger_lacks_is_polled_by_the_replica_that_is_asked(
    bench: Bench, make_picture: Draw
) -> None:
    async with bench.machines("a") as (machine,):
        job = await machine.buy(make_picture())
    PostgresStore(bench.url).execute("DELETE FROM jobs; DELETE FROM uploads; DELETE FROM payments")
    async with bench.machines("b") as (other,):
        found = await other.get(job.job_id)
    assert (found.payment_id, found.status) == (None, "complete")
    assert found.file is not None


async def test_replicas_work_behind_pgbouncer_and_without_notices(
    bench: Bench, make_picture: Draw, cluster: Cluster
) -> None:
    with start_bouncer(cluster) as folder:
        pooled = bench.url.replace(f"host={cluster.folder}", f"host={folder}&port={BOUNCER_PORT}")
        environ = {"SEEDANCE_DATABASE_URL": pooled}
        async with bench.machines("a", "b", environ={**environ, "SEEDANCE_DATABASE_DIRECT_URL": bench.url}) as machines:
            jobs = [await machine.buy(make_picture(), 1 + number) for number, machine in enumerate(machines)]
            assert {job.job_id for job in jobs} <= set(machines[0].changes)
        async with bench.machines("c", "d", environ=environ) as machines:
            jobs += [await machine.buy(make_picture(), 3 + number) for number, machine in enumerate(machines)]
    assert {job.status for job in jobs} == {"complete"}
    assert len(bench.saved()) == 4


async def test_replicas_go_on_by_themselves_after_the_database_was_away(
    bench: Bench, make_picture: Draw, cluster: Cluster
) -> None:
    picture, database = make_picture(), bench.url.split("/")[3].split("?")[0]
    await bench.break_with("slow_job")
    async with bench.machines("a", "b") as machines:
        job = await machines[0].order(picture)
        cluster.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")  # noqa: S608 - the test's own
        try:
            with pytest.raises(LedgerError) as caught:
                await machines[1].buy(picture, 2, wait=20)
        finally:
            cluster.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        assert caught.value.payment_state == "none"
        assert await bench.paid() == [UPLOAD, CLIP]
        assert (await machines[1].order(picture, 2)).status != "failed"
        done = [await machine.get(job.job_id) for machine in machines]
        await find_leader(machines)
    assert {one.status for one in done} == {"complete"}
    assert await bench.paid() == [UPLOAD, CLIP, CLIP]


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_order_of_a_stopped_replica_is_finished_by_another_before_a_client_gives_up(
    bench: Bench, make_picture: Draw, number: int
) -> None:
    picture = make_picture()
    async with bench.process("stopped") as process, bench.machines("b") as (other,):
        await other.services.generation.upload(str(picture))
        await bench.break_with("hang_after_settle:1")
        await process.buy(picture)
        while CLIP not in await bench.paid():
            await anyio.sleep(0.05)
        process.send(number)
        with anyio.fail_after(WAIT_SECONDS_MAX):
            job = await other.order(picture)
            await wait_until(lambda: other.replica.is_polling)
        assert (await other.get(job.job_id)).file is not None
    assert await bench.paid() == [UPLOAD, CLIP]
