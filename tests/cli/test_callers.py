"""The `callers` commands: tokens are shown once, and what is wrong is said."""

import csv
import io
import re
import time
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from typing import Any

import anyio
import pytest

from seedance_mcp.cli.exit_codes import YOURS
from seedance_mcp.core.redaction import redact
from tests.adapters.ledger.rows import reserve, settle, sign
from tests.cli.conftest import Person
from tests.ledgers import PostgresStore, work_at
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


@pytest.fixture
def oauth_owner(owner: Person) -> Person:
    """The same owner, whose callers have tokens of an authorization server."""
    owner.environ |= {"SEEDANCE_AUTH": "oauth", "SEEDANCE_OAUTH_ISSUER": "https://id.example"}
    return owner


def test_subject_is_admitted_listed_revoked_and_admitted_again(oauth_owner: Person) -> None:
    added = oauth_owner.run("callers", "add", "ada", "--subject", "auth0|1", "--max-per-day", "5")
    listed = oauth_owner.run("callers", "list").out
    revoked = oauth_owner.run("callers", "revoke", "ada")
    again = oauth_owner.run("callers", "add", "ada-again", "--subject", "auth0|1", "--scopes", "read")

    assert (added.code, added.out, again.code) == (0, "", 0)
    assert "ada may read and spend. Its tokens come from the authorization server." in added.err
    assert listed == "ada: read,spend; $5.00 per day; OAuth\n"
    assert "ada is refused with every token." in revoked.err
    [ada] = oauth_owner.run("callers", "list", "--json").json
    assert (ada["name"], ada["auth"], ada["scopes"]) == ("ada-again", "oauth", ["read"])
    assert (ada["max_per_day_micro_usdc"], ada["revoked_at"]) == (None, None)


def test_what_does_not_fit_oauth_is_said(oauth_owner: Person) -> None:
    oauth_owner.run("callers", "add", "bob", "--subject", "bob")
    for words, said in [
        (("add", "ada"), "servers accept no token of this command"),
        (("add", "ada", "--subject", ""), "has no or more than 512 characters"),
        (("rotate", "bob"), "The tokens of bob come from the authorization server"),
        (("add", "bob2", "--subject", "bob"), "This subject already belongs to the caller bob"),
    ]:
        refused = oauth_owner.run("callers", *words)

        assert refused.code == YOURS, words
        assert said in " ".join(refused.err.split())


def test_subject_without_oauth_is_refused(owner: Person) -> None:
    refused = owner.run("callers", "add", "ada", "--subject", "ada")
    assert "--subject is for OAuth tokens" in " ".join(refused.err.split())


MISTAKES = [
    (("add", "a b"), "is not a name for a caller"),
    (("add", "-"), "is not a name for a caller"),
    (("add", "ada"), "There is already a caller ada"),
    (("add", "bob", "--scopes", "spend"), "have no `read`"),
    (("add", "bob", "--scopes", "read,write"), "'write' is not a scope"),
    (("add", "bob", "--max-per-day", "-1"), "--max-per-day: '-1' is not an amount"),
    (("add", "bob", "--max-open", "some"), "is not a number"),
    (("limit", "ada"), "No cap is named"),
    (("limit", "bob", "--max-open", "1"), "There is no caller 'bob'"),
    (("rotate", "bob"), "There is no caller 'bob'"),
    (("revoke", "bob"), "There is no caller 'bob'"),
]


EVERYTHING_OF_CALLERS = """
SELECT (SELECT json_agg(callers) FROM callers)::text, (SELECT json_agg(tokens) FROM tokens)::text,
    (SELECT json_agg(budgets ORDER BY scope) FROM budgets)::text
"""


@contextmanager
def read_again(owner: Person, query: str) -> Generator[Callable[[], object]]:
    """A function that asks the database the same each time, on one connection."""
    import psycopg

    with closing(psycopg.connect(owner.environ["SEEDANCE_DATABASE_URL"], autocommit=True)) as connection:
        yield lambda: connection.execute(query.encode()).fetchone()


