"""A SQLite ledger moves whole into a PostgreSQL database, or not at all."""

import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from seedance_mcp.core.errors import LedgerError, SpendingFrozenError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.wire.responses import Refused
from tests.adapters.ledger.rows import NOW, STUDIO, reserve, settle, sign
from tests.adapters.ledger.test_stored_ledger import STORED
from tests.ledgers import PostgresStore, open_at, work_at
from tests.postgres import require_postgres


@pytest.fixture(params=["template0", "ledger_template"])
def url(request: pytest.FixtureRequest) -> Generator[str]:
    """An empty database, and one with an empty ledger."""
    with require_postgres().database(template=request.param) as made:
        yield made


async def write_history(ledger: Ledger) -> None:
    """Write one payment of each state, a job, a freeze and text that PostgreSQL does not store."""
    await reserve(ledger, 1, idempotency_key="reserved")
    await sign(ledger, await reserve(ledger, 20, idempotency_key="signed"))
    await ledger.conclude(await sign(ledger, await reserve(ledger, 300)), Refused(reason="no"), now=NOW)
    settled = await settle(ledger, await sign(ledger, await reserve(ledger, 4_000, idempotency_key="settled")))
    await ledger.add_job(settled, "j", studio=STUDIO, status="pending", now=NOW)
    await ledger.freeze("wait", now=NOW)


async def read_all(ledger: Ledger) -> tuple[Spend, list[Payment], list[Job], list[Payment], object]:
    return (
        await ledger.spend(NOW),
        await ledger.recent_payments(100),
        await ledger.recent_jobs(100),
        await ledger.held_payments(NOW),
        await ledger.find_freeze(),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.sqlite3"
    work_at(str(file), write_history)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE jobs SET error = 'a' || char(0) || 'b'")
    return file


async def test_everything_moves_and_the_file_stays_as_it_is(file: Path, url: str) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    before = file.read_bytes()
    moved = await move_ledger(file, url)
    assert file.read_bytes() == before
    assert (moved.payments, moved.jobs, moved.spent_micro_usdc) == (4, 1, 4_320)

    here, there = await open_at(str(file)), await open_at(url)
    one, other = await read_all(here), await read_all(there)
    assert (other[0], other[1], other[3], other[4]) == (one[0], one[1], one[3], one[4])
    assert [job.job_id for job in other[2]] == ["j"]
    assert other[2][0].error == "a?b"
    await there.unfreeze()
    later = await reserve(there, 5)
    assert later.id == 5, "numbers go on"
    signed = await there.find_latest_payment(("signed",))
    assert signed is not None
    assert (await settle(there, signed)).state == "settled"
    assert (await there.spend(NOW)).total_micro_usdc == 4_326
    assert await there.find_wrong_totals() == []
    await here.close()
    await there.close()


async def test_a_ledger_of_an_earlier_version_moves(url: str, tmp_path: Path) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    file = Path(shutil.copy(STORED, tmp_path / "old.sqlite3"))
    moved = await move_ledger(file, url)
    assert (moved.payments, moved.jobs, moved.spent_micro_usdc) == (3, 2, 650_000)


async def test_the_moved_file_is_frozen_and_the_database_is_not(url: str, tmp_path: Path) -> None:
    """A process that was forgotten pays nothing from the file any more."""
    from seedance_mcp.adapters.ledger.moving import move_ledger

    file = Path(shutil.copy(STORED, tmp_path / "old.sqlite3"))
    forgotten = await open_at(str(file))
    reserved = await reserve(forgotten, 5)
    await move_ledger(file, url)

    with pytest.raises(SpendingFrozenError, match="moved into a PostgreSQL database"):
        await sign(forgotten, reserved)
    there = await open_at(url)
    assert await there.find_freeze() is None
    await sign(there, await reserve(there, 5))
    await forgotten.close()
    await there.close()


async def test_a_file_whose_move_failed_can_be_used(tmp_path: Path) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    file = Path(shutil.copy(STORED, tmp_path / "old.sqlite3"))
    with require_postgres().database() as url:
        PostgresStore(url).execute("ALTER TABLE payments ADD CHECK (amount_micro_usdc < 1)")
        with pytest.raises(LedgerError, match="cannot be used"):
            await move_ledger(file, url)
    ledger = await open_at(str(file))
    assert await ledger.find_freeze() is None
    await ledger.close()


async def test_a_database_with_payments_is_refused(file: Path, url: str) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    await move_ledger(file, url)
    with pytest.raises(LedgerError, match=r"is not empty\..*Nothing was moved"):
        await move_ledger(file, url)


async def test_a_move_that_fails_leaves_the_database_as_it_was(file: Path) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    with require_postgres().database() as url:
        PostgresStore(url).execute("ALTER TABLE freezes ADD CHECK (reason <> 'wait')")
        with pytest.raises(LedgerError, match="cannot be used"):
            await move_ledger(file, url)
        PostgresStore(url).execute("ALTER TABLE freezes DROP CONSTRAINT freezes_reason_check")
        assert (await move_ledger(file, url)).payments == 4


@pytest.mark.parametrize("table", ["totals", "spent_hours"])
async def test_sums_that_differ_stop_the_move(file: Path, url: str, table: str) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"UPDATE {table} SET spent_micro_usdc = spent_micro_usdc - 1")  # noqa: S608 - the test's
    with pytest.raises(LedgerError, match=r"The sums of .* differ.*Nothing was moved"):
        await move_ledger(file, url)


@pytest.mark.parametrize("content", [None, b"no database" * 100])
async def test_what_is_no_ledger_is_not_moved(content: bytes | None, tmp_path: Path, url: str) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    file = tmp_path / "other.sqlite3"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LedgerError):
        await move_ledger(file, url)


async def test_a_database_of_something_else_is_not_moved(tmp_path: Path, url: str) -> None:
    from seedance_mcp.adapters.ledger.moving import move_ledger

    file = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE bookmarks (url)")
    with pytest.raises(LedgerError, match="is not a ledger"):
        await move_ledger(file, url)
