"""Callers and tokens in the database: who is found by which token, and for how long."""

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import pytest

from seedance_mcp.core.callers import SCOPES_DEFAULT, CallerCaps, parse_token
from seedance_mcp.core.errors import ConfigError
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.core.callers import Caller, Token


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@pytest.fixture
async def ledger(url: str) -> AsyncGenerator["PostgresLedger"]:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    opened = await PostgresLedger.open(url)
    yield opened
    await opened.close()


async def add(ledger: "PostgresLedger", name: str = "ada") -> "Token":
    return await ledger.add_caller(name, SCOPES_DEFAULT, CallerCaps(max_per_day_micro_usdc=1_000_000))


async def find(ledger: "PostgresLedger", token: "Token") -> "Caller | None":
    return await ledger.find_caller(token.id, token.sha256)


async def test_a_token_finds_its_caller_and_is_stored_as_a_hash(ledger: "PostgresLedger", url: str) -> None:
    token = await add(ledger)

    caller = await find(ledger, token)

    assert caller is not None
    assert (caller.name, caller.scopes) == ("ada", {"read", "spend"})
    assert parse_token(token.text) == token
    assert PostgresStore(url).fetch(f"SELECT id FROM tokens WHERE tokens::text LIKE '%{token.text[17:]}%'") == []  # noqa: S608 - ours


async def test_another_hash_with_a_known_id_finds_no_one(ledger: "PostgresLedger") -> None:
    token, other = await add(ledger), await add(ledger, "bob")

    assert await ledger.find_caller(token.id, other.sha256) is None
    assert await ledger.find_caller("0" * 12, token.sha256) is None


async def test_rotated_tokens_overlap_and_then_end(ledger: "PostgresLedger", url: str) -> None:
    first = await add(ledger)
    second = await ledger.rotate_token("ada", overlap_seconds=3600)
    assert await find(ledger, first) == await find(ledger, second) is not None

    PostgresStore(url).execute("UPDATE tokens SET until = until - 3601 WHERE until IS NOT NULL")

    assert await find(ledger, first) is None
    assert await find(ledger, second) is not None


async def test_a_second_rotation_never_lengthens_an_overlap(ledger: "PostgresLedger", url: str) -> None:
    first = await add(ledger)
    await ledger.rotate_token("ada", overlap_seconds=0)
    await ledger.rotate_token("ada", overlap_seconds=3600)

    assert await find(ledger, first) is None


async def test_a_revoked_caller_has_no_token_and_frees_its_name(ledger: "PostgresLedger") -> None:
    first = await add(ledger)
    await ledger.revoke_caller("ada")
    with pytest.raises(ConfigError, match="no caller"):
        await ledger.rotate_token("ada", overlap_seconds=0)
    again = await add(ledger)

    found = await find(ledger, again)
    assert await find(ledger, first) is None
    assert found is not None
    assert [entry.revoked_at is None for entry in await ledger.list_callers()] == [False, True]


async def test_names_are_taken_whatever_their_case(ledger: "PostgresLedger") -> None:
    await add(ledger)

    with pytest.raises(ConfigError, match="already"):
        await add(ledger, "Ada")


async def test_caps_of_a_caller_are_those_of_its_budget(ledger: "PostgresLedger") -> None:
    await add(ledger)

    entry = await ledger.set_caps("ada", CallerCaps(max_total_micro_usdc=2_000_000, max_open=3))

    assert entry.caps == CallerCaps(max_total_micro_usdc=2_000_000, max_open=3)
    assert (await ledger.find_entry("ADA")).caps == entry.caps
