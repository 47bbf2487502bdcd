"""Callers of an authorization server in the database: made once, limited, revoked and admitted again."""

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_mcp.core.access_tokens import Identity, identify
from seedance_mcp.core.callers import NO_CAPS, SCOPES_DEFAULT, CallerCaps
from seedance_mcp.core.errors import ConfigError
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.core.callers import CallerEntry

ADA = identify("https://id.example", "sub", "ada")
CAPS = CallerCaps(max_per_day_micro_usdc=1_000_000)


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


async def test_first_tokens_at_two_replicas_make_one_caller(ledger: "PostgresLedger", url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    other, found = await PostgresLedger.open(url), list["CallerEntry"]()
    try:
        for number in range(10):
            identity = identify("https://id.example", "sub", f"ada-{number}")

            async def find(at: "PostgresLedger", identity: Identity = identity) -> None:
                found.append(await at.find_or_add(identity))

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(find, ledger)
                    tasks.start_soon(find, other)
    finally:
        await other.close()
    assert len({entry.caller for entry in found}) == 10
    assert len(await ledger.list_callers()) == 10
    assert PostgresStore(url).fetch("SELECT count(*) FROM budgets WHERE scope <> ''") == [(10,)]


async def test_new_caller_may_read_and_spend_and_has_no_caps(ledger: "PostgresLedger") -> None:
    entry = await ledger.find_or_add(ADA)
    assert (entry.caller.id, entry.caller.name, entry.caller.scopes) == (ADA.id, ADA.name, SCOPES_DEFAULT)
    assert (entry.caps, entry.revoked_at, entry.tokens) == (NO_CAPS, None, 0)


async def test_caps_by_name_are_found_with_the_next_token(ledger: "PostgresLedger") -> None:
    await ledger.find_or_add(ADA)
    await ledger.set_caps(ADA.name, CAPS)
    assert (await ledger.find_or_add(ADA)).caps == CAPS


async def test_taken_name_makes_a_longer_one(ledger: "PostgresLedger") -> None:
    await ledger.add_caller(ADA.name, SCOPES_DEFAULT, NO_CAPS)
    assert (await ledger.find_or_add(ADA)).caller.name == ADA.long_name


async def test_revoked_caller_stays_revoked_and_can_be_admitted_again(ledger: "PostgresLedger") -> None:
    await ledger.find_or_add(ADA)
    await ledger.revoke_caller(ADA.name)
    assert (await ledger.find_or_add(ADA)).revoked_at is not None

    await ledger.admit(ADA, "ada", frozenset({"read"}), CAPS)

    entry = await ledger.find_or_add(ADA)
    assert (entry.caller.id, entry.caller.name, entry.caller.scopes) == (ADA.id, "ada", {"read"})
    assert (entry.caps, entry.revoked_at) == (CAPS, None)


async def test_caller_can_be_admitted_before_its_first_token(ledger: "PostgresLedger") -> None:
    admitted = await ledger.admit(ADA, "ada", frozenset({"read", "spend", "admin"}), CAPS)
    assert await ledger.find_or_add(ADA) == admitted
    assert admitted.caller.is_admin


async def test_admitting_refuses_a_known_subject_and_a_taken_name(ledger: "PostgresLedger") -> None:
    await ledger.add_caller("bob", SCOPES_DEFAULT, NO_CAPS)
    with pytest.raises(ConfigError, match="There is already a caller Bob"):
        await ledger.admit(ADA, "Bob", SCOPES_DEFAULT, CAPS)
    await ledger.find_or_add(ADA)
    with pytest.raises(ConfigError, match=f"belongs to the caller {ADA.name}"):
        await ledger.admit(ADA, "ada", SCOPES_DEFAULT, CAPS)
    await ledger.revoke_caller(ADA.name)
    with pytest.raises(ConfigError, match="There is already a caller bob"):
        await ledger.admit(ADA, "bob", SCOPES_DEFAULT, CAPS)


async def test_tokens_of_an_issuer_are_not_rotated_here(ledger: "PostgresLedger") -> None:
    await ledger.find_or_add(ADA)
    with pytest.raises(ConfigError, match="come from the authorization server"):
        await ledger.rotate_token(ADA.name, overlap_seconds=0)
