"""A stopping sandbox closes every connection, also those that are being accepted."""

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
    """Yield the list of resources that were collected while open."""
    found: list[str] = []
    gc.collect()
    gc.freeze()  # so that the test collects only what it leaves
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)

        def remember(seen: Any) -> None:
            found.append(str(seen.exc_value))

        monkeypatch.setattr("sys.unraisablehook", remember)
        yield found
    gc.unfreeze()


def connect(sandbox: Sandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(sandbox.url.rpartition(":")[2])))


def test_connections_during_a_stop_are_closed(left_open: list[str]) -> None:
    for _ in range(ROUNDS):
        sandbox = Sandbox()
        sandbox.start()
        connections = [connect(sandbox) for _ in range(3)]
        stopping = threading.Thread(target=sandbox.stop)
        stopping.start()
        with suppress(OSError):  # the port may be closed by then
            connections.append(connect(sandbox))
        stopping.join()
        for connection in connections:
            connection.close()
        gc.collect()

    assert left_open == []


def test_connection_with_unread_answers_is_closed(left_open: list[str]) -> None:
    sandbox = Sandbox()
    sandbox.start()
    with connect(sandbox) as client:
        client.sendall(REQUEST * 200)
        sandbox.stop()
    gc.collect()

    assert left_open == []
