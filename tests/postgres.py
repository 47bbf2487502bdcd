"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket, one per process of the tests.

It needs the programs of a PostgreSQL 15 or newer on this machine (Debian: `postgresql`). They refuse to run as root:
for root they run as the user `postgres`.
"""

import asyncio
import atexit
import fcntl
import functools
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

VERSION_MIN = 15
INITIAL_VARIABLE = "SEEDANCETEST_POSTGRES"
"""The environment variable with the folder for the data of a server that was never started."""
START_SECONDS = 60
END_MILLISECONDS = 10_000
"""How long a session may take to end."""
BOUNCER_PORT = 6432
"""Part of the name of PgBouncer's socket."""
TEMPLATE = "ledger_template"
"""The database that every test's own is copied from."""
MEMORY = Path("/dev/shm")  # noqa: S108 - only for folders of `tempfile`
"""Files in memory, on Linux: to make a database there takes a tenth of the processor time."""
MEMORY_BYTES_MIN = 4 * 1024 * 1024 * 1024
"""How much room there must be for servers of the tests."""
GROWTH_BYTES_MAX = 2 * 1024 * 1024
"""How much larger than the template a database may be that another test gets."""
SERVER_SETTINGS = {
    "listen_addresses": "", "max_connections": "200", "fsync": "off", "full_page_writes": "off",
    "shared_buffers": "64MB", "log_min_messages": "fatal", "autovacuum": "off",
}  # fmt: skip


FIND_SCHEMA = """
SELECT (SELECT string_agg(concat(oid, xmin), ' ' ORDER BY oid) FROM pg_class)
    || (SELECT string_agg(concat(oid, xmin), ' ' ORDER BY oid) FROM pg_constraint)
    || (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = (
        SELECT oid FROM pg_database WHERE datname = current_database()))
"""
"""What every change of a schema, or of a database's settings, changes."""


class Cluster:
    """A running server.

    Attributes:
        folder: Where its socket is.
        process: The server.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self._count = 0
        self._own: psycopg.Connection | None = None
        self._clean: list[str] = []
        self._cleaners: dict[str, psycopg.Connection] = {}
        self._pristine: Pristine | None = None

    def url(self, database: str, *, folder: Path | None = None) -> str:
        """Return a database's URL; through another folder's socket, where one is named."""
        return f"postgresql://postgres@/{database}?host={folder or self.folder}"

    @contextmanager
    def database(self, *, template: str = TEMPLATE) -> Generator[str]:
        """Lend a database that is like the template; yields its URL.

        A database with an empty ledger is lent again if no one is connected to it and only its rows have changed: to
        copy one takes a hundred times as long as to delete what a test wrote.
        """
        name = self._find_clean() if template == TEMPLATE else None
        if name is None:
            self._count += 1
            name = f"test_{os.getpid()}_{self._count}"
            self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            if template == TEMPLATE and self._empty(name):
                self._clean.append(name)
            else:
                self._drop(name)

    def _find_clean(self) -> str | None:
        """Return a database that was emptied, or None; one that another process has connected to since is dropped."""
        while self._clean:
            name = self._clean.pop()
            if not self._end_sessions(name):
                return name
            self._drop(name)
        return None

    def _end_sessions(self, name: str) -> set[int]:
        """End the sessions of a database, but for ours; returns the ids of their processes."""
        ours = self._cleaners[name].info.backend_pid if name in self._cleaners else 0
        query = (
            f"SELECT pid, pg_terminate_backend(pid, {END_MILLISECONDS}) FROM pg_stat_activity"  # noqa: S608 - the test's
            f" WHERE datname = '{name}' AND pid <> {ours}"
        )
        return {process for process, _ in self.fetch(query)}

    def _empty(self, name: str) -> bool:
        """Delete what a test wrote into a database; returns False where it is not like the template afterwards.

        The session that does stays open: it is the costly part.
        """
        import psycopg

        if self._pristine is None:
            self._pristine = read_pristine(self.url(TEMPLATE))
        self._end_sessions(name)
        try:
            if name not in self._cleaners:
                self._cleaners[name] = psycopg.connect(self.url(name), autocommit=True, prepare_threshold=None)
            with self._cleaners[name].transaction():
                return self._pristine.restore(self._cleaners[name])
        except psycopg.Error:  # it takes no connections, or is gone
            return False

    def _drop(self, name: str) -> None:
        if name in self._cleaners:
            self._cleaners.pop(name).close()
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self, starter: int) -> None:
        """Close our sessions, unless this is a forked child of who opened them."""
        if os.getpid() == starter:
            for connection in (*self._cleaners.values(), *([self._own] if self._own else [])):
                connection.close()

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query on the server's own database and return its rows."""
        self.execute("SELECT 1")
        assert self._own is not None
        return self._own.execute(query.encode()).fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement on the server's own database."""
        import psycopg

        if self._own is None:
            self._own = psycopg.connect(self.url("postgres"), autocommit=True)
        self._own.execute(statement.encode())


