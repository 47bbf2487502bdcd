"""A database that was restored, or that a standby took over, lacks payments: none of them is made again."""

import subprocess
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seedance_mcp.app.runtime import build_reopener
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import ChainError, LedgerClosedError, PossiblyBoughtError, StudioError
from seedance_mcp.generation.request import VideoRequest
from tests.adapters.ledger.rows import reserve, sign
from tests.app.teams import Team, add_caller, add_callers, open_team
from tests.app.test_callers import buy
from tests.ledgers import PostgresStore
from tests.payments.test_purchase import settings_for
from tests.payments.test_refused_payments import CLIP, UPLOAD, break_with, paid
from tests.postgres import Cluster, find_programs, require_postgres

if TYPE_CHECKING:
    from seedance_mcp.app.services import Services
    from seedance_mcp.sandbox import Sandbox

Make = Callable[..., "Sandbox"]


@pytest.fixture
def cluster() -> Cluster:
    return require_postgres()


@pytest.fixture
def url(cluster: Cluster) -> Generator[str]:
    with cluster.database() as made:
        PostgresStore(made).execute("UPDATE ledger_state SET identity = database_identity()")  # as `migrate` does
        yield made


@pytest.fixture
def restored_url(cluster: Cluster) -> Generator[str]:
    """An empty database for a dump."""
    with cluster.database(template="template0") as made:
        yield made


@pytest.fixture
def sandbox(make_sandbox: Make) -> "Sandbox":
    return make_sandbox()


@pytest.fixture
def settings(sandbox: "Sandbox", funded_key: str, tmp_path: Path, url: str) -> Settings:
    return settings_for(sandbox, funded_key, tmp_path / "data", SEEDANCE_DATABASE_URL=url)


@pytest.fixture
def picture(make_picture: Callable[..., Path]) -> str:
    return str(make_picture())


def dump(url: str, file: Path) -> None:
    """Back a database up as its operator does."""
    run("pg_dump", "--format", "custom", "--file", str(file), url)


def restore(url: str, file: Path, *options: str) -> None:
    """Restore a dump into a database."""
    run("pg_restore", "--exit-on-error", "--no-owner", *options, "--dbname", url, str(file))


def run(program: str, *arguments: str) -> None:
    programs = find_programs()
    assert programs is not None
    subprocess.run([programs / program, *arguments], check=True, capture_output=True)


def let_credentials_expire(url: str) -> None:
    """Let the moment be over until which a lost payment may settle."""
    PostgresStore(url).execute("UPDATE ledger_state SET closed_at = closed_at - 301")


async def look(team: Team, settings: Settings) -> bool:
    """Look as the background task does; returns True if the ledger is open."""
    return await build_reopener(team.base, settings).look()


async def count_spent(team: Team) -> int:
    return (await team.ledger.spend(team.parts.now())).total_micro_usdc


async def refuse(services: "Services", picture: str, prompt: str) -> None:
    """Ask for a video that the closed ledger must refuse."""
    with pytest.raises(LedgerClosedError) as refused:
        await buy(services, VideoRequest(image=picture, prompt=prompt))
    assert "Nothing was paid." in str(refused.value)
    assert refused.value.payment_state == "none"


async def test_a_restored_database_finds_what_was_bought_since_the_backup(
    settings: Settings, sandbox: "Sandbox", url: str, restored_url: str, picture: str, tmp_path: Path
) -> None:
    ada, bob = await add_callers(url, "ada", "bob")
    async with open_team(settings) as team:
        await buy(team.of(ada), VideoRequest(image=picture, prompt="before"))
        dump(url, tmp_path / "backup")
        since = await buy(team.of(ada), VideoRequest(image=picture, prompt="since"))
    restore(restored_url, tmp_path / "backup")

    restored = replace(settings, database_url=restored_url)
    async with open_team(restored) as team:
        await refuse(team.of(ada), picture, "since")
        assert await look(team, restored) is False
        again = await buy(team.of(ada), VideoRequest(image=picture, prompt="since"))
        assert again == since
        assert await count_spent(team) == UPLOAD + 2 * CLIP
        await refuse(team.of(bob), picture, "new")

        let_credentials_expire(restored_url)
        assert await look(team, restored) is True
        await buy(team.of(bob), VideoRequest(image=picture, prompt="new"))
        assert paid(sandbox) == [UPLOAD, CLIP, CLIP, CLIP]
        assert await count_spent(team) == UPLOAD + 3 * CLIP
        assert await team.ledger.find_wrong_totals() == []


