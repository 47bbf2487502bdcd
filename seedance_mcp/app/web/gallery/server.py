"""Serve the gallery on the loopback address, to a browser that knows the token in the URL."""

import os
import secrets
import socket
from pathlib import Path

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from seedance_mcp.adapters.media.videos import find_media_type
from seedance_mcp.app.opening import open_ledger
from seedance_mcp.app.web.gallery.data import build_show, find_media
from seedance_mcp.app.web.gallery.page import render_page
from seedance_mcp.app.web.guard import build_guard
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import ConfigError, LedgerError
from seedance_mcp.core.records import Job

HOST = "127.0.0.1"
TOKEN_BYTES = 24


def open_door(port: int) -> tuple[socket.socket, str, str]:
    """Return a listening socket, its origin, and a new token.

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
    """Return the gallery as an application; every path of it begins with the token."""

    def locate(job: Job, kind: str, _: Path) -> str:
        return f"media/{job.job_id}/{kind}"

    async def page(_: Request) -> Response:
        return HTMLResponse(render_page(await build_show(settings, locate=locate, live=True)))

    async def data(_: Request) -> Response:
        return JSONResponse(await build_show(settings, locate=locate, live=True))

    async def media(request: Request) -> Response:
        async with open_ledger(settings) as ledger:
            job = await ledger.find_job(request.path_params["job_id"])
        kind = request.path_params["kind"]
        file = None if job is None else await anyio.to_thread.run_sync(find_media, job, settings, kind)
        if file is None:
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(file, media_type=find_media_type(file) if kind == "clip" else None)

    async def unreadable(_: Request, exc: Exception) -> Response:
        return PlainTextResponse(str(exc), 503)

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/data.json", data),
            Route("/media/{job_id}/{kind}", media),
        ],
        middleware=build_guard(origin=origin, token=token),
        exception_handlers={LedgerError: unreadable},
    )
    app.router.redirect_slashes = False
    return app


def serve_gallery(settings: Settings, door: socket.socket, *, origin: str, token: str) -> None:
    """Serve until Ctrl-C."""
    app = build_app(settings, origin=origin, token=token)
    config = uvicorn.Config(app, log_level="critical", access_log=False, server_header=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[door])
