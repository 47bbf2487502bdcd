"""The connection to the ledger's SQLite file: opening, migrating and transactions.

WAL, so that readers never wait; `synchronous=FULL`, so that a written row survives the plug being pulled, because the
next thing after a write is often an HTTP request that spends money. Every write is one `BEGIN IMMEDIATE`.

A transaction that fails, wherever it fails, leaves the connection outside any transaction: the next call finds books
that it can use, or says why not.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from seedance_mcp.adapters.ledger.files import OpenFile
from seedance_mcp.adapters.ledger.migrations import MIGRATIONS
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import NextStep, Repeat

BUSY_SECONDS = 2
"""How long a writer waits for another process's transaction; each takes milliseconds. Everything else in this process
waits meanwhile."""
SQLITE_VERSION_MIN = (3, 37, 0)
"""STRICT tables came with 3.37 (November 2021), RETURNING with 3.35."""


class Connection:
    """One SQLite file, opened and migrated."""

    def __init__(self, file: Path) -> None:
        """Open or create the file and bring its schema up to date.

        Raises:
            LedgerError: Not writable, not a ledger, damaged, or written by a newer version.
        """
        self._file = file
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            needed = ".".join(str(part) for part in SQLITE_VERSION_MIN)
            raise LedgerError(
                f"This Python has SQLite {sqlite3.sqlite_version}; the ledger needs {needed} or newer.",
                "Use a newer Python, such as uv's own.",
            )
        with self._translating():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not file.exists():
                os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives -wal and -shm the same mode
            self._open_file = OpenFile.remember(file)
            self._db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with self._translating():
                self._db.row_factory = sqlite3.Row
                self._enter_wal()
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA fullfsync = ON")  # on a Mac, fsync alone stops at the disk's own memory
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.execute("PRAGMA secure_delete = ON")  # what is taken out of a row leaves no bytes behind
            self._migrate()
        except BaseException:
            self._db.close()
            raise

    def _enter_wal(self) -> None:
        """Switch a new file to WAL: the one statement that SQLite lets fail at once while another process does it."""
        give_up = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
            else:
                return

    def _migrate(self) -> None:
        with self._atomic() as db:
            applied = int(db.execute("PRAGMA user_version").fetchone()[0])
            if applied == 0 and db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
                raise LedgerError(f"{self._file} is a database of something else.", "Move it away.")
            if applied > len(MIGRATIONS):
                raise LedgerError(
                    f"The ledger {self._file} was written by a newer version of seedance-mcp.", "Update seedance-mcp."
                )
            for number, migrate in enumerate(MIGRATIONS[applied:], start=applied + 1):
                migrate(db)
                db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _translating(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError) as exc:  # OverflowError: a number of more than 64 bits
            if _is_busy(exc):
                raise LedgerError(
                    f"The ledger {self._file} is locked: another seedance-mcp is writing to it.",
                    NextStep("Nothing is damaged. {0} in a moment.", Repeat()),
                ) from exc
            raise LedgerError(
                f"The ledger {self._file} cannot be used: {exc}.",
                "Nothing is signed without it. Check the disk and the file's permissions, or restore a damaged file.",
            ) from exc

    @contextmanager
    def _atomic(self) -> Generator[sqlite3.Connection, None, None]:
        with self._translating():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk, among others, has ended it already
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _impatient(self) -> Generator[None, None, None]:
        """Do not wait for another process's transaction inside the block."""
        with self._translating():
            self._db.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            with self._translating():
                self._db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")

    def _all(self, query: str, *parameters: object) -> list[sqlite3.Row]:
        with self._translating():
            return self._db.execute(query, parameters).fetchall()

    def _one(self, query: str, *parameters: object) -> sqlite3.Row | None:
        rows = self._all(query, *parameters)
        return rows[0] if rows else None

    def _count(self, what: str, *parameters: object) -> int:
        row = self._one(f"SELECT count(*) FROM {what}", *parameters)  # noqa: S608 - our own words
        return 0 if row is None else int(row[0])

    def _forget_old_pages(self) -> None:
        """Move what was written into the file itself: the log beside it still holds what was there before."""
        with suppress(LedgerError), self._impatient(), self._translating():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the books."""
        self._db.close()


def _is_busy(exc: Exception) -> bool:
    """Whether somebody else has the lock; the low byte of an extended code is the code itself."""
    code = getattr(exc, "sqlite_errorcode", 0)  # only what the database itself said has one
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def list_marks(values: tuple[str, ...]) -> str:
    """Write a placeholder for each value."""
    return ", ".join("?" * len(values))
