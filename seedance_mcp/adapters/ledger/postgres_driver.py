"""PostgreSQL driver: a pool of connections, one transaction on each at a time.

Works behind PgBouncer in transaction mode: nothing is prepared on the server, and every setting is `SET LOCAL`.
Every writing transaction waits for the disk (`synchronous_commit`), because the next thing after a write is often an
HTTP request that spends money. A commit that is not confirmed raises: its caller must take it as not written.
Isolation is READ COMMITTED; what must not change between two statements is under the lock of a budget's row.

Every time in the database is by its own clock. A replica's clock may differ by any number of whole seconds: they are
added to what it writes and compares, and taken from what it reads. A process that takes its time from `clock.now`
has the database's clock itself, and nothing is added.
"""

from __future__ import annotations

import re
import secrets
import selectors
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import anyio
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed

from seedance_mcp.adapters.ledger.closings import check_not_closed
from seedance_mcp.adapters.ledger.database_clock import READ_CLOCK, DatabaseClock
from seedance_mcp.adapters.ledger.driver import Row
from seedance_mcp.adapters.ledger.rows import name_ourselves
from seedance_mcp.core.error_base import PaymentState
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import NextStep, Repeat

CONNECT_SECONDS = 5
RECONNECT_SECONDS = 2
"""How long a lost connection is tried again, with growing pauses, until the next transaction begins anew with that."""
LOCK_SECONDS = 10
"""How long a writer waits for another one; each takes milliseconds."""
IDLE_SECONDS = 5
"""After which the server ends a transaction whose process stands still, so that its lock is free again."""
ATTEMPTS_MAX = 3
"""How many connections a transaction tries to begin on."""

TIME_PARAMETERS = frozenset({
    "created_at", "hold_until", "lease_until", "now", "pruned_at", "reserved_until", "seen_at", "since",
})  # fmt: skip
"""Parameters that are by the clock of this process."""
TIME_COLUMNS = frozenset({
    "closed_at", "concluded_at", "created_at", "ended_at", "expired_at", "hold_until", "lease_until", "pruned_at",
    "read_at", "read_from", "revoked_at", "seen_at", "signed_at", "stalled_at", "until", "url_seen_at",
})  # fmt: skip
"""Columns that are by the clock of the database; 0 is no time."""

Connection: TypeAlias = psycopg.AsyncConnection[dict[str, Any]]

_PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")
_BEGIN = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL synchronous_commit = on;
    SET LOCAL lock_timeout = '{lock_seconds}s';
    SET LOCAL idle_in_transaction_session_timeout = '{idle_seconds}s';
    {read_clock}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """The connections of one driver.

    Attributes:
        connections_max: How many transactions run at a time; further ones wait for a connection.
        wait_seconds: How long they wait.
    """

    connections_max: int = 16
    wait_seconds: float = LOCK_SECONDS


