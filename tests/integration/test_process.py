"""The process: leaves promptly, keeps stdout for JSON-RPC, and lists its tools whatever comes in."""

import json
import os
import select
import signal
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from seedance_mcp.adapters.ledger.sqlite_driver import BUSY_SECONDS
from tests.forks import build_command
from tests.integration.host import CALL_SECONDS, Answer, Bench, Host, run_in_thread

MakeBench = Callable[..., Awaitable[Bench]]
SLACK_SECONDS = 20
"""What a busy machine may add."""

LEAVE_SECONDS = 30
SILENCE_SECONDS = 1
"""How long a server may say and take nothing until it counts as stuck."""
WAIT_SECONDS = 8
MOVABLE_CLOCK = """
import sys, time
from pathlib import Path
right, ahead = time.time, Path(sys.argv[1])
time.time = lambda: right() + float(ahead.read_text() or 0)
from seedance_mcp.server.stdio import serve
serve()
"""
"""A server whose clock is ahead by what a file says."""

PATIENT = """
from seedance_mcp.adapters.ledger import sqlite_driver
from seedance_mcp.server.stdio import serve
sqlite_driver.BUSY_SECONDS = 60
serve()
"""
"""A server that waits long for a locked ledger."""

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


def start(program: str = "seedance_mcp", *, forked: bool = False, **environ: str) -> "subprocess.Popen[bytes]":
    command = build_command(program, afresh=not forked)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**plain, **environ},
    )


@contextmanager
def running(
    program: str = "seedance_mcp", *, forked: bool = False, **environ: str
) -> Generator["subprocess.Popen[bytes]"]:
    """A server that has said hello; killed in the end where it did not end by itself."""
    with start(program, forked=forked, **environ) as process:
        try:
            say(process, HELLO)
            hear(process)
            say(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
            yield process
        finally:
            process.kill()


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
@pytest.mark.parametrize(("number", "code", "forked"), [(signal.SIGTERM, 0, False), (signal.SIGINT, 130, True)])
def test_a_signal_ends_it_while_stdin_stays_open(number: signal.Signals, code: int, forked: bool) -> None:
    with running(forked=forked) as process:
        process.send_signal(number)
        assert process.wait(LEAVE_SECONDS) == code


def test_a_closed_stdin_ends_it() -> None:
    process = start(forked=True)
    say(process, HELLO)
    hear(process)
    stdout, _ = process.communicate(timeout=LEAVE_SECONDS)
    assert process.returncode == 0
    assert stdout == b""


def test_malformed_lines_are_survived_and_stdout_is_json_rpc_only() -> None:
    process = start(forked=True)
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


async def test_a_call_with_a_huge_argument_is_refused_in_words(bench: Bench) -> None:
    async with bench.host() as host:
        answer = await host.call("animate_image", image="x" * 1_000_000, prompt="y")
    assert answer.failed
    assert len(answer.text) < 2000


def ask(process: "subprocess.Popen[bytes]", tool: str, **arguments: str) -> None:
    call = {"name": tool, "arguments": arguments}
    say(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})


