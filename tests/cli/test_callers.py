"""The `callers` commands: tokens are shown once, and what is wrong is said."""

import re
from collections.abc import Generator

import pytest

from seedance_mcp.core.redaction import redact
from tests.cli.conftest import Person
from tests.postgres import require_postgres


@pytest.fixture
def owner(person: Person) -> Generator[Person]:
    """The owner of a database with an empty ledger."""
    with require_postgres().database() as url:
        person.environ["SEEDANCE_DATABASE_URL"] = url
        yield person


def test_add_prints_the_token_alone_on_stdout(owner: Person) -> None:
    added = owner.run("callers", "add", "ada", "--max-per-day", "5", "--max-open", "2")

    assert added.code == 0, added.err
    assert re.fullmatch(r"sdn_[0-9a-f]{12}_[A-Za-z0-9_-]{43}\n", added.out)
    assert added.out.strip() not in added.err
    assert redact(f"The token {added.out}") == "The token [redacted]\n"


def test_list_shows_caps_and_scopes_and_no_token(owner: Person) -> None:
    token = owner.run("callers", "add", "ada", "--max-per-day", "5", "--max-open", "2").out.strip()
    owner.run("callers", "add", "bob", "--scopes", "read")

    listed = owner.run("callers", "list")
    ada, bob = owner.run("callers", "list", "--json").json

    assert "ada: read,spend; $5.00 per day, 2 open; 1 valid token\n" in listed.out
    assert (ada["max_per_day_micro_usdc"], ada["max_open"], ada["max_total_micro_usdc"]) == (5_000_000, 2, None)
    assert (bob["name"], bob["scopes"], bob["revoked_at"]) == ("bob", ["read"], None)
    assert token[17:] not in listed.out + str(ada)


def test_limit_changes_what_is_named_and_none_removes(owner: Person) -> None:
    owner.run("callers", "add", "ada", "--max-per-day", "5", "--max-total", "50")

    changed = owner.run("callers", "limit", "ada", "--max-per-day", "none", "--max-per-week", "7.5", "--json").json

    assert changed["max_per_day_micro_usdc"] is None
    assert (changed["max_per_week_micro_usdc"], changed["max_total_micro_usdc"]) == (7_500_000, 50_000_000)


def test_rotate_and_revoke_say_what_ends(owner: Person) -> None:
    first = owner.run("callers", "add", "ada").out
    second = owner.run("callers", "rotate", "ada")
    third = owner.run("callers", "rotate", "ada", "--overlap-minutes", "0")
    revoked = owner.run("callers", "revoke", "ada")

    assert len({first, second.out, third.out}) == 3
    assert "is valid for 60 more minutes" in second.err
    assert "The earlier token of ada has ended." in third.err
    assert "no valid token" in revoked.err
    assert owner.run("callers", "list", "--json").json[0]["tokens"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "a b"), "is not a name for a caller"),
        (("add", "-"), "is not a name for a caller"),
        (("add", "ada"), "There is a caller ada already"),
        (("add", "bob", "--scopes", "spend"), "have no `read`"),
        (("add", "bob", "--scopes", "read,write"), "'write' is not a scope"),
        (("add", "bob", "--max-per-day", "-1"), "--max-per-day: '-1' is not an amount"),
        (("add", "bob", "--max-open", "some"), "is not a number"),
        (("limit", "ada"), "No cap is named"),
        (("limit", "bob", "--max-open", "1"), "There is no caller 'bob'"),
        (("rotate", "bob"), "There is no caller 'bob'"),
        (("revoke", "bob"), "There is no caller 'bob'"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(owner: Person, words: tuple[str, ...], said: str) -> None:
    owner.run("callers", "add", "ada")
    before = owner.run("callers", "list", "--json").json

    done = owner.run("callers", *words)

    assert done.code != 0
    assert done.out == ""
    assert said in done.one_line
    assert owner.run("callers", "list", "--json").json == before


def test_without_a_database_the_setting_is_named(person: Person) -> None:
    done = person.run("callers", "add", "ada")

    assert done.code != 0
    assert "Set SEEDANCE_DATABASE_URL" in done.one_line
