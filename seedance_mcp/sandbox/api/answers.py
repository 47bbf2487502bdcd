"""Responses of the studio: JSON, refusals, and three responses that fail: dropped, hung and truncated.

Source: the makers' framework (`@agentcash/router` 1.20.0) for the shape of error bodies.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any

from anyio import Event, create_task_group
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from seedance_mcp.sandbox.faults import Fault

_PAGE = "<!doctype html><title>Just a moment...</title><p>Checking your connection.</p>"


class RefusalError(Exception):
    """A refused request; any function below a route may raise it."""

    def __init__(self, status: int, error: str, **fields: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body: dict[str, Any] = {"success": False, "error": error, **fields}


def dump_json(body: Any) -> bytes:
    """Serialise to compact JSON, with non-ASCII text unescaped."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def encode_header(document: Any) -> str:
    """Encode a document as a header value: padded standard base64 over UTF-8 JSON."""
    return base64.b64encode(dump_json(document)).decode()


def build_json(body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """Build a JSON answer."""
    return Response(dump_json(body), status, headers, media_type="application/json")


def build_refusal(refusal: RefusalError) -> Response:
    """Build the answer to a refused request."""
    return build_json(refusal.body, refusal.status)


def build_request_id() -> str:
    """Build a value for the x-request-id header: a random UUID, version 4."""
    digits = secrets.token_hex(16)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def build_edge_fault(fault: Fault) -> Response:
    """Build the answer of a proxy in front of the API that lets nothing through."""
    match fault.name:
        case "rate_limited":
            return build_json({"success": False, "error": "Too many requests"}, 429, headers={"retry-after": "1"})
        case "not_json" | "page_for_payment":
            return Response(_PAGE, 200, media_type="text/html")
        case "bot_check" | "bot_check_for_payment":
            return Response(_PAGE, 403, {"cf-mitigated": "challenge", "server": "cloudflare"}, media_type="text/html")
        case _:
            return build_json({"success": False, "error": "Internal server error"}, 500)


def read_origin(connection: HTTPConnection) -> str:
    """Return the origin that the client addressed, without a trailing slash."""
    return str(connection.base_url).rstrip("/")


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Read a request's body.

    Raises:
        RefusalError: 413 if it is larger than the bound.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > bytes_max:
            raise RefusalError(413, "Request body too large")
    return bytes(content)


class DroppedAnswer(Response):
    """A response that closes the connection without sending a byte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection and wait until it is closed."""
        close_connection(scope)
        await wait_for_disconnect(receive)


class HungAnswer(Response):
    """A response that sends nothing and keeps the connection open until the client leaves or the studio stops."""

    def __init__(self, stopping: Event) -> None:
        super().__init__()
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait."""
        async with create_task_group() as tasks:

            async def leave_when(happened: Any) -> None:
                await happened
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave_when, self._stopping.wait())
            tasks.start_soon(leave_when, wait_for_disconnect(receive))
        close_connection(scope)


class TruncatedAnswer(Response):
    """A response that announces a whole body and ends in the middle of it, or after `bytes_sent`."""

    def __init__(self, content: bytes, status: int = 200, *, headers: Mapping[str, str], bytes_sent: int | None = None):
        super().__init__(content, status, headers)
        self._bytes_sent = len(content) // 2 if bytes_sent is None else bytes_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and the first part of the body, then close the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        part = bytes(self.body[: self._bytes_sent])
        await send({"type": "http.response.body", "body": part, "more_body": True})
        close_connection(scope)
        await wait_for_disconnect(receive)


def close_connection(scope: Scope) -> None:
    """Close the connection of a request after flushing what was written."""
    scope["state"]["transport"].close()


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait until the client's side of the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass
