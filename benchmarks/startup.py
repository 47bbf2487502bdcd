"""Start-up: how soon does a host see our tools, against a bare server of the same SDK?

Usage: python benchmarks/startup.py [--runs 15] [--protocol newest|legacy] [--json]

Starts, in turn: a bare `MCPServer` with seven empty tools; `python -m seedance_mcp` without any setting; the same
without its greeter; and the same with the greeter, where Python finds no compiled module of ours. Measures over stdio,
by raw JSON-RPC, from the spawn to the answer of `tools/list`, to the answer of a request that only a loaded server has
(an unknown method), and to the answer of a first `tools/call`. Processor time and memory are read from /proc once the
server has loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, add_json_option, finish, report

CLIENT = {"name": "startup", "version": "1"}
NEWEST, LEGACY = "2026-07-28", "2025-06-18"

PACKAGE = Path(__file__).resolve().parents[1] / "seedance_mcp"
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


ALONE = "from seedance_mcp.server.stdio import serve; serve()"
"""Our server without its greeter."""
OURS = ("seedance", "alone", "first")


@dataclass(frozen=True, slots=True)
class Sample:
    """One start: seconds to three answers; processor time and memory once the server has loaded."""

    tools_seconds: float
    loaded_seconds: float
    call_seconds: float
    cpu_seconds: float
    rss_kib: int


def measure(command: list[str], protocol: str, environ: dict[str, str], call: dict[str, Any]) -> Sample:
    """Start a server, list its tools, call one, end it."""
    started = time.perf_counter()
    folder = environ["SEEDANCE_DATA_DIR"]  # not the repository's, whose package Python would take
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, cwd=folder) as server:
        try:
            tools = _list_tools(server, protocol)
            tools_seconds = time.perf_counter() - started
            if len(tools) != TOOLS:
                raise SystemExit(f"{command} has {len(tools)} tools")
            _ask(server, 3, protocol, "no/method")
            loaded_seconds = time.perf_counter() - started
            memory, cpu_seconds = _read_memory(server.pid), _read_cpu_seconds(server.pid)
            if "result" not in _ask(server, 4, protocol, "tools/call", **call):
                raise SystemExit(f"{command} refused a call")
            call_seconds = time.perf_counter() - started
        finally:
            server.kill()
    return Sample(tools_seconds, loaded_seconds, call_seconds, cpu_seconds, memory["VmRSS"])


def _list_tools(server: subprocess.Popen[bytes], protocol: str) -> list[Any]:
    if protocol == "legacy":
        hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
        _send(server, {"id": 1, "method": "initialize", "params": hello})
        _receive(server, 1)
        _send(server, {"method": "notifications/initialized"})
    return _ask(server, 2, protocol, "tools/list")["result"]["tools"]


def _ask(server: subprocess.Popen[bytes], number: int, protocol: str, method: str, **params: object) -> dict[str, Any]:
    if protocol != "legacy":
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": NEWEST,
            "io.modelcontextprotocol/clientInfo": CLIENT,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    _send(server, {"id": number, "method": method, "params": params})
    return _receive(server, number)


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin is not None  # noqa: S101 - it was opened as a pipe
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    server.stdin.flush()


def _receive(server: subprocess.Popen[bytes], number: int) -> dict[str, Any]:
    assert server.stdout is not None  # noqa: S101 - it was opened as a pipe
    for line in server.stdout:
        message = json.loads(line)
        if message.get("id") == number:
            return message
    raise SystemExit("the server ended without an answer")


def _read_memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}


def _read_cpu_seconds(pid: int) -> float:
    """User and system time: unlike the clock, hardly touched by what else the machine does. Source: proc(5), stat."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(*, runs: int, protocol: str) -> dict[str, Any]:
    """Measure all in turn; the first start of each only warms the disk's cache."""
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        bare, copy = Path(folder) / "bare.py", Path(folder) / "copy"
        bare.write_text(BARE, encoding="utf-8")
        shutil.copytree(PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SEEDANCE_")}
        environ = {**kept, "SEEDANCE_DATA_DIR": folder}
        uncompiled = {**environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        bare_call: dict[str, Any] = {"name": "tool_0", "arguments": {"text": "x"}}
        call: dict[str, Any] = {"name": "list_jobs", "arguments": {}}
        started = {
            "bare": ([sys.executable, str(bare)], protocol, environ, bare_call),
            "seedance": ([sys.executable, "-m", "seedance_mcp"], protocol, environ, call),
            "alone": ([sys.executable, "-c", ALONE], protocol, environ, call),
            "first": ([sys.executable, "-m", "seedance_mcp"], protocol, uncompiled, call),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in started}
        for number in range(runs + 1):
            for name, start in started.items():
                sample = measure(*start)
                samples[name] += [sample] if number else []
    figures: dict[str, Any] = {name: _summarize(taken) for name, taken in samples.items()}
    bare_figures = figures["bare"]
    ratios = {key: round(value / bare_figures[key], 3) for key, value in figures["seedance"].items()}
    pairs = zip(samples["seedance"], samples["alone"], strict=True)
    call_ratio = statistics.median(ours.call_seconds / alone.call_seconds for ours, alone in pairs)
    return {"protocol": protocol, "runs": runs, **figures, "ratio": ratios, "call_ratio": round(call_ratio, 3)}


def _summarize(samples: list[Sample]) -> dict[str, float]:
    return {
        "tools_ms": round(1000 * statistics.median(sample.tools_seconds for sample in samples), 1),
        "fastest_ms": round(1000 * min(sample.tools_seconds for sample in samples), 1),
        "loaded_ms": round(1000 * statistics.median(sample.loaded_seconds for sample in samples), 1),
        "call_ms": round(1000 * statistics.median(sample.call_seconds for sample in samples), 1),
        "cpu_ms": round(1000 * statistics.mean(sample.cpu_seconds for sample in samples), 1),
        "rss_mib": round(statistics.median(sample.rss_kib for sample in samples) / 1024, 1),
    }


def main() -> int:
    """Read the arguments, measure, show; exits with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--protocol", choices=("newest", "legacy"), default="newest")
    add_json_option(parser)
    arguments = parser.parse_args()
    figures = compare(runs=arguments.runs, protocol=arguments.protocol)
    if arguments.json == RAW:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{'':<10}" + "".join(f"{key:>12}" for key in figures["bare"]))
        for name in ("bare", *OURS, "ratio"):
            print(f"{name:<10}" + "".join(f"{value:>12}" for value in figures[name].values()))
        print(f"first call, of the time without the greeter: {figures['call_ratio']}")
    ratio, more_ms = figures["ratio"], figures["first"]["tools_ms"] - figures["seedance"]["tools_ms"]
    bare = figures["bare"]
    reported = (
        report("startup.tools", ratio["tools_ms"], f"{bare['tools_ms']} ms"),
        report("startup.memory", ratio["rss_mib"], f"{bare['rss_mib']} MiB"),
        report("startup.call", figures["call_ratio"]),
        report("startup.uncompiled", more_ms / 1000),
    )
    return finish(reported, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
