"""Videos: a playable file is saved completely with its real extension; other content is described and not saved."""

import gzip
import io
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.adapters.media import videos
from seedance_mcp.adapters.media.videos import (
    MEDIA_TYPES,
    SavedVideo,
    find_media_type,
    find_video,
    name_video,
    save_video,
)
from seedance_mcp.core.errors import StudioProtocolError, VideoUnsavedError
from seedance_mcp.core.wire.containers import BOXES_MAX, NotAVideoError, read_container
from seedance_mcp.core.wire.ranges import OpenStream, Resume, VideoStream
from tests.adapters.test_studio import open_studio
from tests.bombs import build_gzip_bomb
from tests.servers import say, serve_raw


def list_names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def box(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


HEAD, INDEX, MEDIA = box(b"ftyp", b"isom0000"), box(b"moov", bytes(40)), box(b"mdat", bytes(400))
CLIP = HEAD + INDEX + MEDIA


def element(name: bytes, data: bytes, *, size: bytes | None = None) -> bytes:
    """Return an EBML element, with its size in one byte, or in four if it is large."""
    length = bytes([0x80 | len(data)]) if len(data) < 127 else struct.pack(">I", 0x10000000 | len(data))
    return name + (length if size is None else size) + data


EBML = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", b"webm"))
TRACKS, CLUSTER = element(b"\x16\x54\xae\x6b", bytes(20)), element(b"\x1f\x43\xb6\x75", bytes(300))
WEBM = EBML + element(b"\x18\x53\x80\x67", TRACKS + CLUSTER)


def stream(*chunks: bytes) -> OpenStream:
    """Open a stream of these bytes, which cannot be resumed."""

    async def send() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return open_whole(send())


def open_whole(chunks: AsyncIterator[bytes]) -> OpenStream:
    @asynccontextmanager
    async def opened(_: Resume | None) -> AsyncGenerator[VideoStream]:
        yield VideoStream(chunks)

    return opened


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
    "no index": HEAD + MEDIA,
    "no media": HEAD + INDEX,
    "a box of four bytes": HEAD + INDEX + struct.pack(">I4s", 4, b"mdat"),
    "a long box that is short": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 8) + bytes(8),
    "a long box without its length": HEAD + INDEX + struct.pack(">I4s", 1, b"mdat"),
    "a box of an exabyte": HEAD + INDEX + struct.pack(">I4sQ", 1, b"mdat", 2**60) + bytes(100),
    "more boxes than anybody has": HEAD + box(b"free") * BOXES_MAX + INDEX + MEDIA,
}


@pytest.mark.parametrize("name", GOOD_CLIPS)
async def test_complete_video_is_saved_byte_for_byte(name: str, tmp_path: Path) -> None:
    data = GOOD_CLIPS[name]
    saved = await save_video(stream(data[:7], b"", data[7:]), tmp_path / "a" / "b", "0001-cat-abc")
    assert saved == SavedVideo(tmp_path / "a" / "b" / "0001-cat-abc.mp4", None)
    assert saved.file.read_bytes() == data
    assert list_names(saved.file.parent) == [saved.file.name]


async def test_video_of_several_blocks_is_saved_byte_for_byte(tmp_path: Path) -> None:
    media = (bytes(range(256)) * (videos.WRITE_BYTES // 256 + 1))[1:]
    data = CLIP + struct.pack(">I4s", 8 + 2 * len(media), b"free") + media + media[::-1]
    step = videos.WRITE_BYTES // 3 * 2
    saved = await save_video(stream(*(data[at : at + step] for at in range(0, len(data), step))), tmp_path, "clip")
    assert saved.file.read_bytes() == data


@pytest.mark.parametrize("name", BAD_CLIPS)
async def test_incomplete_video_is_not_saved(name: str, tmp_path: Path) -> None:
    says = {"nothing": "is empty", "a page": "is a web page, not a video: «<html>"}.get(name, "is not a whole MP4")
    with pytest.raises(VideoUnsavedError, match=says):
        await save_video(stream(BAD_CLIPS[name]), tmp_path, "clip")
    assert list_names(tmp_path) == []


async def test_bad_video_does_not_replace_a_good_one(tmp_path: Path) -> None:
    file = (await save_video(stream(CLIP), tmp_path, "clip")).file
    with pytest.raises(VideoUnsavedError):
        await save_video(stream(CLIP[:-1]), tmp_path, "clip")
    assert file.read_bytes() == CLIP


async def test_endless_video_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "VIDEO_BYTES_MAX", 3 * 1024 * 1024)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1024 * 1024)

    with anyio.fail_after(60), pytest.raises(VideoUnsavedError, match="larger than 3 MiB"):
        await save_video(open_whole(endless()), tmp_path, "clip")
    assert list_names(tmp_path) == []


