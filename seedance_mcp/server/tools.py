"""The seven tools that a model can call, and their results.

Their docstrings, argument names and results are the product's texts for a model. Each tool has a deadline, returns
every fact twice (as data and as the same JSON in text), and never sends a video's bytes.
"""

import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from mcp.server.mcpserver import ElicitationResult, Resolve
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ImageContent, InputRequiredResult, ResourceLink, TextContent, ToolAnnotations
from opentelemetry import trace

from seedance_mcp.app.film_rendering import merge_films
from seedance_mcp.app.rendering import show_generation, show_job, show_jobs, show_quote
from seedance_mcp.app.results import FilmResult, JobResult, JobsResult, QuoteResult, UploadResult, WalletResult, to_json
from seedance_mcp.app.upload_rendering import show_upload
from seedance_mcp.app.wallet_rendering import explain_no_purchase, show_wallet
from seedance_mcp.core.error_base import show_payment_state
from seedance_mcp.core.errors import ConfigError, RequestError
from seedance_mcp.core.films import FILM_PREFIX
from seedance_mcp.core.next_steps import Call, NextStep
from seedance_mcp.core.redaction import redact_data
from seedance_mcp.generation.film_request import FilmRequest
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.jobs.undelivered import EXPIRED
from seedance_mcp.server.call_context import (
    WAIT_SECONDS_DEFAULT,
    WAIT_SECONDS_MAX,
    Ctx,
    find_runtime,
    read_deadlines,
    read_notes,
    telling_progress,
)
from seedance_mcp.server.film_parameters import OptionalShots, Shots, take_storyboard, take_video_or_shots
from seedance_mcp.server.films import approve_film, get_film, order_film, quote_film
from seedance_mcp.server.parameters import JOBS_DEFAULT, Cancel, Image, JobId, JobsLimit, WaitSeconds, take_request
from seedance_mcp.server.picker import ask_picture
from seedance_mcp.server.price_approval import Question, approve_price, can_ask, read_answer
from seedance_mcp.server.tool import ERROR_KEY, MoneyTool

if TYPE_CHECKING:  # this loads with the first call
    from seedance_mcp.core.records import Job

log = logging.getLogger("seedance_mcp")

RESULT_EXPIRED = "result_expired"
"""Code of a paid job whose result is not available any more."""


async def upload_image(ctx: Ctx, image: Image = None) -> CallToolResult | InputRequiredResult:
    """Upload an image, paid once; animate_image does it itself. Without image: a link for the user to give one."""
    if image is None:
        given = await ask_picture(ctx)
        return given if isinstance(given, InputRequiredResult) else _answer(given)
    async with telling_progress(ctx, "Reading and uploading the image"):
        services = await find_runtime(ctx).services()
        hosted = await services.generation.upload(image, deadline=read_deadlines(WAIT_SECONDS_MAX).answer)
    return _answer(show_upload(hosted))


@take_video_or_shots
async def quote_price(
    ctx: Ctx,
    request: VideoRequest,
    shots: OptionalShots = None,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
) -> CallToolResult:
    """Price of a video or film, and whether the limits allow it. Free."""
    if shots is not None:
        return _answer(await quote_film(ctx, cast("FilmRequest", request), wait_seconds))
    async with telling_progress(ctx, "Reading the image and asking the price"):
        services = await find_runtime(ctx).quote_services()
        with read_deadlines(wait_seconds).bounding("Reading the picture and asking the price"):
            quote = await services.generation.quote(request, can_ask=can_ask(ctx))
    return _answer(show_quote(quote))


