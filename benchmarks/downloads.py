"""Downloads: the processor time and the memory that saving a finished video takes, and its share of a link.

Usage: python benchmarks/downloads.py [--runs 10] [--megabytes 10] [--link-megabytes 100] [--json [FILE]]

A store in a process of its own sends one video over HTTP, with an ETag. This process saves it in turn by
`Studio.stream_video` and `save_video`, as the product does, and by httpx with a plain write of each chunk and the same
flush to disk. Then it saves four at a time, for their memory, and one over a link that the store shapes to 50 MB/s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, add_json_option, finish, report
from seedance_mcp.adapters.media.videos import save_video
from seedance_mcp.adapters.studio.client import Address, Studio

LINK_BYTES_PER_SECOND = 50_000_000
LINK_RUNS = 3
"""How often the link is measured; the best time counts, because the link can only be slower than it is shaped."""
LANES = 4
"""How many videos the product saves at a time."""
STORE = """
import asyncio, sys, time

rate = float(sys.argv[1])
piece, burst_seconds = 64 * 1024, 0.02


def build(size):
    start = (16).to_bytes(4, "big") + b"ftypisom" + bytes(4) + (8).to_bytes(4, "big") + b"moov"
    return start + (size + 8).to_bytes(4, "big") + b"mdat" + bytes(size)


async def handle(reader, writer):
    asked = (await reader.readuntil(b"\\r\\n\\r\\n")).split()[1].decode()
    kind, size = asked.strip("/").split("/")[:2]
    body = build(int(size))
    writer.write(b'HTTP/1.1 200 OK\\r\\netag: "1"\\r\\nconnection: close\\r\\n')
    writer.write(b"content-length: %d\\r\\n\\r\\n" % len(body))
    due = 0
    for at in range(0, len(body), piece):
        writer.write(body[at : at + piece])
        await writer.drain()
        if kind == "link":
            due = max(due, time.monotonic() - burst_seconds) + piece / rate
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
    writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
"""

Way = Callable[[str], Awaitable[None]]
"""Saves what a URL names."""


async def _refuse_sign_in(_compose: object) -> tuple[str, str]:
    raise SystemExit("a download signs in")


async def measure(url: str, folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Measure both ways in turn; the first time only warms up."""
    address = Address(studio_url=url, blob_url=url, chain_id="eip155:8453", allow_loopback_http=True)
    async with Studio(address, _refuse_sign_in) as studio, httpx.AsyncClient() as client:

        async def save(name: str, video: str) -> None:
            await save_video(partial(studio.stream_video, video), folder, name)

        async def save_plainly(video: str) -> None:
            with (folder / "plain").open("wb") as file:
                async with client.stream("GET", video) as response:
                    async for chunk in response.aiter_raw():
                        file.write(chunk)
                file.flush()
                os.fsync(file.fileno())

        async def save_several(video: str) -> None:
            async with anyio.create_task_group() as tasks:
                for lane in range(LANES):
                    tasks.start_soon(save, f"video-{lane}", video)

        ways: dict[str, Way] = {"bare": save_plainly, "seedance": partial(save, "video")}
        plain = f"{url}/plain/{arguments.megabytes * 1_000_000}"
        figures = await compare(ways, plain, arguments.runs)
        _, _, memory = await _measure(partial(save_several, plain))
        size = arguments.link_megabytes * 1_000_000
        shares: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(LINK_RUNS):
            for name, way in ways.items():
                _, seconds, _ = await _measure(partial(way, f"{url}/link/{size}"))
                shares[name].append(size / seconds / LINK_BYTES_PER_SECOND)
        for name in ways:
            figures[name]["link_share"] = round(max(shares[name]), 3)
        figures["seedance"]["memory_mib"] = round(max(figures["seedance"]["memory_mib"], memory / LANES), 1)
        return figures


async def compare(ways: dict[str, Way], video: str, runs: int) -> dict[str, dict[str, float]]:
    """Save a video in turn by each way."""
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for run in range(runs + 1):
        for name, way in ways.items():
            figures = await _measure(partial(way, video))
            if run:
                taken[name].append(figures)
    return {
        name: {
            "cpu_ms": round(1000 * statistics.median(cpu for cpu, _, _ in figures), 1),
            "median_ms": round(1000 * statistics.median(wall for _, wall, _ in figures), 1),
            "memory_mib": round(max(memory for _, _, memory in figures), 1),
        }
        for name, figures in taken.items()
    }


async def _measure(way: Callable[[], Awaitable[None]]) -> tuple[float, float, float]:
    """Return processor seconds, seconds, and by how many MiB the peak of memory is above the memory before."""
    _reset_peak()
    before, cpu, wall = _read_memory("VmRSS"), time.process_time(), time.perf_counter()
    await way()
    return time.process_time() - cpu, time.perf_counter() - wall, (_read_memory("VmHWM") - before) / 1024


def _reset_peak() -> None:
    """Let the peak of memory begin anew. Source: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _read_memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> int:
    """Measure and show; exits with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--megabytes", type=int, default=10)
    parser.add_argument("--link-megabytes", type=int, default=100)
    add_json_option(parser)
    arguments = parser.parse_args()
    command = [sys.executable, "-c", STORE, str(LINK_BYTES_PER_SECOND)]
    with (
        tempfile.TemporaryDirectory(prefix="downloads-") as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as store,
    ):
        try:
            assert store.stdout is not None  # noqa: S101 - it was opened as a pipe
            url = f"http://127.0.0.1:{int(store.stdout.readline())}"
            figures: dict[str, Any] = anyio.run(measure, url, Path(folder), arguments)
        finally:
            store.kill()
    ours, bare = figures["seedance"], figures["bare"]
    figures["ratio"] = {key: round(ours[key] / bare[key], 2) if bare[key] else None for key in bare}
    if arguments.json == RAW:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{'':<10}" + "".join(f"{name:>12}" for name in bare))
        for name, row in figures.items():
            print(f"{name:<10}" + "".join(f"{value!s:>12}" for value in row.values()))
    for_ten = 10 / arguments.megabytes
    reported = (
        report("downloads.cpu", ours["cpu_ms"] * for_ten, f"{bare['cpu_ms'] * for_ten:.1f} ms"),
        report("downloads.ratio", ours["cpu_ms"] / bare["cpu_ms"]),
        report("downloads.memory", ours["memory_mib"]),
        report("downloads.link", ours["link_share"], f"the bare loop {bare['link_share']:.2f}"),
    )
    return finish(reported, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