def test_a_mistake_is_named_and_changes_nothing(owner: Person) -> None:
    owner.run("callers", "add", "ada")
    listed = owner.run("callers", "list", "--json").json
    with read_again(owner, EVERYTHING_OF_CALLERS) as read:
        before = read()
        for words, said in MISTAKES:
            done = owner.run("callers", *words)

            assert done.code != 0, words
            assert done.out == ""
            assert said in done.one_line
            assert read() == before, words
    assert owner.run("callers", "list", "--json").json == listed


def spend(owner: Person, name: str, *amounts: int) -> None:
    """Pay as a caller, in the ledger alone."""
    url = owner.environ["SEEDANCE_DATABASE_URL"]
    [(caller,)] = PostgresStore(url).fetch(f"SELECT id FROM callers WHERE name = '{name}'")  # noqa: S608 - a name of ours

    async def work(ledger: Any) -> None:
        own = ledger.for_caller(caller)
        for amount in amounts:
            await settle(own, await sign(own, await reserve(own, amount, now=time.time()), now=time.time()))

    work_at(url, work)


def test_budget_shows_what_each_caller_spent_and_what_is_left(owner: Person) -> None:
    owner.environ["SEEDANCE_CALLER_MAX_TOTAL"] = "9"
    owner.run("callers", "add", "ada", "--max-per-day", "5", "--max-open", "3")
    owner.run("callers", "add", "bob")
    spend(owner, "ada", 320_000)

    wallet, ada, bob = owner.run("budget").out.splitlines()
    alone = owner.run("budget", "--caller", "ada", "--json").json

    assert wallet == "wallet: $0.32 in 24 hours; $0.32 in total; 1 open"
    assert ada == (
        "ada: $0.32 in 24 hours; $0.32 in total; 1 open; caller's budget per day: $5.00, $4.68 left; "
        "caller's total budget: $9.00, $8.68 left; caller's open purchases: 1 of 3"
    )
    assert bob == "bob: $0.00 in 24 hours; $0.00 in total; 0 open; caller's total budget: $9.00, $9.00 left"
    assert [one["spent_total_micro_usdc"] for one in alone] == [320_000]
    assert alone[0]["caps"][2] == {"name": "caller's open purchases", "max": 3, "used": 1}


def test_payments_name_the_caller_of_each(owner: Person) -> None:
    for name in ("ada", "bob"):
        owner.run("callers", "add", name)
        spend(owner, name, 320_000)

    everyones = owner.run("payments", "--json").json
    bobs = owner.run("payments", "--caller", "bob")

    assert [one["caller"] for one in everyones] == ["bob", "ada"]
    assert "2: $0.32 for generation, settled, by bob, " in bobs.out
    assert bobs.out.count("\n") == 1


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_sums_equal_the_budgets_to_the_micro_usdc(owner: Person) -> None:
    for name, amounts in (("ada", (320_001, 7)), ("bob", (40_000,))):
        owner.run("callers", "add", name)
        spend(owner, name, *amounts)
    store = PostgresStore(owner.environ["SEEDANCE_DATABASE_URL"])
    store.execute("INSERT INTO untracked_payments VALUES ('0xab', 'w', 'eip155:1', '0xcd', 11, 1790000000)")

    rows = read_csv(owner.run("payments", "--csv").out)
    adas = read_csv(owner.run("payments", "--csv", "--caller", "ada").out)
    budgets = {one["name"]: one["spent_total_micro_usdc"] for one in owner.run("budget", "--json").json}

    counted = {name: sum(int(row["counted_micro_usdc"]) for row in rows if row["caller"] == name) for name in budgets}
    assert sum(int(row["counted_micro_usdc"]) for row in rows) == 360_019
    assert (counted["ada"], counted["bob"]) == (budgets["ada"], budgets["bob"]) == (320_008, 40_000)
    assert [(row["price_usd"], row["price_micro_usdc"]) for row in adas] == [("0.320001", "320001"), ("0.000007", "7")]
    assert [row["state"] for row in rows] == ["untracked", "settled", "settled", "settled"]
    assert rows[0]["transaction"] == "0xab"


