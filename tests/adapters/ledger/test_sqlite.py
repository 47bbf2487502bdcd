"""The ledger on one SQLite file: durable, private, and usable after whatever went wrong."""

import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from seedance_mcp.adapters.ledger import connection
from seedance_mcp.adapters.ledger.migrations import MIGRATIONS
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.core.errors import BudgetExceededError, LedgerError, PolicyError, SpendingFrozenError
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Upload
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.responses import Receipt, Refused, Settled
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, reserve, settle, sign, write_offer, write_request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@pytest.fixture
def ledger(file: Path) -> Generator[SQLiteLedger]:
    opened = SQLiteLedger(file)
    yield opened
    opened.close()


def see(job_id: str = "j", **changes: object) -> JobStatus:
    fields: dict[str, object] = {
        "job_id": job_id, "type": None, "status": "loading", "progress": 10, "error": None, "video_url": None,
        "thumbnail_url": None, "input": None, "created_at": None,
    }  # fmt: skip
    return JobStatus(**(fields | changes))  # type: ignore[arg-type]  # fields as the test wishes


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_file_of_the_ledger_is_for_its_owner_alone(ledger: SQLiteLedger, file: Path) -> None:
    reserve(ledger)
    modes = {one.name: oct(stat.S_IMODE(one.stat().st_mode)) for one in file.parent.iterdir()}
    assert modes == {"ledger.sqlite3": "0o600", "ledger.sqlite3-wal": "0o600", "ledger.sqlite3-shm": "0o600"}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_written_row_is_synced_to_the_disk_and_bound_to_its_payment(ledger: SQLiteLedger) -> None:
    with ledger.writing() as books:
        db = books._db  # pyright: ignore[reportPrivateUsage]  # what the connection was told
    settings = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "fullfsync")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "fullfsync": 1}


def test_what_was_written_is_there_after_reopening(ledger: SQLiteLedger, file: Path) -> None:
    payment = settle(ledger, sign(ledger, reserve(ledger)))
    again = SQLiteLedger(file)
    assert again.find_payment(payment.id) == payment
    again.close()