async def test_a_lost_payment_without_a_job_is_counted_and_not_made_again(
    settings: Settings, sandbox: "Sandbox", url: str, restored_url: str, picture: str, tmp_path: Path
) -> None:
    ada = await add_caller(url, "ada")
    async with open_team(settings) as team:
        await team.of(ada).generation.upload(picture)
        dump(url, tmp_path / "backup")
        break_with(sandbox, "no_job:1")
        with pytest.raises(Exception, match="was paid"):
            await buy(team.of(ada), VideoRequest(image=picture, prompt="lost"))
    restore(restored_url, tmp_path / "backup")

    restored = replace(settings, database_url=restored_url)
    async with open_team(restored) as team:
        assert await look(team, restored) is False
        let_credentials_expire(restored_url)
        assert await look(team, restored) is True
        assert await count_spent(team) == UPLOAD + CLIP
        with pytest.raises(PossiblyBoughtError):
            await buy(team.of(ada), VideoRequest(image=picture, prompt="lost"))
        assert paid(sandbox) == [UPLOAD, CLIP]


async def test_a_reading_before_lost_credentials_expired_opens_nothing(
    settings: Settings, sandbox: "Sandbox", url: str, picture: str
) -> None:
    ada = await add_caller(url, "ada")
    async with open_team(settings) as team:
        await team.ledger.close_ledger("restored")
        assert [await look(team, settings) for _ in range(2)] == [False, False]
        await refuse(team.of(ada), picture, "x")
        assert paid(sandbox) == []


async def test_a_ledger_stays_closed_while_the_list_or_the_chain_cannot_be_read(
    settings: Settings, sandbox: "Sandbox", url: str, picture: str
) -> None:
    ada = await add_caller(url, "ada")
    async with open_team(settings) as team:
        await buy(team.of(ada), VideoRequest(image=picture, prompt="x"))
        await team.ledger.close_ledger("restored")
        let_credentials_expire(url)
        for fault, error in (("no_list", StudioError), ("no_logs", ChainError)):
            break_with(sandbox, fault)
            with pytest.raises(error):
                await look(team, settings)
            await refuse(team.of(ada), picture, fault)
        break_with(sandbox)
        assert await look(team, settings) is True


async def test_a_dump_restored_over_the_same_database_closes_it(url: str, tmp_path: Path) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    dump(url, tmp_path / "backup")
    restore(url, tmp_path / "backup", "--clean", "--if-exists")
    ledger = await PostgresLedger.open(url)
    try:
        with pytest.raises(LedgerClosedError):
            await reserve(ledger)
        closing = await ledger.find_closing()
        assert closing is not None
        assert "restored" in closing.reason
    finally:
        await ledger.close()


async def test_a_closing_stops_what_is_reserved_and_not_signed(url: str) -> None:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    try:
        payment = await reserve(ledger)
        closing = await ledger.close_ledger("restored")
        with pytest.raises(LedgerClosedError):
            await sign(ledger, payment)
        assert await ledger.close_ledger("again") != closing
        assert await ledger.open_ledger(closing) is False, "it was closed once more"
        current = await ledger.find_closing()
        assert current is not None
        assert await ledger.open_ledger(current) is True
        assert (await reserve(ledger)).id > payment.id + 1000, "a lost payment's number is not given again"
    finally:
        await ledger.close()
