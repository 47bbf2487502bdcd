"""Start-up: how soon does a host see our tools, against a bare server of the same SDK?

Usage: python benchmarks/startup.py [--runs 15] [--protocol newest|legacy] [--json]

Starts `python -m seedance_mcp` without any setting and a bare `MCPServer` with seven empty tools, in turn, and measures
from the spawn to the answer of `tools/list` over stdio, by raw JSON-RPC. Processor time and memory are read from /proc
at that answer.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RATIO_MAX = 1.15
MEMORY_RATIO_MAX = 1.2
NEWEST, LEGACY = "2026-07-28", "2025-06-18"

TOOLS = 7
"""How many tools we have; the bare server gets as many."""

BARE_TOOL = '''
@server.tool()
async def tool_{number}(text: str) -> str:
    """Say something."""
    return text
'''
BARE = (
    'from mcp.server import MCPServer\n\nserver = MCPServer("bare")\n'
    + "".join(BARE_TOOL.format(number=number) for number in range(TOOLS))
    + "\nserver.run()\n"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One start: seconds to the answer of `tools/list`; processor time and memory at that moment."""

    seconds: float
    cpu_seconds: float
    rss_kib: int
    peak_kib: int


def measure(command: list[str], protocol: str, environ: dict[str, str]) -> Sample:
    """Start a server, list its tools, end it."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as server:
        try:
            tools = _list_tools(server, protocol)
            seconds = time.perf_counter() - started
            if len(tools) != TOOLS:
                raise SystemExit(f"{command} has {len(tools)} tools")
            memory, cpu_seconds = _read_memory(server.pid), _read_cpu_seconds(server.pid)
        finally:
            server.kill()
    return Sample(seconds=seconds, cpu_seconds=cpu_seconds, rss_kib=memory["VmRSS"], peak_kib=memory["VmHWM"])


def _list_tools(server: subprocess.Popen[bytes], protocol: str) -> list[Any]:
    client = {"name": "startup", "version": "1"}
    if protocol == "legacy":
        hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client}
        _send(server, {"id": 1, "method": "initialize", "params": hello})
        _receive(server, 1)
        _send(server, {"method": "notifications/initialized"})
        _send(server, {"id": 2, "method": "tools/list"})
    else:
        meta = {
            "io.modelcontextprotocol/protocolVersion": NEWEST,
            "io.modelcontextprotocol/clientInfo": client,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        _send(server, {"id": 2, "method": "tools/list", "params": {"_meta": meta}})
    return _receive(server, 2)["tools"]


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin is not None  # noqa: S101 - it was opened as a pipe
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    server.stdin.flush()


def _receive(server: subprocess.Popen[bytes], number: int) -> dict[str, Any]:
    assert server.stdout is not None  # noqa: S101 - it was opened as a pipe
    for line in server.stdout:
        message = json.loads(line)
        if message.get("id") == number:
            if "result" not in message:
                raise SystemExit(f"refused: {message}")
            return message["result"]
    raise SystemExit("the server ended without an answer")


def _read_memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}


def _read_cpu_seconds(pid: int) -> float:
    """User and system time: unlike the clock, hardly touched by what else the machine does. Source: proc(5), stat."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(*, runs: int, protocol: str) -> dict[str, Any]:
    """Measure both in turn; the first start of each only warms the disk's cache."""
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SEEDANCE_")}
        environ = {**kept, "SEEDANCE_DATA_DIR": folder}
        commands = {"bare": [sys.executable, str(bare)], "seedance": [sys.executable, "-m", "seedance_mcp"]}
        for command in commands.values():
            measure(command, protocol, environ)
        samples: dict[str, list[Sample]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                samples[name].append(measure(command, protocol, environ))
    figures: dict[str, Any] = {name: _summarize(taken) for name, taken in samples.items()}
    ratios = {key: round(figures["seedance"][key] / figures["bare"][key], 3) for key in figures["bare"]}
    return {"protocol": protocol, "runs": runs, **figures, "ratio": ratios}


def _summarize(samples: list[Sample]) -> dict[str, float]:
    return {
        "median_ms": round(1000 * statistics.median(sample.seconds for sample in samples), 1),
        "fastest_ms": round(1000 * min(sample.seconds for sample in samples), 1),
        "cpu_ms": round(1000 * statistics.mean(sample.cpu_seconds for sample in samples), 1),
        "rss_mib": round(statistics.median(sample.rss_kib for sample in samples) / 1024, 1),
        "peak_mib": round(statistics.median(sample.peak_kib for sample in samples) / 1024, 1),
    }


def main() -> int:
    """Read the arguments, measure, show; exits with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--protocol", choices=("newest", "legacy"), default="newest")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    arguments = parser.parse_args()
    figures = compare(runs=arguments.runs, protocol=arguments.protocol)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{'':<10}" + "".join(f"{key:>14}" for key in figures["bare"]))
        for name in ("bare", "seedance", "ratio"):
            print(f"{name:<10}" + "".join(f"{value:>14}" for value in figures[name].values()))
        print(f"targets: median at most {RATIO_MAX} times, memory at most {MEMORY_RATIO_MAX} times the bare server's")
    ratio = figures["ratio"]
    return int(ratio["median_ms"] > RATIO_MAX or ratio["rss_mib"] > MEMORY_RATIO_MAX)


if __name__ == "__main__":
    sys.exit(main())