async def test_cancelled_save_leaves_no_file(tmp_path: Path) -> None:
    started = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield HEAD
        started.set()
        await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(save_video, open_whole(slow()), tmp_path, "clip")
            await started.wait()
            tasks.cancel_scope.cancel()
    assert list_names(tmp_path) == []


async def test_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "videos").write_text("")
    with pytest.raises(VideoUnsavedError, match=r"cannot be saved in .*videos: (File exists|Not a directory)"):
        await save_video(stream(CLIP), tmp_path / "videos", "clip")


async def test_folder_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(VideoUnsavedError, match=r"cannot be saved in .*directory"):
        await save_video(stream(CLIP), tmp_path, "clip")
    assert list_names(tmp_path) == ["clip.mp4"]


async def test_folder_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(VideoUnsavedError, match="cannot be saved in /proc/sys"):
        await save_video(stream(CLIP), Path("/proc/sys"), "clip")


FULL_DISK = """
import resource, sys
from contextlib import asynccontextmanager
from pathlib import Path
import anyio
from seedance_mcp.core.wire.ranges import VideoStream
from seedance_mcp.core.errors import VideoUnsavedError
from seedance_mcp.adapters.media.videos import save_video

async def chunks():
    for _ in range(100):
        yield bytes(10_000)

@asynccontextmanager
async def opened(_):
    yield VideoStream(chunks())

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        await save_video(opened, Path(sys.argv[1]), "clip")
    except VideoUnsavedError as exc:
        print(exc)

anyio.run(main)
"""


def test_full_disk_is_a_clear_error_and_leaves_no_file(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=20, check=False
    )
    assert "cannot be saved in" in done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert "Make room there and call get_job again." in done.stdout
    assert list_names(tmp_path) == []


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A cat, turning!", "a-cat-turning"),
        ("镜头缓慢推进\uff0c灯光亮起", "镜头缓慢推进-灯光亮起"),
        ("नमस्ते दुनिया", "नमस्ते-दुनिया"),
        ("Cafe\u0301 \u202eedoc", "café-edoc"),
        ("ねこ" * 500, "ねこ" * 10),
        ("x" * 5000, "x" * 40),
        ("../../etc/passwd", "etc-passwd"),
        ("-\0-\n\ud83d", "clip"),
        ("", "clip"),
    ],
)
def test_video_name_is_the_prompt_in_any_script_and_bounded_in_bytes(prompt: str, slug: str) -> None:
    name = name_video(7, "../job/\0", prompt)
    start, _, unique = name.rpartition("-")
    assert start == f"0007-{slug}"
    assert len(unique) == 6
    assert len(name.encode()) < 100
    assert name != name_video(7, "other", prompt)


