"""Migrations of the ledger in PostgreSQL: which versions of the program work with which version of the ledger.

Replicas of two versions share the ledger while they are replaced, so that a script only adds to it. These tests read
the catalogue of a real database after each script; `tests/hosted/test_upgrade.py` replaces running replicas.
"""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.core.errors import LedgerError
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

SCHEMA = Path(__file__).resolve().parents[3] / "seedance_mcp/adapters/ledger/postgres_schema"
FIRST_SCRIPT = "001_ledger.sql"
COLUMNS = """
    SELECT attrelid::regclass::text AS "table", attname AS name, format_type(atttypid, atttypmod) AS type,
           attnotnull AS is_needed, atthasdef OR attidentity <> '' AS has_default
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped"""
RULES = """
    SELECT conrelid::regclass::text AS "table", pg_get_constraintdef(oid) AS text
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indisunique AND indrelid::regclass::text !~ '^pg_'"""
PROGRAMS = """
    SELECT oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION SELECT tgrelid::regclass::text || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal"""


@pytest.fixture
def url() -> Generator[str]:
    """A database with an empty ledger."""
    with require_postgres().database() as made:
        yield made


@pytest.fixture
def empty_url() -> Generator[str]:
    """A database without a ledger."""
    with require_postgres().database(template="template0") as made:
        yield made


def read(url: str, query: str) -> list[dict[str, Any]]:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url) as connection:
        return connection.cursor(row_factory=dict_row).execute(query.encode()).fetchall()


def run_script(url: str, script: str) -> None:
    PostgresStore(url).execute((SCHEMA / script).read_text())


def make_first_ledger(url: str) -> None:
    """Do what `seedance-mcp migrate` of the first version with PostgreSQL did."""
    run_script(url, FIRST_SCRIPT)
    PostgresStore(url).execute("INSERT INTO ledger_versions VALUES (1, now())")


class Catalogue:
    """What programs rely on in a database."""

    def __init__(self, url: str) -> None:
        self.columns = {(one["table"], one["name"]): one for one in read(url, COLUMNS)}
        self.rules = {(one["table"], one["text"]) for one in read(url, RULES)}
        self.programs = {one["name"] for one in read(url, PROGRAMS)}
        self.tables = {table for table, _ in self.columns}

    def list_breaks(self, later: "Catalogue") -> list[str]:
        """Return what a later script took away or demands from programs that do not know it."""
        changed = [f"{key} is gone or changed" for key, one in self.columns.items() if later.columns.get(key) != one]
        demanded = [
            f"{key} must be filled"
            for key, one in later.columns.items()
            if key[0] in self.tables and key not in self.columns and one["is_needed"] and not one["has_default"]
        ]
        ruled = [f"rule of {rule}" for rule in self.rules ^ later.rules if rule[0] in self.tables]
        return [*changed, *demanded, *ruled, *(f"{name} is gone" for name in self.programs - later.programs)]


def test_every_script_only_adds_to_what_earlier_programs_use(empty_url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres_migrations import SCRIPTS

    assert SCRIPTS[0] == FIRST_SCRIPT
    assert sorted(SCRIPTS) == list(SCRIPTS) == sorted(path.name for path in SCHEMA.glob("*.sql"))
    run_script(empty_url, FIRST_SCRIPT)
    before = Catalogue(empty_url)
    for script in SCRIPTS[1:]:
        run_script(empty_url, script)
        after = Catalogue(empty_url)
        assert before.list_breaks(after) == [], script
        before = after


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE uploads DROP COLUMN media_type",
        "ALTER TABLE jobs RENAME COLUMN note TO remark",
        "DROP TABLE sights",
        "ALTER TABLE uploads ALTER COLUMN width TYPE BIGINT",
        "ALTER TABLE jobs ALTER COLUMN note SET NOT NULL",
        "ALTER TABLE jobs ADD COLUMN hook TEXT NOT NULL",
        "ALTER TABLE jobs ADD CHECK (progress >= 0)",
        "CREATE UNIQUE INDEX notes ON jobs (note)",
        "DROP TRIGGER jobs_caller ON jobs",
        "ALTER TABLE budgets ALTER COLUMN spent_micro_usdc DROP DEFAULT",
    ],
)
def test_a_script_that_takes_away_or_demands_is_found(url: str, statement: str) -> None:
    before = Catalogue(url)
    PostgresStore(url).execute(statement)
    assert before.list_breaks(Catalogue(url))


def test_new_tables_columns_and_indexes_break_nothing(url: str) -> None:
    before = Catalogue(url)
    PostgresStore(url).execute("""
        CREATE TABLE hooks (url TEXT PRIMARY KEY, sent INTEGER NOT NULL);
        ALTER TABLE jobs ADD COLUMN hook TEXT, ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX jobs_by_hook ON jobs (hook)""")
    assert before.list_breaks(Catalogue(url)) == []


async def test_the_first_ledger_is_updated_and_stays_usable_for_its_program(empty_url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.ledger.postgres_migrations import OLDEST_VERSION, SCRIPTS, Migrated, migrate

    make_first_ledger(empty_url)
    with pytest.raises(LedgerError, match=rf"has version 1 of the ledger; this needs {len(SCRIPTS)}.* Run once"):
        await PostgresLedger.open(empty_url)

    done = await asyncio.gather(*(migrate(empty_url) for _ in range(3)))

    assert sorted(one.before for one in done) == [1, len(SCRIPTS), len(SCRIPTS)]
    assert await migrate(empty_url) == Migrated(len(SCRIPTS), len(SCRIPTS))
    # The first program demands that the highest number here is 1.
    assert read(empty_url, "SELECT max(version) AS version FROM ledger_versions") == [{"version": OLDEST_VERSION}]


async def test_a_ledger_of_a_later_version_that_only_added_is_used(url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.ledger.postgres_migrations import Migrated, migrate

    PostgresStore(url).execute("INSERT INTO ledger_scripts VALUES (99, now())")

    ledger = await PostgresLedger.open(url)
    try:
        assert not any("version" in problem for problem in await ledger.list_problems(is_single=True))
    finally:
        await ledger.close()
    assert await migrate(url) == Migrated(99, 99)


async def test_a_replica_takes_no_calls_once_the_ledger_needs_a_newer_one(url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    try:
        PostgresStore(url).execute("INSERT INTO ledger_versions VALUES (99, now())")
        problems = await ledger.list_problems(is_single=True)
        assert any("needs version 99" in problem for problem in problems), problems
        PostgresStore(url).execute("DELETE FROM ledger_versions WHERE version = 99; DELETE FROM ledger_scripts")
        problems = await ledger.list_problems(is_single=True)
        assert any("has version 0" in problem for problem in problems), problems
    finally:
        await ledger.close()
