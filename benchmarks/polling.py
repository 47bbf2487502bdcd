"""How many questions the watcher asks, and how soon it knows, beside one poller per job.

Each run is a studio of our own in one process (it only tells how far its jobs are) and two clients in two more, at the
same time: our `JobPoller`, and the usual way, a loop per job that asks every few seconds. Both sign in for every
question, both have a real ledger on disk. A job takes `--job-seconds`, give or take a sixth; they begin within a
quarter of that. The lag is the time from a job's completion at the studio to our result, without the download.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.core.errors import StudioError
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest, Receipt, Settled
from seedance_mcp.jobs.archive import LocalArchive
from seedance_mcp.jobs.poller import JobPoller
from seedance_mcp.jobs.store import JobStore

SIZES = (1, 10, 100, 1000)
NAIVE_SECONDS = 5
PATIENCE = 2.5
"""Anyone who has not heard of a job after so many times its length is not waited for; its lag is counted until then."""
POLL_SECONDS_MIN = 3
"""As in the live profile."""
PAGE_MAX = 100
LEAD_SECONDS = 2
HEAD_BYTES_MAX = 64 * 1024
QUESTIONS_PER_MINUTE_MAX = 60 / POLL_SECONDS_MIN
"""What the watcher promises, however many jobs there are."""


def draw_jobs(count: int, job_seconds: float, began_at: float) -> list[tuple[str, float, float]]:
    """`(id, created at, complete at)` of every job, the same in every process."""
    chance = random.Random(count)  # noqa: S311 - a benchmark's dice
    jobs: list[tuple[str, float, float]] = []
    for number in range(count):
        created_at = began_at + chance.uniform(0, job_seconds / 4) * (count > 1)
        jobs.append((f"cmjob{number:06d}", created_at, created_at + job_seconds * chance.uniform(5 / 6, 7 / 6)))
    return jobs


class Teller:
    """The studio: tells how far each job is, and counts who asks."""

    def __init__(self, jobs: list[tuple[str, float, float]]) -> None:
        self.jobs = {job[0]: job for job in jobs}
        self.newest_first = [job[0] for job in sorted(jobs, key=lambda job: -job[1])]
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's questions."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                self.asked += target != "/asked"
                body = json.dumps(self.answer(target)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    def answer(self, target: str) -> dict[str, Any]:
        """Return a job, a page of jobs, or the number of requests."""
        path, _, query = target.partition("?")
        if path == "/asked":
            return {"asked": self.asked}
        if path != "/api/jobs":
            return self.tell(path.rpartition("/")[2])
        cursor = dict(part.split("=") for part in query.split("&")).get("cursor")
        first = self.newest_first.index(cursor) + 1 if cursor else 0
        page = self.newest_first[first : first + PAGE_MAX]
        more = len(self.newest_first) > first + PAGE_MAX
        return {"items": [self.tell(job_id) for job_id in page], "nextCursor": page[-1] if more else None}

    def tell(self, job_id: str) -> dict[str, Any]:
        """One job as it is now."""
        _, created_at, complete_at = self.jobs[job_id]
        share = (time.time() - created_at) / (complete_at - created_at)
        told: dict[str, Any] = {"id": job_id, "status": "loading", "progress": max(0, min(99, int(100 * share)))}
        if share >= 1:
            told |= {"status": "complete", "progress": 100, "result": {"videoUrl": f"https://x.test/{job_id}.mp4"}}
        return told


async def run_studio(arguments: argparse.Namespace) -> None:
    """Tell of jobs until killed."""
    teller = Teller(draw_jobs(arguments.jobs, arguments.job_seconds, arguments.began_at))
    server = await asyncio.start_server(teller.serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def write_job(ledger: SQLiteLedger, job_id: str, created_at: float, studio: str, wallet: str) -> Job:
    """Write a settled payment and its job, as a purchase leaves them."""
    arguments: dict[str, object] = {"model": "seedance-fast", "duration": 4, "resolution": "480p", "prompt": "x"}
    request = PaidRequest(
        purpose="generation", idempotency_key=job_id, url=f"{studio}/api/x", body=b"{}", arguments=arguments
    )
    offer = Offer(
        rail="x402", scheme="exact", network="eip155:8453", asset="0x" + "1" * 40, pay_to="0x" + "2" * 40,
        amount_micro_usdc=MicroUSDC(320_000), lifetime_seconds=300,
    )  # fmt: skip
    async with ledger.lock_budget() as transaction:
        payment = await transaction.reserve(
            request, offer, wallet=wallet, hold_until=int(created_at) + 60, now=created_at
        )
    payment = await ledger.record_signed(
        payment, {}, credential_sha256="0" * 64, hold_until=int(created_at) + 60, lease_until=0, now=created_at
    )
    receipt = Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)
    payment = await ledger.conclude(payment, Settled(receipt=receipt, answer=b"{}"), now=created_at)
    job = await ledger.add_job(payment, job_id, studio=studio, status="pending", now=created_at)
    if job is None:
        raise SystemExit(f"two payments have the job {job_id}")
    return job


async def run_client(arguments: argparse.Namespace) -> None:
    """Wait for every job, one way or the other, and print what it took."""
    url = f"http://127.0.0.1:{arguments.port}"
    wallet = await open_wallet("11" * 32, Path("unused"))

    async def sign_in(build: Any) -> tuple[str, str]:
        return wallet.address, await wallet.sign_in(build(wallet.address))

    address = Address(studio_url=url, blob_url=url, chain_id="eip155:8453", allow_loopback_http=True)
    plan = draw_jobs(arguments.jobs, arguments.job_seconds, arguments.began_at)
    with tempfile.TemporaryDirectory(prefix="polling-") as folder:
        ledger = await SQLiteLedger.open(Path(folder) / "ledger.sqlite3")
        jobs = [await write_job(ledger, job_id, created_at, url, wallet.address) for job_id, created_at, _ in plan]
        async with Studio(address, sign_in) as studio:
            await studio.list_jobs(limit=1)  # the first signature loads its library
            await anyio.sleep(max(0.0, arguments.began_at - time.time()))
            cpu_before, memory_before = _cpu_seconds(), _resident_kib()
            wait = wait_by_watcher if arguments.role == "watcher" else wait_naively
            ends: dict[str, float] = {}
            memory = memory_before

            def note(job_id: str) -> None:
                nonlocal memory
                ends[job_id] = time.time()
                memory = max(memory, _resident_kib())

            with anyio.move_on_after(PATIENCE * arguments.job_seconds):
                await wait(studio, ledger, jobs, arguments.job_seconds, note)
            stopped_at = time.time()
            cpu = _cpu_seconds() - cpu_before
        await ledger.close()
    lags = sorted(ends.get(job_id, stopped_at) - complete_at for job_id, _, complete_at in plan)
    figures = {
        "median_lag_s": round(statistics.median(lags), 2),
        "p95_lag_s": round(lags[min(len(lags) - 1, int(0.95 * len(lags)))], 2),
        "cpu_ms_per_job": round(1000 * cpu / len(jobs), 1),
        "memory_kib_per_job": round((memory - memory_before) / len(jobs), 1),
        "never_heard": len(jobs) - len(ends),
        "seconds": (max(ends.values()) if len(ends) == len(jobs) else stopped_at) - arguments.began_at,
    }
    print(json.dumps(figures))


async def wait_by_watcher(
    studio: Studio, ledger: SQLiteLedger, jobs: list[Job], job_seconds: float, note: Callable[[str], None]
) -> None:
    """Our way: one watcher, one waiting caller per job."""

    async def expect(job: Job) -> float:
        return await ledger.typical_seconds(job.arguments) or job_seconds

    async def save(job: Job) -> Job:
        return await ledger.finish_job(job.job_id, file=f"/{job.job_id}.mp4", thumbnail=None)

    async def wait(poller: JobPoller, job: Job) -> None:
        await anyio.sleep(max(0.0, job.created_at - time.time()))
        await poller.wait(job, deadline=anyio.current_time() + 10 * job_seconds)
        note(job.job_id)

    async with anyio.create_task_group() as tasks:

        def start(work: Callable[[], Awaitable[None]]) -> None:
            async def run() -> None:
                await work()

            tasks.start_soon(run)

        store = JobStore(ledger=ledger, studio=studio.origin, wallet="", archive=LocalArchive(Path()), now=time.time)
        poller = JobPoller(
            studio=studio, store=store, save=save, start=start, now=time.time,
            expected_seconds=expect,
            poll_seconds_min=POLL_SECONDS_MIN,
        )  # fmt: skip
        for job in jobs:
            tasks.start_soon(wait, poller, job)


async def wait_naively(
    studio: Studio, ledger: SQLiteLedger, jobs: list[Job], job_seconds: float, note: Callable[[str], None]
) -> None:
    """Poll with one loop per job, as is usual."""
    del job_seconds

    async def poll(job: Job) -> None:
        await anyio.sleep(max(0.0, job.created_at - time.time()))
        while True:
            await anyio.sleep(NAIVE_SECONDS)
            try:
                status = await studio.fetch_job(job.job_id)
            except StudioError:  # overwhelmed, one or the other; it asks again
                continue
            await ledger.update_job(status, now=time.time())
            if status.ended:
                break
        await ledger.finish_job(job.job_id, file=f"/{job.job_id}.mp4", thumbnail=None)
        note(job.job_id)

    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(poll, job)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


def compare(count: int, job_seconds: float) -> dict[str, dict[str, Any]]:
    """Both ways for one number of jobs, at the same time, each with a studio of its own."""
    began_at = time.time() + LEAD_SECONDS + count / 60  # to write the ledgers, and to load the libraries
    common = ["--jobs", str(count), "--job-seconds", str(job_seconds), "--began-at", str(began_at)]
    started: dict[str, tuple[subprocess.Popen[str], subprocess.Popen[str], str]] = {}
    for role in ("watcher", "naive"):
        studio = _start("--role", "studio", *common)
        assert studio.stdout is not None  # noqa: S101 - it was opened as a pipe
        port = studio.stdout.readline().strip()
        started[role] = (studio, _start("--role", role, "--port", port, *common), port)
    figures: dict[str, dict[str, Any]] = {}
    for role, (studio, client, port) in started.items():
        output, _ = client.communicate(timeout=20 * job_seconds + 300)
        if client.returncode:
            raise SystemExit(f"the {role} client broke")
        figures[role] = json.loads(output)
        seconds = figures[role].pop("seconds")
        figures[role] = {"requests_per_minute": round(60 * (_count(port) - 1) / seconds, 1), **figures[role]}
        studio.kill()
        studio.communicate()
    return figures


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)


def _count(port: str) -> int:
    import httpx  # only the parent asks how often its studio was asked

    return httpx.get(f"http://127.0.0.1:{port}/asked", trust_env=False).json()["asked"]


def main() -> int:
    """Read the arguments, measure, show; exits with 1 where the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--job-seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    for name, kind in (("--role", str), ("--jobs", int), ("--began-at", float), ("--port", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        anyio.run(run_studio if arguments.role == "studio" else run_client, arguments)
        return 0
    broken = False
    for number, count in enumerate(arguments.sizes):
        figures = compare(count, arguments.job_seconds)
        broken |= figures["watcher"]["requests_per_minute"] > QUESTIONS_PER_MINUTE_MAX
        for role, row in figures.items():
            if arguments.json:
                print(json.dumps({"jobs": count, "role": role, **row}), flush=True)
                continue
            if number == 0 and role == "watcher":
                print(f"{'jobs':>5} {'':<8}" + "".join(f"{key:>21}" for key in row))
            print(f"{count:>5} {role:<8}" + "".join(f"{value:>21}" for value in row.values()), flush=True)
    print(f"promise: at most {QUESTIONS_PER_MINUTE_MAX:.0f} requests a minute, however many jobs; naive asks each job")
    print(f"every {NAIVE_SECONDS} s")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
