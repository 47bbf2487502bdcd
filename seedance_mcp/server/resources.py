"""Resources: a job as JSON with change notifications, a saved video's bytes, and the picture that it is made of."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mcp.server import MCPServer, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.subscriptions import ResourceUpdated, SubscriptionBus

from seedance_mcp.app.rendering import PRUNED, show_job
from seedance_mcp.app.results import to_json
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.films import FILM_PREFIX
from seedance_mcp.core.texts import quote_text
from seedance_mcp.server.call_context import State, find_runtime

if TYPE_CHECKING:
    from seedance_mcp.generation.films import FilmService

JOB_PREFIX = "seedance://jobs/"
VIDEO_PREFIX = "seedance://videos"
PICTURE_PREFIX = "seedance://pictures"
VIDEO_BYTES_MAX = 8 * 1024 * 1024
"""Largest video in a message. A larger one is refused with the path of its file: hosts fail on long messages."""


async def read_job(job_id: str, ctx: Context) -> dict[str, Any]:
    """Return one job as get_job does, without waiting."""
    runtime = find_runtime(ctx)
    try:
        services = await runtime.services()
        job = await services.jobs.find(job_id)
        if job is None:
            raise ResourceNotFoundError(
                f"No job {quote_text(job_id, 80)} is in this ledger. list_jobs shows what there is."
            )
        return to_json(show_job(job, (await runtime.settings()).profile, links=services.links))
    except SeedanceError as exc:
        raise ResourceError(f"{exc.code}: {exc}") from exc


async def read_video(job_id: str, ctx: Context) -> bytes:
    """Return the saved video of a job or a film, up to 8 MiB."""
    try:
        services = await find_runtime(ctx).services()
        if job_id.startswith(FILM_PREFIX):
            return await _read_film(services.films, job_id)
        jobs = services.jobs
        job = await jobs.find(job_id)
        archive = jobs.downloads.archive
        if job is None or not job.saved:
            raise ResourceNotFoundError(f"No video of job {quote_text(job_id, 80)} is saved here. get_job saves it.")
        if job.pruned_at is not None:
            raise ResourceNotFoundError(PRUNED)
        size = await archive.find_size(job)
        if size is not None and size <= VIDEO_BYTES_MAX:
            return await archive.read(job)
    except SeedanceError as exc:
        raise ResourceError(f"{exc.code}: {exc}") from exc
    except OSError as exc:
        raise ResourceNotFoundError(f"{job_id} cannot be read: {exc.strerror}.") from exc
    if size is None:
        raise ResourceNotFoundError(f"{job.file or job.video_key} cannot be read. get_job fetches it again.")
    place = f"Open the file itself: {job.file}" if job.file else "get_job returns a link to it."
    raise ResourceError(f"The video has {size} bytes, more than {VIDEO_BYTES_MAX}. {place}")


async def _read_film(films: "FilmService", film_id: str) -> bytes:
    """Return the bytes of a joined film.

    Raises:
        ResourceNotFoundError: There is no such film, or its file does not exist.
        ResourceError: It is too large for a message.
        StorageError, OSError: It cannot be read.
    """
    film = await films.ledger.find_film(film_id)
    if film is not None and film.pruned_at is not None:
        raise ResourceNotFoundError(PRUNED)
    size = None if film is None else await films.files.find_size(film)
    if film is None or size is None:
        raise ResourceNotFoundError(f"No film {quote_text(film_id, 80)} is saved here. get_job shows its progress.")
    if size > VIDEO_BYTES_MAX:
        place = f"Open the file itself: {film.file}" if film.file else "get_job returns a link to it."
        raise ResourceError(f"The film has {size} bytes, more than {VIDEO_BYTES_MAX}. {place}")
    return await films.files.read(film)


async def read_picture(job_id: str, ctx: Context) -> bytes:
    """Return a small JPEG of the picture that a video is made of."""
    runtime = find_runtime(ctx)
    try:
        job = await (await runtime.services()).jobs.find(job_id)
        settings = await runtime.settings()
    except SeedanceError as exc:
        raise ResourceError(f"{exc.code}: {exc}") from exc
    from seedance_mcp.adapters.media.thumbnails import find_frame, read_thumbnail  # loaded by now

    frame = None if job is None else find_frame(job.arguments.get("image"), settings.videos_dir)
    small = None if frame is None else await read_thumbnail(frame)
    if small is None:
        raise ResourceNotFoundError(f"No picture of job {quote_text(job_id, 80)} is kept here.")
    return small


async def name_video_type(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Set the media type of the video that was read; the template can name only one for all."""
    result = await call_next(ctx)
    if ctx.method != "resources/read" or not isinstance(result, dict):
        return result
    contents = cast("list[dict[str, Any]]", result.get("contents", []))
    return {**result, "contents": [await _name_type(content, ctx) for content in contents]}


async def _name_type(content: dict[str, Any], ctx: ServerRequestContext[Any, Any]) -> dict[str, Any]:
    prefix, _, job_id = str(content.get("uri", "")).rpartition("/")
    if prefix != VIDEO_PREFIX:
        return content
    job = await (await cast("State", ctx.lifespan_context).find_runtime().services()).jobs.find(job_id)
    place = None if job is None else job.file or job.video_key
    if place is None:
        return content
    from seedance_mcp.adapters.media.videos import find_media_type  # loaded by now

    return {**content, "mimeType": find_media_type(Path(place))}


def add_resources(server: MCPServer[State]) -> None:
    """Add the templates."""
    server.resource(f"{JOB_PREFIX}{{job_id}}", name="job", title="Job", mime_type="application/json")(read_job)
    server.resource(f"{VIDEO_PREFIX}/{{job_id}}", name="video", title="Video", mime_type="video/mp4")(read_video)
    server.resource(f"{PICTURE_PREFIX}/{{job_id}}", name="picture", title="Picture", mime_type="image/jpeg")(
        read_picture
    )


def make_publisher(bus: SubscriptionBus, start: Callable[..., object]) -> Callable[[str], None]:
    """Return a function that notifies the subscribers of a job's resource of a change.

    Args:
        bus: The subscriptions.
        start: Starts a background task.
    """

    def publish(job_id: str) -> None:
        start(lambda: bus.publish(ResourceUpdated(uri=f"{JOB_PREFIX}{job_id}")))

    return publish