@dataclass(frozen=True)
class Pristine:
    """An empty ledger's database.

    Attributes:
        schema: The answer of `FIND_SCHEMA`.
        size_bytes: Its size.
        statements: Make the rows of another one equal.
    """

    schema: str
    size_bytes: int
    statements: bytes

    def restore(self, connection: "psycopg.Connection") -> bool:
        """Make the rows of a database equal; returns False where more than rows has changed."""
        schema, size = read_shape(connection)
        if schema != self.schema or size > self.size_bytes + GROWTH_BYTES_MAX:
            return False
        connection.execute(self.statements)
        return True


def read_shape(connection: "psycopg.Connection") -> tuple[str, int]:
    """Return the schema and the size of a database."""
    row = connection.execute(FIND_SCHEMA.encode()).fetchone()
    size = connection.execute(b"SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    assert size is not None
    return row[0], size[0]


def read_pristine(url: str) -> Pristine:
    """Read a database that no test has used."""
    import psycopg
    from psycopg import sql

    # triggers would count what is deleted and put back
    statements = ["SET LOCAL session_replication_role = replica"]
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT relkind::text, relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"
        ).fetchall()
        for kind, name in names:
            if kind == "S":
                statements.append(f"SELECT setval('{name}', 1, false)")
                continue
            [[rows]] = connection.execute(f"SELECT json_agg(t) FROM {name} t".encode()).fetchall()  # noqa: S608 - a table of ours
            statements.append(f"DELETE FROM {name}")  # noqa: S608 - a table of ours
            if rows:
                literal = sql.Literal(json.dumps(rows)).as_string(connection)
                statements.append(f"INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, {literal})")  # noqa: S608 - a table of ours
        schema, size = read_shape(connection)
    return Pristine(schema, size, "; ".join(statements).encode())


def require_postgres(*, durable: bool = False) -> Cluster:
    """Return the running server, or skip the test with the reason.

    Args:
        durable: Whether its commits are on disk, as `seedance-mcp serve` demands; another, slower server.
    """
    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        pytest.skip("psycopg is not installed (extra `hosted`)")
    if find_programs() is None:
        pytest.skip(f"no PostgreSQL {VERSION_MIN} or newer on this machine (Debian: postgresql)")
    return start_cluster(durable=durable)


@functools.cache
def find_programs() -> Path | None:
    """Return the folder of the newest server's programs, or None."""
    if os.name != "posix":
        return None
    found = [Path(path).parent for path in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    usable = [path for path in found if read_version(path) >= VERSION_MIN]
    return max(usable, key=read_version, default=None)


def read_version(programs: Path) -> int:
    """Return the major version of the server in a folder."""
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[2].split(".")[0])


