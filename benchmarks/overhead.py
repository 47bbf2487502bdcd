"""Overhead: the processor time and the time that we add to a video, against a script that does the unpaid steps alone.

Usage: python benchmarks/overhead.py [--runs 20] [--profile FILE] [--json [FILE]]

A sandbox whose jobs take no time runs in a process of its own. A warm MCP server over stdio animates one picture with a
new prompt each time, from the call to the result with the saved video. After each call the script (`--role script`)
does what costs nothing for the same job: it requests the price, signs in, reads the job, downloads the video and writes
it. Linux only: processor time is read from `/proc`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, add_json_option, finish, report
from seedance_mcp.sandbox import EXAMPLE_IMAGE

ROUNDS_MAX = 20
STOP_SECONDS = 20
HELLO: dict[str, Any] = {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "overhead", "version": "1"},
}  # fmt: skip
STUDIO = """
import sys, time
from seedance_mcp.sandbox import Sandbox, SandboxSettings
sandbox = Sandbox(SandboxSettings(job_seconds=0.001, funded={sys.argv[1]: 10**10}))
sandbox.start()
print(sandbox.url, flush=True)
time.sleep(10**6)
"""
PROFILED = """
import cProfile, os, sys, time
profile, leave = cProfile.Profile(time.thread_time), os._exit

def write(status=0):
    profile.disable()
    profile.dump_stats(sys.argv[1])
    leave(status)

os._exit = write
from seedance_mcp.server.stdio import serve
profile.runcall(serve)
write()
"""
"""A server that writes the profile of its main thread, in processor time, when it ends."""
SCRIPT = """
import base64, json, os, secrets, sys, tempfile, time
import httpx
from eth_account import Account
from eth_account.messages import encode_defunct

url, account = sys.argv[1], Account.from_key(sys.argv[2])
http, folder = httpx.Client(trust_env=False), tempfile.mkdtemp()

def sign_in(target):
    stamp = lambda ahead: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + ahead))
    info = {"domain": "127.0.0.1", "uri": target, "version": "1", "chainId": "eip155:402402", "type": "eip191",
            "nonce": secrets.token_hex(16), "issuedAt": stamp(-1), "expirationTime": stamp(240),
            "statement": "Sign in to verify your wallet identity"}
    lines = [f"{info['domain']} wants you to sign in with your Ethereum account:", account.address, "",
             info["statement"], "", f"URI: {target}", "Version: 1", "Chain ID: 402402", f"Nonce: {info['nonce']}",
             f"Issued At: {info['issuedAt']}", f"Expiration Time: {info['expirationTime']}"]
    signature = account.sign_message(encode_defunct(text=chr(10).join(lines))).signature.to_0x_hex()
    proof = {**info, "address": account.address, "signature": signature}
    return {"sign-in-with-x": base64.b64encode(json.dumps(proof).encode()).decode()}

for line in sys.stdin:
    began_at, used = time.perf_counter(), time.process_time()
    job_id = json.loads(line)["job_id"]
    target = f"{url}/api/jobs/{job_id}"
    job = http.get(target, headers=sign_in(target)).json()
    price = http.post(f"{url}/api/generate/seedance-fast/i2v", json=job["input"])
    assert price.status_code == 402, price.text
    json.loads(base64.b64decode(price.headers["payment-required"]))
    with open(os.path.join(folder, f"{job_id}.mp4"), "wb") as file:
        with http.stream("GET", job["result"]["videoUrl"]) as video:
            for chunk in video.iter_bytes():
                file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    with open(os.path.join(folder, f"{job_id}.jpg"), "wb") as file:
        file.write(http.get(job["result"]["thumbnailUrl"]).content)
    print(json.dumps({"seconds": time.perf_counter() - began_at, "cpu": time.process_time() - used}), flush=True)
