"""Lines: serve MCP on stdin and stdout, and answer every request with a readable id.

The SDK's reader drops an invalid line: half a surrogate pair in an argument, a byte order mark, a field of the wrong
type. Its sender would wait forever. This module answers such a line with a JSON-RPC error. Only valid messages reach
the SDK; this module interprets none of them but a stale first one.

A client may ask `server/discover` first, and send `initialize` if no answer comes soon (the Vercel AI SDK waits for one
second). The SDK serves the revision of the first request that it gets, and refuses the other one. So a server that was
slow to start must skip a question whose answer is no longer awaited.
"""

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from math import inf
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared._stream_protocols import WriteStream
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from seedance_mcp.core.texts import quote_text
from seedance_mcp.server.assembly import State
from seedance_mcp.server.greeter import Greeter
from seedance_mcp.server.standard_streams import claim_stdin

log = logging.getLogger("seedance_mcp")

DISCOVER, INITIALIZE = "server/discover", "initialize"
BYTE_ORDER_MARK = "\ufeff"
PLACE_CHARACTERS_MAX = 120
STALE_SECONDS = 0.01
"""How long a first `server/discover` is held for an `initialize`, which is in the pipe already if it was given up."""
HELD_MAX = 10
"""How many lines are held."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error for a line that is no valid message.

    Attributes:
        request_id: The id of the intended request; None if it is unreadable.
        code: The JSON-RPC error code.
        message: The failure and the next step.
    """

    request_id: str | int | None
    code: int
    message: str


def find_refusal(line: str) -> Refusal | None:
    """Return the error of a line, or None if it is a valid message."""
    try:
        jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        return _describe(line)
    return None


def _describe(line: str) -> Refusal:
    try:
        document = cast("object", json.loads(line))
    except (ValueError, RecursionError):
        return Refusal(None, PARSE_ERROR, "The line is not JSON.")
    place = find_half_character(document)
    fields = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    request_id = fields.get("id")
    if "method" not in fields or isinstance(request_id, bool) or not isinstance(request_id, str | int):
        request_id = None
    if isinstance(request_id, str) and _SURROGATE.search(request_id):
        request_id = None  # it cannot be sent back
    if place is not None:
        where = quote_text(place, PLACE_CHARACTERS_MAX)
        text = f"There is half a surrogate pair at {where}, which is not Unicode text. Nothing was done or paid. "
        return Refusal(request_id, INVALID_PARAMS, text + "Send the request again without it.")
    text = (
        "The message is not valid JSON-RPC 2.0. Nothing was done or paid. Send it again as the specification requires."
    )
    return Refusal(request_id, INVALID_REQUEST, text)


def find_half_character(document: object) -> str | None:
    """Return the path of the first text that is not Unicode, such as `params.arguments.prompt`, or None."""
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str) and _SURROGATE.search(value):
            return place
        if isinstance(value, dict):
            for key, inner in cast("dict[str, object]", value).items():
                path = f"{place}.{key}".lstrip(".")
                waiting += [(path, inner), (path, key)]
        elif isinstance(value, list):
            waiting += [(f"{place}[{number}]", inner) for number, inner in enumerate(cast("list[object]", value))]
    return None


class HostLines:
    """The lines of a host, one message each; invalid lines are answered and skipped.

    Args:
        stdin: The source of the lines.
        answer: Sends an error to the host.
    """

    def __init__(self, stdin: AsyncIterable[str], answer: Callable[[JSONRPCError], Awaitable[None]]) -> None:
        self._stdin = stdin
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield each valid line, without a byte order mark."""
        async for line in self._stdin:
            message = line.removeprefix(BYTE_ORDER_MARK)
            if not message.strip():
                continue
            refusal = find_refusal(message)
            if refusal is None:
                yield message
                continue
            log.warning("A line from the host is not served: %s", refusal.message)
            if refusal.request_id is not None:
                error = ErrorData(code=refusal.code, message=refusal.message)
                await self._answer(JSONRPCError(jsonrpc="2.0", id=refusal.request_id, error=error))


async def skip_stale_discovery(
    lines: MemoryObjectReceiveStream[str], answered: Sequence[str] = ()
) -> AsyncIterator[str]:
    """Yield the lines; a first `server/discover` is left out if an `initialize` is already behind it.

    Args:
        lines: Valid lines.
        answered: Those of the first ones that the greeter has answered: they are not left out.
    """
    held: list[str] = []
    with anyio.move_on_after(STALE_SECONDS) as waiting, contextlib.suppress(anyio.EndOfStream):
        waiting.deadline = inf  # no limit for the first line
        while len(held) < HELD_MAX:
            line = await lines.receive()
            method, is_request = _read_head(line)
            if held and method == INITIALIZE and not answered:
                log.info("The host did not wait for the answer to %s.", DISCOVER)
                held.clear()
            held.append(line)
            if is_request and (len(held) > 1 or method != DISCOVER):
                break
            if waiting.deadline == inf and is_request:
                waiting.deadline = anyio.current_time() + STALE_SECONDS
    for line in held:
        yield line
    async for line in lines:
        yield line


def _read_head(line: str) -> tuple[str | None, bool]:
    """Return the method of a valid line, and True if it is a request."""
    message = cast("dict[str, str]", json.loads(line))
    return message.get("method"), "method" in message and "id" in message


class _Unanswered:
    """The SDK's stream to the host, without the answer to the request that the greeter has answered."""

    def __init__(self, stream: WriteStream[SessionMessage], request_id: str) -> None:
        self._stream = stream
        self._request_id = request_id

    async def send(self, item: SessionMessage, /) -> None:
        if not (isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id == self._request_id):
            await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


async def serve_stdio(server: MCPServer[State], greeter: Greeter | None = None) -> None:
    """Serve until the host closes stdin.

    Args:
        server: The server.
        greeter: Answers the host until now, and has its lines.
    """
    written = anyio.Event()
    streams: list[Any] = []

    async def answer(error: JSONRPCError) -> None:
        await written.wait()
        await streams[0].send(SessionMessage(error))

    async def relay(ahead: MemoryObjectSendStream[str]) -> None:
        async with ahead:
            stdin = await anyio.to_thread.run_sync(_open_stdin, greeter, abandon_on_cancel=True)
            for line in opening:
                await ahead.send(line)
            text = TextIOWrapper(stdin, encoding="utf-8", errors="replace")
            async for line in HostLines(anyio.wrap_file(text), answer):
                await ahead.send(line)

    ahead, received = anyio.create_memory_object_stream[str]()
    opening = greeter.opening if greeter else []
    lines: Any = skip_stale_discovery(received, opening)  # the SDK only iterates over the lines
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay, ahead)
        async with stdio_server(stdin=lines) as (read_stream, write_stream):
            streams.append(write_stream)
            written.set()
            lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]  # as its own run_stdio_async does
            to_host = _Unanswered(write_stream, greeter.opening_id) if greeter else write_stream
            await lowlevel.run(read_stream, to_host, lowlevel.create_initialization_options())
        tasks.cancel_scope.cancel()


def _open_stdin(greeter: Greeter | None) -> BinaryIO:
    """Return the host's lines from where the greeter stopped, which is once the next one has come."""
    if greeter is not None:
        return greeter.hand_over()
    try:
        return os.fdopen(claim_stdin(), "rb", closefd=False)  # a thread may still be reading when the server ends
    except OSError:  # a stdin that cannot be duplicated is read directly
        return sys.stdin.buffer
