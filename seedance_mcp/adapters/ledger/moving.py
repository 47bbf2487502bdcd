"""Moving: bring a SQLite ledger whole into an empty PostgreSQL database.

The file is frozen before it is read, so that no process that was forgotten pays from it afterwards: two ledgers would
be two budgets. Nothing else in it changes.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.adapters.ledger.postgres_driver import Connection, describe_database, translate_errors
from seedance_mcp.adapters.ledger.postgres_migrations import migrating
from seedance_mcp.adapters.ledger.sqlite_driver import open_file
from seedance_mcp.adapters.ledger.sqlite_driver import translate_errors as translate_file_errors
from seedance_mcp.core.errors import LedgerError

TABLES = (
    "reservations", "payments", "jobs", "uploads", "sights", "freezes", "route_contracts", "recipients",
    "untracked_jobs", "readings", "untracked_payments", "chain_readings", "films",
)  # fmt: skip
"""All tables of a SQLite ledger but its sums, in the order in which they may be filled."""
_MUST_BE_EMPTY = (*TABLES, "callers")
_ROWS_READ_MAX = 1_000
"""How many rows are in memory at a time."""
MOVED_REASON = "This ledger was moved into a PostgreSQL database."
"""Reason of the freeze of the file; it is not moved."""
_SUMS = """
    SELECT count(*) AS payments, coalesce(sum(amount_micro_usdc), 0) AS amount_micro_usdc,
           coalesce(sum(fee_micro_usdc), 0) AS fee_micro_usdc,
           coalesce(sum(CASE WHEN state = 'signed' THEN amount_micro_usdc ELSE 0 END), 0) AS signed_micro_usdc,
           coalesce(sum(CASE WHEN state = 'settled' THEN amount_micro_usdc ELSE 0 END), 0) AS settled_micro_usdc,
           coalesce(sum(CASE WHEN state = 'refused' THEN chain_checked + 1 ELSE 0 END), 0) AS refused,
           (SELECT spent_micro_usdc FROM budgets WHERE scope = '') AS spent_micro_usdc,
           (SELECT coalesce(sum(spent_micro_usdc), 0) FROM spent_hours) AS hours_micro_usdc,
           (SELECT count(*) FROM jobs) AS jobs, (SELECT count(*) FROM uploads) AS uploads FROM payments"""
"""What must be the same on both sides before a move is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was moved.

    Attributes:
        version: The version that the database's ledger has now.
        payments: Their number.
        jobs: Their number.
        spent_micro_usdc: What was spent in total, unfinished payments included.
    """

    version: int
    payments: int
    jobs: int
    spent_micro_usdc: int


async def move_ledger(file: Path, url: str) -> Moved:
    """Bring a database's schema up to date and a file's ledger into it, in one transaction.

    The file is frozen, unless it is already; a move that fails before its commit ends this freeze again.

    Raises:
        LedgerError: The file is no ledger, the database has one with rows, or the sums of both differ.
    """
    name = describe_database(url)
    async with migrating(url) as (connection, migrated):
        await _check_empty(connection, name)
        async with _freezing(file), _open_copy(file) as source:
            with translate_errors(name):
                sums = await _fill(connection, source, file)
    return Moved(
        version=migrated.after, payments=sums["payments"], jobs=sums["jobs"], spent_micro_usdc=sums["spent_micro_usdc"]
    )


async def _fill(connection: Connection, source: sqlite3.Connection, file: Path) -> dict[str, int]:
    """Copy all tables, and return the sums of both sides."""
    await connection.execute("ALTER TABLE payments DISABLE TRIGGER payments_count")  # one sum is faster
    for table in TABLES:
        await _copy_table(source, connection, table)
    await connection.execute("DELETE FROM freezes WHERE reason = %s", (MOVED_REASON,))
    await _count(connection)
    await connection.execute("ALTER TABLE payments ENABLE TRIGGER payments_count")
    return await _check_sums(source, connection, file)


@asynccontextmanager
async def _freezing(file: Path) -> AsyncGenerator[None]:
    """Freeze a file's ledger; end that again where the block fails.

    After the block the commit follows. If that has no answer, the file stays frozen: the database may have the ledger.
    """
    is_ours = await anyio.to_thread.run_sync(_freeze_file, file)
    try:
        yield
    except BaseException:
        if is_ours:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_unfreeze_file, file)
        raise


def _freeze_file(file: Path) -> bool:
    """Freeze a file's ledger; returns False if it was frozen before."""
    _check_file(file)
    with translate_file_errors(file):
        if not _has_table(file, "freezes"):  # an earlier version
            open_file(file)[0].close()
        with closing(sqlite3.connect(file)) as db, db:
            freeze = ("", MOVED_REASON, time.time())
            return db.execute("INSERT OR IGNORE INTO freezes VALUES (?, ?, ?)", freeze).rowcount > 0


