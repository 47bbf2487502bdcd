"""What the ledger promises, on each database: durable, atomic, and counted to the last micro-USDC."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from seedance_mcp.core.errors import BudgetExceededError, LedgerError, PolicyError, SpendingFrozenError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Upload
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.responses import Receipt, Refused, Settled
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, reserve, settle, sign, write_offer, write_request
from tests.forks import build_command
from tests.ledgers import Store, work_at


def see(job_id: str = "j", **changes: object) -> JobStatus:
    fields: dict[str, object] = {
        "job_id": job_id, "type": None, "status": "loading", "progress": 10, "error": None, "video_url": None,
        "thumbnail_url": None, "input": None, "created_at": None,
    }  # fmt: skip
    return JobStatus(**(fields | changes))  # type: ignore[arg-type]  # fields as the test arguments


async def test_what_was_written_is_there_after_reopening(ledger: Ledger, store: Store) -> None:
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    again = await store.open()
    assert await again.find_payment(payment.id) == payment
    await again.close()


async def test_what_happened_to_an_unknown_payment_is_not_written(ledger: Ledger) -> None:
    signed = await sign(ledger, await reserve(ledger))
    unknown = replace(signed, id=signed.id + 1)
    receipt = Receipt(rail="mpp", network="n", transaction="0x" + "3" * 64)
    for write in (
        lambda: settle(ledger, unknown),
        lambda: ledger.record_moved(unknown, receipt, fee_micro_usdc=1),
        lambda: ledger.record_fee(unknown, 1),
    ):
        with pytest.raises(LedgerError, match=f"Payment {unknown.id} is not in the ledger"):
            await write()
    assert await ledger.find_payment(signed.id) == signed


def run_until_killed(store: Store, folder: Path, steps: str) -> None:
    """Run steps on a ledger in a process that then ends without closing anything."""
    program = folder / "program.py"
    program.write_text(f"""
import asyncio, os
from tests.adapters.ledger.rows import reserve, sign
from tests.ledgers import open_at

async def main():
    ledger = await open_at({store.address!r})
    {steps}
    os._exit(9)