def test_csv_can_be_bounded_by_time(owner: Person) -> None:
    owner.run("callers", "add", "ada")
    spend(owner, "ada", 7)

    assert len(read_csv(owner.run("payments", "--csv", "--since", "2020-01-01").out)) == 1
    assert read_csv(owner.run("payments", "--csv", "--until", "2020-01-01T00:00:00Z").out) == []
    assert "--since is not a date" in owner.run("payments", "--csv", "--since", "monday").one_line
    assert "Add --csv" in owner.run("payments", "--since", "2020-01-01").one_line


def test_no_cell_of_the_csv_is_a_formula(owner: Person) -> None:
    owner.run("callers", "add", "ada")
    starts = ("=", "+", "-", "@", "\t")
    spend(owner, "ada", *range(1, len(starts) + 1))
    store = PostgresStore(owner.environ["SEEDANCE_DATABASE_URL"])
    store.execute(
        "; ".join(
            f"UPDATE payments SET receipt_transaction = '{start}HYPERLINK(1)' WHERE id = {number}"  # noqa: S608 - our own words
            for number, start in enumerate(starts, 1)
        )
    )

    rows = read_csv(owner.run("payments", "--csv").out)

    assert [row["transaction"] for row in rows] == [f"'{start}HYPERLINK(1)" for start in starts]


def test_csv_of_many_payments_is_never_in_memory_whole(owner: Person) -> None:
    url = owner.environ["SEEDANCE_DATABASE_URL"]
    PostgresStore(url).execute(  # "replica": without the triggers, which would add up 3,000 rows one by one
        """SET LOCAL session_replication_role = replica;
           INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                 amount_micro_usdc, state, hold_until, created_at)
           SELECT 'generation', number, 'u', '', '{}', 'w', 'x402', 'n', 'p', 1, 'settled', 0, number
           FROM generate_series(1, 3000) AS number"""
    )

    async def count() -> tuple[int, int]:
        from seedance_mcp.adapters.ledger.exporting import stream_payments

        tracemalloc.start()
        number = 0
        async for _ in stream_payments(url):
            number += 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return number, peak

    number, peak = anyio.run(count)
    assert number == 3_000
    assert peak < 2_200_000, "all rows take more than 3 MB"


def test_one_caller_can_be_frozen(owner: Person) -> None:
    owner.environ["SEEDANCE_PROFILE"] = "sandbox"
    owner.environ["SEEDANCE_STUDIO_URL"] = "http://127.0.0.1:1"
    for name in ("ada", "bob"):
        owner.run("callers", "add", name)

    frozen = owner.run("freeze", "token leaked", "--caller", "ada")
    budgets = {one["name"]: one["frozen_since"] for one in owner.run("budget", "--json").json}
    unknown = owner.run("freeze", "--caller", "zoe")
    ended = owner.run("unfreeze", "--caller", "ada", "--json")

    assert "token leaked" in frozen.err
    assert "Nothing new is signed for ada" in frozen.err
    assert budgets["ada"]
    assert (budgets["wallet"], budgets["bob"]) == (None, None)
    assert "There is no caller 'zoe'" in unknown.one_line
    assert ended.json == {"frozen": False, "was_frozen": True, "caller": "ada"}


def test_doctor_shows_the_caps_and_sums_of_callers(owner: Person) -> None:
    owner.run("callers", "add", "ada", "--max-per-day", "5")
    spend(owner, "ada", 320_000)

    told = owner.run("doctor")

    assert "ada: $0.32 in 24 hours" in " ".join((told.out + told.err).split())


def test_without_a_database_the_setting_is_named(person: Person) -> None:
    done = person.run("callers", "add", "ada")

    assert done.code != 0
    assert "Set SEEDANCE_DATABASE_URL" in done.one_line