class PostgresDriver:
    """The `Driver` protocol on a PostgreSQL database.

    Attributes:
        name: The database's name for texts, without a password.
        owner: Our name in leases, another one at each start.
        clock: The database's.
        watch: Told the seconds of each transaction that locks a budget, or None.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        lock_seconds: int = LOCK_SECONDS,
        idle_seconds: int = IDLE_SECONDS,
        pool: PoolSettings | None = None,
        owner: str | None = None,
        follows_clock: bool = False,
    ) -> None:
        """Set up a driver; `open` connects.

        Args:
            url: `postgresql://user:password@host/database`.
            clock: Where the times come from that this process passes to the ledger.
            lock_seconds: How long a writer waits for another one.
            idle_seconds: After which a transaction ends whose process stands still.
            pool: Its connections.
            owner: Our name in leases; None for a new one.
            follows_clock: True if this process passes times by the database's clock.

        Raises:
            LedgerError: The URL cannot be read.
        """
        self.name, self.clock = describe_database(url), DatabaseClock(clock)
        self.owner = owner or name_ourselves(secrets.token_hex(4))
        self.watch: Callable[[float], object] | None = None
        self._follows_clock = follows_clock
        pool = pool or PoolSettings()
        self._begin = _BEGIN.format(lock_seconds=lock_seconds, idle_seconds=idle_seconds, read_clock=READ_CLOCK)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            kwargs={**connection_settings(), "row_factory": dict_row},
            min_size=1,
            max_size=pool.connections_max,
            timeout=pool.wait_seconds,
            reconnect_timeout=RECONNECT_SECONDS,
            check=_check_open,
            open=False,
        )

    async def open(self) -> None:
        """Open the pool and wait for its first connection: a transaction that comes earlier would start a second."""
        await self._pool.open(wait=True, timeout=self._pool.timeout)
        if self._follows_clock:  # read alone, which a standby allows too: its readiness says why it is not used
            async with self.reading() as session:
                before, rows = self.clock.read(), await session.fetch_all(READ_CLOCK)
            self.clock.compare(before, float(rows[0]["now"]), self.clock.read())

    @asynccontextmanager
    async def transaction(
        self, *, wait: bool = True, budget_of: str | None = None, sync: bool = True
    ) -> AsyncGenerator[PostgresSession]:
        """Begin a transaction; see `Driver`. It waits only for the lock of a row, and each is synced."""
        began_at = time.perf_counter()
        with anyio.CancelScope(shield=True):  # what began also ends: its caller learns what was written
            session = await self._begin_transaction(budget_of)
            try:
                yield session
                await session.commit()
            except BaseException:
                await session.roll_back()
                raise
            finally:
                await self._give_back(session)
                if self.watch is not None and budget_of is not None:
                    self.watch(time.perf_counter() - began_at)

    async def _begin_transaction(self, budget_of: str | None) -> PostgresSession:
        """Begin on a connection that is alive: one that the server is just closing has begun nothing."""
        for attempt in range(ATTEMPTS_MAX):
            session = await self._take()
            try:
                await self._begin_on(session, budget_of)
            except BaseException as exc:
                await session.roll_back()
                await self._give_back(session)
                if isinstance(exc, LedgerError) and session.is_lost and attempt + 1 < ATTEMPTS_MAX:
                    continue
                raise
            return session
        raise AssertionError  # the last attempt returns or raises

    async def _begin_on(self, session: PostgresSession, budget_of: str | None) -> None:
        before = self.clock.read()
        locks = [] if budget_of is None else sorted({"", budget_of})  # the wallet's row first
        rows = await session.run_batch(self._begin, *(_lock_row(scope) for scope in locks))
        if len(rows) <= len(locks):
            what = f"The ledger {self.name} has no budget for this caller."
            raise LedgerError(what, "Make the caller again, or its token.")
        self.clock.compare(before, float(rows[0]["now"]), self.clock.read())
        session.offset = self._shift_seconds

    @property
    def _shift_seconds(self) -> int:
        """Return the seconds that what this process passes and gets is shifted by."""
        return 0 if self._follows_clock else self.clock.ahead_seconds

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[PostgresSession]:
        """Return a session in which each statement reads what is committed by then."""
        with anyio.CancelScope(shield=True):
            session = await self._take()
            session.renew = self._renew
            try:
                yield session
            finally:
                await self._give_back(session)

    async def _renew(self, session: PostgresSession) -> None:
        """Put another connection in the place of a lost one."""
        await self._give_back(session)
        session.connection = (await self._take()).connection

    async def _take(self) -> PostgresSession:
        with translate_errors(self.name):
            return PostgresSession(await self._pool.getconn(), self.name, self.owner, self._shift_seconds)

    async def _give_back(self, session: PostgresSession) -> None:
        await self._pool.putconn(session.connection)

    async def erase_old_pages(self) -> None:
        """Do nothing: what the server keeps of old rows is for its administrator to set."""

    async def close(self) -> None:
        """Close all connections; a second call does nothing."""
        await self._pool.close()


class PostgresSession:
    """The `Session` protocol on one connection.

    Attributes:
        owner_is_gone: SQL that is 1 if the process named by the column `lease_owner` stopped renewing its own lease.
        owner: Our name in leases.
        connection: The connection.
        offset: Seconds that the database's clock is ahead of the times that are passed.
        renew: Replaces a lost connection while only single statements are read; None in a transaction.
    """

    owner_is_gone = "owner_is_gone(lease_owner)"

    def __init__(self, connection: Connection, name: str, owner: str, offset: int) -> None:
        self.connection = connection
        self._name, self.owner, self.offset = name, owner, offset
        self.renew: Callable[[PostgresSession], Awaitable[None]] | None = None

    @property
    def is_lost(self) -> bool:
        """Return True if the server has ended the connection."""
        return self.connection.closed

    async def fetch_all(self, query: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Run a statement and return its rows."""
        try:
            return await self._fetch_all(query, parameters)
        except LedgerError:
            if self.renew is None or not self.is_lost:
                raise
            await self.renew(self)  # the server ended the connection just now; a read can be repeated
            return await self._fetch_all(query, parameters)

    async def _fetch_all(self, query: str, parameters: Mapping[str, object] | None) -> list[Row]:
        with translate_errors(self._name):
            cursor = await self.connection.execute(translate_query(query), self._to_database(parameters or {}))
            rows = [] if cursor.description is None else await cursor.fetchall()
        return [self._from_database(row) for row in rows] if self.offset else list(rows)

    async def fetch_one(self, query: str, parameters: Mapping[str, object] | None = None) -> Row | None:
        """Run a statement and return its first row."""
        rows = await self.fetch_all(query, parameters)
        return rows[0] if rows else None

    async def execute(self, query: str, parameters: Mapping[str, object] | None = None) -> int:
        """Run a statement and return the number of changed rows."""
        with translate_errors(self._name):
            cursor = await self.connection.execute(translate_query(query), self._to_database(parameters or {}))
        return cursor.rowcount

    async def execute_many(self, query: str, parameters: Sequence[Mapping[str, object]]) -> None:
        """Run a statement once per set of parameters."""
        with translate_errors(self._name):
            async with self.connection.cursor() as cursor:
                await cursor.executemany(translate_query(query), [self._to_database(one) for one in parameters])

    async def check_storage(
        self, *, payment_state: PaymentState = "none", amount_micro_usdc: int = 0, payment_id: int | None = None
    ) -> None:
        """Do nothing: every process that has the database's address sees this database."""

    async def run_batch(self, *statements: str) -> list[Row]:
        """Run statements without parameters in one round trip and return all their rows."""
        rows: list[Row] = []
        with translate_errors(self._name):
            cursor = await self.connection.execute("; ".join(statements).encode())
            has_more: bool | None = True
            while has_more:
                rows += [] if cursor.description is None else await cursor.fetchall()
                has_more = cursor.nextset()
        return rows

    async def commit(self) -> None:
        """Commit.

        Raises:
            LedgerError: It was not confirmed, or an earlier statement had failed.
        """
        with translate_errors(self._name):
            cursor = await self.connection.execute(b"COMMIT")
        if cursor.statusmessage != "COMMIT":  # the server answers a failed transaction's COMMIT with ROLLBACK
            raise LedgerError(f"The ledger {self._name} undid a transaction.", NextStep("{0}.", Repeat()))

    async def roll_back(self) -> None:
        """Undo the transaction; a connection that is lost has done so already."""
        with suppress(psycopg.Error):
            await self.connection.execute(b"ROLLBACK")

    def _to_database(self, parameters: Mapping[str, object]) -> Mapping[str, object]:
        if not self.offset:
            return parameters
        return {name: self._shift(value, self.offset, name in TIME_PARAMETERS) for name, value in parameters.items()}

    def _from_database(self, row: Row) -> Row:
        return {name: self._shift(value, -self.offset, name in TIME_COLUMNS) for name, value in row.items()}

    @staticmethod
    def _shift(value: Any, seconds: int, is_time: bool) -> Any:
        return value + seconds if is_time and value else value


