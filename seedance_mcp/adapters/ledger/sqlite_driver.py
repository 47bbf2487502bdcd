"""SQLite driver: one file, one connection, one thread of its own.

WAL, so that readers of other processes never wait; `synchronous=FULL`, so that a written row survives a power cut,
because the next thing after a write is often an HTTP request that spends money. A transaction that can wait for the
next one's sync says so: a sync is of the whole log. Every write is one `BEGIN IMMEDIATE`.

Every statement runs in the driver's thread: a locked file, or a slow disk, does not block the event loop. A lock keeps
the statements of other tasks out of an open transaction. A failed transaction leaves the connection outside any
transaction.

A change of threads costs as much processor time as several statements. Therefore a whole operation of the ledger runs
in the driver's thread (`run_whole`); a transaction that others hold open (`lock_budget`) goes there once per step.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import anyio

from seedance_mcp.adapters.ledger.driver import Row
from seedance_mcp.adapters.ledger.files import OpenFile
from seedance_mcp.adapters.ledger.migrations import MIGRATIONS
from seedance_mcp.adapters.ledger.rows import name_ourselves
from seedance_mcp.core.error_base import PaymentState
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import NextStep, Repeat

BUSY_SECONDS = 2
"""How long a writer waits for another process's transaction; each takes milliseconds."""
SQLITE_VERSION_MIN = (3, 37, 0)
"""STRICT tables came with 3.37 (November 2021), RETURNING with 3.35."""

T = TypeVar("T")
A = TypeVar("A")


class SQLiteDriver:
    """The `Driver` protocol on one SQLite file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._thread = _LedgerThread()
        self._lock = anyio.Lock(fast_acquire=True)
        self._opened: tuple[sqlite3.Connection, OpenFile] | None = None

    @property
    def owner(self) -> str:
        """Return our name in leases."""
        return name_ourselves()

    async def open(self) -> None:
        """Open or create the file and bring its schema up to date.

        Raises:
            LedgerError: Not writable, not a ledger, damaged, or written by a newer version.
        """
        with anyio.CancelScope(shield=True):
            try:
                self._opened = await self._thread.run(open_file, self.file)
            except BaseException:
                self._thread.end()
                raise

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection; used in the driver's thread alone."""
        return self._get_opened()[0]

    def _get_opened(self) -> tuple[sqlite3.Connection, OpenFile]:
        if self._opened is None:
            raise LedgerError(f"The ledger {self.file} is closed.", "Restart this server or command.")
        return self._opened

    async def run_whole(self, operation: Callable[[], Coroutine[object, object, T]]) -> T:
        """Run a coroutine function that waits for nothing but this driver, in the driver's thread, in one go.

        Raises:
            LedgerError: The ledger is closed.
            Exception: What the operation raises.
        """
        if self._thread.is_here:
            return await operation()
        with anyio.CancelScope(shield=True):  # as in `reading`
            async with self._lock:
                self._get_opened()
                return await self._thread.run(_finish, operation)
        raise AssertionError  # a shielded scope returns or raises

    @asynccontextmanager
    async def transaction(
        self, *, wait: bool = True, budget_of: str | None = None, sync: bool = True
    ) -> AsyncGenerator[SQLiteSession]:
        """Begin the transaction of a single writer; see `Driver`. It locks the whole file, and so every budget."""
        async with self.reading() as session:
            try:
                await session.run(lambda db: _begin(db, wait=wait, sync=sync))
                yield session
                await session.run(lambda db: db.execute("COMMIT"))
            except BaseException:
                await session.run(_roll_back)
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[SQLiteSession]:
        """Return a session that no other task of this process uses meanwhile."""
        if self._thread.is_here:
            yield SQLiteSession(*self._get_opened(), self._thread)
            return
        with anyio.CancelScope(shield=True):  # what began also ends: its caller learns what was written
            async with self._lock:
                yield SQLiteSession(*self._get_opened(), self._thread)

    async def erase_old_pages(self) -> None:
        """Move what was written into the file itself: the log beside it still holds what was there before."""
        with suppress(LedgerError):
            async with self.reading() as session:
                await session.run(_checkpoint)

    async def close(self) -> None:
        """Close the file and end the thread; a second call does nothing."""
        if self._opened is not None:
            async with self.reading() as session:
                await session.run(lambda db: db.close())
                self._opened = None
                self._thread.end()


