"""Objects and slots in the database: one use, one owner, and deletion that takes nothing that just came."""

import contextlib
import hashlib
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.objects import StoredObject, name_picture_key
from seedance_mcp.core.records import Upload
from tests.adapters.ledger.rows import NOW, STUDIO, WALLET, reserve, settle, sign
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

DAY = 24 * 3600
SHA256 = hashlib.sha256(b"picture").hexdigest()
PICTURE = StoredObject(key=name_picture_key(SHA256), sha256=SHA256, size_bytes=7, media_type="image/png")
VIDEO = StoredObject(key="videos/j.mp4", sha256=SHA256, size_bytes=7, media_type="video/mp4")


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@contextlib.asynccontextmanager
async def open_one(url: str) -> AsyncGenerator["PostgresLedger"]:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    opened = await PostgresLedger.open(url)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def ledger(url: str) -> AsyncGenerator["PostgresLedger"]:
    async with open_one(url) as opened:
        yield opened


def age(url: str, table: str, column: str, seconds: float) -> None:
    """Make every row of a table older than it is."""
    PostgresStore(url).execute(f"UPDATE {table} SET {column} = {column} - {seconds}")  # noqa: S608 - our own words


# ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_slot_is_found_by_its_token_and_its_own_caller(ledger: "PostgresLedger") -> None:
    ann, bob = ledger.for_caller("ann"), ledger.for_caller("bob")
    slot = await ann.open_slot("t" * 64, "a" * 32, seconds=900)

    assert (slot.caller, slot.state, slot.object_key) == ("ann", "waiting", None)
    assert await ledger.find_slot("t" * 64) == slot
    assert await ann.find_own_slot("a" * 32) == slot
    assert await bob.find_own_slot("a" * 32) is None
    await bob.end_slot("a" * 32)
    assert await ledger.find_slot("t" * 64) == slot
    await ann.end_slot("a" * 32)
    assert await ledger.find_slot("t" * 64) is None


async def test_one_of_many_replicas_fills_a_slot(url: str) -> None:
    filled: list[bool] = []
    async with contextlib.AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(open_one(url)) for _ in range(4)]
        await replicas[0].open_slot("t" * 64, "a" * 32, seconds=900)

        async def fill(replica: "PostgresLedger") -> None:
            filled.append(await replica.fill_slot("t" * 64, PICTURE.key))

        async with anyio.create_task_group() as tasks:
            for replica in replicas:
                tasks.start_soon(fill, replica)
        slot = await replicas[1].find_slot("t" * 64)

    assert sorted(filled) == [False, False, False, True]
    assert slot is not None
    assert (slot.state, slot.object_key) == ("filled", PICTURE.key)


async def test_slot_expires_by_the_databases_clock(ledger: "PostgresLedger", url: str) -> None:
    await ledger.open_slot("t" * 64, "a" * 32, seconds=900)
    age(url, "slots", "until", 901)
    slot = await ledger.find_slot("t" * 64)

    assert slot is not None
    assert slot.state == "expired"
    assert not await ledger.fill_slot("t" * 64, PICTURE.key)


async def test_oldest_waiting_slot_of_a_caller_ends_when_there_are_too_many(ledger: "PostgresLedger") -> None:
    from seedance_mcp.adapters.ledger.slots import WAITING_MAX

    ann, bob = ledger.for_caller("ann"), ledger.for_caller("bob")
    await bob.open_slot("bob", "b" * 32, seconds=900)
    await ann.open_slot("used", "u" * 32, seconds=900)
    await ann.fill_slot("used", PICTURE.key)
    for number in range(WAITING_MAX + 1):
        await ann.open_slot(f"{number}", f"{number:032}", seconds=900)

    assert await ann.find_slot("0") is None
    assert await ann.find_slot("1") is not None
    assert await ann.find_slot("used") is not None
    assert await bob.find_slot("bob") is not None


