"""A round-robin HTTP proxy before the replicas: one request per connection, streamed in both directions.

It takes the next replica only if the connection was refused, and looks at no health. So a frozen replica keeps its
share of the calls, as behind the plainest of load balancers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count

CHUNK_BYTES = 65_536
HEAD_BYTES_MAX = 65_536
CONNECT_SECONDS = 5


class Proxy:
    """Forwards each request to the next replica.

    Attributes:
        port: Where it listens.
        targets: Ports of the replicas.
        requests: How many requests each port was given.

    Args:
        targets: Ports of the replicas.
        headers: Lines that it adds to the head of each request.
    """

    def __init__(self, targets: Sequence[int], *, headers: Sequence[bytes] = ()) -> None:
        self._headers = tuple(headers)
        self.port = 0
        self.targets = tuple(targets)
        self.requests = dict.fromkeys(self.targets, 0)
        self._turn = count()
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Proxy]:
        """Listen on a free port while the block runs."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # CancelledError ends here: the only one who cancels is the end of `running`.
        with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._forward(reader, writer)
        writer.close()
        self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_read_length(head))
        upstream = await self._connect()
        if upstream is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        answers, requests = upstream
        try:
            requests.write(_close_after(head, self._headers) + body)
            await requests.drain()
            await _stream(answers, writer, until_gone=reader)
        finally:
            requests.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Connect to the next replica that does not refuse; None if all do."""
        first = next(self._turn)
        for index in range(len(self.targets)):
            port = self.targets[(first + index) % len(self.targets)]
            with suppress(ConnectionRefusedError):
                connection = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_SECONDS)
                self.requests[port] += 1
                return connection
        return None


async def _stream(
    answers: asyncio.StreamReader, writer: asyncio.StreamWriter, *, until_gone: asyncio.StreamReader
) -> None:
    """Pass an answer on as it comes, until it ends or its client has gone."""
    gone = asyncio.ensure_future(until_gone.read(1))
    try:
        while True:
            chunk = asyncio.ensure_future(answers.read(CHUNK_BYTES))
            await asyncio.wait((chunk, gone), return_when=asyncio.FIRST_COMPLETED)
            if not chunk.done():
                chunk.cancel()
                return
            if not chunk.result():
                return
            writer.write(chunk.result())
            await writer.drain()
    finally:
        gone.cancel()


def _read_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def _close_after(head: bytes, headers: Sequence[bytes]) -> bytes:
    """Return the head of a request that asks for one answer on this connection, with further headers."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([lines[0], b"connection: close", *headers, *lines[1:]])
