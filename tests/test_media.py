"""Media: what is a video is saved whole or not at all."""

import resource
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from seedance_mcp import media
from seedance_mcp.errors import VideoUnsavedError
from seedance_mcp.media import name_video, save_video


def list_names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def box(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


HEAD, INDEX, MEDIA = box(b"ftyp", b"isom0000"), box(b"moov", bytes(40)), box(b"mdat", bytes(400))
CLIP = HEAD + INDEX + MEDIA


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


GOOD_CLIPS = {
    "plain": CLIP,
    "index last": HEAD + MEDIA + INDEX,
    "a long box": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 16 + 5) + bytes(5),
    "a box to the end": HEAD + INDEX + struct.pack(">I4s", 0, b"mdat") + bytes(77),
    "a free box": HEAD + box(b"free") + INDEX + MEDIA,
}
BAD_CLIPS = {
    "nothing": b"",
    "a page": b"<html>expired</html>",
    "one byte short": CLIP[:-1],
    "one byte more": CLIP + b"\0",
    "half a header": CLIP + b"\0\0\0",
    "no index": HEAD + MEDIA,
    "no media": HEAD + INDEX,
    "no head": INDEX + MEDIA,
    "head not first": INDEX + HEAD + MEDIA,
    "a box of four bytes": HEAD + INDEX + struct.pack(">I4s", 4, b"mdat"),
    "a long box that is short": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 8) + bytes(8),
    "a long box without its length": HEAD + INDEX + struct.pack(">I4s", 1, b"mdat"),
    "a box of an exabyte": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 2**60) + bytes(100),
    "more boxes than anybody has": HEAD + box(b"free") * media.MP4_BOXES_MAX + INDEX + MEDIA,
}


@pytest.mark.parametrize("name", GOOD_CLIPS)
async def test_a_whole_clip_is_saved_byte_for_byte(name: str, tmp_path: Path) -> None:
    data = GOOD_CLIPS[name]
    file = await save_video(stream(data[:7], b"", data[7:]), tmp_path / "a" / "b", "0001-cat-abc")
    assert file == tmp_path / "a" / "b" / "0001-cat-abc.mp4"
    assert file.read_bytes() == data
    assert list_names(file.parent) == [file.name]


@pytest.mark.parametrize("name", BAD_CLIPS)
async def test_what_is_not_a_whole_clip_is_not_saved(name: str, tmp_path: Path) -> None:
    with pytest.raises(VideoUnsavedError, match="not a whole MP4"):
        await save_video(stream(BAD_CLIPS[name]), tmp_path, "clip")
    assert list_names(tmp_path) == []


async def test_a_bad_clip_does_not_touch_a_good_one_of_the_same_name(tmp_path: Path) -> None:
    file = await save_video(stream(CLIP), tmp_path, "clip")
    with pytest.raises(VideoUnsavedError):
        await save_video(stream(CLIP[:-1]), tmp_path, "clip")
    assert file.read_bytes() == CLIP


async def test_a_clip_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "VIDEO_BYTES_MAX", 3 * 1024 * 1024)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1024 * 1024)

    with anyio.fail_after(5), pytest.raises(VideoUnsavedError, match="larger than 3 MiB"):
        await save_video(endless(), tmp_path, "clip")
    assert list_names(tmp_path) == []


async def test_a_caller_who_leaves_leaves_no_file_behind(tmp_path: Path) -> None:
    started = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield HEAD
        started.set()
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(save_video, slow(), tmp_path, "clip")
            await started.wait()
            tasks.cancel_scope.cancel()
    assert list_names(tmp_path) == []


async def test_a_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "videos").write_text("")
    with pytest.raises(VideoUnsavedError, match=r"cannot be saved in .*videos: (File exists|Not a directory)"):
        await save_video(stream(CLIP), tmp_path / "videos", "clip")


async def test_a_folder_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(VideoUnsavedError, match=r"cannot be saved in .*directory"):
        await save_video(stream(CLIP), tmp_path, "clip")
    assert list_names(tmp_path) == ["clip.mp4"]


async def test_a_folder_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(VideoUnsavedError, match="cannot be saved in /proc/sys"):
        await save_video(stream(CLIP), Path("/proc/sys"), "clip")


FULL_DISK = """
import resource, sys
from pathlib import Path
import anyio
from seedance_mcp.errors import VideoUnsavedError
from seedance_mcp.media import save_video

async def chunks():
    for _ in range(100):
        yield bytes(10_000)

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        await save_video(chunks(), Path(sys.argv[1]), "clip")
    except VideoUnsavedError as exc:
        print(exc)

anyio.run(main)
"""


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=20, check=False
    )
    assert "cannot be saved in" in done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert "Make room there and call get_job again." in done.stdout
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("prompt", ["A cat, turning!", "", "../../etc/passwd", "ねこ", "x" * 5000, "-\0-\n"])
def test_a_videos_name_is_ours(prompt: str) -> None:
    name = name_video(7, "../job/\0", prompt)
    assert name.startswith("0007-")
    assert len(name) < 60
    assert name.replace("-", "").isalnum()
    assert name.isascii()
    assert name != name_video(7, "other", prompt)