async def buy_with(ledger: "PostgresLedger", sha256: str) -> None:
    """Write that the studio hosts a picture."""
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    await ledger.record_upload(
        Upload(
            sha256=sha256, studio=STUDIO, wallet=WALLET, image_url="https://b/x.png", upload_id="u",
            media_type="image/png", size_bytes=1, width=2, height=3, payment_id=payment.id, created_at=NOW,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("used", "state"), [(False, "expired"), (True, "filled")])
async def test_picture_expires_after_a_day_unless_something_was_bought_with_it(
    ledger: "PostgresLedger", url: str, used: bool, state: str
) -> None:
    if used:
        await buy_with(ledger, SHA256)
    await ledger.open_slot("t", "a" * 32, seconds=900)
    await ledger.fill_slot("t", PICTURE.key)
    await ledger.record_object(PICTURE)
    for table, column in (("slots", "until"), ("slots", "used_at"), ("objects", "created_at")):
        age(url, table, column, 1.01 * DAY)
    slot = await ledger.find_slot("t")
    old = await ledger.list_old_objects(older_than_seconds=None, unused_seconds=DAY)

    assert slot is not None
    assert slot.state == state
    assert old == ([] if used else [PICTURE.key])
    assert await ledger.drop_old_slots(unused_seconds=DAY) == (0 if used else 1)


async def test_picture_that_a_new_slot_has_is_kept(ledger: "PostgresLedger", url: str) -> None:
    await ledger.record_object(PICTURE)
    age(url, "objects", "created_at", 2 * DAY)
    await ledger.open_slot("t", "a" * 32, seconds=900)
    await ledger.fill_slot("t", PICTURE.key)

    assert await ledger.list_old_objects(older_than_seconds=None, unused_seconds=DAY) == []


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_object_is_dropped_with_its_file_and_the_job_says_so(ledger: "PostgresLedger", url: str) -> None:
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    await ledger.add_job(payment, "j", studio=STUDIO, status="complete", now=NOW)
    await ledger.record_object(VIDEO)
    job = await ledger.finish_job("j", video_key=VIDEO.key, thumbnail_key="thumbnails/j.jpg")
    age(url, "objects", "created_at", 11 * DAY)
    deleted: list[str] = []

    async def delete(key: str) -> None:
        deleted.append(key)

    assert job.finished
    assert await ledger.unfinished_jobs(STUDIO) == []
    assert not await ledger.has_unfinished_work()
    assert await ledger.list_old_objects(older_than_seconds=10 * DAY, unused_seconds=DAY) == [VIDEO.key]
    assert await ledger.list_old_objects(older_than_seconds=12 * DAY, unused_seconds=DAY) == []
    await ledger.mark_object_pruned(VIDEO.key, pruned_at=NOW)
    assert await ledger.drop_object(VIDEO.key, older_than_seconds=10 * DAY, delete=delete)
    assert not await ledger.drop_object(VIDEO.key, older_than_seconds=10 * DAY, delete=delete)
    assert deleted == [VIDEO.key]
    assert await ledger.find_object(VIDEO.key) is None
    found = await ledger.find_job("j")
    assert found is not None
    assert found.pruned_at is not None


async def test_object_that_is_stored_again_is_not_dropped(url: str) -> None:
    """A picture comes again while it is being deleted: its row waits, and its file comes after the deletion."""
    came, events = anyio.Event(), list[str]()
    async with open_one(url) as one, open_one(url) as other:
        await one.record_object(PICTURE)
        age(url, "objects", "created_at", 2 * DAY)

        async def delete(_: str) -> None:
            came.set()
            with anyio.move_on_after(0.2):  # the other one is waiting for the row by now
                await stored.wait()
            events.append("deleted")

        async def store_again() -> None:
            await came.wait()
            await other.record_object(PICTURE)
            events.append("stored")
            stored.set()

        stored = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store_again)
            assert await one.drop_object(PICTURE.key, older_than_seconds=DAY, delete=delete)
        found = await one.find_object(PICTURE.key)
        again = await one.drop_object(PICTURE.key, older_than_seconds=DAY, delete=delete)

    assert events == ["deleted", "stored"]
    assert found == PICTURE
    assert not again


async def test_object_whose_file_cannot_be_deleted_stays_known(ledger: "PostgresLedger", url: str) -> None:
    await ledger.record_object(PICTURE)
    age(url, "objects", "created_at", 2 * DAY)

    async def delete(_: str) -> None:
        raise StorageError("The store is away.")

    with pytest.raises(StorageError):
        await ledger.drop_object(PICTURE.key, older_than_seconds=DAY, delete=delete)
    assert await ledger.find_object(PICTURE.key) == PICTURE