def make_folder() -> Path:
    """Make a folder of a server; in memory where there is room."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN
    return Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY if has_room else None))


def initialise(data: Path) -> None:
    """Make the data folder of a server; what `initdb` makes is copied, in a tenth of its processor time."""
    subprocess.run([*become_server(), "cp", "-R", "-p", _run_initdb(), data], check=True, cwd=data.parent)


def share_initial_data() -> None:
    """Let the workers of pytest-xdist that this process starts copy what the first of them makes."""
    folder = make_folder()
    atexit.register(remove, folder, os.getpid())
    os.environ[INITIAL_VARIABLE] = str(folder)


@functools.cache
def _run_initdb() -> Path:
    """Make a data folder that no server uses, once for this process or for all workers."""
    if INITIAL_VARIABLE not in os.environ:
        share_initial_data()
    folder = Path(os.environ[INITIAL_VARIABLE])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            give_to_server(folder)
            programs = find_programs()
            assert programs is not None
            subprocess.run(
                [*become_server(), programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust",
                 "-E", "UTF8", "--locale=C", "--no-sync"],
                check=True, stdout=subprocess.DEVNULL, cwd=folder,
            )  # fmt: skip
            (folder / "made").touch()
    return folder / "data"


@functools.cache
def start_cluster(*, durable: bool = False) -> Cluster:
    """Make and start the server, once for this process, and the database that the others are copied from."""
    programs = find_programs()
    assert programs is not None
    folder = make_folder()
    give_to_server(folder)
    data = folder / "data"
    initialise(data)
    chosen = {**SERVER_SETTINGS, "fsync": "on"} if durable else SERVER_SETTINGS
    settings = [f"--{name}={value}" for name, value in chosen.items()]
    process = subprocess.Popen(
        [*become_server(), programs / "postgres", "-D", data, "-k", folder, *settings],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True,
    )  # fmt: skip
    atexit.register(stop, process, folder, os.getpid())
    cluster = Cluster(folder, process)
    atexit.register(cluster.close, os.getpid())
    wait_until_ready(cluster)
    make_template(cluster)
    return cluster


@contextmanager
def start_bouncer(cluster: Cluster) -> Generator[Path]:
    """Start PgBouncer before the server, or skip the test with the reason; yields the folder of its socket."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if program is None:
        pytest.skip("no PgBouncer on this machine (Debian: pgbouncer)")
    folder = Path(tempfile.mkdtemp(prefix="pgb-"))
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={cluster.folder}
[pgbouncer]
listen_addr =
listen_port = {BOUNCER_PORT}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
"""
    )
    (folder / "users").write_text('"postgres" ""\n')
    give_to_server(folder)
    process = subprocess.Popen(
        [*become_server("KILL"), program, "-q", folder / "pgbouncer.ini"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + START_SECONDS
    while not (folder / f".s.PGSQL.{BOUNCER_PORT}").exists():
        assert process.poll() is None, "PgBouncer ended"
        assert time.monotonic() < give_up, "PgBouncer does not answer"
        time.sleep(0.02)  # another process, which sets no event of ours
    yield folder
    process.kill()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def make_template(cluster: Cluster) -> None:
    """Make the database with an empty ledger."""
    import psycopg

    from seedance_mcp.adapters.ledger.postgres_migrations import migrate

    cluster.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
    asyncio.run(migrate(cluster.url(TEMPLATE)))
    with psycopg.connect(cluster.url(TEMPLATE)) as connection:
        connection.execute("UPDATE ledger_state SET identity = NULL")  # a copy is no restored ledger


def wait_until_ready(cluster: Cluster) -> None:
    """Wait until the server answers."""
    import psycopg

    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            return cluster.execute("SELECT 1")
        except psycopg.OperationalError:
            assert cluster.process.poll() is None, "the server ended"
            assert time.monotonic() < give_up, "the server does not answer"
            time.sleep(0.02)  # another process, which sets no event of ours


def stop(process: subprocess.Popen[bytes], folder: Path, starter: int) -> None:
    """End the server at once; what it has is thrown away."""
    if os.getpid() != starter:  # a forked child of ours did not start it
        return
    process.send_signal(signal.SIGQUIT)
    process.wait()
    remove(folder, starter)


def remove(folder: Path, maker: int) -> None:
    """Remove a folder, unless this is a forked child of its maker."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


def become_server(last_signal: str = "QUIT") -> list[str]:
    """Return the words before a command of the server: it ends with us, by a signal; as root it is another user."""
    words = ["setpriv", "--pdeathsig", last_signal] if shutil.which("setpriv") else []
    if os.getuid() != 0:
        return words
    user = pwd.getpwnam("postgres")
    return ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", *words[1:]]


def give_to_server(folder: Path) -> None:
    """Make the server the owner of a folder."""
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
