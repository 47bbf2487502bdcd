"""Migrations of the PostgreSQL ledger: numbered SQL scripts, run by `seedance-mcp migrate` alone.

A ledger has two numbers, so that replicas of two versions can share it while they are replaced one by one. Its version
is the number of its latest script (table `ledger_scripts`). Its oldest version is the first one whose programs still
work with it (table `ledger_versions`, which the first programs compared with their own version).

A program uses a ledger if the ledger has all scripts of the program, and the program is not older than the oldest
version. So a script only adds (`tests/adapters/ledger/test_migrations.py` checks it). What no program reads any more
is taken away later, by a script that raises `OLDEST_VERSION`. A published script is never changed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from seedance_mcp.adapters.ledger.postgres_driver import (
    Connection,
    connection_settings,
    describe_database,
    translate_errors,
)
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import Command, NextStep

SCRIPTS = (
    "001_ledger.sql",
    "002_versions.sql",
    "003_operations.sql",
    "004_webhooks.sql",
    "005_spent_hours.sql",
    "006_films.sql",
    "007_pruned_films.sql",
)
"""Append only: the table `ledger_scripts` has the number of each one that a database has had."""
OLDEST_VERSION = 1
"""The oldest version whose programs work with a ledger that has all scripts. Raising it ends rolling updates from
earlier versions: all replicas must know the new one before `migrate` runs."""
_SCRIPTS_DIR = Path(__file__).parent / "postgres_schema"
_LOCK = 0x5EEDA9CE
"""Number of the advisory lock under which one process migrates."""
_MIGRATE_LOCK_SECONDS = 60
_TABLE_LOCK_SECONDS = 5
"""How long a script waits for a table. Replicas that need the table in the meantime wait behind it."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """The versions of a database before and after a migration."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Versions:
    """The two numbers of a ledger.

    Attributes:
        latest: Number of its latest script; 0 without a ledger.
        oldest: The oldest version whose programs work with it.
    """

    latest: int
    oldest: int

    @property
    def is_behind(self) -> bool:
        """Return True if scripts of this program are missing."""
        return self.latest < len(SCRIPTS)

    @property
    def is_too_new(self) -> bool:
        """Return True if this program no longer works with it."""
        return self.oldest > len(SCRIPTS)


async def check_version(url: str) -> None:
    """Raise unless this program works with the version of a database's schema.

    Raises:
        LedgerError: It has none, an older one, or one that is too new, or cannot be reached.
    """
    name = describe_database(url)
    async with connect(url) as connection:
        with translate_errors(name):
            versions = await _read_versions(connection)
    if versions.is_too_new:
        raise _newer_error(name)
    if versions.is_behind:
        latest = versions.latest
        what = "has no ledger yet" if latest == 0 else f"has version {latest} of the ledger; this needs {len(SCRIPTS)}"
        raise LedgerError(f"The database {name} {what}.", NextStep("Run once: {0}", Command("migrate")))


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[Connection]:
    """Open a connection of its own.

    Raises:
        LedgerError: The database cannot be reached.
    """
    with translate_errors(describe_database(url)):
        connection = await psycopg.AsyncConnection[dict[str, Any]].connect(
            url, row_factory=dict_row, **connection_settings()
        )
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def migrating(url: str) -> AsyncGenerator[tuple[Connection, Migrated]]:
    """Bring a database's schema up to date, in one transaction that ends with the block.

    Raises:
        LedgerError: It belongs to something else, or to a newer version, or cannot be reached.
    """
    name = describe_database(url)
    async with connect(url) as connection:
        with translate_errors(name):
            async with connection.transaction():
                yield connection, await _migrate(connection, name)


async def migrate(url: str) -> Migrated:
    """Bring a database's schema up to date.

    Raises:
        LedgerError: As `migrating`.
    """
    async with migrating(url) as (_, migrated):
        return migrated


async def _migrate(connection: Connection, name: str) -> Migrated:
    await connection.execute(f"SET LOCAL lock_timeout = '{_MIGRATE_LOCK_SECONDS}s'".encode())
    await connection.execute("SET LOCAL synchronous_commit = on")
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    before = await _read_versions(connection)
    if before.latest == 0 and await _has_tables(connection):
        raise LedgerError(f"The database {name} has another program's tables.", "Name an empty database.")
    if before.is_too_new:
        raise _newer_error(name)
    await connection.execute(f"SET LOCAL lock_timeout = '{_TABLE_LOCK_SECONDS}s'".encode())
    for script in SCRIPTS[before.latest :]:
        await connection.execute((_SCRIPTS_DIR / script).read_bytes())
    if before.is_behind:
        await _write_versions(connection, before)
    return Migrated(before.latest, max(before.latest, len(SCRIPTS)))


async def _write_versions(connection: Connection, before: Versions) -> None:
    for number in range(before.latest + 1, len(SCRIPTS) + 1):
        await connection.execute("INSERT INTO ledger_scripts VALUES (%s, now())", (number,))
    if before.oldest < OLDEST_VERSION:
        await connection.execute("INSERT INTO ledger_versions VALUES (%s, now())", (OLDEST_VERSION,))


async def _read_versions(connection: Connection) -> Versions:
    oldest = await _read_number(connection, "ledger_versions", "version")
    latest = await _read_number(connection, "ledger_scripts", "number")
    return Versions(latest or min(oldest, 1), oldest)  # the first programs did not list their one script


async def _read_number(connection: Connection, table: str, column: str) -> int:
    """Return the highest number in a table; 0 if it is empty or not there."""
    cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL AS found", (table,))
    row = await cursor.fetchone()
    if row is None or not row["found"]:
        return 0
    cursor = await connection.execute(f"SELECT coalesce(max({column}), 0) AS number FROM {table}".encode())  # noqa: S608 - ours
    row = await cursor.fetchone()
    return 0 if row is None else int(row["number"])


async def _has_tables(connection: Connection) -> bool:
    cursor = await connection.execute(
        """SELECT 1 FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = (
               SELECT oid FROM pg_namespace WHERE nspname = current_schema()) LIMIT 1"""
    )
    return await cursor.fetchone() is not None


def _newer_error(name: str) -> LedgerError:
    return LedgerError(f"The ledger {name} was written by a newer version of seedance-mcp.", "Update seedance-mcp.")