asyncio.run(main())
""")
    assert subprocess.run(build_command(str(program)), check=False, timeout=20).returncode == 9


def test_a_process_that_is_killed_leaves_what_it_wrote(store: Store, tmp_path: Path) -> None:
    run_until_killed(store, tmp_path, "await sign(ledger, await reserve(ledger))")
    found = work_at(store.address, lambda ledger: ledger.find_payment(1))
    assert found is not None
    assert found.state == "signed"


@pytest.mark.skipif(os.name != "posix", reason="a dead process is found by POSIX signals")
def test_takes_the_lease_of_a_dead_process_at_once(store: Store, tmp_path: Path) -> None:
    run_until_killed(store, tmp_path, "await sign(ledger, await reserve(ledger))")

    async def claim_twice(ledger: Ledger) -> None:
        found = await ledger.find_payment(1)
        assert found is not None
        assert found.counts_against_budget(NOW), "it may still settle"
        assert await ledger.claim(found, lease_until=NOW + 75, now=NOW) is not None
        assert await ledger.claim(found, lease_until=NOW + 75, now=NOW) is None, "now it is ours"

    work_at(store.address, claim_twice)


@pytest.mark.skipif(os.name != "posix", reason="a dead process is found by POSIX signals")
def test_the_reservation_of_a_dead_process_holds_nothing(store: Store, tmp_path: Path) -> None:
    run_until_killed(store, tmp_path, "await reserve(ledger)")
    found = work_at(store.address, lambda ledger: ledger.find_payment(1))
    assert found is not None
    assert not found.counts_against_budget(NOW), "no process is left to sign for it"


async def test_a_row_that_a_person_damaged_is_a_clear_error(ledger: Ledger, store: Store) -> None:
    payment = await reserve(ledger)
    store.execute("UPDATE payments SET arguments = '{'")
    with pytest.raises(LedgerError, match="damaged"):
        await ledger.find_payment(payment.id)


async def test_a_refusal_inside_a_transaction_undoes_it(ledger: Ledger) -> None:
    with pytest.raises(PolicyError, match="not today"):  # noqa: PT012 - the block is the test
        async with ledger.lock_budget() as transaction:
            await transaction.reserve(write_request(), write_offer(), wallet=WALLET, hold_until=int(NOW) + 60, now=NOW)
            raise PolicyError("not today")
    assert await ledger.spend(NOW) == Spend()
    assert await ledger.recent_payments(10) == []
    assert (await reserve(ledger)).state == "reserved"


async def test_a_number_that_the_database_cannot_hold_is_our_error(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        await reserve(ledger, 2**70, cap=2**80)
    assert await ledger.spend(NOW) == Spend()


async def test_a_payment_is_read_as_it_was_written(ledger: Ledger) -> None:
    reserved = await reserve(ledger, 123, idempotency_key="f")
    assert reserved.request == write_request()
    signed = await sign(ledger, reserved)
    assert (signed.state, signed.document) == ("signed", {"payload": {"authorization": {"nonce": "0x00"}}})
    settled = await settle(ledger, signed)
    assert (settled.state, settled.answer, settled.lease_until) == ("settled", b'{"jobId":"j"}', 0)
    assert settled.receipt == Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)


async def test_a_reservation_that_lapsed_meanwhile_is_not_signed_for(ledger: Ledger) -> None:
    payment = await reserve(ledger)
    with pytest.raises(LedgerError, match="not reserved any more"):
        await sign(ledger, payment, now=NOW + 60)


async def test_a_clock_that_is_set_back_does_not_bring_a_lapsed_reservation_to_life(ledger: Ledger) -> None:
    sleeper = await reserve(ledger, 100, cap=100, idempotency_key="sleeper")
    await reserve(ledger, 100, cap=100, now=NOW + 61, idempotency_key="other")
    with pytest.raises(LedgerError, match="not reserved any more"):
        await sign(ledger, sleeper, now=NOW)
    assert (await ledger.spend(NOW)).total_micro_usdc == 100


async def test_a_payment_is_signed_once(ledger: Ledger) -> None:
    payment = await reserve(ledger)
    await sign(ledger, payment)
    with pytest.raises(LedgerError, match="not reserved any more"):
        await sign(ledger, payment)


async def test_a_signed_payment_counts_whatever_the_clock_says(ledger: Ledger) -> None:
    await sign(ledger, await reserve(ledger, 7))
    years = 10 * 365 * 86_400
    assert await ledger.spend(NOW + years) == Spend(total_micro_usdc=7)


async def test_a_reservation_counts_until_it_lapses(ledger: Ledger) -> None:
    await reserve(ledger, 7)

    assert await ledger.spend(NOW + 30) == Spend().plus(7)
    assert await ledger.spend(NOW + 61) == Spend()


async def test_a_signed_payment_counts_in_the_day_and_in_the_total(ledger: Ledger) -> None:
    await sign(ledger, await reserve(ledger, 7))

    assert await ledger.spend(NOW + 3600) == Spend().plus(7)


@pytest.mark.parametrize(("field", "days"), [("day", 1), ("week", 7), ("month", 30)])
async def test_a_payment_leaves_a_window_at_its_very_second(ledger: Ledger, field: str, days: int) -> None:
    for number, seconds in enumerate((0, 0.5, 1800, 3599, 3600, 7200)):
        amount = 10**number
        await sign(ledger, await reserve(ledger, amount, now=NOW + seconds), now=NOW + seconds)
    window = days * 86_400

    async def sum_window(after: float) -> int:
        spend = await ledger.spend(NOW + window + after)
        return int(getattr(spend, f"last_{field}_micro_usdc"))

    assert await sum_window(-0.25) == 111_111
    assert await sum_window(0) == 111_110, "a payment that is as old as the window is no longer in it"
    assert await sum_window(0.75) == 111_100
    assert await sum_window(3599) == 110_000
    assert await sum_window(3600) == 100_000
    assert await sum_window(7200) == 0


async def test_a_refused_payment_counts_until_the_chain_was_asked(ledger: Ledger) -> None:
    payment = await sign(ledger, await reserve(ledger, 7))
    await ledger.conclude(payment, Refused(reason="no"), now=NOW)
    expired = payment.hold_until
    for later in (0, 600, 10**6):
        assert (await ledger.spend(expired + later)).total_micro_usdc == 7, "a studio that says no may have settled"
    assert (await ledger.spend(expired)).last_day_micro_usdc == 7
    await ledger.conclude(payment, Refused(reason="no"), now=expired, chain_checked=True)
    assert await ledger.spend(expired) == Spend()


async def test_a_late_answer_completes_what_the_chain_had_said(ledger: Ledger) -> None:
    receipt = Receipt(rail="x402", network="eip155:8453", transaction="0x" + "3" * 64)
    known = await ledger.conclude(await sign(ledger, await reserve(ledger)), Settled(receipt=None, answer=b""), now=NOW)
    late = await ledger.conclude(known, Settled(receipt=receipt, answer=b"{}"), now=NOW)
    assert (late.state, late.answer, late.receipt) == ("settled", b"{}", receipt)
    assert await ledger.conclude(late, Settled(receipt=None, answer=b"other"), now=NOW) == late


async def test_an_unsigned_purchase_is_not_completed_by_an_answer(ledger: Ledger) -> None:
    payment = await reserve(ledger)
    assert (await ledger.conclude(payment, Settled(receipt=None, answer=b"{}"), now=NOW)).state == "reserved"


async def test_a_reservation_gives_way_to_a_later_one_for_the_same_request(ledger: Ledger) -> None:
    first = await reserve(ledger, idempotency_key="same")
    second = await reserve(ledger, idempotency_key="same")
    await sign(ledger, second)
    with pytest.raises(LedgerError, match="not reserved any more"):
        await sign(ledger, first)


@pytest.mark.parametrize("place", ["elsewhere", "", "elsewhere/01234567/pid:[1]"])
async def test_a_lease_from_another_machine_or_container_is_never_taken_for_a_dead_ones(
    ledger: Ledger, store: Store, place: str
) -> None:
    payment = await sign(ledger, await reserve(ledger))
    store.execute(f"UPDATE payments SET lease_owner = '{place}:999999'")  # noqa: S608 - our own words
    assert await ledger.claim(payment, lease_until=NOW + 100, now=NOW) is None


async def test_a_settled_payment_stays_settled(ledger: Ledger) -> None:
    settled = await settle(ledger, await sign(ledger, await reserve(ledger)))
    assert await ledger.conclude(settled, Refused(reason="no"), now=NOW + 5) == settled
    assert await ledger.conclude(settled, Settled(receipt=None, answer=b"other"), now=NOW + 5) == settled


async def test_a_refused_payment_that_the_chain_knows_becomes_settled(ledger: Ledger) -> None:
    refused = await ledger.conclude(await sign(ledger, await reserve(ledger)), Refused(reason="no"), now=NOW)
    assert await ledger.unfinished_payments(refused.hold_until) == [refused]
    settled = await ledger.conclude(refused, Settled(receipt=None, answer=b""), now=NOW, chain_checked=True)
    assert (settled.state, settled.reason) == ("settled", None)
    assert await ledger.unfinished_payments(NOW + 10**6) == []


async def test_whatever_counts_against_the_budget_without_being_settled_is_held(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    signed = await sign(ledger, await reserve(ledger))
    refused = await ledger.conclude(await sign(ledger, await reserve(ledger)), Refused(reason="no"), now=NOW)
    over = await ledger.conclude(await sign(ledger, await reserve(ledger)), Refused(reason="no"), now=NOW)
    await settle(ledger, await sign(ledger, await reserve(ledger)))
    assert await ledger.held_payments(NOW) == [reserved, signed, refused, over]

    await ledger.conclude(over, Refused(reason="no"), now=NOW, chain_checked=True)

    assert await ledger.held_payments(reserved.hold_until) == [signed, refused]
    assert await ledger.unfinished_payments(NOW) == [signed]  # it is too early to ask the chain about the other


async def test_an_answer_of_the_chain_is_not_forgotten_by_a_later_refusal(ledger: Ledger) -> None:
    payment = await sign(ledger, await reserve(ledger))
    await ledger.conclude(payment, Refused(reason="no"), now=NOW, chain_checked=True)
    assert (await ledger.conclude(payment, Refused(reason="no"), now=NOW)).chain_checked


async def test_a_payment_whose_answer_is_awaited_is_a_rival_for_its_bodys_jobs(ledger: Ledger) -> None:
    lost = await settle(ledger, await sign(ledger, await reserve(ledger)), answer=b"")
    awaited = await sign(ledger, await reserve(ledger))
    assert await ledger.count_inflight_duplicates(lost, now=NOW) == 1
    assert await ledger.count_inflight_duplicates(lost, now=awaited.lease_until) == 0, "no one waits for it any more"
    ended = await settle(ledger, awaited)
    assert await ledger.count_inflight_duplicates(lost, now=awaited.lease_until) == 1, (
        "its answer is there, and names one of them"
    )
    await ledger.add_job(ended, "its-own", studio=STUDIO, status="pending", now=NOW)
    assert await ledger.count_inflight_duplicates(lost, now=NOW) == 0
    assert await ledger.count_inflight_duplicates(awaited, now=NOW) == 0, (
        "what was lost is looked for in the list like this one"
    )


async def test_payments_without_jobs_on_one_route_are_counted(ledger: Ledger) -> None:
    lost = await settle(ledger, await sign(ledger, await reserve(ledger)), answer=b"")
    other = await settle(ledger, await sign(ledger, await reserve(ledger)))
    refused = await ledger.conclude(await sign(ledger, await reserve(ledger)), Refused(reason="no"), now=NOW)

    async def count(made_at: float) -> int:
        return await ledger.count_payments_without_job(lost, made_at=made_at, skew_seconds=300)

    assert await count(NOW) == 2
    assert await count(NOW - 301) == await count(other.hold_until + 301) == 0, "made while neither could be used"
    await ledger.conclude(refused, Refused(reason="no"), now=NOW, chain_checked=True)
    assert await count(NOW) == 1
    await ledger.add_job(other, "j", studio=STUDIO, status="pending", now=NOW)
    assert await count(NOW) == 0


async def test_a_picture_that_was_paid_for_and_never_hosted_counts_for_as_long_as_it_is_asked(
    ledger: Ledger,
) -> None:
    for _ in range(2):
        await settle(ledger, await sign(ledger, await reserve(ledger, idempotency_key="picture")))
    assert await ledger.count_failed_uploads(("picture",), since=NOW - 1, interrupted=False) == 2
    assert await ledger.count_failed_uploads(("picture",), since=NOW - 1, interrupted=True) == 0
    assert await ledger.count_failed_uploads(("picture",), since=NOW, interrupted=False) == 0
    assert await ledger.count_failed_uploads(("another",), since=0, interrupted=False) == 0


async def test_an_upload_whose_process_died_is_counted_apart(ledger: Ledger) -> None:
    abandoned = await sign(ledger, await reserve(ledger, idempotency_key="picture"))
    late = abandoned.lease_until + 1
    claimed = await ledger.claim(abandoned, lease_until=late + 60, now=late)
    assert claimed is not None
    await settle(ledger, claimed, answer=b"")
    released = await sign(ledger, await reserve(ledger, idempotency_key="picture"))
    await ledger.release(released)
    claimed = await ledger.claim(released, lease_until=late + 60, now=late)
    assert claimed is not None
    await settle(ledger, claimed, answer=b"")

    assert await ledger.count_failed_uploads(("picture",), since=0, interrupted=True) == 1
    assert await ledger.count_failed_uploads(("picture",), since=0, interrupted=False) == 1


async def test_one_process_at_a_time_has_the_lease(ledger: Ledger) -> None:
    payment = await sign(ledger, await reserve(ledger))
    assert await ledger.claim(payment, lease_until=NOW + 100, now=NOW) is None
    late = payment.lease_until
    mine = await ledger.claim(payment, lease_until=late + 100, now=late)
    assert mine is not None
    assert await ledger.claim(payment, lease_until=late + 200, now=late + 1) is None
    await ledger.release(payment)  # its lease had passed to `mine`: it cannot give that away
    assert await ledger.claim(payment, lease_until=late + 200, now=late + 1) is None
    await ledger.release(mine)
    assert await ledger.claim(payment, lease_until=late + 200, now=late + 1) is not None


async def test_finds_the_latest_payment_of_any_of_the_keys(ledger: Ledger) -> None:
    await reserve(ledger, idempotency_key="a")
    second = await reserve(ledger, now=NOW + 100, idempotency_key="a")
    await reserve(ledger, idempotency_key="b")
    assert await ledger.find_latest_payment(("a",)) == second
    assert await ledger.find_latest_payment(("older", "a")) == second
    assert await ledger.find_latest_payment(("c",)) is None


async def test_the_budget_is_kept_to_the_last_micro_usdc(ledger: Ledger) -> None:
    await reserve(ledger, 60, cap=100)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 41, cap=100)
    await reserve(ledger, 40, cap=100)
    with pytest.raises(BudgetExceededError):
        await reserve(ledger, 1, cap=100)


async def add_job(ledger: Ledger, job_id: str = "j", idempotency_key: str = "f", *, status: Status = "pending") -> None:
    payment = await settle(ledger, await sign(ledger, await reserve(ledger, idempotency_key=idempotency_key)))
    await ledger.add_job(payment, job_id, studio=STUDIO, status=status, now=NOW)


async def test_adding_a_job_twice_is_adding_it_once(ledger: Ledger) -> None:
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    assert await ledger.settled_without_result(WALLET) == [payment]
    first = await ledger.add_job(payment, "j", studio=STUDIO, status="pending", now=NOW)
    assert await ledger.add_job(payment, "j", studio=STUDIO, status="pending", now=NOW + 9) == first
    assert await ledger.settled_without_result(WALLET) == []


async def test_one_job_of_the_studio_cannot_be_the_fruit_of_two_payments(ledger: Ledger) -> None:
    await add_job(ledger, "j", "a")
    other = await settle(ledger, await sign(ledger, await reserve(ledger)))
    assert await ledger.add_job(other, "j", studio=STUDIO, status="pending", now=NOW) is None
    assert await ledger.settled_without_result(WALLET) == [other], "it still has a job to find"


async def test_an_ended_job_stays_ended_and_its_addresses_are_renewed(ledger: Ledger) -> None:
    await add_job(ledger)
    await ledger.update_job(see(status="complete", progress=100, video_url="https://one"), now=NOW + 5)
    job = await ledger.update_job(see(status="failed", error="oops", video_url="https://two"), now=NOW + 9)
    assert job is not None
    assert (job.status, job.progress, job.error, job.video_url) == ("complete", 100, None, "https://two")
    assert job.ended_at == NOW + 5


async def test_half_a_surrogate_pair_in_the_studios_words_is_stored_all_the_same(ledger: Ledger) -> None:
    await add_job(ledger)
    job = await ledger.update_job(see(status="failed", error="bad \ud800 face\0"), now=NOW)
    assert job is not None
    assert job.error == "bad ? face?"


async def test_a_job_that_is_not_ours_is_not_written(ledger: Ledger) -> None:
    assert await ledger.update_job(see("unknown"), now=NOW) is None
    with pytest.raises(LedgerError, match="not in the ledger"):
        await ledger.finish_job("unknown", file="/x.mp4", thumbnail=None)


async def test_a_finished_job_is_not_asked_for_any_more(ledger: Ledger) -> None:
    await add_job(ledger)
    assert [job.job_id for job in await ledger.unfinished_jobs(STUDIO)] == ["j"]
    await ledger.update_job(see(status="complete", progress=100), now=NOW + 50)
    job = await ledger.finish_job("j", file="/v.mp4", thumbnail="/v.jpg")
    assert job.finished
    assert await ledger.unfinished_jobs(STUDIO) == []
    assert await ledger.recent_jobs(10) == [job]
    assert await ledger.find_latest_job(("f",)) == job


async def test_a_job_that_was_found_complete_says_nothing_of_the_typical_time(ledger: Ledger) -> None:
    await add_job(ledger, "j0", "0", status="complete")
    arguments = dict(write_request().arguments)
    assert await ledger.typical_seconds(arguments) is None
    await add_job(ledger, "j1", "1")
    await ledger.update_job(see("j1", status="complete"), now=NOW + 7)
    assert await ledger.typical_seconds(arguments) == 7


async def test_the_typical_time_is_the_median_of_like_jobs(ledger: Ledger) -> None:
    for number, seconds in enumerate((5, 50, 7)):
        await add_job(ledger, f"j{number}", str(number))
        await ledger.update_job(see(f"j{number}", status="complete"), now=NOW + seconds)
    arguments = dict(write_request().arguments)
    assert await ledger.typical_seconds(arguments) == 7
    assert await ledger.typical_seconds(arguments | {"duration": 5}) is None
    assert await ledger.typical_seconds({}) is None


async def test_an_upload_is_found_until_it_is_forgotten(ledger: Ledger) -> None:
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    upload = Upload(
        sha256="s", studio=STUDIO, wallet=WALLET, image_url="https://b/x.png", upload_id="u", media_type="image/png",
        size_bytes=1, width=2, height=3, payment_id=payment.id, created_at=NOW,
    )  # fmt: skip
    await ledger.record_upload(upload)
    assert await ledger.find_upload("s", studio=STUDIO, wallet=WALLET) == upload
    assert await ledger.find_upload("s", studio=STUDIO, wallet="other") is None
    assert await ledger.latest_upload(studio=STUDIO, wallet=WALLET) == upload
    await ledger.forget_upload(upload.image_url)
    assert await ledger.find_upload("s", studio=STUDIO, wallet=WALLET) is None
    assert await ledger.find_upload_by_url(upload.image_url, studio=STUDIO) is None
    assert await ledger.find_upload_of(payment) == upload


async def test_an_upload_without_its_payment_is_refused(ledger: Ledger) -> None:
    upload = Upload(
        sha256="s", studio=STUDIO, wallet=WALLET, image_url="https://b/x.png", upload_id="u", media_type="image/png",
        size_bytes=1, width=2, height=3, payment_id=404, created_at=NOW,
    )  # fmt: skip
    with pytest.raises(LedgerError, match=r"(?i)foreign key"):
        await ledger.record_upload(upload)


async def test_a_freeze_between_reservation_and_signature_keeps_the_signature_unrecorded(store: Store) -> None:
    ledger, owner = await store.open(), await store.open()
    payment = await reserve(ledger, 320_000, now=NOW)
    await owner.freeze("stop", now=NOW)
    with pytest.raises(SpendingFrozenError):
        await sign(ledger, payment, now=NOW)
    await owner.unfreeze()
    assert (await sign(ledger, payment, now=NOW)).state == "signed"
    await ledger.close()
    await owner.close()