"""


class Server:
    """An MCP server over stdio."""

    def __init__(self, url: str, key: str, folder: Path, profile: str | None) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
        environ |= {
            "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": url, "SEEDANCE_DATA_DIR": str(folder),
            "SEEDANCE_WALLET_KEY": key, "SEEDANCE_MAX_PER_DAY": "1000",
        }  # fmt: skip
        program = ["-c", PROFILED, profile] if profile else ["-m", "seedance_mcp"]
        command = [sys.executable, *program]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        self._number = 0
        self.ask("initialize", HELLO)

    def ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a request."""
        assert self.process.stdin is not None  # noqa: S101 - it was opened as a pipe
        assert self.process.stdout is not None  # noqa: S101 - it was opened as a pipe
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": parameters}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == self._number:
                return message["result"]
        raise SystemExit("the server ended")

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Return the structured result of a tool call."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise SystemExit(f"{tool} failed: {result['content']}")
        return result["structuredContent"]

    def animate(self, prompt: str) -> dict[str, Any]:
        """Buy a video and wait for its file."""
        job = self.call("animate_image", image=str(EXAMPLE_IMAGE), prompt=prompt)
        for _ in range(ROUNDS_MAX):
            if job["file"]:
                return job
            job = self.call("get_job", job_id=job["job_id"])
        raise SystemExit("the video did not come")

    def cpu_seconds(self) -> float:
        """Return the processor time so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*command: str) -> Generator[subprocess.Popen[str]]:
    """Run a process of ours, with pipes."""
    process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def measure(runs: int, profile: str | None) -> dict[str, Any]:
    """Run both in turn."""
    from eth_account import Account

    account = Account.create()
    key = "0x" + bytes(account.key).hex()
    with (
        tempfile.TemporaryDirectory(prefix="overhead-") as folder,
        running("-c", STUDIO, account.address) as studio,
    ):
        assert studio.stdout is not None  # noqa: S101 - it was opened as a pipe
        url = studio.stdout.readline().strip()
        with running("-c", SCRIPT, url, key) as script:
            server = Server(url, key, Path(folder), profile)
            run_script(script, server.animate("the first, which loads what the server needs")["job_id"])
            ours: list[float] = []
            theirs: list[dict[str, float]] = []
            cpu_before = server.cpu_seconds()
            for number in range(runs):
                began_at = time.perf_counter()
                job = server.animate(f"The boat rocks gently, {number}")
                ours.append(time.perf_counter() - began_at)
                theirs.append(run_script(script, job["job_id"]))
            cpu = server.cpu_seconds() - cpu_before
            server.process.send_signal(signal.SIGTERM)
            server.process.communicate(timeout=STOP_SECONDS)
    return {
        "cpu_ms": round(1000 * cpu / runs, 1),
        "script_cpu_ms": round(1000 * statistics.mean(one["cpu"] for one in theirs), 1),
        "seconds": round(statistics.median(ours), 3),
        "script_seconds": round(statistics.median(one["seconds"] for one in theirs), 3),
    }


def run_script(script: subprocess.Popen[str], job_id: str) -> dict[str, float]:
    """Let the script do the same for a job, and return what it took."""
    assert script.stdin is not None  # noqa: S101 - it was opened as a pipe
    assert script.stdout is not None  # noqa: S101 - it was opened as a pipe
    script.stdin.write(json.dumps({"job_id": job_id}) + "\n")
    script.stdin.flush()
    return json.loads(script.stdout.readline())


def main() -> int:
    """Measure and show; exits with 1 where the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--profile", help="write the profile of the server to this file")
    add_json_option(parser)
    arguments = parser.parse_args()
    figures = measure(arguments.runs, arguments.profile)
    if arguments.json == RAW:
        print(json.dumps(figures))
    else:
        print(f"server {figures['cpu_ms']} ms of processor time a video, {figures['seconds']} s from call to file")
        print(f"script {figures['script_cpu_ms']} ms, {figures['script_seconds']} s")
    reported = [
        report("overhead.cpu", figures["cpu_ms"], f"{figures['script_cpu_ms']} ms"),
        report("overhead.time", figures["seconds"] / figures["script_seconds"], f"{figures['script_seconds']} s"),
    ]
    return finish(reported, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
