"""What a hosted server deletes: old objects, unused pictures, ended slots and left files; never what is in use."""

import hashlib
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_mcp.app.film_rendering import show_film
from seedance_mcp.app.rendering import PRUNED, show_job
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.films import Film
from seedance_mcp.core.objects import PICTURES, StoredObject, name_thumbnail_key, name_video_key
from seedance_mcp.generation.film_files import SharedFilmFiles
from seedance_mcp.jobs.archive import SharedArchive
from seedance_mcp.jobs.shared_retention import prune_shared
from tests.adapters.ledger.rows import NOW, STUDIO, reserve, settle, sign
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres
from tests.shelves import Shelf

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

DAY = 24 * 3600


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a hosted server, as far as its files go."""

    archive: SharedArchive
    ledger: "PostgresLedger"


@asynccontextmanager
async def open_replica(url: str, folder: Path, shelf: Shelf) -> AsyncGenerator[Replica]:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    ledger = await PostgresLedger.open(url)
    try:
        yield Replica(SharedArchive(folder / "downloads", await shelf.open(), ledger), ledger)
    finally:
        await ledger.close()


@pytest.fixture
async def replica(url: str, tmp_path: Path, shelf: Shelf) -> AsyncGenerator[Replica]:
    async with open_replica(url, tmp_path, shelf) as replica:
        yield replica


async def store(replica: Replica, key: str, url: str, *, days: float) -> None:
    """Store an object of this age."""
    stored = StoredObject(key=key, sha256=hashlib.sha256(b"x").hexdigest(), size_bytes=1, media_type="video/mp4")
    await replica.ledger.record_object(stored)
    await replica.archive.store.put_bytes(stored, b"x")
    PostgresStore(url).execute(
        f"UPDATE objects SET created_at = created_at - {days * DAY} WHERE key = '{key}'"  # noqa: S608 - our own words
    )


async def add_job(replica: Replica, job_id: str, url: str, *, days: float) -> None:
    """Write a job whose video and thumbnail were stored so long ago."""
    ledger = replica.ledger
    payment = await settle(ledger, await sign(ledger, await reserve(ledger)))
    await ledger.add_job(payment, job_id, studio=STUDIO, status="complete", now=NOW)
    keys = (name_video_key(job_id, "mp4"), name_thumbnail_key(job_id))
    for key in keys:
        await store(replica, key, url, days=days)
    await ledger.finish_job(job_id, video_key=keys[0], thumbnail_key=keys[1])


async def test_old_videos_go_and_their_jobs_say_so(replica: Replica, url: str, shelf: Shelf, tmp_path: Path) -> None:
    await add_job(replica, "old", url, days=8)
    await add_job(replica, "new", url, days=6)
    await prune_shared(replica.archive, keep_days=7, now=time.time)
    old, new = [await replica.ledger.find_job(job_id) for job_id in ("old", "new")]
    profile = read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path)}).profile

    assert await shelf.list_keys() == ["thumbnails/new.jpg", "videos/new.mp4"]
    assert await replica.ledger.find_object("videos/old.mp4") is None
    assert old is not None
    assert new is not None
    assert (old.pruned_at is not None, new.pruned_at) == (True, None)
    assert not await replica.archive.is_missing(old), "it is not fetched again"
    assert PRUNED in str(show_job(old, profile)["next_step"])


async def test_old_film_goes_and_says_so(replica: Replica, url: str, shelf: Shelf) -> None:
    film = Film(film_id="film_1", studio=STUDIO, wallet="0x1", definition={}, shots=(), created_at=NOW)
    async with replica.ledger.lock_budget() as budget:
        film = await budget.open_film(film, amount_micro_usdc=0, now=NOW, lease_until=NOW + 60)
    film = replace(film, state="complete", video_key=name_video_key("film_1", "mp4"))
    await replica.ledger.record_film(film, now=NOW)
    await store(replica, str(film.video_key), url, days=8)
    files = SharedFilmFiles(replica.archive)
    assert not await files.is_missing(film)
    await prune_shared(replica.archive, keep_days=7, now=time.time)
    pruned = await replica.ledger.find_film("film_1")

    assert await shelf.list_keys() == []
    assert await files.is_missing(film)
    assert pruned is not None
    assert not await files.is_missing(pruned), "it is not joined again"
    assert PRUNED in str(show_film(pruned)["next_step"])


async def test_without_an_age_only_unused_pictures_go(replica: Replica, url: str, shelf: Shelf) -> None:
    await add_job(replica, "old", url, days=800)
    await store(replica, PICTURES + "a" * 64, url, days=1.1)
    await store(replica, PICTURES + "b" * 64, url, days=0.9)
    await replica.ledger.open_slot("t", "a" * 32, seconds=900)
    PostgresStore(url).execute("UPDATE slots SET until = until - 172800")
    await prune_shared(replica.archive, keep_days=None, now=time.time)

    assert await shelf.list_keys() == ["pictures/" + "b" * 64, "thumbnails/old.jpg", "videos/old.mp4"]
    assert await replica.ledger.find_slot("t") is None


async def test_replicas_that_prune_at_once_do_no_harm(url: str, shelf: Shelf, tmp_path: Path) -> None:
    async with open_replica(url, tmp_path, shelf) as one, open_replica(url, tmp_path, shelf) as other:
        for number in range(8):
            await add_job(one, f"job-{number}", url, days=8)
        async with anyio.create_task_group() as tasks:
            for replica in (one, other, one):
                tasks.start_soon(lambda archive=replica.archive: prune_shared(archive, keep_days=7, now=time.time))

    assert await shelf.list_keys() == []
    PostgresStore(url).execute("DO $$ BEGIN ASSERT (SELECT count(*) FROM objects) = 0; END $$")


async def test_object_that_cannot_be_deleted_stays_known(replica: Replica, url: str, shelf: Shelf) -> None:
    await add_job(replica, "old", url, days=8)
    shelf.take_away()
    with pytest.raises(StorageError, match=r"cannot be used|does not answer"):
        await prune_shared(replica.archive, keep_days=7, now=time.time)
    assert await replica.ledger.find_object("videos/old.mp4") is not None
    shelf.bring_back()
    await prune_shared(replica.archive, keep_days=7, now=time.time)
    assert await replica.ledger.find_object("videos/old.mp4") is None


async def test_temporary_files_of_a_killed_process_go_after_a_day(replica: Replica) -> None:
    replica.archive.folder.mkdir(parents=True)
    old, new = replica.archive.folder / ".old.part", replica.archive.folder / "new.mp4"
    left = replica.archive.folder / "film-left"
    left.mkdir()
    for file in (old, new, left / "0.mp4"):
        file.write_bytes(b"x")
    changed_at = time.time() - 1.1 * DAY
    for one in (old, left):
        os.utime(one, (changed_at, changed_at))
    await prune_shared(replica.archive, keep_days=None, now=time.time)

    assert [file.name for file in replica.archive.folder.iterdir()] == ["new.mp4"]
