"""HTTP: the application of a hosted server: who may ask, how much and how long, and what MCP itself does not answer.

Order of the checks: host and origin, path, method, token, scope, body. `/healthz` and `/readyz` accept any host,
because probes send the address of a pod. Must not know what a tool does.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedance_mcp.app.logging import RequestFacts, current_request
from seedance_mcp.core.access_tokens import AuthorizationServerError, TokenRefusedError
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.server.auth import SCOPES_OF_USE, Challenger, Verifier, build_user, read_bearer
from seedance_mcp.server.draining import RETRY_SECONDS, Drain
from seedance_mcp.server.limits import SPENDING_TOOLS
from seedance_mcp.server.readiness import Readiness

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Largest message; a larger picture is uploaded by a link, or named by a URL."""
DISCARDED_BYTES_MAX = 8 * BODY_BYTES_MAX
"""Of a larger message, how much is read and thrown away, so that a client that sends first reads the refusal."""
BODY_SECONDS = 30
"""How long a client may take to send a body."""
REFUSED_UNREAD = frozenset({401, 403, 405, 408, 413, 421})
"""Refusals before the body is read: the connection ends with them."""
PROBES = frozenset({"/healthz", "/readyz"})
MCP_PATH = "/mcp"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SERVER_ERROR = -32000
"""JSON-RPC's code of a failure that the server defines."""

