"""Guard: Starlette middleware for pages that are served on this machine to their owner alone.

A page of any site can make the owner's browser send requests here. The guard refuses another name for this machine
(DNS rebinding), another origin, and a path without the page's token. It must not know what a page shows.

A page whose paths have tokens of their own needs none for the whole page.
"""

import secrets
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

RESPONSE_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_GUARDED = ("http", "websocket")


def build_guard(*, origin: str, token: str | None) -> list[Middleware]:
    """Return the middleware of a local page.

    Args:
        origin: Scheme, host and port that the page is served on, as a browser writes them.
        token: First segment of every path; routes are written without it. None: the routes check tokens themselves.
    """
    guard = [Middleware(ResponseHeadersMiddleware), Middleware(OriginMiddleware, origin=origin)]
    return guard if token is None else [*guard, Middleware(TokenMiddleware, token=token)]


class ResponseHeadersMiddleware:
    """Add the headers that keep a page out of caches, frames and other pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, with the headers on every response."""
        await self._app(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(RESPONSE_HEADERS)
        await send(message)

    return send_with_headers


class OriginMiddleware:
    """Refuse a request that names another host (421) or comes from a page of another origin (403).

    Starlette's `TrustedHostMiddleware` compares no port and reads only the first `Host`.
    """

    def __init__(self, app: ASGIApp, *, origin: str) -> None:
        self._app = app
        self._origin = origin
        self._host = origin.partition("://")[2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is addressed to our own origin."""
        headers = Headers(scope=scope) if scope["type"] in _GUARDED else None
        app = self._app
        if headers is not None and headers.getlist("host") != [self._host]:
            app = PlainTextResponse("Not here.", 421)
        elif headers is not None and headers.getlist("origin") not in ([], [self._origin]):
            app = PlainTextResponse("Not from there.", 403)
        await app(scope, receive, send)


class TokenMiddleware:
    """Serve only paths that begin with the page's token; every other path does not exist (404)."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._root = f"/{token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a path below the token, which becomes the `root_path` of the routes."""
        if scope["type"] not in _GUARDED:
            await self._app(scope, receive, send)
            return
        start, slash = scope["path"][: len(self._root)], scope["path"][len(self._root) :][:1]
        known = secrets.compare_digest(start.encode(), self._root.encode()) and slash == "/"
        app = self._app if known else PlainTextResponse("Not Found", 404)
        await app({**scope, "root_path": self._root} if known else scope, receive, send)
