"""The watcher against a studio that counts: few questions for many jobs, and none while it was told to wait."""

import asyncio
import json
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.core.errors import StudioUnreachableError
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import read_job
from seedance_mcp.jobs import tracked
from seedance_mcp.jobs.archive import LocalArchive
from seedance_mcp.jobs.poller import JobPoller
from seedance_mcp.jobs.store import JobStore
from tests.adapters.ledger.rows import reserve, settle, sign
from tests.payments.test_refused_payments import Clock
from tests.servers import Asked, RawServer, build_answer, serve_raw

PAGE_MAX = 100
HOUR_SECONDS = 3600
POLL_SECONDS_MIN = 0.2
SECONDS = 30
SLACK_SECONDS = 20  # a busy machine is no failure
"""What a busy machine may add to a deadline."""


@dataclass
class Teller:
    """Tells of jobs as its test arguments; ids are in the order of their making.

    Attributes:
        running: The progress of each job; 100 has ended, and -1 has failed.
        ended: The jobs that have ended, in this order, for a list with the latest change first.
        filtering: What a filter of the list does: "heeded", "ignored" or "refused"; "no list" if there is none.
        is_paged: The list understands cursors.
    """

    running: dict[str, int] = field(default_factory=dict[str, int])
    ended: list[str] = field(default_factory=list[str])
    filtering: str = "heeded"
    is_paged: bool = True
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    retry_after: str | None = None
    stalls: bool = False
    is_broken: bool = False

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.was_asked.set()
        if self.retry_after is not None:
            writer.write(build_answer(429, b"{}", retry_after=self.retry_after))
            return
        if self.is_broken:
            writer.write(build_answer(500))
            return
        path, _, query = asked.target.partition("?")
        if path != "/api/jobs":
            document = self.tell(path.rpartition("/")[2])
        else:
            wanted = dict(part.split("=") for part in query.split("&"))
            if self.filtering == "no list":
                writer.write(build_answer(404, b"{}"))
                return
            if "status" in wanted and self.filtering == "refused":
                writer.write(build_answer(400, b"{}"))
                return
            document = self.list(wanted.get("cursor"), wanted.get("status") if self.filtering == "heeded" else None)
        writer.write(build_answer(200, json.dumps(document).encode()))

    def end(self, job_ids: Iterable[str], *, progress: int = 100) -> None:
        """End jobs, the last one most recently."""
        for job_id in job_ids:
            self.running[job_id] = progress
            self.ended.append(job_id)

    def list(self, cursor: str | None, status: str | None) -> dict[str, Any]:
        """Return a page: newest first, or the latest change first where it is filtered."""
        known = set(self.ended)
        self.ended += [one for one, progress in self.running.items() if progress == 100 and one not in known]
        listed = list(reversed(self.running if status is None else self.ended))
        if status is not None:
            listed = [one for one in listed if self.running[one] == {"complete": 100, "failed": -1}[status]]
        first = listed.index(cursor) + 1 if cursor and self.is_paged else 0
        page = listed[first : first + PAGE_MAX]
        more = len(listed) > first + PAGE_MAX
        return {"items": [self.tell(one) for one in page], "nextCursor": page[-1] if more else None}

    def tell(self, job_id: str) -> dict[str, Any]:
        progress = self.running[job_id]
        told: dict[str, Any] = {"id": job_id, "status": "loading", "progress": progress}
        told["createdAt"] = write_moment(int(job_id[-6:]))
        if job_id in self.ended:
            told["updatedAt"] = write_moment(HOUR_SECONDS + self.ended.index(job_id))
        if progress == -1:
            told |= {"status": "failed", "error": "Not this one"}
        if progress == 100:
            told |= {"status": "complete", "result": {"videoUrl": "https://x.test/v.mp4"}}
        if self.stalls:
            told |= {"status": "moderated", "error": "Not this one"}
        return told


