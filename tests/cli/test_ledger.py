"""The `ledger` commands: close a restored ledger, and say when it opens."""

import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.conftest import Person
from tests.docs.programs import read_blocks, read_commands
from tests.forks import write_commands
from tests.postgres import find_programs, require_postgres


@pytest.fixture
def owner(person: Person) -> Generator[Person]:
    """The owner of a database with an empty ledger."""
    with require_postgres().database() as url:
        person.environ["SEEDANCE_DATABASE_URL"] = url
        yield person


def test_close_says_what_is_read_and_when_it_opens(owner: Person) -> None:
    before = owner.run("ledger", "status", "--json").json
    closed = owner.run("ledger", "close", "restored from  Monday's dump")
    status = owner.run("ledger", "status", "--json").json
    told = owner.run("doctor")

    assert before == {"closed": False, "closed_since": None, "reason": None, "read_from": None, "opens_after": None}
    assert "restored from Monday's dump" in closed.err
    assert "It opens by itself after" in " ".join(closed.err.split())
    assert (status["closed"], status["reason"]) == (True, "restored from Monday's dump")
    assert status["read_from"] < status["closed_since"] < status["opens_after"]
    assert "The ledger is closed since" in " ".join((told.out + told.err).split())


def test_only_a_person_opens_an_unread_ledger_of_real_money(owner: Person) -> None:
    owner.run("ledger", "close")
    refused = owner.run("ledger", "open")
    still = owner.run("ledger", "status", "--json").json
    opened = owner.run_at_terminal("ledger", "open", typed="")

    assert refused.code != 0
    assert "Only a person at a terminal" in refused.one_line
    assert still["closed"]
    assert opened.code == 0, opened.err
    assert owner.run("ledger", "status", "--json").json["closed"] is False
    assert "was not closed" in owner.run_at_terminal("ledger", "open", typed="").err


def test_commands_of_the_page_restore_a_closed_ledger(owner: Person, tmp_path: Path) -> None:
    """They are run in a shell, as the page has them; a new database stands for the lost one."""
    programs = find_programs()
    assert programs is not None
    write_commands(tmp_path / "bin")
    path = f"{tmp_path / 'bin'}:{programs}:{os.environ['PATH']}"
    first, second = (
        "\n".join(read_commands(block))
        for block in read_blocks("docs/hosted.md")
        if block.text.startswith(("pg_dump", "pg_restore"))
    )
    owner.run("callers", "add", "ada")
    with require_postgres().database(template="template0") as restored:
        for script, url in ((first, owner.environ["SEEDANCE_DATABASE_URL"]), (second, restored)):
            environ = {**os.environ, **owner.environ, "PATH": path, "SEEDANCE_DATABASE_URL": url}
            done = subprocess.run(
                ["bash", "-e", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        status = owner.run("ledger", "status", "--json", SEEDANCE_DATABASE_URL=restored).json

    assert "ada: read,spend" in done.stdout
    assert (status["closed"], status["reason"]) == (True, "restored from Monday's dump")
