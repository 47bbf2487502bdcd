"""How many requests the poller makes, and how soon it knows that a job ended, beside one loop per job.

Each run is a studio of our own in one process (it only tells of its jobs) and a client in another: our `JobPoller`, or,
at the same time with a studio of its own, the usual way, a loop per job that asks every few seconds. Both sign in for
every request, both have a real ledger. The time of a job is log-normal around `--job-seconds`, by a new seed
for each run; the ledger has learned it from ten earlier jobs. Jobs begin within a quarter of that time. The lag is the
time from a job's end at the studio to our result, without the download. The figures for one job are those of several
wallets with one job each, every one with a poller of its own. All sizes run at the same time.

Then 10,000 long jobs of one wallet are held for a minute. They are of all ages, so that some end every second. Measured
are the memory above that of the same process before it knew of them, and the processor time.

The studio's documents do not name the order of its list. It is measured with the latest change first, and with
`--newest-first` also in that order, in which a page cannot have what ended among 1,000 jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import os
import random
import re
import resource
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, Figure, add_json_option, finish, report
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.studio.client import Address, Studio
from seedance_mcp.adapters.wallet import open_wallet
from seedance_mcp.core.errors import StudioError
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import read_job
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest, Receipt, Settled
from seedance_mcp.jobs.archive import LocalArchive
from seedance_mcp.jobs.poller import JobPoller
from seedance_mcp.jobs.store import JobStore
from seedance_mcp.sandbox.jobs import draw_seconds

SIZES = (1, 100, 1000)
LONE_WALLETS = 24
"""How many wallets have one job each."""
MANY = 10_000
"""So many jobs are held for the figures of memory and processor time."""
MANY_SECONDS = 60
MANY_JOB_SECONDS = 1800
HEARD_SECONDS = 10
"""Jobs that ended in the last seconds of a run, or would have ended after it, are not missed."""
HELD_LIVES = 5
"""The held jobs began within so many of the usual times: hardly one takes longer."""
SIGMA = 0.35
"""Standard deviation of the logarithm of a job's time: of 20 jobs, one takes half of the usual time, and one twice."""
LEARNED = 10
PROGRESS_STEPS = (1, 25, 1000)
"""The studio tells progress in these steps, depending on the job."""
NAIVE_SECONDS = 5
PATIENCE = 4
"""A job that no one has heard of after so many times the usual length is not waited for."""
POLL_SECONDS_MIN = 3
"""As in the live profile."""
PAGE_MAX = 100
LEAD_SECONDS = 25
"""How long before its beginning a run is started: a dozen processes load, and write ledgers."""
TRIES = 4
BEGUN = "begun"
"""What a client prints if its ledger was ready in time."""
ENDING_SECONDS = 120
"""How long a client may take to end."""
HEAD_BYTES_MAX = 64 * 1024
TRANSIT_SECONDS = 0.05
"""By how much the time of a request differs between here and the studio."""
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - thousands of jobs are written first
COLUMNS = ("requests_per_minute", "median_lag_s", "p95_lag_s", "cpu_ms_per_job", "memory_kib_per_job", "never_heard")


@dataclass(frozen=True)
class Plan:
    """What a run is made of; every process draws the same jobs from it."""

    jobs: int
    job_seconds: float
    began_at: float
    seed: int
    order: str

    @property
    def arguments(self) -> list[str]:
        """Return the plan as arguments of a process."""
        return [text for name, value in vars(self).items() for text in (f"--{name.replace('_', '-')}", str(value))]

    @property
    def is_held(self) -> bool:
        """Return True if the jobs are old already, and only held."""
        return self.jobs >= MANY

    @property
    def patience(self) -> float:
        """Return how many seconds the run takes at most."""
        return MANY_SECONDS if self.is_held else PATIENCE * self.job_seconds

    def draw_jobs(self) -> list[tuple[str, float, float]]:
        """Return `(id, created at, ended at)` of every job."""
        chance = random.Random(self.seed)  # noqa: S311 - a benchmark's dice
        jobs: list[tuple[str, float, float]] = []
        while len(jobs) < (LONE_WALLETS if self.jobs == 1 else self.jobs):
            seconds = draw_seconds(self.job_seconds, sigma=SIGMA, chance=chance)
            earliest, latest = (-HELD_LIVES, 0) if self.is_held else (0, 0.25)
            shift = self.job_seconds * chance.uniform(earliest, latest)
            if shift + seconds > 0:  # it still runs when the run begins
                created_at = self.began_at + shift
                jobs.append((f"cmjob{len(jobs):06d}", created_at, created_at + seconds))
        return jobs


