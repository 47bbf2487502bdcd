"""Serve the page of a link, and take its picture; to this machine alone, behind the guard of all local pages."""

from collections.abc import Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.app.web.guard import build_guard
from seedance_mcp.app.web.parts import render_parts
from seedance_mcp.app.web.picker.links import PickerLink, State
from seedance_mcp.app.web.receiving import (
    RefusedUploadError,
    answer_received,
    answer_refused,
    describe_received,
    receive_picture,
)

PATH = "/uploads/"
"""What comes before a link's token."""
SOURCES = "img-src data: blob:; connect-src 'self'"

UNKNOWN = "There is no such link, or it has expired. Ask for a new one."
REFUSALS: dict[State, tuple[int, str]] = {
    "filled": (409, "This link already has its picture. Ask for a new link to give another one."),
    "receiving": (409, "A picture is coming over this link already."),
    "expired": (410, "This link has expired. Ask for a new one."),
}


def build_app(
    find_link: Callable[[str], PickerLink | None],
    received: ReceivedPictures,
    *,
    origin: str,
    profile: str,
    now: Callable[[], float],
) -> ASGIApp:
    """Return the page as an application.

    Args:
        find_link: Returns the link of a token.
        received: Where pictures are stored.
        origin: Scheme, host and port that the page is served on.
        profile: Name of the owner's profile, which the page shows.
        now: Unix seconds.
    """

    async def page(request: Request) -> Response:
        link = find_link(request.path_params["token"])
        if link is None:
            return PlainTextResponse(UNKNOWN, 404)
        state = link.find_state(now())
        data = {"state": state, "expires_at": link.expires_at, "profile": profile}
        html = render_parts("picker", sources=SOURCES, data=data)
        return HTMLResponse(html, 410 if state == "expired" else 200)

    async def take(request: Request) -> Response:
        link = find_link(request.path_params["token"])
        if link is None:
            raise RefusedUploadError(404, UNKNOWN)
        refusal = REFUSALS.get(link.find_state(now()))
        if refusal is not None:
            raise RefusedUploadError(*refusal)
        link.receiving = True  # no other request gets here until this one has failed
        try:
            image = await receive_picture(request, partial(received.store, link.upload_id))
            link.fill(image, now())
        finally:
            link.receiving = False
        return answer_received(await describe_received(image, link.upload_id))

    app = Starlette(
        routes=[Route(PATH + "{token}", page, methods=["GET"]), Route(PATH + "{token}", take, methods=["PUT", "POST"])],
        middleware=build_guard(origin=origin, token=None),
        exception_handlers={RefusedUploadError: answer_refused},
    )
    app.router.redirect_slashes = False
    return app
