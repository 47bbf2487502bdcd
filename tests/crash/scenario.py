"""The stage of a kill: a wallet with a data folder of its own at a sandbox, and both ledger to compare afterwards.

One book is the client's ledger, the other the sandbox's chain; the chain is the truth.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.app.local_sandbox import FUNDED_MICRO_USDC, prepare_wallet
from seedance_mcp.core.records import Job
from seedance_mcp.sandbox import Sandbox
from seedance_mcp.server import build_server
from tests.forks import build_command
from tests.servers import NO_TLS

ROOT = Path(__file__).resolve().parent.parent.parent
LOOK_SECONDS = 0.05
FEE_MICRO_USDC_MAX = 20_000
"""What stays booked for the fee of a Tempo charge whose server died before the chain had named it."""
LEASE_SECONDS = 80
"""Longer than any lease or reservation lives without its process."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said; `text` is the error's where it is one."""

    is_error: bool
    text: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Both ledger at one moment.

    Attributes:
        generations, uploads: How many the chain settled for this wallet.
        lost_uploads: How many of these uploads bought a ticket that never reached the client.
        chain_micro_usdc: What it moved in all.
        ledger_micro_usdc: What the client's budget counts.
        held_micro_usdc: The part of that which has not settled, yet may.
        problems: What must never be, in words.
    """

    generations: int
    uploads: int
    lost_uploads: int
    chain_micro_usdc: int
    ledger_micro_usdc: int
    held_micro_usdc: int
    problems: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Stage:
    """One owner: a funded wallet, a data folder, a sandbox, and the rail to pay on, if not any."""

    sandbox: Sandbox
    folder: Path
    address: str
    rail: str | None = None

    @classmethod
    async def set(cls, sandbox: Sandbox, folder: Path, rail: str | None = None) -> Stage:
        """Make a wallet and fund it."""
        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        address = await anyio.to_thread.run_sync(prepare_wallet, None, folder / "wallet.json")
        sandbox.chain.mint(address, FUNDED_MICRO_USDC)
        sandbox.tempo.mint(address, FUNDED_MICRO_USDC)
        return cls(sandbox, folder, address, rail)

    @property
    def environ(self) -> dict[str, str]:
        """What the server is started with."""
        return {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": self.sandbox.url,
            "SEEDANCE_WALLET_FILE": str(self.folder / "wallet.json"),
            "SEEDANCE_DATA_DIR": str(self.folder),
            "SEEDANCE_ALLOW_PUSH": "on",
            **({} if self.rail is None else {"SEEDANCE_RAILS": self.rail}),
        }

    @property
    def ledger_file(self) -> Path:
        """The client's ledger."""
        return self.folder / "sandbox" / "ledger.sqlite3"

    @asynccontextmanager
    async def server(self, *arguments: str) -> AsyncGenerator[Client]:
        """The server as its own process: `python -m seedance_mcp`, or the crash point with these arguments, forked."""
        module = (
            build_command("tests.crash.crash_points", *arguments)
            if arguments
            else [sys.executable, "-m", "seedance_mcp"]
        )
        parameters = StdioServerParameters(command=module[0], args=module[1:], env=self.environ, cwd=ROOT)
        async with Client(parameters) as client:
            yield client

    @asynccontextmanager
    async def server_in_process(self) -> AsyncGenerator[Client]:
        """The same server in this process, for one that no one kills."""
        async with Client(build_server(self.environ)) as client:
            yield client

    def let_leases_lapse(self) -> None:
        """Let a minute and a quarter pass for the ledger: what a dead process was busy with is free again.

        Only the leases and the unsigned reservations age; a credential's expiry is the chain's business.
        """
        self._query("UPDATE payments SET lease_until = lease_until - ? WHERE lease_until > 0", LEASE_SECONDS)
        self._query("UPDATE payments SET hold_until = hold_until - ? WHERE state = 'reserved'", LEASE_SECONDS)

    def lose_jobs(self) -> None:
        """Lose what a power failure may take: the rows of the jobs, which are not synced by themselves."""
        self._query("DELETE FROM jobs")

    async def jobs(self) -> list[Job]:
        """The jobs that the client knows."""
        if not self.ledger_file.exists():
            return []
        ledger = await SQLiteLedger.open(self.ledger_file)
        try:
            return await ledger.recent_jobs(10)
        finally:
            await ledger.close()

    async def wait_until_over(self) -> None:
        """Wait until `is_over`. The caller bounds it."""
        await wait_for(self.is_over)

    def is_over(self) -> bool:
        """Whether no payment is open and every settled generation has its video."""
        [(open_payments, unsaved)] = self._query(
            """SELECT count(*) FILTER (WHERE state = 'signed' OR (state = 'reserved' AND hold_until > ?)),
                      count(*) FILTER (WHERE state = 'settled' AND purpose = 'generation' AND file IS NULL)
               FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id""",
            time.time(),
        ) or [(0, 0)]
        return open_payments == 0 and unsaved == 0

    async def audit(self, *, generations_max: int = 1, uploads_max: int = 1) -> Audit:
        """Compare the ledger; what must never be is in `problems`.

        Args:
            generations_max: How many videos the journey may buy.
            uploads_max: How many uploads it may buy, in addition to those whose answers were lost.
        """
        async with httpx.AsyncClient(base_url=self.sandbox.url, trust_env=False, verify=NO_TLS, timeout=30) as studio:
            state = (await studio.get("/_sandbox/state")).json()
            settled = [one for one in state["settlements"] if one["from"].lower() == self.address.lower()]
            videos = {job.job_id: await self._find_video_problem(studio, job) for job in await self.jobs()}
        paths = [str(one["path"]) for one in settled]
        generations = sum(path.startswith("/api/generate/") for path in paths)
        uploads = paths.count("/api/upload")
        chain = sum(int(one["amount_micro_usdc"]) + int(one.get("fee_micro_usdc", 0)) for one in settled)
        unnamed = FEE_MICRO_USDC_MAX * sum(one["rail"] == "mpp" for one in settled)
        figure, held = await self._sum_ledger({str(one.get("memo") or one["nonce"]).lower() for one in settled})
        lost_uploads = self._count_lost_uploads()
        problems: list[str] = []
        if generations > generations_max:
            problems.append(f"paid twice: {generations} generations were settled")
        if uploads - lost_uploads > uploads_max:
            problems.append(f"paid twice: {uploads} uploads were settled and the answers of {lost_uploads} were lost")
        if not 0 <= figure - chain - held <= unnamed:
            problems.append(f"overspent: the ledger counts {figure}, the chain {chain}, and {held} are held")
        if len([job for job in await self.jobs() if job.price_micro_usdc]) < generations:
            problems.append("job lost: a settled generation has no job")
        problems += [f"job lost: {job_id} {problem}" for job_id, problem in videos.items() if problem]
        return Audit(
            generations=generations,
            uploads=uploads,
            lost_uploads=lost_uploads,
            chain_micro_usdc=chain,
            ledger_micro_usdc=figure,
            held_micro_usdc=held,
            problems=problems,
        )

    async def _find_video_problem(self, studio: httpx.AsyncClient, job: Job) -> str | None:
        """Why a job's video is not on disk byte for byte as the studio has it; None where it is."""
        if job.file is None or job.video_url is None:
            return f"is {job.status} and has no video"
        video = await studio.get(job.video_url)
        if video.status_code != 200:
            return f"cannot be compared: its address answers {video.status_code}"
        saved = await anyio.Path(job.file).read_bytes()
        leftovers = list(Path(job.file).parent.glob(f"*{Path(job.file).stem}*"))
        if len([one for one in leftovers if one.suffix == ".mp4"]) != 1:
            return f"has several files: {[one.name for one in leftovers]}"
        return None if saved == video.content else "has a video that is not the studio's"

    def _count_lost_uploads(self) -> int:
        [(count,)] = self._query(
            "SELECT count(*) FROM payments WHERE purpose = 'upload' AND state = 'settled' AND length(answer) = 0"
        ) or [(0,)]
        return int(count)

    def _query(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows from the client's ledger; none where there is no ledger yet, or one without tables."""
        if not self.ledger_file.exists():
            return []
        with closing(sqlite3.connect(self.ledger_file, timeout=10, isolation_level=None)) as db:
            if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'payments'").fetchone() is None:
                return []
            return db.execute(query, parameters).fetchall()

    async def _sum_ledger(self, settled_nonces: set[str]) -> tuple[int, int]:
        """What the budget counts, and the part of it that is held by payments that the chain does not know."""
        if not self.ledger_file.exists():
            return 0, 0
        now = time.time()
        ledger = await SQLiteLedger.open(self.ledger_file)
        figure = (await ledger.spend(now)).total_micro_usdc
        reserved = sum(one.left_micro_usdc for one in await ledger.list_reservations(now))
        await ledger.close()
        rows = self._query(
            """SELECT amount_micro_usdc + fee_micro_usdc, document FROM payments
               WHERE state = 'signed' OR (state IN ('reserved', 'refused') AND hold_until > ?)""",
            now,
        )
        held = sum(amount for amount, document in rows if _read_nonce(document) not in settled_nonces)
        return figure, held + reserved


def _read_nonce(document: str | None) -> str | None:
    """What names a payment at its chain: an authorization's nonce, or on Tempo the memo."""
    if document is None:
        return None
    payment = json.loads(document)
    if "transaction" in payment:
        return str(payment["transaction"]["memo"]).lower()
    return str(payment["payload"]["authorization"]["nonce"]).lower()


async def wait_for(happened: Callable[[], bool]) -> None:
    """Look until something has happened in another process. The caller bounds it."""
    while not happened():
        await anyio.sleep(LOOK_SECONDS)


async def call(client: Client, tool: str, **arguments: Any) -> Answer | None:
    """Call a tool; None where the server died before it answered."""
    try:
        result = await client.call_tool(tool, arguments)
    except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        return None
    text = next((part.text for part in result.content if part.type == "text"), "")
    return Answer(is_error=bool(result.is_error), text=text, fields=result.structured_content or {})
