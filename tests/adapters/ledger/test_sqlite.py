"""The ledger on one SQLite file: durable, private, and usable after whatever went wrong."""

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from seedance_mcp.adapters.ledger import sqlite_driver
from seedance_mcp.adapters.ledger.migrations import MIGRATIONS
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.core.errors import LedgerError, PolicyError
from seedance_mcp.core.records import Upload
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, reserve, settle, sign, write_offer, write_request
from tests.fresh_ledgers import open_file
from tests.ledgers import connect


@pytest.fixture(autouse=True)
def _makes_files(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Make each new file by the migrations."""
    monkeypatch.setattr(sqlite_driver, "open_file", open_file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@pytest.fixture
async def ledger(file: Path) -> AsyncGenerator[SQLiteLedger]:
    opened = await SQLiteLedger.open(file)
    yield opened
    await opened.close()


async def test_operation_runs_as_a_whole_in_the_ledgers_thread(ledger: SQLiteLedger) -> None:
    async def name_thread() -> str:
        async with ledger.driver.transaction() as session:
            assert await session.fetch_one("SELECT 1 AS one") == {"one": 1}
            return threading.current_thread().name

    assert await ledger.driver.run_whole(name_thread) == "ledger"
    assert threading.current_thread().name != "ledger"


async def test_operation_that_fails_leaves_no_open_transaction(ledger: SQLiteLedger) -> None:
    async def fail() -> None:
        async with ledger.driver.transaction() as session:
            await session.execute("INSERT INTO recipients VALUES ('studio', 'network', '0x', 1)")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await ledger.driver.run_whole(fail)
    assert not connect(ledger).in_transaction
    assert await ledger.find_recipients("studio", "network") == frozenset()


async def test_operation_that_waits_for_something_else_is_refused(ledger: SQLiteLedger) -> None:
    class Elsewhere:
        def __await__(self) -> Generator[None]:
            yield

    async def wait() -> None:
        await Elsewhere()

    with pytest.raises(RuntimeError, match="waits for something else"):
        await ledger.driver.run_whole(wait)
    assert await ledger.find_freeze() is None


async def test_every_file_of_the_ledger_is_for_its_owner_alone(ledger: SQLiteLedger, file: Path) -> None:
    await reserve(ledger)
    modes = {one.name: oct(stat.S_IMODE(one.stat().st_mode)) for one in file.parent.iterdir()}
    assert modes == {"ledger.sqlite3": "0o600", "ledger.sqlite3-wal": "0o600", "ledger.sqlite3-shm": "0o600"}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_a_written_row_is_synced_to_the_disk_and_bound_to_its_payment(ledger: SQLiteLedger) -> None:
    db = connect(ledger)
    settings = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "fullfsync")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "fullfsync": 1}


async def test_what_must_be_on_disk_before_the_next_step_is_synced(ledger: SQLiteLedger) -> None:
    def is_synced() -> bool:
        return connect(ledger).execute("PRAGMA synchronous").fetchone()[0] == 2

    steps: dict[str, bool] = {}
    reserved = await reserve(ledger)
    steps["reserved"] = is_synced()
    signed = await sign(ledger, reserved)
    steps["signed"] = is_synced()
    await ledger.add_job(signed, "job_1", studio=STUDIO, status="pending", now=NOW)
    steps["job"] = is_synced()
    await settle(ledger, signed)
    steps["settled"] = is_synced()
    await ledger.finish_job("job_1", file="/videos/1.mp4", thumbnail="/videos/1.jpg")
    steps["thumbnail"] = is_synced()
    await ledger.finish_job("job_1", file="/videos/1.mp4")
    steps["video"] = is_synced()

    synced = [name for name, was_synced in steps.items() if was_synced]
    assert synced == ["signed", "settled", "video"]


async def test_a_ledger_of_a_newer_version_is_not_touched(file: Path, ledger: SQLiteLedger) -> None:
    await ledger.close()
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(LedgerError, match=r"newer version .* Update seedance-mcp"):
        await SQLiteLedger.open(file)


async def test_a_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite3"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    db.close()
    with pytest.raises(LedgerError, match="another program's database"):
        await SQLiteLedger.open(file)


async def test_a_migration_that_fails_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def m002_breaks(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half_done (x)")
        db.execute("no such statement")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_driver, "MIGRATIONS", (*MIGRATIONS, m002_breaks))
        with pytest.raises(LedgerError, match="syntax error"):
            await SQLiteLedger.open(file)
    ledger = await SQLiteLedger.open(file)
    tables = connect(ledger).execute("SELECT name FROM sqlite_master").fetchall()
    assert "half_done" not in {row["name"] for row in tables}
    await ledger.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
async def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ledger.sqlite3"
    file.write_bytes(content)
    with pytest.raises(LedgerError, match=r"cannot be used: .*Nothing was paid\. Nothing is signed without it"):
        await SQLiteLedger.open(file)


async def test_a_directory_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").mkdir()
    with pytest.raises(LedgerError, match="unable to open database file"):
        await SQLiteLedger.open(tmp_path / "ledger.sqlite3")


async def test_a_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(LedgerError, match="cannot be used"):
        await SQLiteLedger.open(tmp_path / "data" / "ledger.sqlite3")


async def test_a_sqlite_that_is_too_old_is_named_with_the_version_that_is_needed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(LedgerError, match=r"needs 3\.37\.0 or newer"):
        await SQLiteLedger.open(file)


FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from tests.adapters.ledger.rows import NOW, WALLET, reserve, sign, write_offer, write_request

async def main():
    ledger = await SQLiteLedger.open(Path(sys.argv[1]))
    kept = await reserve(ledger, idempotency_key="kept")
    before = await ledger.spend(NOW)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    for _ in range(3):
        try:
            async with ledger.lock_budget() as transaction:
                request = write_request("big", body=bytes(500_000))
                await transaction.reserve(request, write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
        except LedgerError as exc:
            print(exc.what)
        else:
            print("WRITTEN")
    assert await ledger.spend(NOW) == before
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await sign(ledger, kept)).state == "signed"
    print("usable")

asyncio.run(main())
"""


def test_a_full_disk_is_an_error_and_the_ledger_works_again_afterwards(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, timeout=30, check=False
    )
    *failures, last = done.stdout.splitlines()
    assert (last, len(failures)) == ("usable", 3), done.stderr
    assert all("cannot be used" in failure and "transaction" not in failure for failure in failures)


async def test_a_commit_that_fails_is_an_error_and_the_connection_stays_usable(ledger: SQLiteLedger) -> None:
    with pytest.raises(LedgerError, match="FOREIGN KEY"):  # noqa: PT012 - the block is the test
        async with ledger.lock_budget():
            db = connect(ledger)  # no public way leads to a failing commit
            db.execute("PRAGMA defer_foreign_keys = ON")
            columns = "(job_id, studio, payment_id, status, progress, created_at)"
            db.execute(f"INSERT INTO jobs {columns} VALUES ('j', 's', 999, 'pending', 0, 0)")  # noqa: S608 - our own words
    assert (await reserve(ledger)).state == "reserved"
    assert await ledger.find_job("j") is None


async def test_an_error_that_ended_the_transaction_itself_is_told_as_it_was(ledger: SQLiteLedger) -> None:
    with pytest.raises(PolicyError, match="first"):  # noqa: PT012 - the block is the test
        async with ledger.lock_budget():
            connect(ledger).execute("ROLLBACK")  # as a full disk does
            raise PolicyError("first")
    assert (await reserve(ledger)).state == "reserved"


async def test_another_process_that_never_ends_its_transaction_is_waited_for_and_then_told(
    file: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_driver, "BUSY_SECONDS", 0.05)
    impatient = await SQLiteLedger.open(file)
    async with ledger.lock_budget():
        with pytest.raises(LedgerError, match="is locked: another seedance-mcp") as caught:
            await reserve(impatient)
    assert str(caught.value.next_step) == "Nothing is damaged. Make the same call again in a moment."
    assert (await reserve(impatient)).id == 1
    await impatient.close()


async def test_an_earlier_ledgers_recipients_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    before = [migrate.__name__ for migrate in MIGRATIONS].index("m008_recipients")
    with sqlite3.connect(file) as db:  # a ledger as it was before recipients were remembered
        for migrate in MIGRATIONS[:before]:
            migrate(db)
        db.execute(f"PRAGMA user_version = {before}")
        for state, pay_to in (("signed", "0x" + "A" * 40), ("settled", "0x" + "a" * 40), ("reserved", "0x" + "b" * 40)):
            db.execute(
                """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                         amount_micro_usdc, state, hold_until, created_at)
                   VALUES ('upload', 'f', 'http://127.0.0.1:8402/api/upload', x'', '{}', 'w', 'x402', 'eip155:8453', ?,
                           1, ?, 0, 0)""",
                (pay_to, state),
            )
    ledger = await SQLiteLedger.open(file)
    assert await ledger.find_recipients("http://127.0.0.1:8402", "eip155:8453") == {"0x" + "a" * 40}
    assert not await ledger.find_recipients("http://127.0.0.1:8402", "eip155:1")
    assert not await ledger.find_recipients("http://127.0.0.1", "eip155:8453")
    await ledger.close()


async def test_what_a_studio_declares_is_not_waited_for(file: Path) -> None:
    ledger, other = await SQLiteLedger.open(file), await SQLiteLedger.open(file)
    async with other.lock_budget():
        began = time.monotonic()
        with pytest.raises(LedgerError, match="is locked"):
            await ledger.record_contract(STUDIO, "seedance", {"dialect": "current"}, now=NOW)
        assert time.monotonic() - began < sqlite_driver.BUSY_SECONDS
    await ledger.record_contract(STUDIO, "seedance", {"dialect": "classic"}, now=NOW)
    await ledger.record_contract(STUDIO, "seedance", {"dialect": "current"}, now=NOW)
    assert await other.find_contract(STUDIO, "seedance") == {"dialect": "current"}
    assert await other.find_contract("https://other.test", "seedance") is None
    await ledger.close()
    await other.close()


TICKET_TOKEN = "vercel_blob_client_store_" + "Secret" * 8


async def buy_ticket(ledger: SQLiteLedger) -> int:
    """A settled upload whose ticket says nothing of its end."""
    async with ledger.lock_budget() as transaction:
        payment = await transaction.reserve(
            write_request(purpose="upload"), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW
        )
    answer = f'{{"uploadId":"u","clientToken":"{TICKET_TOKEN}","pathname":"p","curlExample":"curl {TICKET_TOKEN}"}}'
    return (await settle(ledger, await sign(ledger, payment), answer=answer.encode())).id


def read_files(file: Path) -> bytes:
    return b"".join(one.read_bytes() for one in file.parent.glob(f"{file.name}*"))


async def test_the_token_of_an_unused_ticket_is_kept_until_it_expires(ledger: SQLiteLedger, file: Path) -> None:
    payment_id = await buy_ticket(ledger)
    await ledger.scrub_tickets(NOW + 800)
    kept = await ledger.find_payment(payment_id)
    assert kept is not None
    assert TICKET_TOKEN.encode() in (kept.answer or b"")
    await ledger.scrub_tickets(NOW + 1000)
    scrubbed = await ledger.find_payment(payment_id)
    assert scrubbed is not None
    assert b"vercel_blob_client_store_[redacted]" in (scrubbed.answer or b"")
    assert TICKET_TOKEN.encode() not in read_files(file)


async def test_the_token_of_a_used_ticket_leaves_the_disk_at_once(ledger: SQLiteLedger, file: Path) -> None:
    payment_id = await buy_ticket(ledger)
    assert TICKET_TOKEN.encode() in read_files(file)
    await ledger.record_upload(
        Upload(
            sha256="a" * 64, studio=STUDIO, wallet=WALLET, image_url="https://x.test/a.png", upload_id="u",
            media_type="image/png", size_bytes=1, width=1, height=1, payment_id=payment_id, created_at=NOW,
        )
    )  # fmt: skip
    assert TICKET_TOKEN.encode() not in read_files(file)
