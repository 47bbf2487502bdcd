"""Downloads: the processor time and the memory that saving a finished video takes, against a bare httpx loop.

Usage: python benchmarks/downloads.py [--runs 10] [--megabytes 10] [--json]

A store in a process of its own sends one video over HTTP. This process saves it in turn by `Studio.stream_video` and
`save_video`, as the product does, and by httpx with a plain write of each chunk and the same flush to disk.
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

from seedance_mcp.adapters.media.videos import save_video
from seedance_mcp.adapters.studio.client import Address, Studio

CPU_MS_MAX = 60
"""Processor time for 10 MB."""
MEMORY_MIB_MAX = 16
STORE = """
import http.server, sys

size = int(sys.argv[1])
body = (16).to_bytes(4, "big") + b"ftypisom" + bytes(4) + (8).to_bytes(4, "big") + b"moov"
body += (size + 8).to_bytes(4, "big") + b"mdat" + bytes(size)


class Store(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
print(server.server_port, flush=True)
server.serve_forever()
"""


async def _refuse_sign_in(_compose: object) -> tuple[str, str]:
    raise SystemExit("a download signs in")


async def compare(url: str, folder: Path, runs: int) -> dict[str, dict[str, float]]:
    """Save the video in turn by both ways; the first time only warms up."""
    address = Address(studio_url=url, blob_url=url, chain_id="eip155:8453", allow_loopback_http=True)
    async with Studio(address, _refuse_sign_in) as studio, httpx.AsyncClient() as client:

        async def save() -> None:
            await save_video(partial(studio.stream_video, f"{url}/video.mp4"), folder, "video")

        async def save_plainly() -> None:
            with (folder / "plain").open("wb") as file:
                async with client.stream("GET", f"{url}/video.mp4") as response:
                    async for chunk in response.aiter_raw():
                        file.write(chunk)
                file.flush()
                os.fsync(file.fileno())

        ways: dict[str, Callable[[], Awaitable[None]]] = {"bare": save_plainly, "seedance": save}
        taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for run in range(runs + 1):
            for name, way in ways.items():
                figures = await _measure(way)
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
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    arguments = parser.parse_args()
    command = [sys.executable, "-c", STORE, str(arguments.megabytes * 1_000_000)]
    with (
        tempfile.TemporaryDirectory(prefix="downloads-") as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as store,
    ):
        try:
            assert store.stdout is not None  # noqa: S101 - it was opened as a pipe
            url = f"http://127.0.0.1:{int(store.stdout.readline())}"
            figures: dict[str, Any] = anyio.run(compare, url, Path(folder), arguments.runs)
        finally:
            store.kill()
    ours, bare = figures["seedance"], figures["bare"]
    figures["ratio"] = {key: round(ours[key] / bare[key], 2) if bare[key] else None for key in ("cpu_ms", "median_ms")}
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{'':<10}{'cpu_ms':>12}{'median_ms':>12}{'memory_mib':>12}")
        for name, row in figures.items():
            print(f"{name:<10}" + "".join(f"{value!s:>12}" for value in row.values()))
        print(f"targets: {CPU_MS_MAX} ms of processor time for 10 MB, less than {MEMORY_MIB_MAX} MiB a download")
    cpu_for_ten = ours["cpu_ms"] * 10 / arguments.megabytes
    return int(cpu_for_ten > CPU_MS_MAX or ours["memory_mib"] >= MEMORY_MIB_MAX)


if __name__ == "__main__":
    sys.exit(main())