def write_moment(seconds: float) -> str:
    """Return a moment of the studio's clock, which is an hour ahead."""
    return datetime.fromtimestamp(time.time() + HOUR_SECONDS + seconds, UTC).isoformat()


@dataclass
class Bench:
    """A watcher, its ledger and its studio."""

    teller: Teller
    server: RawServer
    ledger: SQLiteLedger
    store: JobStore
    poller: JobPoller
    changes: list[str]

    async def add(self, number: int, *, age: float = 0) -> Job:
        """A job that was bought `age` seconds ago."""
        job_id, now = f"cmjob{number:06d}", time.time() - age
        payment = await settle(
            self.ledger,
            await sign(self.ledger, await reserve(self.ledger, idempotency_key=job_id, now=now), now=now),
            now=now,
            answer=b"{}",
        )
        self.teller.running[job_id] = 0
        job = await self.ledger.add_job(payment, job_id, studio=self.server.url, status="pending", now=now)
        assert job is not None
        return job

    def find_untracked(self, number: int) -> Job:
        """Return a job that the ledger lacks, as the studio reports it now."""
        job_id = f"cmother{number:06d}"
        self.teller.running.setdefault(job_id, 0)
        told = json.dumps(self.teller.tell(job_id)).encode()
        return self.store.keep_untracked(read_job(told, job_id))

    async def follow(self, jobs: int) -> list[Job]:
        """Watch so many jobs that the ledger lacks; return them once a page of what ended was read."""
        found = [self.find_untracked(number) for number in range(jobs)]
        for job in found:
            self.poller.watch(job)
        await self.until(lambda: self.count("status=complete") > 0)
        return found

    async def end_all(self, jobs: list[Job]) -> list[Job]:
        """End jobs at the studio while callers wait for them; return what they are told."""
        told: dict[str, Job] = {}

        async def wait(job: Job) -> None:
            told[job.job_id] = await self.poller.wait(job, deadline=math.inf)

        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(wait, job)
            self.teller.end(job.job_id for job in jobs)
        return [told[job.job_id] for job in jobs]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the studio was asked so that a condition holds."""
        while not holds():
            self.teller.was_asked.clear()
            await self.teller.was_asked.wait()

    def count(self, part: str) -> int:
        """Return how many requests have a part in their target."""
        return sum(part in asked.target for asked in self.server.asked)

    def routes(self) -> list[str]:
        return [asked.target.partition("?")[0] for asked in self.server.asked]


@asynccontextmanager
async def open_bench(
    folder: Path,
    *,
    expected_seconds: float = 1,
    now: Callable[[], float] = time.time,
    poll_seconds_min: float = POLL_SECONDS_MIN,
    saves: bool = True,
) -> AsyncGenerator[Bench]:
    wallet = await open_wallet("11" * 32, Path("unused"))
    teller, changes = Teller(), list[str]()
    ledger = await SQLiteLedger.open(folder / "ledger.sqlite3")

    async def sign_in(build: Callable[[str], str]) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    async def expect(_: Job) -> float:
        return expected_seconds

    async def save(job: Job) -> Job:
        if job.payment_id is None:
            return replace(job, file="/other.mp4")
        return await ledger.finish_job(job.job_id, file="/v.mp4", thumbnail=None)

    with anyio.fail_after(SECONDS):
        async with serve_raw(teller) as server:
            address = Address(
                studio_url=server.url,
                blob_url=server.url,
                chain_id="eip155:8453",
                allow_loopback_http=True,
            )
            async with Studio(address, sign_in) as studio, anyio.create_task_group() as tasks:

                def start(work: Callable[[], Awaitable[None]]) -> None:
                    async def run() -> None:
                        await work()

                    tasks.start_soon(run)

                store = JobStore(
                    ledger=ledger,
                    studio=server.url,
                    wallet=wallet.address,
                    archive=LocalArchive(folder / "videos"),
                    now=now,
                )
                poller = JobPoller(
                    studio=studio,
                    store=store,
                    save=save if saves else None,
                    start=start,
                    expected_seconds=expect,
                    poll_seconds_min=poll_seconds_min,
                    changed=changes.append,
                    now=now,
                )
                await wallet.sign_in("warm")  # the first signature loads its library
                yield Bench(teller, server, ledger, store, poller, changes)
                tasks.cancel_scope.cancel()
    await ledger.close()


@pytest.mark.parametrize("jobs", [1, 30, 250])
async def test_questions_have_a_ceiling_however_many_jobs_there_are(tmp_path: Path, jobs: int) -> None:
    async with open_bench(tmp_path) as bench:
        for number in range(jobs):
            bench.poller.watch(bench.find_untracked(number))
        already, began_at = len(bench.server.asked), time.monotonic()
        await anyio.sleep(2)
        asked, seconds = len(bench.server.asked) - already, time.monotonic() - began_at

    assert 1 <= asked <= seconds / POLL_SECONDS_MIN + 4  # one round may begin before the pause of the last is over


async def test_a_job_on_the_last_page_is_found_without_a_question_of_its_own(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        jobs = [bench.find_untracked(number) for number in range(150)]
        bench.teller.running[jobs[0].job_id] = 100
        for job in jobs:
            bench.poller.watch(job)
        done = await bench.poller.wait(jobs[0], deadline=anyio.current_time() + 10)

    assert (done.status, done.file) == ("complete", "/other.mp4")
    assert set(bench.routes()) == {"/api/jobs"}


async def test_retry_after_is_obeyed_also_when_a_caller_comes_again(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.teller.retry_after = "2"
        job = await bench.add(1, age=20)
        while not bench.server.asked:
            await bench.poller.wait(job, deadline=anyio.current_time() + 0.1)
        for _ in range(5):
            await bench.poller.wait(job, deadline=anyio.current_time() + 0.2)
        assert len(bench.server.asked) == 1
        bench.teller.retry_after, bench.teller.running[job.job_id] = None, 100
        done = await bench.poller.wait(job, deadline=anyio.current_time() + 10)
    assert done.file is not None


async def test_an_old_job_is_asked_for_as_soon_as_a_person_waits(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job = await bench.add(1, age=3000)
        bench.teller.running[job.job_id] = 100
        done = await bench.poller.wait(job, deadline=anyio.current_time() + 10)
    assert done.file is not None


@pytest.mark.parametrize("jump", [-3600, 7 * 3600])
async def test_a_clock_that_jumps_stops_neither_the_questions_nor_the_end_of_a_wait(tmp_path: Path, jump: int) -> None:
    clock = Clock()
    async with open_bench(tmp_path, now=clock) as bench:
        job = await bench.add(1)
        while not bench.server.asked:
            await bench.poller.wait(job, deadline=anyio.current_time() + 0.1)
        clock.ahead = jump
        asked_before, began_at = len(bench.server.asked), time.monotonic()
        await bench.poller.wait(job, deadline=anyio.current_time() + 1)
        waited, asked = time.monotonic() - began_at, len(bench.server.asked) - asked_before
        bench.teller.running[job.job_id] = 100
        done = await bench.poller.wait(job, deadline=anyio.current_time() + 10)

    assert asked >= 1
    assert 0.9 < waited < 1 + SLACK_SECONDS
    assert done.file is not None


async def test_progress_is_told_exactly_and_written_down_in_steps(tmp_path: Path) -> None:
    told: list[int] = []

    async def report(job: Job, expected_seconds: float) -> None:
        assert expected_seconds == 30
        told.append(job.progress)

    async with open_bench(tmp_path, expected_seconds=30) as bench:
        job = await bench.add(1, age=20)
        bench.teller.running[job.job_id] = 50
        while 50 not in told:
            await bench.poller.wait(job, deadline=anyio.current_time() + 0.3, report=report)
        bench.teller.running[job.job_id] = 53
        while 53 not in told:
            await bench.poller.wait(job, deadline=anyio.current_time() + 0.3, report=report)
        written = await bench.ledger.find_job(job.job_id)
        latest = bench.poller.latest(job)
        for progress in (57, 61):  # small steps add up
            bench.teller.running[job.job_id] = progress
            while progress not in told:
                await bench.poller.wait(job, deadline=anyio.current_time() + 0.3, report=report)
        written_later = await bench.ledger.find_job(job.job_id)

    assert written is not None
    assert (written.progress, latest.progress) == (50, 53)
    assert written_later is not None
    assert written_later.progress == 61
    assert set(bench.changes) == {job.job_id}


async def test_an_untracked_job_is_followed_beside_those_of_the_ledger(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        ours, other = await bench.add(1, age=20), bench.find_untracked(2)
        left = await bench.poller.wait(other, deadline=anyio.current_time() + 0.1)
        bench.teller.running |= {ours.job_id: 100, other.job_id: 100}
        bench.poller.watch(ours)
        done = await bench.poller.wait(other, deadline=anyio.current_time() + 10)
        ours = await bench.poller.wait(ours, deadline=anyio.current_time() + 10)
        written = await bench.ledger.find_job(other.job_id)

    assert (left.status, left.payment_id, left.price_micro_usdc, left.rail) == ("loading", None, None, None)
    assert (done.status, done.file, ours.file) == ("complete", "/other.mp4", "/v.mp4")
    assert written is None


async def test_an_untracked_job_that_stalls_ends_as_failed(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.teller.stalls = True
        job = bench.find_untracked(1)
        while job.status != "failed":
            job = await bench.poller.wait(bench.find_untracked(1), deadline=anyio.current_time() + 0.3)
        again = bench.find_untracked(1)

    assert again.status == "failed"
    assert "Not this one" in str(again.error)


async def test_an_untracked_job_keeps_the_moment_its_url_was_seen(tmp_path: Path) -> None:
    clock = Clock()
    async with open_bench(tmp_path, now=clock) as bench:
        bench.find_untracked(1)
        bench.teller.running["cmother000001"] = 100
        first = bench.find_untracked(1)
        clock.ahead = 100
        second = bench.find_untracked(1)

    assert first.url_seen_at is not None
    assert second.url_seen_at == first.url_seen_at


async def test_an_old_finished_job_is_saved_while_its_caller_waits(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job = await bench.add(1, age=7 * 3600)
        bench.teller.running[job.job_id] = 100
        done = await bench.poller.wait(job, deadline=anyio.current_time() + 10)

    assert (done.status, done.file) == ("complete", "/v.mp4")


async def test_waiting_for_a_finished_job_does_not_repeat_its_old_problem(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job = await bench.add(1, age=20)
        bench.teller.is_broken = True
        with pytest.raises(StudioUnreachableError):
            await bench.poller.wait(job, deadline=anyio.current_time() + 20)
        done = await bench.ledger.finish_job(job.job_id, file="/v.mp4", thumbnail=None)
        bench.teller.running[job.job_id] = 100
        await bench.store.update(done, read_job(json.dumps(bench.teller.tell(job.job_id)).encode(), job.job_id))
        done = await bench.store.find(done)
        assert await bench.poller.wait(done, deadline=anyio.current_time() + 1) == done


FEW_SECONDS = 0.05


async def test_one_page_tells_of_what_ended_among_hundreds(tmp_path: Path) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        jobs = await bench.follow(250)
        told = [*await bench.end_all(jobs[40:0:-1]), *await bench.end_all(jobs[70:60:-1])]

    assert {job.file for job in told} == {"/other.mp4"}
    assert bench.count("cursor=") == 0
    assert bench.count("/api/jobs/") <= len(bench.server.asked) / 5


@pytest.mark.parametrize("step", [1, -1])
async def test_more_ends_than_one_page_has_are_all_found(tmp_path: Path, step: int) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        told = await bench.end_all((await bench.follow(250))[240::-1][::step])

    assert {job.file for job in told} == {"/other.mp4"}


async def test_jobs_of_a_crowd_that_fail_are_all_found(tmp_path: Path) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        jobs = await bench.follow(130)
        await bench.end_all(jobs[20:10:-1])
        bench.teller.end((job.job_id for job in jobs[:5]), progress=-1)
        told = [await bench.poller.wait(job, deadline=math.inf) for job in jobs[:5]]

    assert {job.status for job in told} == {"failed"}


async def test_the_last_of_a_crowd_end_on_one_page(tmp_path: Path) -> None:
    """No job is left when failed ones are due: others save these, so that an end is all there is to know."""
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS, saves=False) as bench:
        jobs = await bench.follow(120)
        told = [*await bench.end_all(jobs[:40]), *await bench.end_all(jobs[:39:-1])]

    assert {job.status for job in told} == {"complete"}


async def test_a_failed_job_among_hundreds_is_found(tmp_path: Path) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        jobs = await bench.follow(120)
        bench.teller.end([jobs[7].job_id], progress=-1)
        failed = await bench.poller.wait(jobs[7], deadline=math.inf)

    assert (failed.status, failed.error) == ("failed", "Not this one")


@pytest.mark.parametrize("filtering", ["ignored", "refused"])
async def test_without_a_filter_every_page_is_read(tmp_path: Path, filtering: str) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        bench.teller.filtering = filtering
        jobs = await bench.follow(150)
        bench.teller.end([jobs[0].job_id])
        done = await bench.poller.wait(jobs[0], deadline=math.inf)

    assert done.file == "/other.mp4"
    assert bench.count("status=") == 1
    assert bench.count("cursor=") >= 1


async def test_jobs_are_asked_for_one_by_one_where_there_is_no_list(tmp_path: Path) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        bench.teller.filtering = "no list"
        jobs = [bench.find_untracked(number) for number in range(8)]
        told = await bench.end_all(jobs)

    assert {job.file for job in told} == {"/other.mp4"}
    assert bench.routes().count("/api/jobs") == 1


async def test_ends_that_no_page_tells_are_found_one_by_one(tmp_path: Path) -> None:
    """Its list has the latest hundred only, and its clock is an hour ahead."""
    async with open_bench(tmp_path, expected_seconds=0.1, poll_seconds_min=FEW_SECONDS) as bench:
        bench.teller.is_paged = False
        told = await bench.end_all(await bench.follow(103))

    assert {job.file for job in told} == {"/other.mp4"}


async def test_progress_is_extrapolated_where_no_page_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracked, "UNSEEN_SECONDS", 0.1)
    async with open_bench(tmp_path, expected_seconds=1, poll_seconds_min=FEW_SECONDS) as bench:
        jobs = await bench.follow(120)
        shown = 0
        while shown < 30:
            left = await bench.poller.wait(jobs[5], deadline=anyio.current_time() + 0.1)
            assert shown <= left.progress < 100
            shown = left.progress
        kept = bench.store.keep_untracked(
            read_job(json.dumps(bench.teller.tell(jobs[5].job_id)).encode(), jobs[5].job_id)
        )

    assert kept.progress == 0


async def test_a_busy_studio_is_left_alone_by_a_look(tmp_path: Path) -> None:
    async with open_bench(tmp_path, poll_seconds_min=FEW_SECONDS) as bench:
        jobs = await bench.follow(120)
        bench.teller.retry_after = "1"
        asked = len(bench.server.asked)
        await bench.until(lambda: len(bench.server.asked) > asked)
        began_at, asked = anyio.current_time(), len(bench.server.asked)
        bench.teller.end([jobs[0].job_id])
        bench.teller.retry_after = None
        done = await bench.poller.wait(jobs[0], deadline=math.inf)
        waited = anyio.current_time() - began_at

    assert done.file == "/other.mp4"
    assert waited > 0.9
