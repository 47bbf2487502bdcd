"""Migrations of the PostgreSQL ledger: numbered SQL scripts, run by `seedance-mcp migrate` alone.

A replica compares the version and does not start on another one. A published script is never changed.
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

SCRIPTS = ("001_ledger.sql",)
"""Append only: the table `ledger_versions` has the number of each one that a database has had."""
_SCRIPTS_DIR = Path(__file__).parent / "postgres_schema"
_LOCK = 0x5EEDA9CE
"""Number of the advisory lock under which one process migrates."""
_MIGRATE_LOCK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Migrated:
    """The versions of a database before and after a migration."""

    before: int
    after: int


async def check_version(url: str) -> None:
    """Raise unless a database has the version of the schema that this program needs.

    Raises:
        LedgerError: It has none, an older or a newer one, or cannot be reached.
    """
    name = describe_database(url)
    async with connect(url) as connection:
        with translate_errors(name):
            version = await _read_version(connection)
    if version < len(SCRIPTS):
        what = (
            "has no ledger yet" if version == 0 else f"has version {version} of the ledger; this needs {len(SCRIPTS)}"
        )
        raise LedgerError(f"The database {name} {what}.", NextStep("Run once: {0}", Command("migrate")))
    if version > len(SCRIPTS):
        raise _newer_error(name)


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
    before = await _read_version(connection)
    if before == 0 and await _has_tables(connection):
        raise LedgerError(f"The database {name} has tables of something else.", "Name an empty database.")
    if before > len(SCRIPTS):
        raise _newer_error(name)
    for number, script in enumerate(SCRIPTS[before:], start=before + 1):
        await connection.execute((_SCRIPTS_DIR / script).read_bytes())
        await connection.execute("INSERT INTO ledger_versions VALUES (%s, now())", (number,))
    return Migrated(before, len(SCRIPTS))


async def _read_version(connection: Connection) -> int:
    cursor = await connection.execute("SELECT to_regclass('ledger_versions') IS NOT NULL AS found")
    row = await cursor.fetchone()
    if row is None or not row["found"]:
        return 0
    cursor = await connection.execute("SELECT coalesce(max(version), 0) AS version FROM ledger_versions")
    row = await cursor.fetchone()
    return 0 if row is None else int(row["version"])


async def _has_tables(connection: Connection) -> bool:
    cursor = await connection.execute(
        """SELECT 1 FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = (
               SELECT oid FROM pg_namespace WHERE nspname = current_schema()) LIMIT 1"""
    )
    return await cursor.fetchone() is not None


def _newer_error(name: str) -> LedgerError:
    return LedgerError(f"The ledger {name} was written by a newer version of seedance-mcp.", "Update seedance-mcp.")