class Teller:
    """The studio: tells of its jobs, and when each wallet asked."""

    def __init__(self, plan: Plan) -> None:
        jobs = plan.draw_jobs()
        self.jobs = {job[0]: job for job in jobs}
        self.newest_first = [job[0] for job in sorted(jobs, key=lambda job: -job[1])]
        self.latest_first = [job[0] for job in sorted(jobs, key=lambda job: -job[2])]
        self.is_by_change = plan.order == "updated"
        self.asked_at: dict[str, list[float]] = defaultdict(list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target = head.split(" ", 2)[1]
                body = json.dumps(self.asked_at if target == "/asked" else self.answer(target)).encode()
                if target != "/asked":
                    proof = re.search(r"(?i)^sign-in-with-x: *(\S+)", head, re.MULTILINE)
                    wallet = json.loads(base64.b64decode(proof[1]))["address"] if proof else ""
                    self.asked_at[wallet].append(time.time())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    def answer(self, target: str) -> dict[str, Any]:
        """Return a job, or a page of jobs."""
        path, _, query = target.partition("?")
        if path != "/api/jobs":
            return self.tell(path.rpartition("/")[2])
        asked, now = dict(part.split("=") for part in query.split("&")), time.time()
        listed = self.newest_first
        if "status" in asked:
            has_ended = asked["status"] == "complete"
            order = self.latest_first if self.is_by_change else self.newest_first
            listed = [one for one in order if asked["status"] != "failed" and (self.jobs[one][2] <= now) == has_ended]
        first = listed.index(asked["cursor"]) + 1 if "cursor" in asked else 0
        page = listed[first : first + min(PAGE_MAX, int(asked["limit"]))]
        more = len(listed) > first + len(page)
        return {"items": [self.tell(job_id) for job_id in page], "nextCursor": page[-1] if more else None}

    def tell(self, job_id: str) -> dict[str, Any]:
        """Return one job as it is now; its progress is not proportional to time, or coarse, or always 0."""
        _, created_at, ended_at = self.jobs[job_id]
        share = (time.time() - created_at) / (ended_at - created_at)
        number = int(job_id[-6:])
        progress = 100 * max(share, 0) ** (0.7 + number % 10 / 10)
        coarse = PROGRESS_STEPS[number % len(PROGRESS_STEPS)]
        told: dict[str, Any] = {"id": job_id, "status": "loading", "progress": min(99, int(progress / coarse) * coarse)}
        told |= {"createdAt": write_time(created_at), "updatedAt": write_time(min(ended_at, time.time()))}
        if share >= 1:
            told |= {"status": "complete", "progress": 100, "result": {"videoUrl": f"https://x.test/{job_id}.mp4"}}
        return told


def write_time(moment: float) -> str:
    """Return a time as a studio writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


async def run_studio(plan: Plan) -> None:
    """Tell of jobs until killed."""
    server = await asyncio.start_server(Teller(plan).serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
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


def copy_job(file: Path, job: Job, others: Sequence[tuple[str, float, float]]) -> None:
    """Write further jobs like this one: thousands of purchases would take minutes."""
    with closing(sqlite3.connect(file)) as db, db:
        db.row_factory = sqlite3.Row
        payment = dict(db.execute("SELECT * FROM payments WHERE id = ?", [job.payment_id]).fetchone())
        bought = dict(db.execute("SELECT * FROM jobs WHERE job_id = ?", [job.job_id]).fetchone())
        for number, (job_id, created_at, _) in enumerate(others, start=payment["id"] + 1):
            _insert(db, "payments", {**payment, "id": number, "fingerprint": job_id, "created_at": created_at})
            _insert(db, "jobs", {**bought, "job_id": job_id, "payment_id": number, "created_at": created_at})


def _insert(db: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    marks = ", ".join(f":{name}" for name in row)
    db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", row)  # noqa: S608 - our own tables


async def learn(ledger: SQLiteLedger, plan: Plan, wallet: str) -> None:
    """Write ten earlier jobs, from which the usual time is learned."""
    chance = random.Random(plan.seed + 1)  # noqa: S311 - a benchmark's dice
    for number in range(LEARNED):
        created_at = plan.began_at - 10_000
        job = await write_job(ledger, f"cmold{number:06d}", created_at, "http://old.test", wallet)
        seen = read_job(json.dumps({"id": job.job_id, "status": "complete"}).encode(), job.job_id)
        await ledger.update_job(seen, now=created_at + draw_seconds(plan.job_seconds, sigma=SIGMA, chance=chance))


@dataclass
class Client:
    """What a client measures."""

    plan: Plan
    role: str
    url: str
    ends: dict[str, float] = field(default_factory=dict[str, float])
    idle_kib: int = 0
    begun: int = 0

    def note(self, job_id: str) -> None:
        """Note that a job's end is known."""
        self.ends[job_id] = time.time()

    async def run_wallet(self, number: int, jobs: list[tuple[str, float, float]], ready: Ready) -> None:
        """Wait for the jobs of one wallet."""
        wallet = await open_wallet(f"{number + 17:064x}", Path("unused"))

        async def sign_in(build: Any) -> tuple[str, str]:
            return wallet.address, await wallet.sign_in(build(wallet.address))

        address = Address(studio_url=self.url, blob_url=self.url, chain_id="eip155:8453", allow_loopback_http=True)
        with tempfile.TemporaryDirectory(prefix="polling-", dir=FOLDER) as folder:
            ledger = await SQLiteLedger.open(Path(folder) / "ledger.sqlite3")
            async with Studio(address, sign_in) as studio:
                await learn(ledger, self.plan, wallet.address)
                await wallet.sign_in("warm")  # the first signature loads its library
                self.idle_kib = _resident_kib()
                first = await write_job(ledger, *jobs[0][:2], self.url, wallet.address)
                copy_job(Path(folder) / "ledger.sqlite3", first, jobs[1:])
                written = await ledger.unfinished_jobs(self.url)
                await ready()
                wait = wait_by_watcher if self.role == "watcher" else wait_naively
                await wait(studio, ledger, written, self)
            await ledger.close()


Ready = Callable[[], Awaitable[None]]
"""Waits until the run begins."""


async def run_client(plan: Plan, role: str, port: int) -> None:
    """Wait for every job, one way or the other, and print what it took."""
    client, jobs = Client(plan, role, f"http://127.0.0.1:{port}"), plan.draw_jobs()
    wallets = [[job] for job in jobs] if plan.jobs == 1 else [jobs]
    cpu_before, memory, stopped_at = 0.0, 0, time.time()

    async def begin() -> None:
        nonlocal cpu_before
        if time.time() > plan.began_at:
            os._exit(1)  # the task group would wrap an exception
        await anyio.sleep(plan.began_at - time.time())
        cpu_before = _cpu_seconds()
        client.begun += 1
        if client.begun == len(wallets):
            print(BEGUN, flush=True)

    with anyio.move_on_after(plan.began_at - time.time() + plan.patience):
        async with anyio.create_task_group() as tasks:
            for number, own in enumerate(wallets):
                tasks.start_soon(client.run_wallet, number, own, begin)
            while len(client.ends) < len(jobs):
                memory = max(memory, _resident_kib())
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()
    stopped_at, cpu, count = time.time(), _cpu_seconds() - cpu_before, len(jobs)
    heard: set[str] = set() if plan.is_held else set(client.ends)
    jobs = [job for job in jobs if job[0] in heard or job[2] < stopped_at - HEARD_SECONDS]
    lags = sorted(client.ends.get(job_id, stopped_at) - ended_at for job_id, _, ended_at in jobs)
    figures = {
        "median_lag_s": round(statistics.median(lags), 2),
        "p95_lag_s": round(lags[min(len(lags) - 1, int(0.95 * len(lags)))], 2),
        "cpu_ms_per_job": round(1000 * cpu / count, 1),
        "memory_kib_per_job": round((memory - client.idle_kib) / count, 1),
        "never_heard": sum(1 for job_id, _, _ in jobs if job_id not in client.ends),
        "seconds": stopped_at - plan.began_at,
        "cpu_share": cpu / (stopped_at - plan.began_at),
        "memory_mib": (memory - client.idle_kib) / 1024,
    }
    print(json.dumps(figures))


async def wait_by_watcher(studio: Studio, ledger: SQLiteLedger, jobs: list[Job], client: Client) -> None:
    """Our way: one poller, one waiting caller per job; jobs that are only held have no callers."""

    async def expect(job: Job) -> float:
        return await ledger.typical_seconds(job.arguments) or client.plan.job_seconds

    async def save(job: Job) -> Job:
        if client.plan.is_held:
            client.note(job.job_id)
        return await ledger.finish_job(job.job_id, file=f"/{job.job_id}.mp4", thumbnail=None)

    async def wait(poller: JobPoller, job: Job) -> None:
        await anyio.sleep(max(0.0, job.created_at - time.time()))
        await poller.wait(job, deadline=math.inf)
        client.note(job.job_id)

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
            if client.plan.is_held:
                poller.watch(job)
            else:
                tasks.start_soon(wait, poller, job)
        if client.plan.is_held:
            await anyio.sleep_forever()


async def wait_naively(studio: Studio, ledger: SQLiteLedger, jobs: list[Job], client: Client) -> None:
    """Poll with one loop per job, as is usual."""

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
        client.note(job.job_id)

    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(poll, job)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


def run_all(plans: Sequence[Plan], roles: Sequence[str]) -> Iterator[tuple[Plan, dict[str, dict[str, Any]]]]:
    """Run all plans, and yield what each measured: those for the lag at the same time, those that are held alone."""
    together = [plan for plan in plans if not plan.is_held]
    with ThreadPoolExecutor(max(1, len(together))) as pool:  # each thread only waits for its processes
        yield from zip(together, pool.map(partial(measure, roles=roles), together), strict=True)
    yield from ((plan, measure(plan, ("watcher",))) for plan in plans if plan.is_held)


def measure(drawn: Plan, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Run one or both ways at the same time, with enough time before it to write the ledgers."""
    lead = LEAD_SECONDS + drawn.jobs / 1000
    for _ in range(TRIES):
        figures = run_once(replace(drawn, began_at=time.time() + lead), roles)
        if figures is not None:
            return figures
        lead *= 2
    raise SystemExit("this machine is too busy to write the ledgers")


def run_once(plan: Plan, roles: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Run one or both ways, each with a studio of its own; None if a ledger was not ready in time."""
    with ExitStack() as stack:
        clients: dict[str, tuple[subprocess.Popen[str], str]] = {}
        for role in roles:
            port = _read_line(_start(stack, "--role", "studio", *plan.arguments))
            clients[role] = _start(stack, "--role", role, "--port", port, *plan.arguments), port
        if any(_read_line(client) != BEGUN for client, _ in clients.values()):
            return None
        figures: dict[str, dict[str, Any]] = {}
        for role, (client, port) in clients.items():
            output, _ = client.communicate(timeout=plan.patience + ENDING_SECONDS)
            if client.returncode != 0:
                raise SystemExit(f"the {role} client broke")
            figures[role] = {"requests_per_minute": _count(port), **json.loads(output)}
        return figures


def _start(stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    """Start one of the processes, which ends with the run."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    return process.stdout.readline().strip()


def _count(port: str) -> int:
    """Return the most requests that any wallet made in any 60 seconds."""
    import httpx  # only the parent asks how often its studio was asked

    most = 0
    for asked_at in httpx.get(f"http://127.0.0.1:{port}/asked", trust_env=False).json().values():
        for first, moment in enumerate(asked_at):
            most = max(most, sum(1 for one in asked_at[first:] if one - moment < 60 - TRANSIT_SECONDS))
    return most


@dataclass
class Results:
    """What all runs measured."""

    requests: int = 0
    p95: float = 0
    lags: dict[int, tuple[float, str]] = field(default_factory=dict[int, tuple[float, str]])
    held: dict[str, Any] = field(default_factory=dict[str, Any])
    unheard: int = 0

    def take(self, plan: Plan, rows: dict[str, dict[str, Any]]) -> None:
        """Keep the figures of a run; the lag in an order that cannot meet the promise is only shown."""
        ours = rows["watcher"]
        self.requests = max(self.requests, ours["requests_per_minute"])
        self.unheard += ours["never_heard"]
        if plan.is_held:
            self.held = ours
            return
        if plan.jobs <= PAGE_MAX or plan.order == "updated":
            beside = f"{rows['naive']['median_lag_s']} s" if "naive" in rows else ""
            self.lags[plan.jobs] = ours["median_lag_s"], beside
            self.p95 = max(self.p95, ours["p95_lag_s"])

    def report(self) -> list[Figure]:
        """Return the figures of the table."""
        figures = [report("polling.requests", self.requests), report("polling.lag_p95", self.p95)]
        figures += [report(f"polling.lag_{jobs}", *self.lags[jobs]) for jobs in SIZES if jobs in self.lags]
        if self.held:
            figures.append(report("polling.memory", self.held["memory_mib"]))
            figures.append(report("polling.core", self.held["cpu_share"]))
        return figures


def list_plans(arguments: argparse.Namespace) -> list[Plan]:
    """Return the runs of a measurement."""
    seed = arguments.seed or secrets.randbelow(10**9)
    orders = [(size, "updated") for size in arguments.sizes]
    orders += [(size, "created") for size in arguments.sizes if size > PAGE_MAX and arguments.newest_first]
    plans = [Plan(size, arguments.job_seconds, 0, seed + size, order) for size, order in orders]
    return plans if arguments.without_many else [*plans, Plan(MANY, MANY_JOB_SECONDS, 0, seed, "updated")]


def run_role(arguments: argparse.Namespace) -> None:
    """Be one process of a run."""
    plan = Plan(arguments.jobs, arguments.job_seconds, arguments.began_at, arguments.seed, arguments.order)
    if arguments.role == "studio":
        anyio.run(run_studio, plan)
    else:
        anyio.run(run_client, plan, arguments.role, arguments.port)


def main() -> int:
    """Read the arguments, measure, show; exits with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--job-seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="repeat the jobs of a run; by default, a new one")
    parser.add_argument("--without-naive", action="store_true", help="do not run the loop per job beside it")
    parser.add_argument("--newest-first", action="store_true", help="also with a list that has the newest job first")
    parser.add_argument("--without-many", action="store_true", help=f"do not hold {MANY} jobs")
    add_json_option(parser)
    hidden = (("--role", str), ("--jobs", int), ("--began-at", float), ("--port", int), ("--order", str))
    for name, kind in hidden:
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        run_role(arguments)
        return 0
    results = Results()
    if arguments.json != RAW:
        print(f"{'jobs':>5} {'order':<8} {'':<8}" + "".join(f"{name:>20}" for name in COLUMNS), flush=True)
    for plan, rows in run_all(list_plans(arguments), ("watcher",) if arguments.without_naive else ("watcher", "naive")):
        results.take(plan, rows)
        for role, row in rows.items():
            show(plan, role, row, as_json=arguments.json == RAW)
    figures = results.report()
    for figure in figures:
        if figure.passed is False:
            print(f"broken: {figure.name} is {figure.value:g} {figure.unit}, {figure.target}")
    if results.unheard:
        print(f"broken: {results.unheard} ends were never heard of")
    return int(bool(finish(figures, arguments.json)) or results.unheard > 0)


def show(plan: Plan, role: str, row: dict[str, Any], *, as_json: bool) -> None:
    """Print the figures of one way."""
    if as_json:
        print(json.dumps({"jobs": plan.jobs, "order": plan.order, "seed": plan.seed, "role": role, **row}), flush=True)
        return
    values = "".join(f"{row[name]:>20}" for name in COLUMNS)
    print(f"{plan.jobs:>5} {plan.order:<8} {role:<8}{values}", flush=True)
    if plan.is_held:
        print(f"{plan.jobs} held: {row['memory_mib']:.1f} MiB above the idle process, {row['cpu_share']:.1%} of a core")


if __name__ == "__main__":
    sys.exit(main())
