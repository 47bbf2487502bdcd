"""Uploads: the routes of a hosted server that take pictures over links, and show the page for them.

A link needs no token of a caller: its own token is the right to give one picture, once. Host and origin are checked
before these routes. Where a path prefix is before them, a proxy takes it away; the page asks for nothing but itself.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from seedance_mcp.adapters.media.images import Image
from seedance_mcp.app.web.guard import RESPONSE_HEADERS
from seedance_mcp.app.web.parts import render_parts
from seedance_mcp.app.web.picker.server import PATH, REFUSALS, SOURCES, UNKNOWN
from seedance_mcp.app.web.receiving import (
    RefusedUploadError,
    answer_received,
    answer_refused,
    describe_received,
    receive_picture,
)
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.objects import Slot
from seedance_mcp.generation.slots import SlotPictures

BODIES_MAX = 8
"""How many pictures this process takes at a time: each is in memory until it is stored."""
BUSY = "Too many pictures are coming at this moment. Try again in a minute."
RETRY_SECONDS = 20


class _Places:
    """The pictures that this process is taking: a bounded number, and one for each link."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[str] = set()

    @contextmanager
    def taking(self, upload_id: str) -> Generator[None]:
        """Take a place while the block runs.

        Raises:
            RefusedUploadError: There is none, or a picture for the same link is coming here.
        """
        if upload_id in self._taken:
            raise RefusedUploadError(*REFUSALS["receiving"])
        if len(self._taken) >= self._most:
            raise RefusedUploadError(503, BUSY)
        self._taken.add(upload_id)
        try:
            yield
        finally:
            self._taken.discard(upload_id)


def build_routes(pictures: SlotPictures, *, profile: str, bodies_max: int = BODIES_MAX) -> list[Route]:
    """Return the routes below `/uploads/`.

    Args:
        pictures: Of no one caller.
        profile: Name of the owner's profile, which the page shows.
        bodies_max: How many pictures are taken at a time.
    """
    places = _Places(bodies_max)

    async def show(request: Request) -> Response:
        try:
            slot = await pictures.find(request.path_params["token"])
        except SeedanceError as exc:
            return PlainTextResponse(str(exc), 503, _headers(retry=True))
        if slot is None:
            return PlainTextResponse(UNKNOWN, 404, _headers())
        data = {"state": slot.state, "expires_at": slot.until, "profile": profile, "hosted": True}
        html = render_parts("picker", sources=SOURCES, data=data)
        return HTMLResponse(html, 410 if slot.state == "expired" else 200, _headers())

    async def take(request: Request) -> Response:
        try:
            slot = await _find_waiting(pictures, request.path_params["token"])
            with places.taking(slot.upload_id):
                image = await _receive(pictures, request)
                answer = answer_received(await describe_received(image, slot.upload_id))
        except RefusedUploadError as exc:
            answer = answer_refused(request, exc)
        except SeedanceError as exc:  # of the ledger or the store: the link still waits
            answer = answer_refused(request, RefusedUploadError(503, str(exc)))
        answer.headers.update(_headers(retry=answer.status_code == 503))
        return answer

    path = PATH + "{token}"
    return [Route(path, show, methods=["GET"]), Route(path, take, methods=["PUT", "POST"])]


async def _find_waiting(pictures: SlotPictures, token: str) -> Slot:
    """Return the slot of a token, before its body is read.

    Raises:
        RefusedUploadError: There is none that waits.
    """
    slot = await pictures.find(token)
    if slot is None:
        raise RefusedUploadError(404, UNKNOWN)
    if slot.state != "waiting":
        raise RefusedUploadError(*REFUSALS[slot.state])
    return slot


async def _receive(pictures: SlotPictures, request: Request) -> Image:
    """Store the picture of a request, if no other one was faster.

    Raises:
        RefusedUploadError: It is not one, or another one was faster.
    """
    token = request.path_params["token"]

    async def store(image: Image, data: bytes) -> None:
        if not await pictures.fill(token, image, data):
            slot = await pictures.find(token)
            raise RefusedUploadError(*(REFUSALS.get(slot.state) if slot else None) or (404, UNKNOWN))

    return await receive_picture(request, store)


def _headers(*, retry: bool = False) -> dict[str, str]:
    return {**RESPONSE_HEADERS, "retry-after": str(RETRY_SECONDS)} if retry else dict(RESPONSE_HEADERS)
