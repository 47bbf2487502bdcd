"""Serve the gallery on the loopback address, to a browser that knows the token in the URL."""

import secrets
import socket
from functools import partial
from pathlib import Path

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.adapters.media.videos import find_media_type
from seedance_mcp.app.opening import open_ledger
from seedance_mcp.app.web.door import build_config
from seedance_mcp.app.web.gallery.balances import show_balances
from seedance_mcp.app.web.gallery.changes import ShowReader, stream_changes
from seedance_mcp.app.web.gallery.data import Viewer, build_show
from seedance_mcp.app.web.gallery.films import find_film_file
from seedance_mcp.app.web.gallery.media import find_media
from seedance_mcp.app.web.gallery.page import render_page
from seedance_mcp.app.web.guard import build_guard
from seedance_mcp.app.web.receiving import (
    RefusedUploadError,
    answer_received,
    answer_refused,
    describe_received,
    receive_picture,
)
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.image_names import UPLOAD_ID_BYTES
from seedance_mcp.core.next_steps import TOOL_WORDS, Words


def build_app(settings: Settings, *, origin: str, token: str, words: Words = TOOL_WORDS) -> ASGIApp:
    """Return the gallery as an application; every path of it begins with the token.

    Args:
        settings: Whose ledger.
        origin: Scheme, host and port that it is served on.
        token: First segment of every path.
        words: The words of next steps.
    """

    async def unreadable(_: Request, exc: Exception) -> Response:
        return PlainTextResponse(str(exc), 503)

    app = Starlette(
        routes=[*_list_show_routes(settings, words), *_list_file_routes(settings)],
        middleware=build_guard(origin=origin, token=token),
        exception_handlers={LedgerError: unreadable, RefusedUploadError: answer_refused},
    )
    app.router.redirect_slashes = False
    return app


def _list_show_routes(settings: Settings, words: Words) -> list[Route]:
    """Return the page, and what it asks for to stay up to date."""

    def locate(name: str, kind: str, _: Path) -> str:
        return f"media/{name}/{kind}"

    viewer = Viewer(locate=locate, live=True, words=words)
    reader = ShowReader(settings, partial(build_show, settings, viewer, known={}))

    async def page(_: Request) -> Response:
        return HTMLResponse(render_page(await reader.read()))

    async def data(_: Request) -> Response:
        return JSONResponse(await reader.read())

    async def events(request: Request) -> Response:
        changes = stream_changes(reader, request.query_params.get("version", ""))
        return StreamingResponse(changes, media_type="text/event-stream")

    async def balances(_: Request) -> Response:
        return JSONResponse(await show_balances(settings))

    return [
        Route("/", page),
        Route("/data.json", data),
        Route("/events", events),
        Route("/balances.json", balances),
    ]


def _list_file_routes(settings: Settings) -> list[Route]:
    """Return what sends saved files and takes pictures."""
    received = ReceivedPictures(settings.pictures_dir, settings.videos_dir)

    async def media(request: Request) -> Response:
        name, kind = request.path_params["job_id"], request.path_params["kind"]
        async with open_ledger(settings) as ledger:
            film = await ledger.find_film(name) if kind == "film" else None
            job = await ledger.find_job(name) if kind != "film" else None
        if film is not None:
            file = await anyio.to_thread.run_sync(find_film_file, film, settings)
        else:
            file = None if job is None else await anyio.to_thread.run_sync(find_media, job, settings, kind)
        if file is None:
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(file, media_type=find_media_type(file) if kind in ("clip", "film") else None)

    async def take(request: Request) -> Response:
        upload_id = secrets.token_hex(UPLOAD_ID_BYTES)
        image = await receive_picture(request, partial(received.store, upload_id))
        return answer_received(await describe_received(image, upload_id))

    return [Route("/media/{job_id}/{kind}", media), Route("/pictures", take, methods=["PUT", "POST"])]


def serve_gallery(settings: Settings, door: socket.socket, *, origin: str, token: str, words: Words) -> None:
    """Serve until Ctrl-C."""
    app = build_app(settings, origin=origin, token=token, words=words)
    uvicorn.Server(build_config(app)).run(sockets=[door])
