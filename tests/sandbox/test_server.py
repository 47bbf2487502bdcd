"""The sandbox's end: whoever is connected then, or is just coming, is let go of; nothing stays open behind it."""

import gc
import socket
import threading
import warnings
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from seedance_mcp.sandbox import Sandbox

ROUNDS = 12
REQUEST = b"GET /openapi.json HTTP/1.1\r\nhost: sandbox\r\n\r\n"


@pytest.fixture
def left_open(monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
    """What was still open when it was thrown away."""
    found: list[str] = []
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)

        def remember(seen: Any) -> None:
            found.append(str(seen.exc_value))

        monkeypatch.setattr("sys.unraisablehook", remember)
        yield found


def connect(sandbox: Sandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(sandbox.url.rpartition(":")[2])))


def test_who_comes_while_a_sandbox_stops_leaves_nothing_open(left_open: list[str]) -> None:
    for _ in range(ROUNDS):
        sandbox = Sandbox()
        sandbox.start()
        comers = [connect(sandbox) for _ in range(3)]
        stopping = threading.Thread(target=sandbox.stop)
        stopping.start()
        with suppress(OSError):  # the door may be closed by then
            comers.append(connect(sandbox))
        stopping.join()
        for comer in comers:
            comer.close()
        gc.collect()

    assert left_open == []


def test_a_client_that_never_reads_its_answers_leaves_nothing_open(left_open: list[str]) -> None:
    sandbox = Sandbox()
    sandbox.start()
    with connect(sandbox) as deaf:
        deaf.sendall(REQUEST * 200)
        sandbox.stop()
    gc.collect()

    assert left_open == []
