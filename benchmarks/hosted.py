"""The hosted mode's figures: reservations, `tools/list`, whole orders, and memory.

Usage: python benchmarks/hosted.py [--writers 1 8 32] [--reservations 160] [--seconds 1.5] [--orders 40] [--json]

Everything runs on this machine: a PostgreSQL server (Debian: `postgresql`), PgBouncer, a sandbox studio and one
`seedance-mcp serve`. Two ratios are measured in one run and have a target. Reservations per second of the ledger are
compared with a bare psycopg loop of the same statements, and `tools/list` per second with a bare server of the SDK that
has the same tools. Orders per second of processor time and memory of a replica are only shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the deployment is shared with the tests

from benchmarks.figures import RAW, add_json_option, finish, report
from benchmarks.hosted_reservations import compare
from tests.hosted.clients import ERAS, Caller, draw_picture
from tests.hosted.deployment import (
    READY_SECONDS,
    Deployment,
    Plan,
    Process,
    find_free_port,
    listens,
    run_deployment,
    wait_for,
)
from tests.postgres import start_cluster

CALLS_PER_MINUTE = "100000"
CONNECTIONS = 8
"""How many clients ask for the tools at once."""
LANES = 10
"""How many orders are made at once."""
PICTURES = 5
ROUNDS = 12
"""How often each pair is measured; the median counts."""
SCRIPT = Path(__file__).resolve()
TICKS = os.sysconf("SC_CLK_TCK")
PROTOCOL = "2026-07-28"
LIST_TOOLS = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": PROTOCOL,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
        }
    },
}


def serve_bare(port: int) -> None:
    """Serve the same tools with nothing but the SDK."""
    from mcp.server import MCPServer

    from seedance_mcp.server.tools import build_tools

    bare = MCPServer("bare", tools=list(build_tools()), log_level="ERROR")
    bare.run("streamable-http", port=port, stateless_http=True)


@asynccontextmanager
async def run_bare(folder: Path) -> AsyncGenerator[tuple[Process, int]]:
    """Run the bare server; yields it and its port."""
    port = find_free_port()
    command = [sys.executable, str(SCRIPT), "--bare", str(port)]
    bare = Process("the bare server", command, dict(os.environ), folder / "bare.log")
    bare.start()
    try:
        with anyio.fail_after(READY_SECONDS):
            await wait_for(lambda: listens(port))
        yield bare, port
    finally:
        bare.kill()


def build_request(port: int, token: str) -> bytes:
    """Return the bytes of a `tools/list` request."""
    body = json.dumps(LIST_TOOLS).encode()
    lines = [
        "POST /mcp HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "accept: application/json, text/event-stream",
        "content-type: application/json",
        f"mcp-protocol-version: {PROTOCOL}",
        "mcp-method: tools/list",
        f"authorization: Bearer {token}",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def list_tools(port: int, token: str, until: float) -> int:
    """Ask for the tools on one connection until a moment; returns how often that was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request, count = build_request(port, token), 0
    while time.perf_counter() < until:
        writer.write(request)
        status, answer = await _read_answer(reader)
        if status != 200 or b"animate_image" not in answer:
            raise SystemExit(f"tools/list is answered by {status}: {answer[:300]!r}")
        count += 1
    writer.close()
    return count


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    if b"content-length" in headers:
        return int(lines[0].split()[1]), await reader.readexactly(int(headers[b"content-length"]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return int(lines[0].split()[1]), body


async def measure_tools(process: Process, port: int, token: str, seconds: float) -> tuple[float, float]:
    """Return answers per second, and per second of the server's processor time."""
    cpu, began = read_cpu_seconds(process.pid), time.perf_counter()
    counts: list[int] = []

    async def ask() -> None:
        counts.append(await list_tools(port, token, began + seconds))

    async with anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(ask)
    took = time.perf_counter() - began
    return sum(counts) / took, sum(counts) / (read_cpu_seconds(process.pid) - cpu)


async def compare_tools(deployment: Deployment, seconds: float) -> dict[str, float]:
    """Return the rates of a replica and of the bare server, measured in turns, and their ratios."""
    (replica, *_), token = deployment.replicas, deployment.tokens["bench"]
    ours: list[tuple[float, float]] = []
    bares: list[tuple[float, float]] = []
    async with run_bare(deployment.folder) as (bare, port):
        await measure_tools(bare, port, token, 0.5)
        await measure_tools(replica, replica.port, token, 0.5)
        for _ in range(ROUNDS):
            ours.append(await measure_tools(replica, replica.port, token, seconds))
            bares.append(await measure_tools(bare, port, token, seconds))
    pairs = list(zip(ours, bares, strict=True))
    return {
        "serve_per_second": round(statistics.median(rate for rate, _ in ours)),
        "bare_per_second": round(statistics.median(rate for rate, _ in bares)),
        "ratio": round(statistics.median(our[0] / bare[0] for our, bare in pairs), 2),
        "cpu_ratio": round(statistics.median(our[1] / bare[1] for our, bare in pairs), 2),
    }


async def measure_orders(deployment: Deployment, orders: int) -> dict[str, float]:
    """Make whole orders in lanes side by side; returns their rates, and what the replica used."""
    (replica, *_) = deployment.replicas
    cpu, began = read_cpu_seconds(replica.pid), time.perf_counter()
    numbers = iter(range(orders))

    async def work(client: Caller) -> None:
        for number in numbers:
            arguments = {"image": draw_picture(number % PICTURES), "prompt": f"order {number}", "wait_seconds": 30}
            answer = await client.call("animate_image", **arguments)
            while answer.fields.get("status") in ("pending", "loading"):
                answer = await client.call("animate_image", **arguments)
            if answer.fields.get("status") != "complete":
                raise SystemExit(f"an order failed: {answer}")

    async with anyio.create_task_group() as tasks:
        for lane in range(LANES):
            client = Caller(deployment.url, deployment.tokens["bench"], ERAS[lane % len(ERAS)])
            tasks.start_soon(work, client)
    took = time.perf_counter() - began
    used = read_cpu_seconds(replica.pid) - cpu
    return {
        "orders": orders,
        "orders_per_second": round(orders / took, 2),
        "orders_per_core_second": round(orders / used, 2),
    }


def read_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def read_memory_mb(pid: int, name: str = "VmRSS") -> float:
    """Return the memory of a process; `VmHWM` is its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


async def measure_replica(seconds: float, orders: int) -> dict[str, Any]:
    """Measure what needs a running replica."""
    settings = {"CALLER_CALLS_PER_MINUTE": CALLS_PER_MINUTE, "LOG_LEVEL": "WARNING"}
    async with run_deployment(Plan(replicas=1, skewed=False, settings=settings)) as deployment:
        await deployment.add_caller("bench")
        await deployment.start_replicas()
        (replica,) = deployment.replicas
        at_rest = read_memory_mb(replica.pid)
        tools = await compare_tools(deployment, seconds)
        made = await measure_orders(deployment, orders)
        memory = {
            "at_rest_mb": round(at_rest),
            "after_mb": round(read_memory_mb(replica.pid)),
            "peak_mb": round(read_memory_mb(replica.pid, "VmHWM")),
        }
    return {"tools_list": tools, "orders": made, "memory": memory}


def print_table(shown: dict[str, Any]) -> None:
    """Print the figures for people."""
    for one in shown["reservations"]:
        print(
            f"reservations, {one['writers']:>2.0f} writers: {one['ledger_per_second']:.0f}/s, "
            f"bare {one['bare_per_second']:.0f}/s, ratio {one['ratio']:.2f}"
        )
    tools, made, memory = shown["tools_list"], shown["orders"], shown["memory"]
    print(
        f"tools/list: {tools['serve_per_second']}/s, bare {tools['bare_per_second']}/s, ratio {tools['ratio']:.2f}; "
        f"by processor time {tools['cpu_ratio']:.2f}"
    )
    print(
        f"whole orders: {made['orders_per_second']}/s, {made['orders_per_core_second']} per second of a replica's "
        f"processor time ({made['orders']} orders)"
    )
    print(f"memory of a replica: {memory['at_rest_mb']} MB at rest, {memory['after_mb']} MB after that, ", end="")
    print(f"{memory['peak_mb']} MB at most")


def main() -> int:
    """Measure and tell; 1 where a ratio is below its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--reservations", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round of tools/list")
    parser.add_argument("--orders", type=int, default=40)
    add_json_option(parser)
    parser.add_argument("--bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        serve_bare(arguments.bare)
        return 0
    start_cluster()  # outside any event loop, for it has one of its own
    shown: dict[str, Any] = {
        "reservations": [anyio.run(compare, writers, arguments.reservations) for writers in arguments.writers]
    }
    shown |= anyio.run(measure_replica, arguments.seconds, arguments.orders)
    if arguments.json == RAW:
        print(json.dumps(shown, indent=2))
    else:
        print_table(shown)
    worst = min(shown["reservations"], key=lambda one: one["ratio"])
    tools, memory = shown["tools_list"], shown["memory"]
    reported = (
        report(
            "hosted.reservations", worst["ratio"], f"{worst['bare_per_second']:.0f}/s, {worst['writers']:.0f} writers"
        ),
        report("hosted.tools", tools["ratio"], f"{tools['bare_per_second']}/s"),
        report("hosted.orders", shown["orders"]["orders_per_core_second"]),
        report("hosted.memory", memory["peak_mb"], f"{memory['at_rest_mb']} MB at rest"),
    )
    return finish(reported, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
