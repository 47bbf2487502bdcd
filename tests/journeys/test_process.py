"""The process: leaves promptly, keeps stdout for JSON-RPC, and lists its tools whatever comes in."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.journeys.host import Bench, run_in_thread

MakeBench = Callable[..., Awaitable[Bench]]
SLACK_SECONDS = 2
"""What a busy machine may add."""

LEAVE_SECONDS = 10
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def start(**environ: str) -> "subprocess.Popen[bytes]":
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "seedance_mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**plain, **environ},
    )


def say(process: "subprocess.Popen[bytes]", *messages: object) -> None:
    assert process.stdin is not None
    for message in messages:
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        process.stdin.write(line + b"\n")
    process.stdin.flush()


def hear(process: "subprocess.Popen[bytes]") -> dict[str, object]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_while_stdin_stays_open(number: signal.Signals, code: int) -> None:
    with start() as process:
        say(process, HELLO)
        hear(process)
        process.send_signal(number)
        assert process.wait(LEAVE_SECONDS) == code


def test_a_closed_stdin_ends_it() -> None:
    process = start()
    say(process, HELLO)
    hear(process)
    stdout, _ = process.communicate(timeout=LEAVE_SECONDS)
    assert process.returncode == 0
    assert stdout == b""


def test_malformed_lines_are_survived_and_stdout_is_json_rpc_only() -> None:
    process = start()
    say(process, HELLO)
    hear(process)
    say(
        process,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        b"{",
        b"\xff\xfe\xfd",
        b"[]",
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "nonsense", "arguments": {}}},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/list"},
    )
    answers: dict[object, dict[str, object]] = {}
    while 3 not in answers:
        answer = hear(process)
        assert answer["jsonrpc"] == "2.0"
        answers[answer.get("id")] = answer
    assert "Traceback" not in json.dumps(answers)
    process.communicate(timeout=LEAVE_SECONDS)


async def test_the_embedded_sandbox_needs_no_wallet_and_no_second_terminal(tmp_path: Path, picture: Path) -> None:
    from mcp import Client, StdioServerParameters

    from tests.journeys.host import Host

    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "seedance_mcp"],
        env={"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path / "data"), "PATH": os.environ["PATH"]},
    )
    async with Client(server) as client:
        clip = await Host(client).animate_to_the_end(image=str(picture), prompt="x")
    assert clip["status"] == "complete"
    assert (tmp_path / "data/sandbox/wallet.json").stat().st_mode & 0o077 == 0


async def test_a_call_with_a_huge_argument_is_refused_in_words(bench: Bench) -> None:
    async with bench.host() as host:
        answer = await host.call("animate_image", image="x" * 1_000_000, prompt="y")
    assert answer.failed
    assert len(answer.text) < 2000


async def end_in_mid_payment(bench: Bench, picture: Path, number: signal.Signals) -> int:
    """Send a signal right after the first settlement; the exit code, which must come within two seconds."""
    with start(**bench.environ) as process:
        say(process, HELLO)
        hear(process)
        call = {"name": "animate_image", "arguments": {"image": str(picture), "prompt": "x"}}
        say(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        say(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})
        paid: list[int] = []
        while not paid:
            paid = await bench.paid()
        process.send_signal(number)
        began_at = time.monotonic()
        code = await run_in_thread(lambda: process.wait(LEAVE_SECONDS))
        assert time.monotonic() - began_at < 2 + SLACK_SECONDS
    await bench.break_with()
    return code


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_in_mid_payment_waits_for_the_answer_and_nothing_is_bought_again(
    make_bench: MakeBench, picture: Path, number: signal.Signals, code: int
) -> None:
    bench = await make_bench(faults=("slow_answer=0.5:1",))
    assert await end_in_mid_payment(bench, picture, number) == code
    async with bench.host() as host:
        clip = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert clip["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
async def test_an_answer_that_does_not_come_holds_nobody_and_its_payment_is_in_the_books(
    make_bench: MakeBench, picture: Path
) -> None:
    bench = await make_bench(faults=("slow_answer=30:1",))
    assert await end_in_mid_payment(bench, picture, signal.SIGTERM) == 0
    async with bench.host() as host:
        status = await host.call("wallet_status")

    assert status["spent_24h_usd"] == "0.01"
    assert [payment["state"] for payment in status["unfinished_payments"]] == ["signed"]
