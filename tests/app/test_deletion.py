"""Deleting a caller: nothing that it gave or got is left, what it paid stays, and a killed deletion is finished."""

import hashlib
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import psycopg
import pytest

from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.app.deletion import Deleted, delete_caller
from seedance_mcp.core.callers import NO_CAPS, SCOPES_DEFAULT
from seedance_mcp.core.errors import ConfigError, StorageError
from seedance_mcp.core.films import Film
from seedance_mcp.core.objects import StoredObject, name_picture_key, name_thumbnail_key, name_video_key
from seedance_mcp.core.records import Payment
from tests.adapters.ledger.rows import STUDIO, reserve, settle, sign
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres
from tests.shelves import Shelf

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

ANN, BOB = "annabel-the-first", "bob"
PROMPT = "a heron over the harbour of annabel"
SECONDS = 30
KEPT = "id, purpose, fingerprint, wallet, rail, network, pay_to, amount_micro_usdc, state, created_at, signed_at, \
concluded_at, document, receipt_network, receipt_transaction, fee_micro_usdc, caller"
"""Columns of a payment that an audit needs."""


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@dataclass(frozen=True, slots=True)
class Team:
    """Two callers of one deployment."""

    ledger: "PostgresLedger"
    store: ObjectStore
    database: PostgresStore
    ids: dict[str, str]

    async def buy(self, caller: str, job_id: str) -> None:
        """Write a finished video of a caller, with its objects."""
        payment = await self.pay(caller, job_id)
        ledger = self.ledger.for_caller(self.ids[caller])
        await ledger.add_job(payment, job_id, studio=STUDIO, status="complete", now=time.time())
        keys = (name_video_key(job_id, "mp4"), name_thumbnail_key(job_id))
        for key in keys:
            await self.put(key, f"bytes of {caller} {key}".encode())
        await ledger.finish_job(job_id, video_key=keys[0], thumbnail_key=keys[1], note=f"a note for {caller}")

    async def make_film(self, caller: str, film_id: str) -> None:
        """Write a film of a caller that runs, with an object of it."""
        ledger, now = self.ledger.for_caller(self.ids[caller]), time.time()
        words = {"shots": [{"prompt": f"{PROMPT} film"}]}
        film = Film(film_id=film_id, studio=STUDIO, wallet="0x1", definition=words, shots=(), created_at=now)
        async with ledger.lock_budget() as budget:
            film = await budget.open_film(film, amount_micro_usdc=5, now=now, lease_until=now + 600)
        key = name_video_key(film_id, "mp4")
        await self.put(key, f"bytes of {caller} {key}".encode())
        await ledger.record_film(replace(film, video_key=key), now=now)

    async def pay(self, caller: str, name: str) -> Payment:
        """Write a settled payment of a caller, with its words in all columns that may have some."""
        ledger = self.ledger.for_caller(self.ids[caller])
        now = time.time()
        payment = await settle(ledger, await sign(ledger, await reserve(ledger, now=now, cap=10**9), now=now))
        words = f"{PROMPT} {name}" if caller == ANN else f"of {caller}"
        self.database.execute(
            f"""UPDATE payments SET arguments = '{{"prompt": "{words}"}}', body = convert_to('{words}', 'UTF8'),
                    answer = convert_to('{words}', 'UTF8'), reason = '{words}' WHERE id = {payment.id}"""  # noqa: S608 - ours
        )
        return payment

    async def give(self, caller: str, picture: bytes) -> str:
        """Give a picture over a link; returns its key."""
        ledger = self.ledger.for_caller(self.ids[caller])
        key = name_picture_key(hashlib.sha256(picture).hexdigest())
        token = hashlib.sha256(picture + caller.encode()).hexdigest()
        await ledger.open_slot(token, token[:32], seconds=900)
        await self.put(key, picture)
        assert await ledger.fill_slot(token, key)
        return key

    async def upload(self, caller: str, picture: bytes, name: str) -> None:
        """Write the paid upload of a picture."""
        payment = await self.pay(caller, name)
        self.database.execute(f"UPDATE payments SET purpose = 'upload' WHERE id = {payment.id}")  # noqa: S608 - ours
        sha256 = hashlib.sha256(picture).hexdigest()
        self.database.execute(
            f"""INSERT INTO uploads VALUES ('https://blob.test/{name}.png', '{sha256}', '{STUDIO}', '0x', '{name}',
                    'image/png', 1, 1, 1, {payment.id}, 1, 0, '')"""  # noqa: S608 - ours
        )

    async def put(self, key: str, data: bytes) -> None:
        stored = StoredObject(
            key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), media_type="video/mp4"
        )
        await self.ledger.record_object(stored)
        await self.store.put_bytes(stored, data, file_name="a heron.mp4")

    async def end(self, name: str) -> None:
        """Revoke a caller, long enough ago for every server to know it."""
        await self.ledger.end_caller(name)
        self.database.execute("UPDATE callers SET revoked_at = revoked_at - 60 WHERE revoked_at IS NOT NULL")

    async def delete(self, shelf: Shelf, name: str = ANN, *, unfinished_seconds: float = SECONDS) -> Deleted:
        """Delete a caller as the command does."""
        return await delete_caller(self.ledger, shelf.open, name, now=time.time, unfinished_seconds=unfinished_seconds)


@pytest.fixture
async def team(url: str, shelf: Shelf) -> AsyncGenerator[Team]:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    try:
        for name in (ANN, BOB):
            await ledger.add_caller(name, SCOPES_DEFAULT, NO_CAPS)
        ids = {entry.caller.name: entry.caller.id for entry in await ledger.list_callers()}
        yield Team(ledger, await shelf.open(), PostgresStore(url), ids)
    finally:
        await ledger.close()


