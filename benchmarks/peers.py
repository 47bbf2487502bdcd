"""Peers: how soon does a host see our tools, against other makers' MCP servers for pictures, videos and payments?

Usage: python benchmarks/peers.py [--runs 9] [--folder FOLDER] [--json [FILE]]

Installs pinned servers from npm and PyPI into a folder of its own (a temporary one, which is used again; it needs Node
and npm), starts them and ours in turn, and measures from the spawn to the answer of `tools/list` over stdio, by the
handshake of 2025-06-18. Keys are placeholders, the home folder is empty, and no tool is called. A peer that cannot be
installed or started is listed with the reason. Ends with 1 if a peer is faster than ours, or if none was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, Figure, add_json_option, finish, report

INSTALL_SECONDS = 300
ANSWER_SECONDS = 60
LINES_MAX = 200
REASON_CHARACTERS_MAX = 100
CLIENT = {"name": "peers", "version": "1"}
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": CLIENT}


class PeerError(Exception):
    """A peer could not be installed or started."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server on npm, or on PyPI.

    Attributes:
        package: Its name there.
        version: The pinned version.
        arguments: What its program needs to serve on stdio.
        environ: Placeholders of the keys that it needs to start.
        also: What else is installed: npm leaves out peers of packages, and pip takes versions that it cannot use.
        program: The name of its program, if it is on PyPI.
    """

    package: str
    version: str
    arguments: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict[str, str])
    also: tuple[str, ...] = ()
    program: str = ""


PEERS = {
    "replicate": Peer("replicate-mcp", "0.9.0", environ={"REPLICATE_API_TOKEN": "none"}),
    "kie-ai": Peer("@felores/kie-ai-mcp-server", "5.0.0", environ={"KIE_AI_API_KEY": "none"}),
    "AgentCash": Peer("agentcash", "0.14.4", arguments=("server",), also=("ethers@6.17.0",)),
    "fal": Peer("fal-mcp-server", "1.18.0", environ={"FAL_KEY": "none"}, also=("mcp==1.30.0",), program="fal-mcp"),
}


def install(peer: Peer, folder: Path) -> list[str]:
    """Install a peer unless it is there, and return its command.

    Raises:
        PeerError: npm or pip failed, or the package has no program.
    """
    place = folder / f"{peer.package.replace('/', '_')}-{peer.version}"
    return install_python(peer, place) if peer.program else install_node(peer, place)


def install_python(peer: Peer, place: Path) -> list[str]:
    """Install a peer from PyPI into an environment of its own unless it is there, and return its command."""
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    command = [str(programs / peer.program), *peer.arguments]
    if not (programs / peer.program).exists():
        run([sys.executable, "-m", "venv", str(place)])
        wanted = (f"{peer.package}=={peer.version}", *peer.also)
        run([str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    return command


def install_node(peer: Peer, place: Path) -> list[str]:
    """Install a peer from npm unless it is there, and return its command."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise PeerError("Node and npm are not installed")
    package = place / "node_modules" / peer.package
    if not (package / "package.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps", "--loglevel=error")
        run([npm, "install", "--prefix", str(place), *flags, f"{peer.package}@{peer.version}", *peer.also])
    described: dict[str, Any] = json.loads((package / "package.json").read_text(encoding="utf-8"))
    program = next(iter(dict[str, str](described.get("bin", {})).values()), None)
    if program is None:
        raise PeerError("it has no program")
    return [node, str(package / program), *peer.arguments]


def run(command: list[str]) -> None:
    """Run a command of an installation.

    Raises:
        PeerError: It failed, or took too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise PeerError(f"its installation took more than {INSTALL_SECONDS} s") from late
    if done.returncode != 0:
        raise PeerError(f"it could not be installed: {shorten(done.stderr)}")


def measure(command: list[str], environ: dict[str, str], folder: str) -> float:
    """Return the seconds from the spawn to the answer of `tools/list`.

    Raises:
        PeerError: The server ended, or did not answer in time.
    """
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environ, cwd=folder
        ) as server,
    ):
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read_lines, args=(server, lines), daemon=True).start()
        try:
            _send(server, {"id": 1, "method": "initialize", "params": HELLO})
            _receive(lines, 1)
            _send(server, {"method": "notifications/initialized"})
            _send(server, {"id": 2, "method": "tools/list"})
            tools = _receive(lines, 2)["tools"]
            seconds = time.perf_counter() - started
        except (OSError, queue.Empty, KeyError) as exc:
            errors.seek(0)
            said = shorten(errors.read().decode(errors="replace"))
            raise PeerError(f"it did not list its tools: {said or type(exc).__name__}") from exc
        finally:
            server.kill()
    if not tools:
        raise PeerError("it lists no tools")
    return seconds


def _read_lines(server: subprocess.Popen[bytes], lines: queue.Queue[bytes]) -> None:
    assert server.stdout is not None  # noqa: S101 - it was opened as a pipe
    for line in server.stdout:
        lines.put(line)


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin is not None  # noqa: S101 - it was opened as a pipe
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    server.stdin.flush()


def _receive(lines: queue.Queue[bytes], number: int) -> dict[str, Any]:
    for _ in range(LINES_MAX):
        line = lines.get(timeout=ANSWER_SECONDS)
        message: Any = json.loads(line) if line.lstrip().startswith(b"{") else {}
        if message.get("id") == number:
            return message["result"]
    raise queue.Empty


def shorten(text: str) -> str:
    """Return the first line that names an error, or else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = (line for line in lines if re.match(r"(\w*Error: |npm error )", line))
    return next(named, lines[-1] if lines else "")[:REASON_CHARACTERS_MAX]


def compare(folder: Path, runs: int) -> dict[str, Any]:
    """Start all servers in turn; the first start of each only warms the disk's cache."""
    absent, commands = dict[str, str](), {"seedance": [sys.executable, "-m", "seedance_mcp"]}
    for name, peer in PEERS.items():
        try:
            commands[name] = install(peer, folder)
        except PeerError as exc:
            absent[name] = str(exc)
    samples: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory(prefix="peers-home-", ignore_cleanup_errors=True) as home:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
        for number in range(runs + 1):
            for name in [one for one in commands if one not in absent]:
                own = PEERS[name].environ if name in PEERS else {"SEEDANCE_DATA_DIR": home}
                try:
                    seconds = measure(commands[name], {**kept, "HOME": home, "USERPROFILE": home, **own}, home)
                except PeerError as exc:
                    if name not in PEERS:
                        raise
                    absent[name] = str(exc)
                    continue
                samples[name] += [seconds] if number else []
    medians = {name: statistics.median(taken) for name, taken in samples.items() if name not in absent}
    return {"runs": runs, "medians": medians, "absent": absent}


def main() -> int:
    """Read the arguments, measure, show; return 1 if we are not ahead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "seedance-peers")
    add_json_option(parser)
    arguments = parser.parse_args()
    figures = compare(arguments.folder, arguments.runs)
    medians: dict[str, float] = figures["medians"]
    ours = medians["seedance"]
    if arguments.json == RAW:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{'server':<12}{'version':<12}{'tools after':>12}{'of ours':>10}")
        for name, seconds in sorted(medians.items(), key=lambda pair: pair[1]):
            version = PEERS[name].version if name in PEERS else ""
            print(f"{name:<12}{version:<12}{seconds * 1000:>9.0f} ms{seconds / ours:>10.2f}")
        for name, reason in figures["absent"].items():
            print(f"{name}: not measured: {reason}")
    if len(medians) == 1:
        print("broken: no peer was measured")
    return finish(build_report(medians), arguments.json) or int(len(medians) == 1)


def build_report(medians: dict[str, float]) -> list[Figure]:
    """Return the figure of the table; none if no peer was measured.

    Args:
        medians: Seconds by the name of a server.
    """
    ours = medians["seedance"]
    peers = sorted((seconds, name) for name, seconds in medians.items() if name in PEERS)
    beside = ", ".join(f"{name} {seconds * 1000:.0f} ms" for seconds, name in peers)
    return [report("peers.fastest", ours / peers[0][0], beside)] if peers else []


if __name__ == "__main__":
    sys.exit(main())
