"""A payment that the studio calls settled is asked about at the chain, once its credential has expired."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.host import ON_BOTH_RAILS, Bench

UPLOAD, CLIP = 10_000, 320_000
EXPIRED_SECONDS = 300


def let_expire(bench: Bench) -> None:
    """Let minutes go by for the ledger and the chains: every credential has expired."""
    for file in (bench.folder / "data").rglob("ledger.sqlite3"):
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("UPDATE payments SET hold_until = hold_until - ?", (EXPIRED_SECONDS,))
    bench.sandbox.chain.let_pass(EXPIRED_SECONDS)
    bench.sandbox.tempo.let_pass(EXPIRED_SECONDS)


@ON_BOTH_RAILS
async def test_a_receipt_of_a_payment_that_never_moved_is_found_out(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("false_receipt")
        first = await host.animate_to_the_end(image=str(picture), prompt="x")
        before = await host.call("wallet_status")
    let_expire(bench)
    async with bench.host() as host:
        job = await host.call("get_job", job_id=first["job_id"])
        again = await host.call("animate_image", image=str(picture), prompt="x")
        after = await host.call("wallet_status")

    assert first["price_usd"] == "0.32"
    assert first["receipt"]["verified"] is None
    assert float(before["spent_total_usd"]) >= 0.33
    assert job["price_usd"] is None
    assert job["price_micro_usdc"] is None
    assert job["receipt"]["verified"] is False
    assert any("never charged" in note for note in job["notes"])
    assert again["job_id"] == first["job_id"], "its video is there, so it is not bought again"
    assert float(after["spent_total_usd"]) < 0.03
    assert await bench.paid() == [UPLOAD]


async def test_another_sandbox_is_not_asked_about_a_payment(
    make_bench: Callable[..., Awaitable[Bench]], picture: Path
) -> None:
    """A sandbox's chain ends with it; what was bought there keeps its price."""
    first, second = await make_bench(), await make_bench()
    async with first.host() as host:
        bought = await host.animate_to_the_end(image=str(picture), prompt="x")
    let_expire(first)
    second.sandbox.chain.let_pass(EXPIRED_SECONDS)
    async with first.host(SEEDANCE_STUDIO_URL=second.sandbox.url) as host:
        await host.animate_to_the_end(image=str(picture), prompt="y")
        job = await host.call("get_job", job_id=bought["job_id"])
    assert job["price_usd"] == "0.32"
    assert job["receipt"]["verified"] is None


@pytest.mark.parametrize(
    ("faults", "verified", "is_true"),
    [((), True, True), (("wrong_hash",), True, True), (("wrong_hash", "no_logs"), False, False)],
    ids=["honest", "wrong-hash", "wrong-hash-and-no-logs"],
)
async def test_a_receipt_is_verified_by_the_chain(
    bench: Bench, picture: Path, faults: tuple[str, ...], verified: bool, is_true: bool
) -> None:
    await bench.break_with(*faults)
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=str(picture), prompt="x")
    let_expire(bench)
    async with bench.host() as host:
        job = await host.call("get_job", job_id=first["job_id"])

    truth = (await bench.state())["settlements"][-1]["transaction"]
    assert (job["receipt"]["transaction"] == truth) is is_true
    assert job["receipt"]["verified"] is verified
    assert job["price_usd"] == "0.32"
    assert any("does not know the transaction" in note for note in job["notes"]) is not is_true


async def test_a_lost_receipt_names_the_transaction_or_the_nonce(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        for number, logs in enumerate((True, False), 1):
            await bench.break_with("drop_after_settle:1", *([] if logs else ["no_logs"]))
            video = await host.animate_to_the_end(image=str(picture), prompt=f"{number}")

            truth = (await bench.state())["settlements"][-1]
            assert video["receipt"]["transaction"] == (truth["transaction"] if logs else None)
            assert any(truth["nonce"] in note for note in video["notes"]) is not logs
            assert await bench.paid() == [UPLOAD, *[CLIP] * number]