@take_request
async def animate_image(
    ctx: Ctx,
    request: VideoRequest,
    answer: Annotated[ElicitationResult[Question], Resolve(approve_price)],
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
) -> CallToolResult:
    """Buy a video made from an image and wait for it. SPENDS MONEY, once: a repeated call joins the first."""
    agreed = read_answer(answer)
    async with telling_progress(ctx, "Reading the image and asking the price") as progress:
        runtime = find_runtime(ctx)
        services = await runtime.services()
        deadlines = read_deadlines(wait_seconds)
        generated = await services.generation.generate(
            request,
            agreed_micro_usdc=0 if agreed is None else agreed.cost.total_micro_usdc,
            agreed_recipients=None if agreed is None else agreed.recipients,
            prepare_until=deadlines.answer,
            deadline=deadlines.job,
            report=progress.report,
        )
        settings = await runtime.settings()
        result = show_generation(generated, settings.profile, links=services.links)
        thumbnail = None if generated.job is None else await runtime.find_thumbnail(generated.job)
    return _answer_job(result, thumbnail, link=_find_link(result, generated.job) if settings.resource_links else None)


@take_storyboard
async def animate_storyboard(
    ctx: Ctx,
    shots: Shots,
    request: FilmRequest,
    answer: Annotated[ElicitationResult[Question], Resolve(approve_film)],
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
) -> CallToolResult:
    """Buy a film, one file. A shot without image starts from the last frame; else as animate_image. SPENDS MONEY."""
    del shots
    return await _answer_film(ctx, await order_film(ctx, request, answer, wait_seconds))


async def get_job(
    ctx: Ctx,
    job_id: JobId,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
    cancel: Cancel = False,
) -> CallToolResult:
    """Wait for a job or film; saves its video once complete. Free."""
    if job_id.startswith(FILM_PREFIX):
        return await _answer_film(ctx, await get_film(ctx, job_id, wait_seconds, cancel=cancel))
    if cancel:
        raise RequestError("A paid video cannot be cancelled, only a film.", NextStep("{0}.", Call("get_job", job_id)))
    async with telling_progress(ctx, "Reading the job") as progress:
        runtime = find_runtime(ctx)
        services = await runtime.services()
        deadlines = read_deadlines(wait_seconds)
        job = await services.jobs.get(
            job_id, deadline=deadlines.job, answer_until=deadlines.answer, report=progress.report
        )
        settings = await runtime.settings()
        result = show_job(job, settings.profile, links=services.links)
        thumbnail = await runtime.find_thumbnail(job)
    return _answer_job(result, thumbnail, link=_find_link(result, job) if settings.resource_links else None)


async def list_jobs(ctx: Ctx, limit: JobsLimit = JOBS_DEFAULT) -> CallToolResult:
    """Recent jobs, newest first, also of lost sessions. Free."""
    async with telling_progress(ctx, "Reading the jobs"):
        services = await find_runtime(ctx).services()
        recent = await services.jobs.list_recent(limit)
        films = await services.ledger.recent_films(limit)
    result = show_jobs(recent, has_files=services.links is None)
    return _answer({**result, "jobs": merge_films(result["jobs"], films)[:limit]})


async def wallet_status(ctx: Ctx) -> CallToolResult:
    """Balances, limits, spending, unfinished payments, how to fund. Free."""
    runtime = find_runtime(ctx)
    try:
        services, problem = await runtime.services(), None
    except ConfigError as exc:
        services, problem = await runtime.quote_services(), explain_no_purchase(exc)
    return _answer(show_wallet(await services.wallet_status.read(), problem=problem))


def _find_media_type(file: Path) -> str:
    from seedance_mcp.adapters.media.videos import find_media_type  # loaded by now

    return find_media_type(file)


def _find_link(result: JobResult, job: "Job | None") -> ResourceLink | None:
    """Return a link to a saved video: to its file, or to where replicas keep it."""
    if result["file"] is not None:
        path = Path(result["file"]).absolute()
        uri, name = path.as_uri(), path.name
    elif job is not None and job.video_key is not None and result["video_url"] is not None:
        path = Path(job.video_key)
        uri, name = result["video_url"], path.name
    else:
        return None
    return ResourceLink(type="resource_link", uri=uri, name=name, title="Video", mime_type=_find_media_type(path))