def test_a_process_that_is_killed_leaves_what_it_wrote(file: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger;"
        "from tests.adapters.ledger.rows import reserve, sign;"
        f"ledger = SQLiteLedger(Path({str(file)!r})); sign(ledger, reserve(ledger)); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=20).returncode == 9
    ledger = SQLiteLedger(file)
    found = ledger.find_payment(1)
    assert found is not None
    assert found.state == "signed"
    ledger.close()


@pytest.mark.skipif(os.name != "posix", reason="a dead process is told by POSIX signals")
@pytest.mark.parametrize("steps", ["sign(ledger, reserve(ledger))", "reserve(ledger)"])
def test_what_a_dead_process_was_busy_with_need_not_be_waited_for(file: Path, steps: str) -> None:
    script = (
        "import os, sys; from pathlib import Path; from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger;"
        f"from tests.adapters.ledger.rows import reserve, sign; ledger = SQLiteLedger(Path({str(file)!r}));"
        f"{steps}; os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False, timeout=20)
    ledger = SQLiteLedger(file)
    found = ledger.find_payment(1)
    assert found is not None
    if found.state == "signed":
        assert found.holds(NOW), "it may still settle"
        assert ledger.claim(found, lease_until=NOW + 75, now=NOW) is not None
        assert ledger.claim(found, lease_until=NOW + 75, now=NOW) is None, "now it is ours"
    else:
        assert not found.holds(NOW), "nobody is left to sign for it"
    ledger.close()


def test_a_ledger_of_a_newer_version_is_not_touched(file: Path, ledger: SQLiteLedger) -> None:
    ledger.close()
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(LedgerError, match=r"newer version .* Update seedance-mcp"):
        SQLiteLedger(file)


def test_a_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite3"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    db.close()
    with pytest.raises(LedgerError, match="database of something else"):
        SQLiteLedger(file)


def test_a_migration_that_fails_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def m002_breaks(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half_done (x)")
        db.execute("no such statement")

    monkeypatch.setattr(connection, "MIGRATIONS", (*MIGRATIONS, m002_breaks))
    with pytest.raises(LedgerError, match="syntax error"):
        SQLiteLedger(file)
    monkeypatch.undo()
    ledger = SQLiteLedger(file)
    with ledger.writing() as books:
        tables = books._db.execute("SELECT name FROM sqlite_master").fetchall()  # pyright: ignore[reportPrivateUsage]  # what the file holds
    assert "half_done" not in {row["name"] for row in tables}
    ledger.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ledger.sqlite3"
    file.write_bytes(content)
    with pytest.raises(LedgerError, match=r"cannot be used: .*Nothing was paid\. Nothing is signed without it"):
        SQLiteLedger(file)


def test_a_directory_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").mkdir()
    with pytest.raises(LedgerError, match="unable to open database file"):
        SQLiteLedger(tmp_path / "ledger.sqlite3")


def test_a_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(LedgerError, match="cannot be used"):
        SQLiteLedger(tmp_path / "data" / "ledger.sqlite3")


def test_a_sqlite_that_is_too_old_is_named_with_the_version_that_is_needed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(LedgerError, match=r"needs 3\.37\.0 or newer"):
        SQLiteLedger(file)


def test_a_row_that_somebody_damaged_is_a_clear_error(ledger: SQLiteLedger, file: Path) -> None:
    payment = reserve(ledger)
    with sqlite3.connect(file) as db:
        db.execute("UPDATE payments SET arguments = '{'")
    db.close()
    with pytest.raises(LedgerError, match="damaged"):
        ledger.find_payment(payment.id)


FULL_DISK = """
import resource, sys
from pathlib import Path
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from tests.adapters.ledger.rows import NOW, WALLET, reserve, sign, write_offer, write_request

ledger = SQLiteLedger(Path(sys.argv[1]))
kept = reserve(ledger, fingerprint="kept")
before = ledger.spend(NOW)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
for _ in range(3):
    try:
        with ledger.writing() as books:
            request = write_request("big", body=bytes(500_000))
            books.reserve(request, write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
    except LedgerError as exc:
        print(exc.what)
    else:
        print("WRITTEN")
assert ledger.spend(NOW) == before
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert sign(ledger, kept).state == "signed"
print("usable")
"""


def test_a_full_disk_is_an_error_and_the_ledger_works_again_afterwards(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, timeout=30, check=False
    )
    *failures, last = done.stdout.splitlines()
    assert (last, len(failures)) == ("usable", 3), done.stderr
    assert all("cannot be used" in failure and "transaction" not in failure for failure in failures)


# ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_inside_a_transaction_undoes_it(ledger: SQLiteLedger) -> None:
    with pytest.raises(PolicyError, match="not today"), ledger.writing() as books:  # noqa: PT012 - the block is the test
        books.reserve(write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
        raise PolicyError("not today")
    assert ledger.spend(NOW) == Spend()
    assert reserve(ledger).id == 1


def test_a_commit_that_fails_is_an_error_and_the_connection_stays_usable(ledger: SQLiteLedger) -> None:
    with pytest.raises(LedgerError, match="FOREIGN KEY"), ledger.writing() as books:  # noqa: PT012 - the block is the test
        db = books._db  # pyright: ignore[reportPrivateUsage]  # no public way leads to a failing commit
        db.execute("PRAGMA defer_foreign_keys = ON")
        columns = "(job_id, studio, payment_id, status, progress, created_at)"
        db.execute(f"INSERT INTO jobs {columns} VALUES ('j', 's', 999, 'pending', 0, 0)")  # noqa: S608 - our own words
    assert reserve(ledger).state == "reserved"
    assert ledger.find_job("j") is None


def test_an_error_that_ended_the_transaction_itself_is_told_as_it_was(ledger: SQLiteLedger) -> None:
    with pytest.raises(PolicyError, match="first"), ledger.writing() as books:  # noqa: PT012 - the block is the test
        books._db.execute("ROLLBACK")  # pyright: ignore[reportPrivateUsage]  # as a full disk does
        raise PolicyError("first")
    assert reserve(ledger).state == "reserved"


def test_a_number_that_the_database_cannot_hold_is_our_error(ledger: SQLiteLedger) -> None:
    with pytest.raises(LedgerError):
        reserve(ledger, 2**70, cap=2**80)
    assert ledger.spend(NOW) == Spend()


def test_another_process_that_never_ends_its_transaction_is_waited_for_and_then_told(
    file: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    impatient = SQLiteLedger(file)
    with ledger.writing(), pytest.raises(LedgerError, match="is locked: another seedance-mcp") as caught:
        reserve(impatient)
    assert str(caught.value.next_step) == "Nothing is damaged. Make the same call again in a moment."
    assert reserve(impatient).id == 1
    impatient.close()


# ── payments ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payment_is_read_as_it_was_written(ledger: SQLiteLedger) -> None:
    reserved = reserve(ledger, 123, fingerprint="f")
    assert reserved.request == write_request()
    signed = sign(ledger, reserved)
    assert (signed.state, signed.document) == ("signed", {"payload": {"authorization": {"nonce": "0x00"}}})
    settled = settle(ledger, signed)
    assert (settled.state, settled.answer, settled.lease_until) == ("settled", b'{"jobId":"j"}', 0)
    assert settled.receipt == Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)


def test_a_reservation_that_lapsed_meanwhile_is_not_signed_for(ledger: SQLiteLedger) -> None:
    payment = reserve(ledger)
    with pytest.raises(LedgerError, match="not reserved any more"):
        sign(ledger, payment, now=NOW + 60)


def test_a_clock_that_is_set_back_does_not_bring_a_lapsed_reservation_to_life(ledger: SQLiteLedger) -> None:
    sleeper = reserve(ledger, 100, cap=100, fingerprint="sleeper")
    reserve(ledger, 100, cap=100, now=NOW + 61, fingerprint="other")
    with pytest.raises(LedgerError, match="not reserved any more"):
        sign(ledger, sleeper, now=NOW)
    assert ledger.spend(NOW).total_micro_usdc == 100


def test_a_payment_is_signed_once(ledger: SQLiteLedger) -> None:
    payment = reserve(ledger)
    sign(ledger, payment)
    with pytest.raises(LedgerError, match="not reserved any more"):
        sign(ledger, payment)


def test_a_signed_payment_counts_whatever_the_clock_says(ledger: SQLiteLedger) -> None:
    sign(ledger, reserve(ledger, 7))
    years = 10 * 365 * 86_400
    assert ledger.spend(NOW + years) == Spend(last_day_micro_usdc=0, total_micro_usdc=7)


def test_a_reservation_counts_until_it_lapses(ledger: SQLiteLedger) -> None:
    reserve(ledger, 7)

    assert ledger.spend(NOW + 30) == Spend(last_day_micro_usdc=7, total_micro_usdc=7)
    assert ledger.spend(NOW + 61) == Spend(last_day_micro_usdc=0, total_micro_usdc=0)


def test_a_signed_payment_counts_in_the_day_and_in_the_total(ledger: SQLiteLedger) -> None:
    sign(ledger, reserve(ledger, 7))

    assert ledger.spend(NOW + 3600) == Spend(last_day_micro_usdc=7, total_micro_usdc=7)


def test_a_refused_payment_counts_until_the_chain_was_asked(ledger: SQLiteLedger) -> None:
    payment = sign(ledger, reserve(ledger, 7))
    ledger.conclude(payment, Refused(reason="no"), now=NOW)
    expired = payment.hold_until
    for later in (0, 600, 10**6):
        assert ledger.spend(expired + later).total_micro_usdc == 7, "a studio that says no may have settled"
    assert ledger.spend(expired).last_day_micro_usdc == 7
    ledger.conclude(payment, Refused(reason="no"), now=expired, chain_checked=True)
    assert ledger.spend(expired) == Spend(last_day_micro_usdc=0, total_micro_usdc=0)


def test_a_late_answer_completes_what_the_chain_had_said(ledger: SQLiteLedger) -> None:
    receipt = Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)
    known = ledger.conclude(sign(ledger, reserve(ledger)), Settled(receipt=None, answer=b""), now=NOW)
    late = ledger.conclude(known, Settled(receipt=receipt, answer=b"{}"), now=NOW)
    assert (late.state, late.answer, late.receipt) == ("settled", b"{}", receipt)
    assert ledger.conclude(late, Settled(receipt=None, answer=b"other"), now=NOW) == late


def test_an_unsigned_purchase_is_not_completed_by_an_answer(ledger: SQLiteLedger) -> None:
    payment = reserve(ledger)
    assert ledger.conclude(payment, Settled(receipt=None, answer=b"{}"), now=NOW).state == "reserved"


def test_a_reservation_gives_way_to_a_later_one_for_the_same_wish(ledger: SQLiteLedger) -> None:
    first = reserve(ledger, fingerprint="wish")
    second = reserve(ledger, fingerprint="wish")
    sign(ledger, second)
    with pytest.raises(LedgerError, match="not reserved any more"):
        sign(ledger, first)


@pytest.mark.parametrize("place", ["elsewhere", "", "elsewhere/01234567/pid:[1]"])
def test_a_lease_from_another_machine_or_container_is_never_taken_for_a_dead_ones(
    ledger: SQLiteLedger, file: Path, place: str
) -> None:
    payment = sign(ledger, reserve(ledger))
    with sqlite3.connect(file) as db:
        db.execute("UPDATE payments SET lease_owner = ?", (f"{place}:999999",))
    db.close()
    assert ledger.claim(payment, lease_until=NOW + 100, now=NOW) is None


def test_a_settled_payment_stays_settled(ledger: SQLiteLedger) -> None:
    settled = settle(ledger, sign(ledger, reserve(ledger)))
    assert ledger.conclude(settled, Refused(reason="no"), now=NOW + 5) == settled
    assert ledger.conclude(settled, Settled(receipt=None, answer=b"other"), now=NOW + 5) == settled


def test_a_refused_payment_that_the_chain_knows_becomes_settled(ledger: SQLiteLedger) -> None:
    refused = ledger.conclude(sign(ledger, reserve(ledger)), Refused(reason="no"), now=NOW)
    assert ledger.unfinished_payments(refused.hold_until) == [refused]
    settled = ledger.conclude(refused, Settled(receipt=None, answer=b""), now=NOW, chain_checked=True)
    assert (settled.state, settled.reason) == ("settled", None)
    assert ledger.unfinished_payments(NOW + 10**6) == []


def test_whatever_counts_against_the_budget_without_being_settled_is_held(ledger: SQLiteLedger) -> None:
    reserved = reserve(ledger)
    signed = sign(ledger, reserve(ledger))
    refused = ledger.conclude(sign(ledger, reserve(ledger)), Refused(reason="no"), now=NOW)
    over = ledger.conclude(sign(ledger, reserve(ledger)), Refused(reason="no"), now=NOW)
    settle(ledger, sign(ledger, reserve(ledger)))
    assert ledger.held_payments(NOW) == [reserved, signed, refused, over]

    ledger.conclude(over, Refused(reason="no"), now=NOW, chain_checked=True)

    assert ledger.held_payments(reserved.hold_until) == [signed, refused]
    assert ledger.unfinished_payments(NOW) == [signed]  # it is too early to ask the chain about the other


def test_an_answer_of_the_chain_is_not_forgotten_by_a_later_refusal(ledger: SQLiteLedger) -> None:
    payment = sign(ledger, reserve(ledger))
    ledger.conclude(payment, Refused(reason="no"), now=NOW, chain_checked=True)
    assert ledger.conclude(payment, Refused(reason="no"), now=NOW).chain_checked


def test_a_payment_whose_answer_is_awaited_is_a_rival_for_its_bodys_jobs(ledger: SQLiteLedger) -> None:
    lost = settle(ledger, sign(ledger, reserve(ledger)), answer=b"")
    awaited = sign(ledger, reserve(ledger))
    assert ledger.count_rivals(lost, now=NOW) == 1
    assert ledger.count_rivals(lost, now=awaited.lease_until) == 0, "nobody waits for it any more"
    ended = settle(ledger, awaited)
    assert ledger.count_rivals(lost, now=awaited.lease_until) == 1, "its answer is there, and names one of them"
    ledger.add_job(ended, "its-own", studio=STUDIO, status="pending", now=NOW)
    assert ledger.count_rivals(lost, now=NOW) == 0
    assert ledger.count_rivals(awaited, now=NOW) == 0, "what was lost is looked for in the list like this one"


def test_payments_without_jobs_on_one_route_are_counted(ledger: SQLiteLedger) -> None:
    lost = settle(ledger, sign(ledger, reserve(ledger)), answer=b"")
    other = settle(ledger, sign(ledger, reserve(ledger)))
    refused = ledger.conclude(sign(ledger, reserve(ledger)), Refused(reason="no"), now=NOW)

    def count(made_at: float) -> int:
        return ledger.count_jobless(lost, made_at=made_at, skew_seconds=300)

    assert count(NOW) == 2
    assert count(NOW - 301) == count(other.hold_until + 301) == 0, "made while neither could be used"
    ledger.conclude(refused, Refused(reason="no"), now=NOW, chain_checked=True)
    assert count(NOW) == 1
    ledger.add_job(other, "j", studio=STUDIO, status="pending", now=NOW)
    assert count(NOW) == 0


def test_a_picture_that_was_paid_for_and_never_hosted_counts_for_as_long_as_it_is_asked(ledger: SQLiteLedger) -> None:
    for _ in range(2):
        settle(ledger, sign(ledger, reserve(ledger, fingerprint="picture")))
    assert ledger.count_unhosted(("picture",), since=NOW - 1, interrupted=False) == 2
    assert ledger.count_unhosted(("picture",), since=NOW - 1, interrupted=True) == 0
    assert ledger.count_unhosted(("picture",), since=NOW, interrupted=False) == 0
    assert ledger.count_unhosted(("another",), since=0, interrupted=False) == 0


def test_an_upload_whose_process_died_is_counted_apart(ledger: SQLiteLedger) -> None:
    abandoned = sign(ledger, reserve(ledger, fingerprint="picture"))
    late = abandoned.lease_until + 1
    claimed = ledger.claim(abandoned, lease_until=late + 60, now=late)
    assert claimed is not None
    settle(ledger, claimed, answer=b"")
    released = sign(ledger, reserve(ledger, fingerprint="picture"))
    ledger.release(released)
    claimed = ledger.claim(released, lease_until=late + 60, now=late)
    assert claimed is not None
    settle(ledger, claimed, answer=b"")

    assert ledger.count_unhosted(("picture",), since=0, interrupted=True) == 1
    assert ledger.count_unhosted(("picture",), since=0, interrupted=False) == 1


def test_one_process_at_a_time_has_the_lease(ledger: SQLiteLedger) -> None:
    payment = sign(ledger, reserve(ledger))
    assert ledger.claim(payment, lease_until=NOW + 100, now=NOW) is None
    late = payment.lease_until
    mine = ledger.claim(payment, lease_until=late + 100, now=late)
    assert mine is not None
    assert ledger.claim(payment, lease_until=late + 200, now=late + 1) is None
    ledger.release(payment)  # its lease had passed to `mine`: it cannot give that away
    assert ledger.claim(payment, lease_until=late + 200, now=late + 1) is None
    ledger.release(mine)
    assert ledger.claim(payment, lease_until=late + 200, now=late + 1) is not None


def test_finds_the_latest_payment_of_any_of_the_keys(ledger: SQLiteLedger) -> None:
    reserve(ledger, fingerprint="a")
    second = reserve(ledger, now=NOW + 100, fingerprint="a")
    reserve(ledger, fingerprint="b")
    assert ledger.find_latest_payment(("a",)) == second
    assert ledger.find_latest_payment(("older", "a")) == second
    assert ledger.find_latest_payment(("c",)) is None


def test_the_budget_is_kept_to_the_last_micro_usdc(ledger: SQLiteLedger) -> None:
    reserve(ledger, 60, cap=100)
    with pytest.raises(BudgetExceededError):
        reserve(ledger, 41, cap=100)
    reserve(ledger, 40, cap=100)
    with pytest.raises(BudgetExceededError):
        reserve(ledger, 1, cap=100)


# ── jobs and uploads ─────────────────────────────────────────────────────────────────────────────────────────────────


def add_job(ledger: SQLiteLedger, job_id: str = "j", fingerprint: str = "f", *, status: Status = "pending") -> None:
    payment = settle(ledger, sign(ledger, reserve(ledger, fingerprint=fingerprint)))
    ledger.add_job(payment, job_id, studio=STUDIO, status=status, now=NOW)


def test_adding_a_job_twice_is_adding_it_once(ledger: SQLiteLedger) -> None:
    payment = settle(ledger, sign(ledger, reserve(ledger)))
    assert ledger.settled_without_result(WALLET) == [payment]
    first = ledger.add_job(payment, "j", studio=STUDIO, status="pending", now=NOW)
    assert ledger.add_job(payment, "j", studio=STUDIO, status="pending", now=NOW + 9) == first
    assert ledger.settled_without_result(WALLET) == []


def test_one_job_of_the_studio_cannot_be_the_fruit_of_two_payments(ledger: SQLiteLedger) -> None:
    add_job(ledger, "j", "a")
    other = settle(ledger, sign(ledger, reserve(ledger)))
    assert ledger.add_job(other, "j", studio=STUDIO, status="pending", now=NOW) is None
    assert ledger.settled_without_result(WALLET) == [other], "it still has a job to find"


def test_an_ended_job_stays_ended_and_its_addresses_are_renewed(ledger: SQLiteLedger) -> None:
    add_job(ledger)
    ledger.update_job(see(status="complete", progress=100, video_url="https://one"), now=NOW + 5)
    job = ledger.update_job(see(status="failed", error="oops", video_url="https://two"), now=NOW + 9)
    assert job is not None
    assert (job.status, job.progress, job.error, job.video_url) == ("complete", 100, None, "https://two")
    assert job.ended_at == NOW + 5


def test_half_a_surrogate_pair_in_the_studios_words_is_stored_all_the_same(ledger: SQLiteLedger) -> None:
    add_job(ledger)
    job = ledger.update_job(see(status="failed", error="bad \ud800 face\0"), now=NOW)
    assert job is not None
    assert job.error == "bad ? face\0"


def test_a_job_that_is_not_ours_is_not_written(ledger: SQLiteLedger) -> None:
    assert ledger.update_job(see("stranger"), now=NOW) is None
    with pytest.raises(LedgerError, match="not in the ledger"):
        ledger.finish_job("stranger", file="/x.mp4", thumbnail=None)


def test_a_finished_job_is_not_asked_for_any_more(ledger: SQLiteLedger) -> None:
    add_job(ledger)
    assert [job.job_id for job in ledger.unfinished_jobs(STUDIO)] == ["j"]
    ledger.update_job(see(status="complete", progress=100), now=NOW + 50)
    job = ledger.finish_job("j", file="/v.mp4", thumbnail="/v.jpg")
    assert job.finished
    assert ledger.unfinished_jobs(STUDIO) == []
    assert ledger.recent_jobs(10) == [job]
    assert ledger.find_latest_job(("f",)) == job


def test_a_job_that_was_found_complete_says_nothing_of_the_typical_time(ledger: SQLiteLedger) -> None:
    add_job(ledger, "j0", "0", status="complete")
    arguments = dict(write_request().arguments)
    assert ledger.typical_seconds(arguments) is None
    add_job(ledger, "j1", "1")
    ledger.update_job(see("j1", status="complete"), now=NOW + 7)
    assert ledger.typical_seconds(arguments) == 7


def test_the_typical_time_is_the_median_of_like_jobs(ledger: SQLiteLedger) -> None:
    for number, seconds in enumerate((5, 50, 7)):
        add_job(ledger, f"j{number}", str(number))
        ledger.update_job(see(f"j{number}", status="complete"), now=NOW + seconds)
    arguments = dict(write_request().arguments)
    assert ledger.typical_seconds(arguments) == 7
    assert ledger.typical_seconds(arguments | {"duration": 5}) is None
    assert ledger.typical_seconds({}) is None


def test_an_upload_is_found_until_it_is_forgotten(ledger: SQLiteLedger) -> None:
    payment = settle(ledger, sign(ledger, reserve(ledger)))
    upload = Upload(
        sha256="s", studio=STUDIO, wallet=WALLET, image_url="https://b/x.png", upload_id="u", media_type="image/png",
        size_bytes=1, width=2, height=3, payment_id=payment.id, created_at=NOW,
    )  # fmt: skip
    ledger.record_upload(upload)
    assert ledger.find_upload("s", studio=STUDIO, wallet=WALLET) == upload
    assert ledger.find_upload("s", studio=STUDIO, wallet="other") is None
    assert ledger.latest_upload(studio=STUDIO, wallet=WALLET) == upload
    ledger.forget_upload(upload.image_url)
    assert ledger.find_upload("s", studio=STUDIO, wallet=WALLET) is None
    assert ledger.find_upload_by_url(upload.image_url, studio=STUDIO) is None
    assert ledger.find_upload_of(payment) == upload


def test_an_upload_without_its_payment_is_refused(ledger: SQLiteLedger) -> None:
    upload = Upload(
        sha256="s", studio=STUDIO, wallet=WALLET, image_url="https://b/x.png", upload_id="u", media_type="image/png",
        size_bytes=1, width=2, height=3, payment_id=404, created_at=NOW,
    )  # fmt: skip
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        ledger.record_upload(upload)


def test_a_freeze_between_reservation_and_signature_keeps_the_signature_unrecorded(file: Path) -> None:
    ledger, owner = SQLiteLedger(file), SQLiteLedger(file)
    payment = reserve(ledger, 320_000, now=NOW)
    owner.freeze("stop", now=NOW)
    with pytest.raises(SpendingFrozenError):
        sign(ledger, payment, now=NOW)
    owner.unfreeze()
    assert sign(ledger, payment, now=NOW).state == "signed"
    ledger.close()
    owner.close()


def test_an_earlier_ledgers_recipients_are_remembered(tmp_path: Path) -> None:
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
    ledger = SQLiteLedger(file)
    assert ledger.find_recipients("http://127.0.0.1:8402", "eip155:8453") == {"0x" + "a" * 40}
    assert not ledger.find_recipients("http://127.0.0.1:8402", "eip155:1")
    assert not ledger.find_recipients("http://127.0.0.1", "eip155:8453")
    ledger.close()


def test_what_a_studio_declares_is_not_waited_for(file: Path) -> None:
    ledger, other = SQLiteLedger(file), SQLiteLedger(file)
    with other.writing():
        began = time.monotonic()
        with pytest.raises(LedgerError, match="is locked"):
            ledger.record_contract(STUDIO, "seedance", {"dialect": "current"}, now=NOW)
        assert time.monotonic() - began < connection.BUSY_SECONDS
    ledger.record_contract(STUDIO, "seedance", {"dialect": "classic"}, now=NOW)
    ledger.record_contract(STUDIO, "seedance", {"dialect": "current"}, now=NOW)
    assert other.find_contract(STUDIO, "seedance") == {"dialect": "current"}
    assert other.find_contract("https://other.test", "seedance") is None
    ledger.close()
    other.close()


TICKET_TOKEN = "vercel_blob_client_store_" + "Secret" * 8


def buy_ticket(ledger: SQLiteLedger) -> int:
    """A settled upload whose ticket says nothing of its end."""
    with ledger.writing() as books:
        payment = books.reserve(
            write_request(purpose="upload"), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW
        )
    answer = f'{{"uploadId":"u","clientToken":"{TICKET_TOKEN}","pathname":"p","curlExample":"curl {TICKET_TOKEN}"}}'
    return settle(ledger, sign(ledger, payment), answer=answer.encode()).id


def read_files(file: Path) -> bytes:
    return b"".join(one.read_bytes() for one in file.parent.glob(f"{file.name}*"))


def test_the_token_of_an_unused_ticket_is_kept_until_it_expires(ledger: SQLiteLedger, file: Path) -> None:
    payment_id = buy_ticket(ledger)
    ledger.scrub_tickets(NOW + 800)
    kept = ledger.find_payment(payment_id)
    assert kept is not None
    assert TICKET_TOKEN.encode() in (kept.answer or b"")
    ledger.scrub_tickets(NOW + 1000)
    scrubbed = ledger.find_payment(payment_id)
    assert scrubbed is not None
    assert b"vercel_blob_client_store_[redacted]" in (scrubbed.answer or b"")
    assert TICKET_TOKEN.encode() not in read_files(file)


def test_the_token_of_a_used_ticket_leaves_the_disk_at_once(ledger: SQLiteLedger, file: Path) -> None:
    payment_id = buy_ticket(ledger)
    assert TICKET_TOKEN.encode() in read_files(file)
    ledger.record_upload(
        Upload(
            sha256="a" * 64, studio=STUDIO, wallet=WALLET, image_url="https://x.test/a.png", upload_id="u",
            media_type="image/png", size_bytes=1, width=1, height=1, payment_id=payment_id, created_at=NOW,
        )
    )  # fmt: skip
    assert TICKET_TOKEN.encode() not in read_files(file)
