"""The ledger in a PostgreSQL database: `migrate`, moving a ledger, and what `doctor` says of it."""

import re
import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.conftest import Person
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

WORDS = ("animate", "one.png", "--prompt", "x", "--json")


@pytest.fixture
def url() -> Generator[str]:
    """An empty database."""
    with require_postgres().database(template="template0") as made:
        yield made


def test_migrate_makes_the_ledger_once(person: Person, url: str) -> None:
    first = person.run("migrate", SEEDANCE_DATABASE_URL=url)
    again = person.run("migrate", "--json", SEEDANCE_DATABASE_URL=url)

    assert (first.code, again.code) == (0, 0), first.err
    assert re.search(r"has version \d+ of the ledger; it had none\.", first.err)
    assert again.json["version"] == again.json["version_before"]


def test_migrate_without_a_database_names_the_setting(person: Person) -> None:
    done = person.run("migrate")

    assert done.code != 0
    assert "Set SEEDANCE_DATABASE_URL." in done.one_line


def test_a_server_does_not_migrate_and_names_the_command(customer: Person, url: str) -> None:
    customer.draw("one.png")
    done = customer.run(*WORDS, SEEDANCE_DATABASE_URL=url)

    assert done.code != 0
    assert "Run once: seedance-mcp migrate" in done.err
    assert "Nothing was paid" in done.err


def test_a_moved_ledger_knows_what_was_bought(
    customer: Person, studio_server: "Sandbox", funded_address: str, url: str
) -> None:
    customer.draw("one.png")
    bought = customer.run(*WORDS).json
    file = next(customer.data_dir.rglob("ledger.sqlite3"))
    moved = customer.run("migrate", "--from", str(file), "--json", SEEDANCE_DATABASE_URL=url)
    assert moved.json["moved"] == {"payments": 2, "jobs": 1, "spent_usd": "0.33"}

    again = customer.run(*WORDS, SEEDANCE_DATABASE_URL=url).json
    other = customer.run(*WORDS, "--take", "2", SEEDANCE_DATABASE_URL=url).json
    refused = customer.run(*WORDS, "--take", "3", SEEDANCE_DATABASE_URL=url, SEEDANCE_MAX_TOTAL="0.90")

    assert again["job_id"] == bought["job_id"] != other["job_id"]
    assert "total budget" in refused.err
    settlements = httpx.get(f"{studio_server.url}/_sandbox/state").json()["settlements"]
    assert (
        sum(one["amount_micro_usdc"] for one in settlements if one["from"].lower() == funded_address.lower()) == 650_000
    )
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM payments").fetchone()[0] == 2, "the file stays as it was"


def test_a_second_move_is_refused(customer: Person, url: str) -> None:
    customer.draw("one.png")
    customer.run(*WORDS)
    file = next(customer.data_dir.rglob("ledger.sqlite3"))
    customer.run("migrate", "--from", str(file), SEEDANCE_DATABASE_URL=url)
    done = customer.run("migrate", "--from", str(file), SEEDANCE_DATABASE_URL=url)

    assert done.code != 0
    assert "is not empty" in done.one_line


def test_a_sandbox_run_leaves_the_database_alone(person: Person) -> None:
    done = person.run("freeze", "--sandbox", "--json", SEEDANCE_DATABASE_URL="postgresql://127.0.0.1:1/ledger")

    assert done.json["frozen"] is True


def test_a_wrong_database_address_is_named_without_its_password(person: Person) -> None:
    done = person.run("freeze", SEEDANCE_DATABASE_URL="mysql://owner:hunter2@host/ledger")

    assert done.code != 0
    assert "SEEDANCE_DATABASE_URL (environment) is not the address" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_doctor_finds_a_total_that_is_not_the_sum(customer: Person, kind: str) -> None:
    customer.draw("one.png")
    if kind == "sqlite":
        customer.run(*WORDS)
        with closing(sqlite3.connect(next(customer.data_dir.rglob("ledger.sqlite3")))) as db, db:
            db.execute("UPDATE totals SET spent_micro_usdc = 1")
        assert_total_is_wrong(customer)
        return
    with require_postgres().database() as url:
        customer.environ["SEEDANCE_DATABASE_URL"] = url
        customer.run(*WORDS)
        assert not find_wrong(customer)
        PostgresStore(url).execute("UPDATE budgets SET spent_micro_usdc = 1")
        assert_total_is_wrong(customer)


def find_wrong(customer: Person) -> list[str]:
    findings = customer.run("doctor", "--json").json["findings"]
    return [one["text"] for one in findings if one["topic"] == "ledger" and one["health"] == "wrong"]


def assert_total_is_wrong(customer: Person) -> None:
    (text,) = find_wrong(customer)
    assert text.startswith("The total in ")
    assert text.endswith("is $0.000001, but its payments are $0.33.")
