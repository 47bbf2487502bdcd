"""A ledger that cannot be written after a payment settled: the answer says what was paid; the same call delivers."""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio

from tests.integration.host import Bench, Host

UPLOAD, CLIP = 10_000, 320_000
WAIT_SECONDS = 30


def find_ledger(bench: Bench) -> Path:
    [file] = (bench.folder / "data").rglob("ledger.sqlite3")
    return file


async def is_complete(bench: Bench) -> bool:
    """Return True once the ledger has a job that is complete and not saved."""
    with closing(sqlite3.connect(find_ledger(bench))) as db:
        return bool(db.execute("SELECT count(*) FROM jobs WHERE status = 'complete' AND file IS NULL").fetchone()[0])


def has_paid(number: int) -> Callable[[Bench], Awaitable[bool]]:
    async def look(bench: Bench) -> bool:
        return len(await bench.paid()) >= number

    return look


@asynccontextmanager
async def locked_once(bench: Bench, comes: Callable[[Bench], Awaitable[bool]]) -> AsyncGenerator[None]:
    """Lock the ledger from the moment that comes until the block ends."""
    done = anyio.Event()

    async def lock() -> None:
        with anyio.fail_after(WAIT_SECONDS):
            while not await comes(bench):
                await anyio.sleep(0.05)
        db = sqlite3.connect(find_ledger(bench), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        await done.wait()
        db.execute("ROLLBACK")
        db.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lock)
        yield
        done.set()


async def fail_to_upload(host: Host, picture: Path) -> str:
    answer = await host.call("upload_image", image=str(picture))
    assert answer.failed
    return answer.text


async def test_a_ledger_locked_after_a_video_settled_says_what_was_paid(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("slow_answer=1:1")
        async with locked_once(bench, has_paid(2)):
            locked = await host.call("animate_image", image=str(picture), prompt="x")
            again = await host.call("animate_image", image=str(picture), prompt="x")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    for answer in (locked, again):
        assert answer.failed
        assert answer.text.startswith("ledger:")
        assert "$0.32 was paid (payment 2)." in answer.text
        assert "Nothing" not in answer.text
        told = (answer.result.meta or {})["seedance-mcp/error"]
        assert told == {
            "code": "ledger",
            "payment_state": "settled",
            "charge": "settled",
            "amount_micro_usdc": CLIP,
            "payment_id": 2,
        }
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_ledger_locked_after_an_upload_settled_loses_no_upload(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await bench.break_with("slow_answer=1:1")
        async with locked_once(bench, has_paid(1)):
            text = await fail_to_upload(host, picture)
        hosted = await host.call("upload_image", image=str(picture))

    assert "$0.01 was paid (payment 1)." in text
    assert not hosted.failed
    assert hosted["notes"] == []
    assert await bench.paid() == [UPLOAD]


async def test_a_video_that_cannot_be_written_down_is_told_as_paid(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("truncated_video:2")
        async with locked_once(bench, is_complete):
            answer = await host.call("animate_image", image=str(picture), prompt="x")
        [job] = (await bench.state())["jobs"]
        video = await host.call("get_job", job_id=job["id"])

    assert answer.failed
    assert answer.text.startswith("ledger:")
    assert "$0.32 was paid (payment 2)." in answer.text
    assert video["file"]
    assert await bench.paid() == [UPLOAD, CLIP]