class SQLiteSession:
    """The `Session` protocol on one SQLite connection.

    Attributes:
        owner_is_gone: SQL for what this database does not know: reading a row asks the operating system.
    """

    owner_is_gone = "0"

    def __init__(self, db: sqlite3.Connection, open_file: OpenFile, thread: _LedgerThread) -> None:
        self._db = db
        self._open_file = open_file
        self._thread = thread

    @property
    def owner(self) -> str:
        """Return our name in leases."""
        return name_ourselves()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the connection in the driver's thread.

        Raises:
            LedgerError: SQLite or the disk refused.
        """
        with translate_errors(self._open_file.path):
            if self._thread.is_here:
                return work(self._db)
            return await self._thread.run(work, self._db)

    async def run_whole(self, operation: Callable[[], Coroutine[object, object, T]]) -> T:
        """Run a coroutine function that waits for nothing but this session, in the driver's thread, in one go."""
        return await self._thread.run(_finish, operation)

    async def fetch_all(self, query: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Run a statement and return its rows."""
        return await self.run(lambda db: [dict(row) for row in db.execute(query, parameters or {}).fetchall()])

    async def fetch_one(self, query: str, parameters: Mapping[str, object] | None = None) -> Row | None:
        """Run a statement and return its first row."""
        rows = await self.fetch_all(query, parameters)
        return rows[0] if rows else None

    async def execute(self, query: str, parameters: Mapping[str, object] | None = None) -> int:
        """Run a statement and return the number of changed rows."""
        return await self.run(lambda db: db.execute(query, parameters or {}).rowcount)

    async def execute_many(self, query: str, parameters: Sequence[Mapping[str, object]]) -> None:
        """Run a statement once per set of parameters."""
        await self.run(lambda db: db.executemany(query, parameters))

    async def check_storage(
        self, *, payment_state: PaymentState = "none", amount_micro_usdc: int = 0, payment_id: int | None = None
    ) -> None:
        """Raise if the path leads to another file by now; see `Session`."""
        check = self._open_file.check
        await self.run(
            lambda _: check(payment_state=payment_state, amount_micro_usdc=amount_micro_usdc, payment_id=payment_id)
        )


class _LedgerThread:
    """The one thread of a driver. An executor of the standard library takes three times the processor time."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=_work_off, args=(self._jobs,), name="ledger", daemon=True)

    def __del__(self) -> None:
        """End with a driver that was not closed."""
        self.end()

    @property
    def is_here(self) -> bool:
        """Return True in this thread."""
        return threading.get_ident() == self._thread.ident

    async def run(self, function: Callable[[A], T], argument: A) -> T:
        """Run a function in this thread."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                try:
                    value = function(argument)
                except BaseException as exc:
                    loop.call_soon_threadsafe(_fail, result, exc)
                else:
                    loop.call_soon_threadsafe(_succeed, result, value)

        if self._thread.ident is None:
            self._thread.start()
        self._jobs.put(job)
        return await result

    def end(self) -> None:
        """Let the thread end once it has done what it was given."""
        self._jobs.put(None)


def _work_off(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # it would keep alive what it worked on until the next one


def _succeed(result: asyncio.Future[T], value: T) -> None:
    if not result.done():
        result.set_result(value)


def _fail(result: asyncio.Future[T], exc: BaseException) -> None:
    if not result.done():
        result.set_exception(exc)


def _finish(operation: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run a coroutine that never has to wait, because its statements run in this thread."""
    coroutine = operation()
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("An operation of the ledger waits for something else.")


def open_file(file: Path) -> tuple[sqlite3.Connection, OpenFile]:
    """Open or create a ledger's file and bring its schema up to date.

    Raises:
        LedgerError: Not writable, not a ledger, damaged, or written by a newer version.
    """
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        needed = ".".join(str(part) for part in SQLITE_VERSION_MIN)
        raise LedgerError(
            f"This Python has SQLite {sqlite3.sqlite_version}; the ledger needs {needed} or newer.",
            "Use a newer Python, such as uv's own.",
        )
    with translate_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives -wal and -shm the same mode
        opened = OpenFile.remember(file)
        db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        with translate_errors(file):
            db.row_factory = sqlite3.Row
            _enter_wal(db)
            db.execute("PRAGMA fullfsync = ON")  # on a Mac, fsync alone stops at the disk's own memory
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA secure_delete = ON")  # what is taken out of a row leaves no bytes behind
            _begin(db)
            _migrate(db, file)
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db, opened


def _enter_wal(db: sqlite3.Connection) -> None:
    """Switch a new file to WAL: the one statement that SQLite lets fail at once while another process does it."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(db: sqlite3.Connection, file: Path) -> None:
    applied = int(db.execute("PRAGMA user_version").fetchone()[0])
    if applied == 0 and db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
        raise LedgerError(f"{file} is another program's database.", "Move it away.")
    if applied > len(MIGRATIONS):
        raise LedgerError(f"The ledger {file} was written by a newer version of seedance-mcp.", "Update seedance-mcp.")
    for number, migrate in enumerate(MIGRATIONS[applied:], start=applied + 1):
        migrate(db)
        db.execute(f"PRAGMA user_version = {number}")


def _begin(db: sqlite3.Connection, *, wait: bool = True, sync: bool = True) -> None:
    db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
    if not wait:
        db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute("BEGIN IMMEDIATE")
    finally:
        if not wait:
            db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:  # a full disk, among others, has ended it already
        db.execute("ROLLBACK")


def _checkpoint(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


@contextmanager
def translate_errors(file: Path) -> Generator[None]:
    """Raise what SQLite or the disk refuses as a `LedgerError` that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError, OverflowError) as exc:  # OverflowError: a number of more than 64 bits
        if _is_busy(exc):
            raise LedgerError(
                f"The ledger {file} is locked: another seedance-mcp is writing to it.",
                NextStep("Nothing is damaged. {0} in a moment.", Repeat()),
            ) from exc
        raise LedgerError(
            f"The ledger {file} cannot be used: {exc}.",
            "Nothing is signed without it. Check the disk and the file's permissions, or restore a damaged file.",
        ) from exc


def _is_busy(exc: Exception) -> bool:
    """Return True if another connection has the lock; the low byte of an extended code is the code itself."""
    code = getattr(exc, "sqlite_errorcode", 0)  # only what the database itself said has one
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