def _unfreeze_file(file: Path) -> None:
    with translate_file_errors(file), closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM freezes WHERE reason = ?", (MOVED_REASON,))


def _has_table(file: Path, name: str) -> bool:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
        return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def _check_file(file: Path) -> None:
    """Raise unless a file is a ledger."""
    if not file.is_file():
        raise LedgerError(f"There is no ledger {file}.", "Name the file `ledger.sqlite3` of a data folder.")
    with translate_file_errors(file):
        if not _has_table(file, "payments"):
            raise LedgerError(f"{file} is not a ledger.", "Name the file `ledger.sqlite3` of a data folder.")


@asynccontextmanager
async def _open_copy(file: Path) -> AsyncGenerator[sqlite3.Connection]:
    """Copy a ledger's file as it is at one moment, and bring the copy's schema up to date."""
    with tempfile.TemporaryDirectory(prefix="seedance-migrate-") as folder:
        copy = Path(folder) / "ledger.sqlite3"
        with closing(await anyio.to_thread.run_sync(_copy_file, file, copy)) as db:
            yield db


def _copy_file(file: Path, copy: Path) -> sqlite3.Connection:
    with (
        translate_file_errors(file),
        closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return open_file(copy)[0]


async def _check_empty(connection: Connection, name: str) -> None:
    with translate_errors(name):
        found = " OR ".join(f"EXISTS (SELECT 1 FROM {table})" for table in _MUST_BE_EMPTY)  # noqa: S608 - ours
        cursor = await connection.execute(f"SELECT {found} AS found".encode())
        row = await cursor.fetchone()
    if row is None or row["found"]:
        raise LedgerError(f"The ledger {name} is not empty.", "Nothing was moved. Name an empty database.")


async def _copy_table(source: sqlite3.Connection, connection: Connection, table: str) -> None:
    rows = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own tables
    columns = ", ".join(column[0] for column in rows.description)
    async with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
        for row in _read_rows(rows):
            await copy.write_row([_clean(value) for value in row])


def _read_rows(rows: sqlite3.Cursor) -> Iterator[tuple[object, ...]]:
    while some := rows.fetchmany(_ROWS_READ_MAX):
        yield from (tuple(row) for row in some)


def _clean(value: object) -> object:
    """Return a value as PostgreSQL stores it: its text has no NUL."""
    return value.replace("\0", "?") if isinstance(value, str) else value


async def _count(connection: Connection) -> None:
    """Set the sums, and let new payments follow the highest number."""
    await connection.execute(
        """UPDATE budgets SET spent_micro_usdc =
               (SELECT coalesce(sum(counted_micro_usdc(payments)), 0) FROM payments) WHERE scope = ''"""
    )
    await connection.execute("SELECT fill_spent_hours()")
    await connection.execute(
        """SELECT setval(pg_get_serial_sequence('payments', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL)
           FROM payments"""
    )
    await connection.execute(
        """SELECT setval(pg_get_serial_sequence('reservations', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL)
           FROM reservations"""
    )


async def _check_sums(source: sqlite3.Connection, connection: Connection, file: Path) -> dict[str, int]:
    there = dict(source.execute(_SUMS).fetchone())
    row = await (await connection.execute(_SUMS.encode())).fetchone()
    here = {name: int(value) for name, value in (row or {}).items()}
    if here != there:
        raise LedgerError(
            f"The sums of {file} and of the database differ: {there} and {here}.",
            "Nothing was moved. Run seedance-mcp doctor on the file's ledger first.",
        )
    return here
