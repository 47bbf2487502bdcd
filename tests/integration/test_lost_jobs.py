"""Paid generations whose job no answer named: found in the studio's list, or named as one of several."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tests.integration.host import Bench

MakeBench = Callable[..., Awaitable[Bench]]
UPLOAD, CLIP = 10_000, 320_000
HOUR = 3600


def date_back(folder: Path, seconds: int) -> None:
    """Let every payment of a ledger have been made that much earlier."""
    [file] = folder.rglob("ledger.sqlite3")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(
            "UPDATE payments SET signed_at = signed_at - ?, created_at = created_at - ?, hold_until = hold_until - ?",
            (seconds, seconds, seconds),
        )


async def test_an_old_payment_without_a_job_does_not_hide_a_later_one(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("no_job", "hidden_input")
        first = await host.call("animate_image", image=str(picture), prompt="never made")
    date_back(bench.folder / "data", HOUR)
    async with bench.host() as host:
        await bench.break_with("drop_after_settle:1", "hidden_input")
        second = await host.animate_to_the_end(image=str(picture), prompt="made")

    assert first.failed
    assert "$0.32 was paid" in first.text
    assert second["status"] == "complete"
    assert second["price_micro_usdc"] == CLIP
    assert await bench.paid() == [UPLOAD, CLIP, CLIP]


async def test_a_job_made_long_after_a_lost_payment_is_not_its_job(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("no_job", "hidden_input")
        await host.call("animate_image", image=str(picture), prompt="never made")
    date_back(bench.folder / "data", HOUR)
    async with bench.host(SEEDANCE_DATA_DIR=str(bench.folder / "elsewhere")) as host:
        await bench.break_with("hidden_input")
        other = await host.animate_to_the_end(image=str(picture), prompt="of another machine", take=2)
    async with bench.host() as host:
        again = await host.call("animate_image", image=str(picture), prompt="never made")

    assert other["status"] == "complete"
    assert again.failed
    assert "its list has none yet" in again.text


async def test_several_jobs_that_could_be_the_one_are_named(bench: Bench, picture: Path) -> None:
    async with bench.host(SEEDANCE_DATA_DIR=str(bench.folder / "elsewhere")) as host:
        others = [await host.call("animate_image", image=str(picture), prompt=prompt) for prompt in ("one", "two")]
    async with bench.host() as host:
        await host.animate_to_the_end(image=str(picture), prompt="before")
        await bench.break_with("no_job:1", "hidden_input")
        answer = await host.call("animate_image", image=str(picture), prompt="never made")
        listed = await host.call("list_jobs")

    assert answer.failed
    assert "2 jobs of its list could be the one" in answer.text
    assert "Call list_jobs" in answer.text
    assert all(other["job_id"] in answer.text for other in others)
    assert {other["job_id"] for other in others} < {job["job_id"] for job in listed["jobs"]}