async def wait_for_end(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a server that was told to end."""
    return await run_in_thread(lambda: process.wait(LEAVE_SECONDS))


def close_stdin(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()


def terminate(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)


def interrupt(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)


ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
IN_EVERY_WAY = pytest.mark.parametrize(
    ("tell", "code"), [(close_stdin, 0), pytest.param(interrupt, 130, marks=ON_POSIX)]
)
"""How a host tells a server to end, and the exit code of it; every signal ends it alike but for the code."""
Tell = Callable[["subprocess.Popen[bytes]"], None]


async def end_in_mid_payment(bench: Bench, picture: Path, tell: Tell) -> int:
    """Tell it to end right after the first settlement; the exit code."""
    with running(forked=True, **bench.environ) as process:
        ask(process, "animate_image", image=str(picture), prompt="x")
        paid: list[int] = []
        while not paid:
            await anyio.sleep(0.02)
            paid = await bench.paid()
        tell(process)
        code = await wait_for_end(process)
    await bench.break_with()
    return code


@IN_EVERY_WAY
async def test_an_end_in_mid_payment_waits_for_the_answer_and_nothing_is_bought_again(
    make_bench: MakeBench, picture: Path, tell: Tell, code: int
) -> None:
    bench = await make_bench(faults=("slow_answer=0.5:1",))
    assert await end_in_mid_payment(bench, picture, tell) == code
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000]


@IN_EVERY_WAY
async def test_an_answer_that_does_not_come_holds_no_one_and_its_payment_is_in_the_ledger(
    make_bench: MakeBench, picture: Path, tell: Tell, code: int
) -> None:
    bench = await make_bench(faults=("slow_answer=30:1",))
    assert await end_in_mid_payment(bench, picture, tell) == code
    async with bench.host() as host:
        status = await host.call("wallet_status")

    assert status["spent_24h_usd"] == "0.01"
    assert [payment["state"] for payment in status["unfinished_payments"]] == ["signed"]


@ON_POSIX
async def test_a_server_whose_ledger_is_locked_answers_other_calls_and_ends_at_a_signal(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    program = tmp_path / "patient.py"
    program.write_text(PATIENT)
    with running(str(program), forked=True, **bench.environ) as process:
        ask(process, "wallet_status")
        while hear(process).get("id") != 2:
            pass
        other = sqlite3.connect(bench.folder / "data/sandbox/ledger.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ask(process, "animate_image", image=str(picture), prompt="x")
        for number in range(10, 20):  # also while the purchase waits for the lock
            await anyio.sleep(0.1)
            say(process, {"jsonrpc": "2.0", "id": number, "method": "ping"})
            while hear(process).get("id") != number:
                pass
        terminate(process)
        assert await wait_for_end(process) == 0
    other.close()


async def test_a_ledger_that_another_process_has_locked_is_told_of_before_a_host_believes_us_dead(
    bench: Bench, picture: Path
) -> None:
    async with bench.host(process="forked") as host:
        await host.call("wallet_status")
        other = sqlite3.connect(bench.folder / "data/sandbox/ledger.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began_at = time.monotonic()
        answer = await host.call("animate_image", image=str(picture), prompt="x")
        waited = time.monotonic() - began_at
        other.close()

    assert answer.text.startswith("ledger:")
    assert waited < BUSY_SECONDS + SLACK_SECONDS < CALL_SECONDS
    assert await bench.paid() == []


@ON_POSIX
async def test_a_host_that_does_not_read_what_is_logged_holds_no_one() -> None:
    with running(forked=True, SEEDANCE_LOG_LEVEL="DEBUG") as process:
        await run_in_thread(lambda: fill_stderr(process))
        terminate(process)
        assert await wait_for_end(process) == 0


def fill_stderr(process: "subprocess.Popen[bytes]") -> None:
    """Say what is logged, until a server cannot log any more and takes nothing."""
    assert process.stdin is not None
    nonsense = json.dumps({"jsonrpc": "2.0", "method": "notifications/nonsense"}).encode() + b"\n"
    stdin = process.stdin.fileno()
    os.set_blocking(stdin, False)
    while select.select([], [stdin], [], SILENCE_SECONDS)[1]:
        os.write(stdin, nonsense)
    os.set_blocking(stdin, True)


async def test_a_clock_that_is_set_back_in_mid_call_does_not_make_the_call_longer(
    make_bench: MakeBench, picture: Path, tmp_path: Path
) -> None:
    bench = await make_bench(faults=("stuck_job",))
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    program = tmp_path / "clock.py"
    program.write_text(MOVABLE_CLOCK)
    command, *arguments = build_command(str(program), str(ahead))
    server = StdioServerParameters(command=command, args=arguments, env={**os.environ, **bench.environ})
    answers: list[Answer] = []
    waited: list[float] = []

    async def wait(host: Host) -> None:
        began_at = time.monotonic()
        answers.append(await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=WAIT_SECONDS))
        waited.append(time.monotonic() - began_at)

    async with Client(server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(wait, Host(client))
        while len(await bench.paid()) < 2:
            await anyio.sleep(0.05)
        ahead.write_text(str(-2 * CALL_SECONDS))
        assert not waited

    assert waited[0] < WAIT_SECONDS + SLACK_SECONDS
    assert not answers[0].failed
