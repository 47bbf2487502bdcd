"""A download that broke off continues where it was, and no store can make a wrong file of it."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from eth_account import Account
from PIL import Image

from seedance_mcp.adapters.media import partial_files
from seedance_mcp.adapters.media.videos import save_video
from seedance_mcp.core.errors import StudioUnreachableError
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.ranges import Resume, VideoStream
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox, SandboxSettings
from seedance_mcp.sandbox.faults import VIDEO_RANGES
from tests.adapters.test_studio import open_studio
from tests.conftest import FUNDED_MICRO_USDC
from tests.forks import build_command
from tests.payments.test_hostile_studios import animate
from tests.payments.test_purchase import services_on, settings_for
from tests.server.test_server_results import MakeSandbox, break_with, buy, facts, open_host, settlements

if TYPE_CHECKING:
    from seedance_mcp.adapters.studio.client import Studio

NAME = "0001-clip-abcdef"
OVERLAP = 2000
"""How much is compared here: the sandbox's videos are small."""


@dataclass
class Store:
    """A sandbox with one finished video, and downloads of it into one folder.

    Attributes:
        starts: At which byte each stream that was opened began.
    """

    sandbox: Sandbox
    studio: "Studio"
    url: str
    video: bytes
    folder: Path
    starts: list[int] = field(default_factory=list[int])

    async def save(self, *faults: str) -> bytes:
        """Download the video under faults; return the bytes of the saved file."""
        await break_with(self.sandbox, *faults)
        return (await save_video(self._open, self.folder, NAME)).file.read_bytes()

    async def break_off(self, *faults: str, after: int | None = None) -> None:
        """Download a part of the video."""
        with pytest.raises(StudioUnreachableError):
            await self.save(*faults, f"broken_video={after or len(self.video) // 2}:1")

    @asynccontextmanager
    async def _open(self, resume: Resume | None) -> AsyncGenerator[VideoStream]:
        async with self.studio.stream_video(self.url, resume) as stream:
            self.starts.append(stream.start)
            yield stream

    def list_names(self) -> list[str]:
        return sorted(file.name for file in self.folder.iterdir())


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Sandbox, str, bytes]]:
    """A sandbox with one finished video, its URL and its bytes."""
    folder, key = tmp_path_factory.mktemp("bought"), "0x" + os.urandom(32).hex()
    picture = folder / "picture.png"
    Image.new("RGB", (640, 360), "teal").save(picture)

    async def buy_video() -> Job:
        async with services_on(settings_for(sandbox, key, folder / "data")) as services:
            return (await animate(services, VideoRequest(image=str(picture), prompt="x"))).job

    funded = {Account.from_key(key).address: FUNDED_MICRO_USDC}
    # parts of the video are compared, so it is not a small one
    with Sandbox(SandboxSettings(job_seconds=0.2, funded=funded, small_videos=False)) as sandbox:
        job = asyncio.run(buy_video())
        yield sandbox, job.video_url or "", Path(job.file or "").read_bytes()


@pytest.fixture
async def store(
    bought: tuple[Sandbox, str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Store]:
    monkeypatch.setattr(partial_files, "OVERLAP_BYTES", OVERLAP)
    sandbox, url, video = bought
    async with open_studio(sandbox.url) as studio:
        yield Store(sandbox, studio, url, video, tmp_path / "saved")


async def test_no_store_makes_a_wrong_file_of_a_resumed_download(store: Store) -> None:
    half = len(store.video) // 2
    rest = half - OVERLAP
    starts = {
        "honest": [0, rest],
        "other_position": [0, rest, 0],
        "more_bytes": [0, rest, 0],
        "fewer_bytes": [0, rest, 0],
    }
    for kind in VIDEO_RANGES:
        store.starts.clear()
        await store.break_off(f"video_ranges={kind}")
        assert bool(store.list_names()) == (kind != "weak_etag"), kind
        assert await store.save(f"video_ranges={kind}") == store.video, kind
        assert store.starts == starts.get(kind, [0, 0]), kind
        assert store.list_names() == [f"{NAME}.mp4"]
        (store.folder / f"{NAME}.mp4").unlink()


async def test_a_fresh_url_continues_the_download_of_the_old_one(store: Store) -> None:
    await store.break_off("video_ranges=honest")
    store.url += "&fresh=1"
    assert await store.save("video_ranges=honest") == store.video
    assert store.starts == [0, len(store.video) // 2 - OVERLAP]


async def test_another_video_under_the_url_is_saved_whole(store: Store) -> None:
    await store.break_off("video_ranges=honest")
    saved = await store.save("video_ranges=honest", "video_body=trailing")
    assert saved == store.video + bytes(5)
    assert store.starts == [0, 0]


async def test_a_store_that_cannot_resume_leaves_no_part(store: Store) -> None:
    await store.break_off()
    assert store.list_names() == []
    assert await store.save() == store.video


async def test_each_broken_attempt_keeps_what_it_received(store: Store) -> None:
    step = len(store.video) // 3
    for _ in range(3):
        await store.break_off("video_ranges=honest", after=step)
    assert await store.save("video_ranges=honest") == store.video
    assert store.starts == [0, step - OVERLAP, 2 * (step - OVERLAP), 3 * (step - OVERLAP)]


async def test_two_downloads_of_one_video_do_not_disturb_each_other(store: Store) -> None:
    await store.break_off("video_ranges=honest")
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(store.save, "video_ranges=honest")
    assert (store.folder / f"{NAME}.mp4").read_bytes() == store.video
    assert store.list_names() == [f"{NAME}.mp4"]


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"[]",
        b"null",
        b'{"v": 2, "etag": "\\"x\\"", "total_bytes": 48769, "bytes": 20000}',
        b'{"v": 1, "etag": "x", "total_bytes": 48769, "bytes": 20000}',
        b'{"v": 1, "etag": "\\"x\\"", "total_bytes": 48769, "bytes": 48770}',
        b'{"v": 1, "etag": "\\"x\\"", "total_bytes": 48769, "bytes": 40000}',
        b'{"v": 1, "etag": "\\"x\\"", "total_bytes": 48769, "bytes": -1}',
        b"\xff",
    ],
    ids=["empty", "list", "null", "version", "etag", "long", "more", "negative", "bytes"],
)
async def test_a_damaged_journal_is_worth_nothing(tmp_path: Path, journal: bytes) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(bytes(30_000))
    (tmp_path / f".{NAME}.part.json").write_bytes(journal)
    opened = partial_files.open_partial(tmp_path, NAME)
    assert opened.find_resume() is None
    opened.delete()
    assert list(tmp_path.iterdir()) == []


async def test_a_part_that_was_changed_is_not_continued(store: Store) -> None:
    await store.break_off("video_ranges=honest")
    part = store.folder / f".{NAME}.part"
    part.write_bytes(part.read_bytes()[:-9] + bytes(9))
    assert await store.save("video_ranges=honest") == store.video
    assert store.starts[-1] == 0


KILLED = """
import os, signal, sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
import anyio
from seedance_mcp.adapters.media import partial_files, videos
from seedance_mcp.adapters.studio.client import Address, Studio

url, folder, name, journal_bytes, overlap = sys.argv[1:]
partial_files.JOURNAL_BYTES, partial_files.OVERLAP_BYTES, videos.WRITE_BYTES = int(journal_bytes), int(overlap), 1

async def main():
    origin = url.partition("/videos/")[0]
    address = Address(studio_url=origin, blob_url=origin, chain_id="eip155:8453", allow_loopback_http=True)
    async with Studio(address, None) as studio:

        @asynccontextmanager
        async def opened(resume):
            async with studio.stream_video(url, resume) as stream:
                yield replace(stream, chunks=some(stream.chunks))

        async def some(chunks):
            size = 0
            async for chunk in chunks:
                for at in range(0, len(chunk), 4000):
                    yield chunk[at : at + 4000]
                    size += 4000
                    if size > 20000:
                        os.kill(os.getpid(), signal.SIGKILL)

        await videos.save_video(opened, Path(folder), name)

anyio.run(main)
"""


@pytest.mark.parametrize(("journal_bytes", "start"), [(8000, 24_000 - OVERLAP), (10**6, 0)])
async def test_a_killed_process_leaves_a_part_and_no_video(
    store: Store, tmp_path: Path, journal_bytes: int, start: int
) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    await break_with(store.sandbox, "video_ranges=honest")
    command = build_command(str(program), store.url, str(store.folder), NAME, str(journal_bytes), str(OVERLAP))
    done = await anyio.run_process(command, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert f"{NAME}.mp4" not in store.list_names()
    assert await store.save("video_ranges=honest") == store.video
    assert store.starts == [start]
    assert store.list_names() == [f"{NAME}.mp4"]


def test_only_old_parts_of_our_own_are_deleted(tmp_path: Path) -> None:
    old = [f".{NAME}.part", f".{NAME}.part.json", f".{NAME}.0123abcd.part", ".0123456789abcdef.part"]
    kept = [".notes.part", f"{NAME}.mp4", f".{NAME}.mp4", ".0002-clip-abcdef.part"]
    for name in (*old, *kept):
        (tmp_path / name).write_bytes(b"x")
    for name in (*old, *kept[:-1]):
        os.utime(tmp_path / name, (0, 0))
    partial_files.open_partial(tmp_path, "0003-clip-abcdef").delete()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.parametrize("fault", ["video_ranges=honest", "short_result_url"])
async def test_a_video_is_delivered_over_a_link_that_keeps_breaking(
    make_sandbox: MakeSandbox,
    funded_key: str,
    make_picture: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    """With the second fault each attempt also has another URL, because the one before has expired."""
    monkeypatch.setattr(partial_files, "OVERLAP_BYTES", OVERLAP)
    sandbox = make_sandbox(small_videos=False)  # parts of it are compared
    await break_with(sandbox, "video_ranges=honest", "broken_video=14000", fault)
    async with open_host(sandbox, funded_key, tmp_path) as client:
        told = facts(await buy(client, make_picture()))
    assert Path(told["file"]).stat().st_size > 3 * 14_000
    assert [file.name for file in Path(told["file"]).parent.iterdir() if file.name.startswith(".")] == []
    assert [one["amount_micro_usdc"] for one in await settlements(sandbox)] == [10_000, 320_000]
