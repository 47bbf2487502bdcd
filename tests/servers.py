"""Servers of our own making, on real ports, that say exactly what a test wants said: hostile bytes included."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

REQUEST_BYTES_MAX = 20_000_000
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of http servers, which otherwise load every certificate authority of the machine: a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came over the wire; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What a raw server was asked, and where it is."""

    scheme: str
    port: int = 0
    asked: list[Asked] = field(default_factory=list[Asked])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve_raw(
    answer: Answer, *, tls: ssl.SSLContext | None = None, keeps_open: bool = False
) -> AsyncGenerator[RawServer]:
    """Serve a request per connection, or any number of them: read it, let `answer` write what it likes, close."""
    server = RawServer("http" if tls is None else "https")

    tasks: set[asyncio.Task[object]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # CancelledError ends here: the only one who cancels is the end of the test, below.
        with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                asked = await _read_request(reader)
                server.asked.append(asked)
                await answer(asked, writer)
                await writer.drain()
                if not keeps_open:
                    break
        writer.close()
        with suppress(asyncio.CancelledError, OSError, ssl.SSLError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)
        tasks.discard(task)

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = min(int(headers.get("content-length", "0")), REQUEST_BYTES_MAX)
    return Asked(method, target, headers, await reader.readexactly(length))


async def ask_sandbox(url: str, path: str, body: object = None) -> Any:
    """Ask a route of a sandbox for JSON; to make a client of httpx takes longer than most of its answers.

    Args:
        url: The sandbox's.
        path: The route's.
        body: What is sent as JSON; None asks by GET.
    """
    host, _, port = url.removeprefix("http://").rpartition(":")
    data = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.0",
        f"host: {host}:{port}",
        f"content-length: {len(data)}",
    ]
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    assert head.split()[1:2] == [b"200"], (head, content)
    return json.loads(content)


def say(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer that is the same every time. Underscores in header names stand for hyphens."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(build_answer(status, body, **headers))

    return answer


def build_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    headers = {"connection": "close", **headers}
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
