"""A PostgreSQL server of a deployment: it keeps its data over a crash, has PgBouncer before it, and may have a standby.

`tests.postgres` has the server for tests of the ledger; this one is killed and started again. Both need the programs
of a PostgreSQL 15 or newer.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.postgres import START_SECONDS, become_server, find_programs, give_to_server, initialise

BOUNCER_PORT = 6432
"""Part of the name of PgBouncer's socket."""
DATABASE = "seedance"
LOOK_SECONDS = 0.02
POOL_SIZE = 20
SETTINGS = {
    "listen_addresses": "", "max_connections": "100", "shared_buffers": "64MB", "log_min_messages": "warning",
    "hot_standby": "on",
}  # fmt: skip


class HarnessError(Exception):
    """A part of the harness itself does not work; says nothing about the product."""


class DatabaseServer:
    """A server on a Unix socket in a folder of its own.

    Args:
        folder: Where its data and its socket are; the path is short, for sockets' paths are bounded.
        settings: In addition to `SETTINGS`.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._settings = SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = _require_programs()

    @property
    def url(self) -> str:
        """The address of the deployment's database."""
        return f"postgresql://postgres@/{DATABASE}?host={self.folder}"

    @property
    def is_running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    def create(self) -> None:
        """Make the data folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        give_to_server(self.folder)
        initialise(self.data)

    def copy_from(self, primary: DatabaseServer) -> None:
        """Make the data folder of a standby that follows another server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        give_to_server(self.folder)
        self._run(
            "pg_basebackup", "-h", primary.folder, "-U", "postgres", "-D", self.data,
            "-R", "-X", "stream", "-c", "fast", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        """Start the server; `wait_until_ready` waits for it."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*become_server(), self._programs / "postgres", "-D", self.data, "-k", self.folder, *settings],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def wait_until_ready(self, database: str = "postgres") -> None:
        """Wait until the server answers."""
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                with psycopg.connect(f"postgresql://postgres@/{database}?host={self.folder}", connect_timeout=5):
                    return
            except psycopg.OperationalError as exc:
                if not self.is_running or time.monotonic() > give_up:
                    raise HarnessError(f"PostgreSQL does not answer: {exc}; see {self.folder / 'log'}") from exc
            time.sleep(LOOK_SECONDS)  # another process, which sets no event of ours

    def crash(self) -> None:
        """End the server at once, as a crash does: it recovers from its log at the next start."""
        self._run("pg_ctl", "-D", self.data, "stop", "-m", "immediate")
        if self._process is not None:
            self._process.wait(START_SECONDS)

    def stop(self) -> None:
        """End the server, whatever it is doing."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_SECONDS)

    def execute(self, statement: str, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Run a statement outside a transaction; returns its rows."""
        url = f"postgresql://postgres@/{database}?host={self.folder}"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return [] if cursor.description is None else cursor.fetchall()

    def _run(self, program: str, *arguments: object) -> None:
        command = [*become_server(), self._programs / program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            raise HarnessError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")


@contextmanager
def run_database(folder: Path, **settings: str) -> Generator[DatabaseServer]:
    """Run a server with an empty database."""
    server = DatabaseServer(folder, **settings)
    server.create()
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        server.wait_until_ready()
        server.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0", database="postgres")
        yield server


@contextmanager
def run_bouncer(server: DatabaseServer, folder: Path) -> Generator[str]:
    """Run PgBouncer in transaction mode before a server; yields the database's address through it."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise HarnessError("there is no PgBouncer on this machine (Debian: pgbouncer)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={server.folder}
[pgbouncer]
listen_addr =
listen_port = {BOUNCER_PORT}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 300
server_login_retry = 1
logfile = {folder}/log
"""
    )
    (folder / "users").write_text('"postgres" ""\n')
    give_to_server(folder)
    process = subprocess.Popen(
        [*become_server("KILL"), program, "-q", folder / "pgbouncer.ini"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        _wait_for(folder / f".s.PGSQL.{BOUNCER_PORT}", process)
        yield f"postgresql://postgres@/{DATABASE}?host={folder}&port={BOUNCER_PORT}"
    finally:
        process.kill()
        process.wait()


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > give_up:
            raise HarnessError("PgBouncer does not start")
        time.sleep(LOOK_SECONDS)  # another process, which sets no event of ours


def _require_programs() -> Path:
    programs = find_programs()
    if programs is None:
        raise HarnessError("there is no PostgreSQL 15 or newer on this machine (Debian: postgresql)")
    return programs
