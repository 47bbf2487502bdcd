"""A receiver of webhook messages on loopback, which checks them by the specification alone."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream


@dataclass(frozen=True, slots=True)
class Received:
    """A message whose signature was right."""

    id: str
    body: dict[str, Any]


@dataclass
class Receiver:
    """A server for HTTP, written here.

    Attributes:
        secret: As the command printed it.
        statuses: Of the next answers; 200 after the last one.
        holds: Keep requests without an answer.
    """

    secret: str = ""
    statuses: list[int] = field(default_factory=list[int])
    holds: bool = False
    url: str = ""
    received: list[Received] = field(default_factory=list[Received])
    requests: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def wait_for(self, number: int) -> list[Received]:
        """Wait until so many messages were received."""
        with anyio.fail_after(60):
            while len(self.received) < number:
                await self._changed.wait()
        return self.received

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            head, _, body = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            assert first.startswith("POST /hook HTTP/1.1"), first
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            while len(body) < int(headers["content-length"]):
                body += await stream.receive()
            self.requests += 1
            self.received.append(Received(headers["webhook-id"], check_message(self.secret, headers, body)))
            self._changed.set()
            self._changed = anyio.Event()
            if self.holds:
                await anyio.sleep_forever()
            status = self.statuses.pop(0) if self.statuses else 200
            location = f"location: {self.url}/elsewhere\r\n" if status == 302 else ""
            await stream.send(f"HTTP/1.1 {status} x\r\n{location}content-length: 0\r\n\r\n".encode())


def check_message(secret: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return what a message says, after its signature and its time were checked."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"].split() == [f"v1,{expected}"]
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    assert headers["content-type"] == "application/json"
    return json.loads(body)


@asynccontextmanager
async def open_receiver(port: int = 0) -> AsyncGenerator[Receiver]:
    """Open a receiver at a port, or a free one."""
    receiver = Receiver()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port) as listener:
        receiver.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/hook"  # noqa: S610 - anyio's
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, receiver.serve)
            yield receiver
            tasks.cancel_scope.cancel()