def connection_settings() -> dict[str, Any]:
    """Return what every connection is opened with; what the URL names itself comes first with none of these."""
    return {
        "autocommit": True,
        "prepare_threshold": None,  # a prepared statement is not there on PgBouncer's next connection
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "seedance-mcp",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,  # milliseconds: a call must end although its server is cut off
    }


@lru_cache(maxsize=512)
def translate_query(query: str) -> bytes:
    """Return a query with psycopg's parameters instead of `:name`."""
    return _PARAMETER.sub(r"%(\1)s", query.replace("%", "%%")).encode()


def describe_database(url: str) -> str:
    """Return the name of a database for texts: never its user or password.

    Raises:
        LedgerError: The URL cannot be read. The error does not repeat it.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise LedgerError(
            "SEEDANCE_DATABASE_URL is not the address of a PostgreSQL database.",
            "Write postgresql://host/database with user:password@ before the host, both percent-encoded.",
        ) from None
    return f"{parts.get('dbname', 'postgres')} at {parts.get('host', 'this machine')} (PostgreSQL)"


def _lock_row(scope: str) -> str:
    quoted = scope.replace("'", "''")
    return f"SELECT 1 AS locked FROM budgets WHERE scope = '{quoted}' FOR UPDATE"  # noqa: S608 - quoted above


async def _check_open(connection: Connection) -> None:
    """Raise for a connection that the server has closed; asks the operating system alone."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        has_news = bool(selector.select(timeout=0))
    if has_news:  # nothing is expected on it: the server says goodbye
        await connection.close()
        raise psycopg.OperationalError("the server closed the connection")


@contextmanager
def translate_errors(name: str) -> Generator[None]:
    """Raise what PostgreSQL refuses as a `LedgerError` that names the database."""
    try:
        yield
    except PoolClosed as exc:
        raise LedgerError(f"The ledger {name} is closed.", "Restart this server or command.") from exc
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as exc:
        step = NextStep("Nothing is damaged. {0} in a moment.", Repeat())
        raise LedgerError(f"The ledger {name} is locked: another seedance-mcp is writing to it.", step) from exc
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise LedgerError(
            f"The ledger {name} cannot be used: {_first_line(exc)}.",
            NextStep("Nothing is signed without it. {0} once the database can be reached.", Repeat()),
        ) from exc
    except (psycopg.Error, UnicodeError, OverflowError) as exc:
        check_not_closed(exc)
        raise LedgerError(
            f"The ledger {name} cannot be used: {_first_line(exc)}.",
            "Nothing is signed without it. Check the database, and that only seedance-mcp writes to it.",
        ) from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