log = logging.getLogger("seedance_mcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What decides whether a request is served.

    Attributes:
        verifier: Finds the caller of a token.
        challenger: Tells a client without a valid token what it needs.
        drain: Knows whether the server is ending.
        readiness: Knows whether the server may be sent calls.
        hosts: Accepted values of `Host`, in lower case.
        origins: Accepted values of `Origin`, in lower case.
        body_seconds: How long a client may take to send a body.
    """

    verifier: Verifier
    drain: Drain
    readiness: Readiness
    hosts: frozenset[str]
    origins: frozenset[str]
    challenger: Challenger = field(default_factory=Challenger)
    body_seconds: float = BODY_SECONDS


def build_app(mcp: ASGIApp, access: Access, routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Build the application.

    Args:
        mcp: Serves MCP to a caller who is known.
        access: Decides whether a request is served.
        routes: Further routes; each checks who asks.
    """

    async def show_health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def show_readiness(_: Request) -> Response:
        problems = await access.readiness.list_problems()
        notes = {"notes": access.readiness.notes} if access.readiness.notes else {}
        return JSONResponse({"ready": not problems, "problems": problems, **notes}, 503 if problems else 200)

    starlette = Starlette(
        routes=[
            Route("/healthz", show_health),
            Route("/readyz", show_readiness),
            *routes,
        ]
    )
    starlette.router.redirect_slashes = False
    endpoint = McpEndpoint(AuthContextMiddleware(mcp), access)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        """Spare most requests the search for their route."""
        await (endpoint if scope["path"] == MCP_PATH else starlette)(scope, receive, send)

    return RequestMiddleware(OriginMiddleware(route, access), access)


class RequestMiddleware:
    """Give each request an id for logs, count it, bound its answer, and log how it ended."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._drain = access.drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            return
        facts = RequestFacts(_read_request_id(scope))
        began_at, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", facts.request_id.encode())]
                if self._drain.is_closing or (status in REFUSED_UNREAD and _has_body(scope)):
                    # Its next request goes to another server; or its body is still coming, and no one reads it.
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        current_request.set(facts)  # the server runs each request in a context of its own
        with self._drain.counting():
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                _log_end(scope, status, time.monotonic() - began_at)


class OriginMiddleware:
    """Refuse another host (421) and another origin (403); probes may name any host."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is addressed to us."""
        app = self._app
        if scope["path"] not in PROBES:
            hosts, origins = _read_headers(scope, b"host"), _read_headers(scope, b"origin")
            if len(hosts) != 1 or hosts[0] not in self._access.hosts:
                app = PlainTextResponse("This host is not served here; see SEEDANCE_PUBLIC_URL.", 421)
            elif origins and (len(origins) != 1 or origins[0] not in self._access.origins):
                app = PlainTextResponse("This origin may not ask here.", 403)
        await app(scope, receive, send)


class McpEndpoint:
    """Serve MCP messages of callers with a token."""

    def __init__(self, mcp: ASGIApp, access: Access) -> None:
        self._mcp = mcp
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one message."""
        if scope["method"] != "POST":  # the stream of a GET would never end, and there is no session to delete
            await Response(status_code=405, headers={"allow": "POST"})(scope, receive, send)
            return
        caller = await authenticate(scope, self._access)
        if isinstance(caller, Response):
            await caller(scope, receive, send)
            return
        body = await read_body(scope, receive, seconds=self._access.body_seconds)
        if isinstance(body, Response):
            await body(scope, receive, send)
            return
        if self._access.drain.is_closing and (refusal := _refuse_at_end(body)) is not None:
            await refusal(scope, receive, send)
            return
        if "spend" in caller.obtainable and (refusal := _refuse_spending(body, self._access.challenger)) is not None:
            await refusal(scope, receive, send)
            return
        facts = current_request.get()
        if facts is not None:
            facts.caller = caller.name
        await self._mcp({**scope, "user": build_user(caller)}, replay(body, receive), send)


async def authenticate(scope: Scope, access: Access) -> Caller | Response:
    """Return the caller of a request, or the answer to one without a valid token."""
    token, challenger = read_bearer(scope["headers"]), access.challenger
    if token is None:
        return _challenge(401, challenger.build(), challenger.hint)
    description = "The token is unknown or revoked"
    try:
        caller = await access.verifier.verify(token)
    except LedgerError:
        return _refuse(503, None, "The ledger cannot be reached. Nothing was paid. Make the same call again.")
    except AuthorizationServerError as exc:
        text = "The authorization server cannot be asked about this token. Nothing was paid. Make the same call again."
        return _refuse(503, None, text, exc.retry_after_seconds)
    except TokenRefusedError as exc:
        caller, description = None, str(exc)
    if caller is None:
        return _challenge(401, challenger.build(error="invalid_token", description=description), description)
    if "read" not in caller.scopes:
        return refuse_scope(challenger, "read", "read")
    return caller


def refuse_scope(challenger: Challenger, missing: str, scope: str) -> Response:
    """Return the answer to a token without a scope. Source: RFC 6750, section 3.1; MCP 2025-11-25, authorization."""
    description = f"The token has no scope {missing}"
    challenge = challenger.build(error="insufficient_scope", description=description, scope=scope)
    return _challenge(403, challenge, description)


async def read_body(scope: Scope, receive: Receive, *, seconds: float) -> bytes | Response:
    """Return the body of a request, or the refusal of one that is too large, too slow or broken off."""
    too_large = PlainTextResponse(f"A message has at most {BODY_BYTES_MAX} bytes.", 413)
    lengths = _read_headers(scope, b"content-length")
    if lengths and lengths[0].isdigit() and int(lengths[0][:20]) > DISCARDED_BYTES_MAX:
        return too_large
    body, size = bytearray(), 0
    with anyio.move_on_after(seconds):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return Response(status_code=400)  # the client has left; no one reads this
            piece = message.get("body", b"")
            size += len(piece)
            if size <= BODY_BYTES_MAX:
                body += piece
            if size > DISCARDED_BYTES_MAX or (size > BODY_BYTES_MAX and not message.get("more_body", False)):
                return too_large
            if not message.get("more_body", False):
                return bytes(body)
    return PlainTextResponse(f"A message must arrive within {seconds:.0f} s.", 408)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read, and then what comes after it."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


@dataclass(frozen=True, slots=True)
class _Message:
    """What a message asks for: its id, its method, and its tool or an empty text."""

    id: object
    method: object
    tool: str

    @property
    def spends(self) -> bool:
        return self.method == "tools/call" and self.tool in SPENDING_TOOLS


def _read_message(body: bytes) -> _Message | None:
    try:
        message: object = json.loads(body)
    except (ValueError, RecursionError):
        return None  # the SDK says what is wrong with it
    if not isinstance(message, dict):
        return None
    fields = cast("dict[str, Any]", message)
    params = fields.get("params")
    name = cast("dict[str, Any]", params).get("name") if isinstance(params, dict) else None
    return _Message(fields.get("id"), fields.get("method"), name if isinstance(name, str) else "")


def _refuse_at_end(body: bytes) -> Response | None:
    """Return the refusal of a message that a server which is ending does not take, or None."""
    message = _read_message(body)
    if message is None or (not message.spends and message.method != "subscriptions/listen"):
        return None
    return _refuse(503, message.id, "This server is ending. Nothing was paid. Make the same call again.")


def _refuse_spending(body: bytes, challenger: Challenger) -> Response | None:
    """Return the refusal of a purchase for which its caller can get another token, or None."""
    message = _read_message(body)
    return refuse_scope(challenger, "spend", SCOPES_OF_USE) if message is not None and message.spends else None


def _refuse(status: int, message_id: object, text: str, retry_seconds: int = RETRY_SECONDS) -> Response:
    """Return a JSON-RPC error that says when to call again; a proxy may try another server."""
    error = {"code": _SERVER_ERROR, "message": text, "data": {"retry_after_seconds": retry_seconds}}
    known_id = message_id if isinstance(message_id, str | int) else None
    content = {"jsonrpc": "2.0", "id": known_id, "error": error}
    return JSONResponse(content, status, {"retry-after": str(retry_seconds)})


def _challenge(status: int, challenge: str, description: str) -> Response:
    error = "insufficient_scope" if status == 403 else "invalid_token"
    content = {"error": error, "error_description": description}
    return JSONResponse(content, status, {"www-authenticate": challenge})


def _read_headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, in lower case."""
    return [value.decode("latin-1").lower() for key, value in scope["headers"] if key == name]


def _has_body(scope: Scope) -> bool:
    lengths = _read_headers(scope, b"content-length")
    return lengths not in ([], ["0"]) or bool(_read_headers(scope, b"transfer-encoding"))


def _read_request_id(scope: Scope) -> str:
    """Return the id that a proxy gave the request, or a new one."""
    given = [value for key, value in scope["headers"] if key == b"x-request-id"]
    return given[0].decode() if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else secrets.token_hex(8)


def _log_end(scope: Scope, status: int, seconds: float) -> None:
    """Log how a request ended, at the default level only where it was refused or failed."""
    level = logging.INFO if status >= 400 or status == 0 else logging.DEBUG
    if log.isEnabledFor(level):
        told = {"route": _name_route(scope), "http_status": status, "seconds": round(seconds, 3)}
        log.log(level, "%s %s answered", scope["method"], told["route"], extra=told)


def _name_route(scope: Scope) -> str:
    """Return the first part of a path: a later one may be a token."""
    return "/" + scope["path"][1:].partition("/")[0][:40]
