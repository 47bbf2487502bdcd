"""Hostile pictures: each costs a bounded time and memory of a process of its own, and holds up nothing else."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from seedance_mcp.adapters.media.decoder import end_decoders
from seedance_mcp.sandbox.storage.pictures import build_huge_canvas, build_slow_picture
from tests.decoders import REAL_VARIABLE
from tests.integration.host import Answer, Bench, Host, draw

MakeBench = Callable[..., Awaitable[Bench]]

HEALTHY_SECONDS_MAX = 15
"""What a healthy picture may take beside a hostile one; the machine of a test may be busy, too."""
HOSTILE_SECONDS_MAX = 35

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def write_slow(folder: Path, *, number: int = 0) -> Path:
    file = folder / f"slow{number}.jpg"
    file.write_bytes(build_slow_picture() + bytes([number]))
    return file


def find_decoders() -> list[int]:
    """The decoding processes of every server on this machine that is a child of ours."""
    return [pid for pid in list_processes() if b"seedance_mcp.adapters.media.worker" in read_proc(pid, "cmdline")]


def list_processes() -> list[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]


def read_proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def find_servers(folder: Path) -> set[int]:
    """Other processes that have a file of a folder open."""
    return {pid for pid in list_processes() if pid != os.getpid() and has_open(pid, folder)}


def has_open(pid: int, folder: Path) -> bool:
    with suppress(OSError):  # it has ended
        return any(os.readlink(link).startswith(f"{folder}/") for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def find_decoders_of(server: int) -> list[int]:
    return [pid for pid in find_decoders() if b"PPid:\t%d\n" % server in read_proc(pid, "status")]


async def quote(host: Host, picture: Path, answers: list[tuple[str, Answer]]) -> None:
    answers.append((picture.name, await host.call("quote_price", image=str(picture), prompt="x")))


async def test_a_slow_picture_is_refused_and_holds_up_no_healthy_one(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    slow = write_slow(tmp_path)
    answers: list[tuple[str, Answer]] = []
    async with bench.host() as host:
        with anyio.fail_after(HOSTILE_SECONDS_MAX):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(quote, host, slow, answers)
                await anyio.wait_all_tasks_blocked()
                with anyio.fail_after(HEALTHY_SECONDS_MAX):
                    await quote(host, picture, answers)
    (first, healthy), (second, hostile) = answers
    assert (first, second) == (picture.name, slow.name)
    assert not healthy.failed, healthy.text
    assert hostile.failed
    assert "takes too long to decode. Nothing was paid. Save it anew as a plain PNG or JPEG" in hostile.text


async def test_a_saved_video_is_told_of_before_its_slow_thumbnail_is_made(bench: Bench, picture: Path) -> None:
    await bench.break_with("slow_thumbnail")
    async with bench.host() as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=0)
        with anyio.fail_after(HEALTHY_SECONDS_MAX):
            answer = await host.animate_to_the_end(image=str(picture), prompt="x")
    assert Path(answer["file"]).read_bytes()[4:8] == b"ftyp"
    assert len(await bench.paid()) == 2
    async with bench.host() as host:
        again = await host.call("get_job", job_id=answer["job_id"])
    assert again["file"] == answer["file"]


@on_linux
async def test_a_huge_canvas_is_refused_within_memory(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REAL_VARIABLE, "1")
    end_decoders()
    huge = tmp_path / "huge.webp"
    huge.write_bytes(build_huge_canvas())
    async with bench.host() as host:
        answer = await host.call("quote_price", image=str(huge), prompt="x")
        (decoder,) = find_decoders_of(os.getpid())
        peak = next(line for line in read_proc(decoder, "status").splitlines() if line.startswith(b"VmPeak:"))
    assert answer.failed
    assert "Nothing was paid." in answer.text
    assert int(peak.split()[1]) < 1.6 * 1024 * 1024


@on_linux
async def test_a_decoder_knows_no_secret_ends_with_its_server_and_is_replaced(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    secret = "0x" + "5e" * 32
    settings = {"SEEDANCE_WALLET_KEY": secret, "SEEDANCE_WALLET_FILE": "", REAL_VARIABLE: "1"}
    async with bench.host(process="forked", **settings) as host:
        first = await host.call("quote_price", image=str(picture), prompt="x")
        (server,) = find_servers(bench.folder)
        (before,) = find_decoders_of(server)
        environ = read_proc(before, "environ")
        os.kill(before, signal.SIGKILL)
        other = draw(tmp_path / "other.png", colour=(200, 20, 20))
        second = await host.call("quote_price", image=str(other), prompt="y")
        (after,) = find_decoders_of(server)
    assert not first.failed, first.text
    assert not second.failed, second.text
    assert environ
    assert b"SEEDANCE" not in environ
    assert secret[2:].encode() not in environ
    assert before != after
    with anyio.fail_after(60):
        while {before, after} & set(list_processes()):
            await anyio.sleep(0.05)


@on_linux
async def test_a_caller_who_leaves_stops_the_decoding(bench: Bench, tmp_path: Path) -> None:
    slow = write_slow(tmp_path)
    async with bench.host() as host:
        with anyio.move_on_after(2):
            await host.call("quote_price", image=str(slow), prompt="x")
        with anyio.fail_after(1.5):
            while find_decoders_of(os.getpid()):
                await anyio.sleep(0.05)