def test_delete_asks_first_and_takes_the_name_out_of_the_ledger(owner: Person) -> None:
    owner.run("callers", "add", "ada")
    asked = owner.run("callers", "delete", "ada")
    owner.run("callers", "revoke", "ada")
    PostgresStore(owner.environ["SEEDANCE_DATABASE_URL"]).execute("UPDATE callers SET revoked_at = revoked_at - 60")
    deleted = owner.run("callers", "delete", "ada", "--yes", "--json")
    [left] = owner.run("callers", "list", "--json").json

    assert asked.code == YOURS
    assert "Nothing was deleted." in asked.err
    assert "Add --yes" in asked.err
    assert (deleted.json["name"], deleted.json["objects"], deleted.json["deleted"]) == ("ada", 0, True)
    assert (left["name"], left["tokens"]) == (f"deleted-{left['id']}", 0)
    assert "There is no caller 'ada'" in owner.run("callers", "delete", "ada", "--yes").err


@pytest.fixture
def hook_owner(owner: Person) -> Person:
    """The same owner with a file of state keys, whose profile allows loopback, and a caller."""
    keys = owner.folder / "state-keys"
    keys.write_text("k" * 48)
    owner.environ |= {"SEEDANCE_STATE_KEYS_FILE": str(keys), "SEEDANCE_PROFILE": "sandbox"}
    owner.environ["SEEDANCE_STUDIO_URL"] = "http://127.0.0.1:9"
    owner.run("callers", "add", "ada")
    return owner


def test_webhook_prints_its_secret_once_and_the_list_names_its_host(hook_owner: Person) -> None:
    made = hook_owner.run("callers", "webhook", "ada", "--url", "http://127.0.0.1:9/hook?k=private")
    again = hook_owner.run("callers", "webhook", "ada", "--url", "http://127.0.0.1:9/other")
    listed, as_json = hook_owner.run("callers", "list").out, hook_owner.run("callers", "list", "--json").json

    assert made.code == 0, made.err
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", made.out)
    assert made.out.strip() not in made.err
    assert again.out != made.out
    assert listed.endswith("1 valid token; webhook at 127.0.0.1\n")
    assert as_json[0]["webhook_host"] == "127.0.0.1"
    assert "private" not in listed + str(as_json)


def test_webhook_ends_with_off_and_with_the_caller(hook_owner: Person) -> None:
    hook_owner.run("callers", "webhook", "ada", "--url", "http://127.0.0.1:9/hook")
    off, again = (hook_owner.run("callers", "webhook", "ada", "--off").err for _ in range(2))
    hook_owner.run("callers", "webhook", "ada", "--url", "http://127.0.0.1:9/hook")
    hook_owner.run("callers", "revoke", "ada")

    assert "The webhook of ada has ended." in off
    assert "was not set" in again
    assert hook_owner.run("callers", "list", "--json").json[0]["webhook_host"] is None


def test_webhook_that_cannot_be_set_is_refused(hook_owner: Person) -> None:
    for words, problem in [
        (("ada",), "Name either --url or --off."),
        (("ada", "--off", "--url", "https://app.example"), "Name either --url or --off."),
        (("ada", "--url", "https://10.0.0.1/hook"), "is not at a public address"),
        (("ada", "--url", "http://10.0.0.1/hook"), "only https is used"),
        (("ada", "--url", "https://user@10.0.0.1/hook"), "with a user's name"),
        (("bob", "--url", "http://127.0.0.1:9/hook"), "There is no caller 'bob'."),
    ]:
        refused = hook_owner.run("callers", "webhook", *words)

        assert (refused.code, refused.out) == (YOURS, ""), words
        assert problem in refused.err


def test_webhook_needs_the_file_of_state_keys(hook_owner: Person) -> None:
    del hook_owner.environ["SEEDANCE_STATE_KEYS_FILE"]
    refused = hook_owner.run("callers", "webhook", "ada", "--url", "http://127.0.0.1:9/hook")

    assert (refused.code, refused.out) == (YOURS, "")
    assert "SEEDANCE_STATE_KEYS_FILE is not set" in refused.err