async def _answer_film(ctx: Ctx, result: FilmResult) -> CallToolResult:
    """Build the result of a film. One that stopped is an error with all its facts: its shots were paid for."""
    has_link = (await find_runtime(ctx).settings()).resource_links
    answer = _answer(result, link=_find_film_link(result) if has_link else None)
    if result["status"] == "failed":
        answer.is_error = True
        money = show_payment_state("settled" if result["price_micro_usdc"] else "none")
        answer.meta = {ERROR_KEY: {"code": "film_stopped", **money, "amount_micro_usdc": result["price_micro_usdc"]}}
    return answer


def _find_film_link(result: FilmResult) -> ResourceLink | None:
    place = result["file"] or result["video_url"]
    if place is None:
        return None
    uri = place if result["file"] is None else Path(place).as_uri()
    name = f"{result['job_id']}.mp4"
    return ResourceLink(type="resource_link", uri=uri, name=name, title="Film", mime_type=_find_media_type(Path(name)))


def _answer_job(result: JobResult, thumbnail: bytes | None, *, link: ResourceLink | None) -> CallToolResult:
    """Build the result of a job. A job that failed at the studio is an error with all its facts: it was paid."""
    mark_span(result)
    _log_job(result)
    answer = _answer(result, link=link, thumbnail=thumbnail)
    if result["status"] == "failed":
        answer.is_error = True
        money = {} if result["price_micro_usdc"] is None else show_payment_state("settled")
        code = RESULT_EXPIRED if (result["error"] or "").startswith(EXPIRED) else "job_failed"
        answer.meta = {ERROR_KEY: {"code": code, **money, "amount_micro_usdc": result["price_micro_usdc"]}}
    return answer


def _answer(
    result: Mapping[str, Any], *, link: ResourceLink | None = None, thumbnail: bytes | None = None
) -> CallToolResult:
    """Build a result with the same facts as data and as text, a link to the saved video, and its thumbnail."""
    facts = cast("dict[str, Any]", redact_data(to_json(result)))
    if "notes" in facts:
        facts["notes"] = [*read_notes(), *facts["notes"]]
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    content: list[Any] = [TextContent(type="text", text=text)]
    if link is not None:
        content.append(link)
    if thumbnail is not None:
        content.append(
            ImageContent(type="image", data=base64.b64encode(thumbnail).decode("ascii"), mime_type="image/jpeg")
        )
    return CallToolResult(content=content, structured_content=facts)


def mark_span(result: JobResult) -> None:
    """Add the job and its cost to the trace span of this call, if there is one."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attribute("seedance.status", result["status"])
    if result["job_id"] is not None:
        span.set_attribute("seedance.job_id", result["job_id"])
    if result["rail"] is not None and result["price_micro_usdc"] is not None:
        span.set_attribute("seedance.rail", result["rail"])
        span.set_attribute("seedance.price_micro_usdc", result["price_micro_usdc"])


def _log_job(result: JobResult) -> None:
    facts = {name: result[name] for name in ("job_id", "status", "rail", "price_micro_usdc")}
    log.info("job %s is %s", result["job_id"] or "without id", result["status"], extra=facts)


RESULTS: dict[str, type] = {
    "animate_image": JobResult,
    "animate_storyboard": FilmResult,
    "get_job": JobResult,
    "quote_price": QuoteResult,
    "upload_image": UploadResult,
    "list_jobs": JobsResult,
    "wallet_status": WalletResult,
}
"""The class of each tool's structured content."""


@cache
def build_tools() -> tuple[Tool, ...]:
    """Return all tools, the most useful first; built once, because no server changes them."""
    reading = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=True)
    paying = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
    spending = paying.model_copy(update={"destructive_hint": True})
    return (
        _make(animate_image, "Animate image (spends money)", spending),
        _make(animate_storyboard, "Animate storyboard (spends money)", spending),
        _make(get_job, "Get job", reading),
        _make(quote_price, "Quote price", reading),
        _make(upload_image, "Upload image ($0.01)", paying),
        _make(list_jobs, "List jobs", reading),
        _make(wallet_status, "Wallet status", reading),
    )


def _make(function: Callable[..., Awaitable[Any]], title: str, annotations: ToolAnnotations) -> Tool:
    return MoneyTool.make(function, title=title, annotations=annotations, result=RESULTS[function.__name__])
