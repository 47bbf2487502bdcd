"""Object stores: whole objects under keys of our own, in a folder and in a bucket."""

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.adapters.storage.folder import FileStore, hash_file, open_folder
from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.core.errors import StorageError
from seedance_mcp.core.objects import StoredObject, is_key, name_picture_key, name_thumbnail_key, name_video_key
from tests.shelves import Shelf

VIDEO = b"video" * 500_000
KEY = "videos/job-1.mp4"


def describe(data: bytes, key: str = KEY) -> StoredObject:
    return StoredObject(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), media_type="video/mp4")


@pytest.fixture
async def store(shelf: Shelf) -> ObjectStore:
    return await shelf.open()


@pytest.fixture
async def folder(tmp_path: Path) -> FileStore:
    return await open_folder(tmp_path / "shared" / "objects")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    file = tmp_path / "local.mp4"
    file.write_bytes(VIDEO)
    return file


async def read_all(store: ObjectStore, key: str, **span: int) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, **span)])


async def test_file_is_stored_whole(store: ObjectStore, shelf: Shelf, video: Path) -> None:
    await store.put_file(describe(VIDEO), video)

    assert await shelf.list_keys() == [KEY]
    assert await read_all(store, KEY) == VIDEO
    assert await store.find_size(KEY) == len(VIDEO)
    assert video.exists(), "its caller deletes it"
    assert hash_file(video) == (describe(VIDEO).sha256, len(VIDEO))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
async def test_folder_is_for_its_owner_alone(folder: FileStore, video: Path) -> None:
    await folder.put_file(describe(VIDEO), video)

    assert stat.S_IMODE((folder.folder / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE((folder.folder / "videos").stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.folder.stat().st_mode) == 0o700


async def test_repeated_put_leaves_one_object_with_the_same_bytes(
    store: ObjectStore, shelf: Shelf, video: Path
) -> None:
    for one in (store, await shelf.open()):
        await one.put_file(describe(VIDEO), video)

    assert await shelf.list_keys() == [KEY]
    assert await read_all(store, KEY) == VIDEO


async def test_other_bytes_under_a_key_are_replaced(store: ObjectStore) -> None:
    await store.put_bytes(describe(b"another"), b"another")
    await store.put_bytes(describe(VIDEO), VIDEO)

    assert await read_all(store, KEY) == VIDEO


async def test_range_is_read_alone(store: ObjectStore) -> None:
    await store.put_bytes(describe(VIDEO), VIDEO)

    assert await read_all(store, KEY, start=3, end=9) == VIDEO[3:9]
    assert await read_all(store, KEY, start=len(VIDEO) - 2) == VIDEO[-2:]
    assert await read_all(store, KEY, start=5, end=5) == b""
    assert await read_all(store, KEY, end=2 * len(VIDEO)) == VIDEO


async def test_file_that_is_not_what_was_announced_is_not_stored(store: ObjectStore, shelf: Shelf, video: Path) -> None:
    for wrong in (describe(b"other"), describe(VIDEO[:-1]), describe(VIDEO + b"x")):
        with pytest.raises(StorageError, match=r"was changed on disk\. Nothing was paid"):
            await store.put_file(wrong, video)
    assert await shelf.list_keys() == []


async def test_deleted_object_is_missing_and_may_be_deleted_again(store: ObjectStore) -> None:
    await store.put_bytes(describe(VIDEO), VIDEO)
    for _ in range(2):
        await store.delete(KEY)

    assert await store.find_size(KEY) is None
    with pytest.raises(StorageError, match=r"videos/job-1\.mp4 is not in the (folder|bucket) "):
        await read_all(store, KEY)


async def test_partial_files_of_killed_writers_are_deleted(folder: FileStore) -> None:
    old, young, whole = (folder.folder / name for name in ("videos/.a.part", "videos/.b.part", "videos/c.mp4"))
    old.parent.mkdir(parents=True)
    for file in (old, young, whole):
        file.write_bytes(b"x")
    for file in (old, whole):
        os.utime(file, (0, 0))

    await folder.clear_left(before=1)

    assert [file.exists() for file in (old, young, whole)] == [False, True, True]


async def test_check_leaves_no_object_of_a_caller(store: ObjectStore, shelf: Shelf) -> None:
    for _ in range(2):
        await store.check()

    assert await shelf.list_keys() == []


HOSTILE = [
    "../ledger", "videos/../../x", "/etc/passwd", "videos/a/b.mp4", "videos/.hidden", "videos/", "x", "", "videos/a\0b",
    "videos/a.mp4/", "videos\\a.mp4", "videos/" + "a" * 300, "videos/a..mp4", "videos/ü.mp4",
]  # fmt: skip


async def test_key_that_is_not_ours_reaches_nothing(store: ObjectStore, video: Path) -> None:
    for key in HOSTILE:
        for reach in (
            store.find_size(key), store.delete(key), store.put_bytes(describe(b"x", key), b"x"),
            store.put_file(describe(VIDEO, key), video), read_all(store, key),
        ):  # fmt: skip
            with pytest.raises(StorageError, match="is not one of ours"):
                await reach


async def test_key_that_is_not_ours_names_no_file(folder: FileStore) -> None:
    for key in HOSTILE:
        with pytest.raises(StorageError, match="is not one of ours"):
            folder.find_file(key)


@given(st.text(max_size=300))
def test_key_of_any_job_is_plain(job_id: str) -> None:
    for key in (name_video_key(job_id, "mp4"), name_thumbnail_key(job_id)):
        assert is_key(key)


def test_keys_of_different_jobs_differ() -> None:
    odd = "a/b"
    hashed = name_video_key(odd, "mp4")

    assert name_video_key("cmx1tqgd5veyothjkrdf3j149", "mp4") == "videos/cmx1tqgd5veyothjkrdf3j149.mp4"
    assert name_video_key(hashed.removeprefix("videos/").removesuffix(".mp4"), "mp4") != hashed
    assert name_thumbnail_key("j") == "thumbnails/j.jpg"
    assert name_picture_key("0" * 64) == "pictures/" + "0" * 64


async def test_folder_that_cannot_be_written_is_named_with_the_way_out(folder: FileStore, tmp_path: Path) -> None:
    (folder.folder / "videos").write_bytes(b"a file where the folder should be")
    with pytest.raises(StorageError) as refused:
        await folder.put_bytes(describe(VIDEO), VIDEO)
    with pytest.raises(StorageError, match="cannot be used: "):
        await open_folder(folder.folder / "videos")
    await folder.check()
    with pytest.raises(StorageError, match="No such file"):
        await FileStore(tmp_path / "gone").check()

    assert f"The object store, the folder {folder.folder}, cannot be used: " in str(refused.value)
    assert "Nothing was paid." in str(refused.value)
    assert "make room there" in str(refused.value)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE stands in for a full disk")
async def test_full_disk_leaves_no_partial_file(folder: FileStore, video: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            await folder.put_file(describe(VIDEO), video)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [file for file in folder.folder.rglob("*") if file.is_file()] == []
    await folder.put_file(describe(VIDEO), video)
    assert (folder.folder / KEY).is_file()
