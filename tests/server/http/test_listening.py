"""Listening sockets: their connections send each write at once (RFC 9293, section 3.7.4: Nagle's algorithm is off).

An answer in two small writes would otherwise wait for the client's delayed acknowledgement, about 40 ms.
"""

import socket
from contextlib import closing

from seedance_mcp.app.web.door import open_door
from seedance_mcp.config.hosted import ListenAddress
from seedance_mcp.sandbox import Sandbox
from seedance_mcp.server.hosted import bind_address


def test_connections_to_a_hosted_server_send_at_once() -> None:
    with closing(bind_address(ListenAddress("127.0.0.1", 0))) as listening:
        listening.listen()
        assert_sends_at_once(listening)


def test_connections_to_a_local_page_send_at_once() -> None:
    listening, _ = open_door(0, name="The test")
    with closing(listening):
        assert_sends_at_once(listening)


def test_connections_to_the_sandbox_send_at_once() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with Sandbox(sock=listening):
        assert is_sending_at_once(listening)


def assert_sends_at_once(listening: socket.socket) -> None:
    with closing(socket.create_connection(listening.getsockname())):
        connection, _ = listening.accept()
        with closing(connection):
            assert is_sending_at_once(connection)


def is_sending_at_once(one: socket.socket) -> bool:
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
