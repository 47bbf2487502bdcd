"""Servers of our own making, on real ports, that say exactly what a test wants said: hostile bytes included."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

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
