"""The gallery's server: on the loopback address only, and only for who knows the token in the address."""

import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from seedance_mcp.adapters.media.videos import find_media_type
from seedance_mcp.app.opening import open_ledger
from seedance_mcp.app.web.gallery.data import build_show, find_media
from seedance_mcp.app.web.gallery.page import render_page
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import ConfigError, LedgerError
from seedance_mcp.core.records import Job

HOST = "127.0.0.1"
TOKEN_BYTES = 24
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def open_door(port: int) -> tuple[socket.socket, str, str]:
    """A listening socket, its origin, and a new token.

    Raises:
        ConfigError: The port is taken.
    """
    try:
        door = socket.create_server((HOST, port))
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else exc  # its own text repeats the address
        raise ConfigError(f"The gallery cannot use port {port}: {why}.", "Choose another --port.") from exc
    return door, f"http://{HOST}:{door.getsockname()[1]}", secrets.token_urlsafe(TOKEN_BYTES)


def build_app(settings: Settings, *, origin: str, token: str) -> ASGIApp:
    """The gallery as an application; every address of it begins with the token."""

    def locate(job: Job, kind: str, _: Path) -> str:
        return f"media/{job.job_id}/{kind}"

    def page(_: Request) -> Response:
        return HTMLResponse(render_page(build_show(settings, locate=locate, live=True)))

    def data(_: Request) -> Response:
        return JSONResponse(build_show(settings, locate=locate, live=True))

    def media(request: Request) -> Response:
        with open_ledger(settings) as ledger:
            job = ledger.find_job(request.path_params["job_id"])
        kind = request.path_params["kind"]
        file = None if job is None else find_media(job, settings, kind)
        if file is None:
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(file, media_type=find_media_type(file) if kind == "clip" else None)

    async def unreadable(_: Request, exc: Exception) -> Response:
        return PlainTextResponse(str(exc), 503)

    app = Starlette(
        routes=[
            Route(f"/{token}/", page),
            Route(f"/{token}/data.json", data),
            Route(f"/{token}/media/{{job_id}}/{{kind}}", media),
        ],
        exception_handlers={LedgerError: unreadable},
    )
    app.router.redirect_slashes = False
    return _guard(app, origin.removeprefix("http://"))


def _guard(app: ASGIApp, host: str) -> ASGIApp:
    """Answer only to our own address: a name that was pointed here by somebody else's page is refused."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named = [value for name, value in scope["headers"] if name == b"host"]
            if named != [host.encode()]:
                await PlainTextResponse("Not here.", 421)(scope, receive, send)
                return
        await app(scope, receive, _with_headers(send))

    return guarded


def _with_headers(send: Send) -> Callable[..., Awaitable[None]]:
    async def send_with(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *headers]}  # type: ignore[misc]  # a list, by ASGI
        await send(message)

    return send_with


def serve_gallery(settings: Settings, door: socket.socket, *, origin: str, token: str) -> None:
    """Serve until Ctrl-C."""
    app = build_app(settings, origin=origin, token=token)
    config = uvicorn.Config(app, log_level="critical", access_log=False, server_header=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[door])
