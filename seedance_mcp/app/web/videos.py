"""Videos: the route of a hosted server that sends saved videos.

Who has a caller's token is sent to a link that is signed at that moment. Who has a link gets the bytes, in ranges where
a player asks for some, until the link ends. A bucket sends the bytes itself: each request is sent on to a link of its
own, which ends no later. A job of another caller is answered like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from seedance_mcp.adapters.media.videos import find_media_type, name_download
from seedance_mcp.adapters.storage.store import ObjectStore
from seedance_mcp.app.video_links import PATH, VideoLinks
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.objects import StoredVideo

UNKNOWN = "No such video is known."
UNSAVED = "The video is not saved yet. Try again in some seconds."
PRUNED = "The video was deleted because of its age."
INVALID = "This link is wrong or has ended. The job's next result has a new one."
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY"}
RETRY_SECONDS = 5


class FindJob(Protocol):
    """Finds jobs and films."""

    def __call__(self, job_id: str, caller: Caller | None) -> Awaitable[StoredVideo | None]:
        """Return a job or a film of a caller, or of any caller where None is given."""
        ...


def build_routes(
    links: VideoLinks,
    store: ObjectStore,
    *,
    authenticate: Callable[[Request], Awaitable[Caller | Response]],
    find_job: FindJob,
) -> list[Route]:
    """Return the routes below `/clips/`.

    Args:
        links: Signs and checks links.
        store: Has the videos.
        authenticate: Returns the caller of a request, or the answer to one that has no valid token.
        find_job: Finds jobs and films.
    """

    async def show(request: Request) -> Response:
        try:
            answer = await _answer(request)
        except SeedanceError as exc:
            answer = PlainTextResponse(str(exc), 503, {"retry-after": str(RETRY_SECONDS)})
        answer.headers.update(HEADERS)
        answer.headers.setdefault("cache-control", "no-store")
        return answer

    async def _answer(request: Request) -> Response:
        job_id, query = request.path_params["job_id"], request.query_params
        if "signature" in query:
            ends_at = links.find_end(job_id, query.get("expires", ""), query["signature"])
            if ends_at is None:
                return PlainTextResponse(INVALID, 403)
            job = await find_job(job_id, None)
            return await _send(job, store, seconds=int(ends_at - links.now()), method=request.method)
        caller = await authenticate(request)
        if isinstance(caller, Response):
            return caller
        job = await find_job(job_id, caller)
        if job is not None and job.video_key is not None and store.find_file(job.video_key) is None:
            return await _send(job, store, seconds=links.seconds, method=request.method)
        return _redirect(job, links)

    return [Route(PATH + "{job_id:path}", show, methods=["GET"])]


def _redirect(job: StoredVideo | None, links: VideoLinks) -> Response:
    link = None if job is None else links.sign(job)
    return _refuse(job) if link is None else RedirectResponse(link.url, 302)


async def _send(job: StoredVideo | None, store: ObjectStore, *, seconds: int, method: str) -> Response:
    """Return the video's bytes, in ranges too, or send the request on to a store that does so."""
    if job is None or job.video_key is None or job.pruned_at is not None:
        return _refuse(job)
    if await store.find_size(job.video_key) is None:
        return PlainTextResponse(UNSAVED, 404)
    file = store.find_file(job.video_key)
    if file is not None:
        return _send_file(job, file, seconds=seconds)
    link = await store.sign_link(job.video_key, seconds=max(seconds, 1), method=method)
    return _refuse(job) if link is None else RedirectResponse(link, 302)


def _send_file(job: StoredVideo, file: Path, *, seconds: int) -> Response:
    return FileResponse(
        file,
        media_type=find_media_type(file),
        filename=name_download(job.job_id, str(job.arguments.get("prompt", "")), file.suffix.removeprefix(".")),
        content_disposition_type="inline",
        headers={
            "cache-control": f"private, max-age={max(seconds, 0)}",
            "cross-origin-resource-policy": "cross-origin",  # a host's page may show it
        },
    )


def _refuse(job: StoredVideo | None) -> Response:
    if job is None:
        return PlainTextResponse(UNKNOWN, 404)
    if job.pruned_at is not None:
        return PlainTextResponse(PRUNED, 410)
    return PlainTextResponse(UNSAVED, 404)