LOOSE_CLIPS = {
    "one byte more": (CLIP + b"\0", "mp4", "1 bytes follow"),
    "half a header": (CLIP + b"\0\0\0", "mp4", "3 bytes follow"),
    "zeros behind": (CLIP + bytes(5000), "mp4", "5000 bytes follow"),
    "text behind": (CLIP + b"<!-- served by a cache -->", "mp4", "26 bytes follow"),
    "a cut free box behind": (CLIP + struct.pack(">I", 900) + b"free", "mp4", "8 bytes follow"),
    "styp first": (box(b"styp", b"msdh0000") + INDEX + MEDIA, "mp4", "begins with styp"),
    "head not first": (INDEX + HEAD + MEDIA, "mp4", "begins with moov"),
    "no head": (INDEX + MEDIA, "mov", "QuickTime"),
    "quicktime": (box(b"ftyp", b"qt  0000") + INDEX + MEDIA, "mov", "QuickTime"),
    "webm": (WEBM, "webm", "WebM instead of MP4"),
    "matroska": (
        WEBM.replace(b"\x84webm", b"\x88matroska").replace(b"\x1a\x45\xdf\xa3\x87", b"\x1a\x45\xdf\xa3\x8b"),
        "mkv",
        "Matroska",
    ),
    "webm without an end": (EBML + element(b"\x18\x53\x80\x67", TRACKS + CLUSTER, size=b"\xff"), "webm", "WebM"),
    "webm and more": (WEBM + b"more", "webm", "4 bytes follow"),
}
OTHER_BYTES = {
    "blank": (b"  \n", "is blank"),
    "json": (b'\xef\xbb\xbf {"error": "moved"}', "is a JSON document, not a video: «.*moved"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is an XML document, not a video: «.*AccessDenied"),
    "html": (b"<!DOCTYPE html><p>Sign in", "is a web page, not a video"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a picture, not a video"),
    "noise": (bytes(range(1, 200)), "is not a video of a known kind"),
    "a cut moof behind": (CLIP + struct.pack(">I", 900) + b"moof", "is truncated"),
    "webm cut": (WEBM[:-1], "is not a whole WebM"),
    "webm head only": (EBML, "is not a whole WebM"),
    "webm without media": (EBML + element(b"\x18\x53\x80\x67", TRACKS), "is not a whole WebM"),
}


@pytest.mark.parametrize("name", LOOSE_CLIPS)
async def test_playable_file_is_saved_with_its_real_extension_and_a_note(name: str, tmp_path: Path) -> None:
    data, extension, note = LOOSE_CLIPS[name]
    saved = await save_video(stream(data), tmp_path, "clip")
    assert (saved.file.name, saved.file.read_bytes()) == (f"clip.{extension}", data)
    assert note in str(saved.note)
    assert find_video(tmp_path, "clip") == (str(saved.file), None)
    assert find_media_type(saved.file) == MEDIA_TYPES[extension]


@pytest.mark.parametrize("name", OTHER_BYTES)
async def test_other_content_is_described_and_not_saved(name: str, tmp_path: Path) -> None:
    data, says = OTHER_BYTES[name]
    with pytest.raises(VideoUnsavedError, match=says):
        await save_video(stream(data), tmp_path, "clip")
    assert list_names(tmp_path) == []


@given(
    st.binary(max_size=200)
    | st.tuples(st.sampled_from([CLIP, WEBM]), st.integers(0, 300), st.binary(max_size=20)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
    )
)
def test_any_bytes_are_a_container_or_described(data: bytes) -> None:
    says, extension = "", "mp4"
    try:
        extension = read_container(io.BytesIO(data), len(data)).extension
    except NotAVideoError as exc:
        says = str(exc)
    assert len(says) < 300
    assert extension in MEDIA_TYPES


@asynccontextmanager
async def open_stream(body: bytes, encoding: str) -> AsyncGenerator[OpenStream]:
    """Stream a body that a server sends under a content encoding."""
    async with serve_raw(say(200, body, content_encoding=encoding)) as server, open_studio(server.url) as studio:
        yield partial(studio.stream_video, f"{server.url}/clip.mp4")


async def test_decompression_bomb_is_stopped_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "VIDEO_BYTES_MAX", 3 * 1024 * 1024)
    bomb = build_gzip_bomb(CLIP, zero_megabytes=100)
    async with open_stream(bomb, "gzip") as opened:
        with anyio.fail_after(60), pytest.raises(VideoUnsavedError, match="larger than 3 MiB"):
            await save_video(opened, tmp_path, "clip")
    assert list_names(tmp_path) == []


ENCODED = {
    "gzip": ("gzip", gzip.compress(CLIP)),
    "x-gzip": ("x-gzip", gzip.compress(CLIP)),
    "deflate": ("deflate", zlib.compress(CLIP)),
    "gzip over aws-chunked": ("aws-chunked, gzip", gzip.compress(CLIP)),
    "said to be gzip": ("gzip", CLIP),
    "said to be deflate": ("deflate", CLIP),
    "aws-chunked": ("aws-chunked", CLIP),
    "none": ("none", CLIP),
    "empty": ("", CLIP),
}


@pytest.mark.parametrize("name", ENCODED)
async def test_video_under_any_named_encoding_is_saved(name: str, tmp_path: Path) -> None:
    encoding, body = ENCODED[name]
    async with open_stream(body, encoding) as opened:
        saved = await save_video(opened, tmp_path, "clip")
    assert saved.file.read_bytes() == CLIP


@pytest.mark.parametrize(
    ("encoding", "body", "says"),
    [
        ("gzip", gzip.compress(CLIP)[:-9], "is incomplete"),
        ("gzip", gzip.compress(CLIP)[:12] + bytes(50), "cannot be decompressed"),
        ("br", CLIP, "«br», which was not asked for"),
    ],
    ids=["cut", "damaged", "unknown"],  # not the bytes, because gzip writes the time into them
)
async def test_damaged_or_unknown_encoding_is_a_clear_error(
    encoding: str, body: bytes, says: str, tmp_path: Path
) -> None:
    with pytest.raises(StudioProtocolError, match=says):
        async with open_stream(body, encoding) as opened:
            await save_video(opened, tmp_path, "clip")
    assert list_names(tmp_path) == []