async def fill(team: Team) -> None:
    """Let both callers give, upload and buy; they share one picture and one upload."""
    await team.buy(ANN, "job-ann-1")
    await team.buy(ANN, "job-ann-2")
    await team.buy(BOB, "job-bob")
    await team.make_film(ANN, "film_ann")
    for caller, picture in ((ANN, b"only hers"), (ANN, b"theirs"), (BOB, b"theirs"), (BOB, b"only his")):
        await team.give(caller, picture)
    await team.upload(ANN, b"only hers", "hers")
    await team.upload(ANN, b"used by bob, too", "lent")
    await team.put(name_picture_key(hashlib.sha256(b"used by bob, too").hexdigest()), b"used by bob, too")
    payment = await team.pay(BOB, "with the lent one")
    team.database.execute(
        f"UPDATE payments SET body = convert_to('x https://blob.test/lent.png x', 'UTF8') WHERE id = {payment.id}"  # noqa: S608 - ours
    )


def read_all(url: str) -> str:
    """Return every row of every table as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall() for (table,) in tables]  # noqa: S608 - ours
    return repr(rows)


async def test_nothing_of_a_deleted_caller_is_left_but_what_it_paid(team: Team, shelf: Shelf, url: str) -> None:
    await fill(team)
    token = await team.ledger.rotate_token(ANN, overlap_seconds=60)
    paid = f"SELECT {KEPT} FROM payments ORDER BY id"  # noqa: S608 - ours
    sums = "SELECT scope, spent_micro_usdc FROM budgets ORDER BY scope"
    await team.end(ANN)
    before = (team.database.fetch(paid), team.database.fetch(sums), await team.ledger.spend(time.time()))
    assert await team.ledger.list_reservations(time.time()) == [], "a film ends with its caller"
    deleted = await team.delete(shelf)
    kept = await shelf.list_keys()
    left = read_all(url)

    assert (deleted.name, deleted.caller_id, deleted.objects) == (ANN, team.ids[ANN], 6)
    assert (team.database.fetch(paid), team.database.fetch(sums), await team.ledger.spend(time.time())) == before
    pictures = (b"theirs", b"only his", b"used by bob, too")
    expected = [name_picture_key(hashlib.sha256(one).hexdigest()) for one in pictures]
    assert kept == sorted([*expected, "thumbnails/job-bob.jpg", "videos/job-bob.mp4"])
    for word in ("annabel", "heron", "only hers", "blob.test/hers", token.id, token.sha256):
        assert word not in left
        assert not any([word.encode() in await shelf.read(key) for key in kept])
    assert "of bob" in left
    assert "blob.test/lent" in left
    job = await team.ledger.find_job("job-ann-1")
    assert job is not None
    assert (job.pruned_at is not None, job.finished) == (True, True), "it is not fetched again"
    [gone] = [entry for entry in await team.ledger.list_callers() if entry.caller.id == team.ids[ANN]]
    assert gone.caller.name == f"deleted-{team.ids[ANN]}"
    assert gone.revoked_at is not None


async def test_killed_deletion_is_finished_by_the_same_command(team: Team, shelf: Shelf, url: str) -> None:
    await fill(team)
    await team.end(ANN)
    all_keys = len(await shelf.list_keys())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(team.delete, shelf)
        with anyio.fail_after(SECONDS):
            while team.database.fetch("SELECT count(*) FROM objects") == [(all_keys,)]:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    first = await team.ledger.list_own_objects(team.ids[ANN])
    await team.delete(shelf, ANN if first else team.ids[ANN])

    assert len(await shelf.list_keys()) == all_keys - 6
    assert "annabel" not in read_all(url)


async def test_deletion_waits_for_the_store_and_has_ended_the_caller(team: Team, shelf: Shelf, url: str) -> None:
    await fill(team)
    await team.end(ANN)
    shelf.take_away()
    with pytest.raises(StorageError):
        await team.delete(shelf)
    assert "annabel" in read_all(url)
    shelf.bring_back()
    await team.delete(shelf)
    assert "annabel" not in read_all(url)


async def test_unfinished_purchase_is_finished_before_its_request_goes(team: Team, shelf: Shelf) -> None:
    ledger = team.ledger.for_caller(team.ids[ANN])
    payment = await sign(ledger, await reserve(ledger, now=time.time()), now=time.time())
    await team.end(ANN)
    for left in ("signed", "settled without a job", "unsaved"):
        with pytest.raises(ConfigError, match="has ended, but 1 of its payments and videos are still pending"):
            await team.delete(shelf, unfinished_seconds=0)
        [(prompt,)] = team.database.fetch("SELECT arguments FROM payments")
        assert "prompt" in prompt, left
        if left == "signed":
            payment = await settle(ledger, payment)
        elif left == "settled without a job":
            await ledger.add_job(payment, "job-ann", studio=STUDIO, status="complete", now=time.time())
    await ledger.finish_job("job-ann", video_key="videos/job-ann.mp4")
    await team.delete(shelf)


async def test_name_that_several_had_is_not_guessed(team: Team, shelf: Shelf) -> None:
    await team.end(ANN)
    await team.ledger.add_caller(ANN.upper(), SCOPES_DEFAULT, NO_CAPS)
    with pytest.raises(ConfigError, match=f"2 callers had the name {ANN}") as refused:
        await team.delete(shelf)
    assert team.ids[ANN] in str(refused.value)
    await team.delete(shelf, team.ids[ANN])
    [found] = [entry for entry in await team.ledger.list_callers() if entry.caller.name == ANN.upper()]
    assert found.revoked_at is None
    with pytest.raises(ConfigError, match="There is no caller"):
        await team.delete(shelf, team.ids[ANN][:4])
