"""The MCP face: four tools, typed, that tell the truth about money.

Owns the words that a model reads: tool descriptions, results, and the one text of each error. Starts without a wallet,
a ledger or a network; `engine` opens those on the first call.
"""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from mcp.server import CacheHint, MCPServer
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ResourceLink, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from seedance_mcp import __version__
from seedance_mcp.config import Settings
from seedance_mcp.engine import Engine
from seedance_mcp.errors import PriceTooHighError, RequestError, SeedanceError, quote_text
from seedance_mcp.money import format_usdc, parse_usdc
from seedance_mcp.results import JobResult, QuoteResult, UploadResult, show_animation, show_job, show_quote, show_upload

if TYPE_CHECKING:
    from seedance_mcp.order import Order

log = logging.getLogger("seedance_mcp")

WAIT_SECONDS_DEFAULT = 30
WAIT_SECONDS_MAX = 45
"""Common hosts give up on a call after 60 s."""
PROGRESS_SECONDS = 4
"""A host is told something at least this often."""

INSTRUCTIONS = (
    "Turns a still image into a short video, paid in USDC by the owner's wallet. "
    "Shortest path: animate_image(image, prompt), then get_job(job_id) until status is complete; `file` is the saved "
    "MP4. quote_price tells the price for free. Repeating the same animate_image call never pays twice: it returns "
    "the same job. After a timeout or an unclear error, repeat the same call; do not change its arguments. Every "
    "error says whether money moved. Limits belong to the owner and cannot be raised here."
)


@dataclass
class State:
    """What lives as long as the server."""

    engine: Engine
    tasks: TaskGroup


Ctx = Context[State]

Image = Annotated[str, Field(description="Absolute path of a local picture, or an https URL", max_length=4096)]
Prompt = Annotated[str, Field(description="What moves and how, 1-4000 characters")]
LastImage = Annotated[str | None, Field(description="Optional last frame")]
ModelName = Annotated[Literal["seedance-fast", "seedance"], Field(description="seedance costs about 1.1-3x more")]
Duration = Annotated[int, Field(ge=4, le=15, description="Seconds; older studios stop at 12")]
Resolution = Annotated[Literal["480p", "720p", "1080p"], Field(description="1080p: seedance only")]
AspectRatio = Annotated[
    Literal["auto", "16:9", "9:16", "4:3", "3:4", "1:1", "21:9"], Field(description="auto: the image's own shape")
]
CameraFixed = Annotated[bool | None, Field(description="Lock the camera")]
GenerateAudio = Annotated[bool | None, Field(description="Native audio")]
Seed = Annotated[int | None, Field(description="Where the studio has seeds", ge=-(2**53) + 1, le=2**53 - 1)]
Take = Annotated[int, Field(ge=1, le=1000, description="Raise to buy another take of the same request")]
MaxPrice = Annotated[
    str | None, Field(description="Refuse to pay more for the clip, e.g. 0.50", pattern=r"^\d{1,9}(\.\d{1,6})?$")
]
WaitSeconds = Annotated[int, Field(ge=0, le=WAIT_SECONDS_MAX, description="How long to wait in this call")]


async def upload_image(ctx: Ctx, image: Image) -> UploadResult:
    """Host a picture at the studio ($0.01). The same picture is paid for once. animate_image does this by itself."""
    animator = await _engine(ctx).animator()
    return show_upload(await animator.upload_image(image))


async def quote_price(
    ctx: Ctx,
    image: Image,
    prompt: Prompt,
    last_image: LastImage = None,
    model: ModelName = "seedance-fast",
    duration: Duration = 4,
    resolution: Resolution = "480p",
    aspect_ratio: AspectRatio = "auto",
    camera_fixed: CameraFixed = None,
    generate_audio: GenerateAudio = None,
    seed: Seed = None,
    take: Take = 1,
    max_price_usd: MaxPrice = None,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
) -> QuoteResult:
    """Tell what animate_image would cost with the same arguments, and whether the owner's limits allow it. Free."""
    animator = await _engine(ctx).window_shopper()
    order = await _order(
        image=image, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
        aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
    )  # fmt: skip
    return show_quote(await animator.quote_price(order, max_price_micro_usdc=_read_price(max_price_usd)))


class Question(BaseModel):
    """What a person is asked."""

    approve: bool = Field(description="Tick to pay and start the video.")


async def approve_price(
    ctx: Ctx,
    image: str,
    prompt: str,
    last_image: str | None,
    model: ModelName,
    duration: int,
    resolution: Resolution,
    aspect_ratio: AspectRatio,
    camera_fixed: bool | None,
    generate_audio: bool | None,
    seed: int | None,
    take: int,
) -> Question | Elicit[Question]:
    """Ask the person at the host about a price above the owner's `ask_above`; never spends, and may run twice.

    The price is pinned by the quote, so that the question stays the same word for word between two rounds.
    """
    engine = _engine(ctx)
    ask_above = (await engine.settings()).limits.ask_above_micro_usdc
    if ask_above is None:
        return Question(approve=True)
    animator = await engine.animator()
    order = await _order(
        image=image, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
        aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
    )  # fmt: skip
    price = await animator.price_to_ask(order)
    if price is None or price <= ask_above:
        return Question(approve=True)
    if not _can_ask(ctx):
        raise PriceTooHighError(
            f"${format_usdc(price)} is above the ${format_usdc(ask_above)} that the owner lets pass without a person's "
            "yes, and this host cannot ask a person.",
            "Only the owner can change that: SEEDANCE_ASK_ABOVE, or a host that shows questions (elicitation).",
        )
    return Elicit(f"Pay ${format_usdc(price)} for a {duration} s {resolution} video by {model}?", Question)


def _can_ask(ctx: Ctx) -> bool:
    """Whether the host can put a form before a person and send the answer back."""
    capabilities = ctx.client_capabilities
    form = capabilities.elicitation if capabilities else None
    if form is None or (form.form is None and form.url is not None):
        return False
    return (ctx.protocol_version or "") >= "2026-07-28" or ctx.session.can_send_request


async def animate_image(
    ctx: Ctx,
    image: Image,
    prompt: Prompt,
    answer: Annotated[ElicitationResult[Question], Resolve(approve_price)],
    last_image: LastImage = None,
    model: ModelName = "seedance-fast",
    duration: Duration = 4,
    resolution: Resolution = "480p",
    aspect_ratio: AspectRatio = "auto",
    camera_fixed: CameraFixed = None,
    generate_audio: GenerateAudio = None,
    seed: Seed = None,
    take: Take = 1,
    max_price_usd: MaxPrice = None,
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
) -> Annotated[CallToolResult, JobResult]:
    """Buy a video of a picture within the owner's limits, and wait for it. SPENDS MONEY, once per distinct request."""
    async with _progress(ctx, "Reading the image and asking the price") as progress:
        deadline = progress.started_at + wait_seconds
        engine = _engine(ctx)
        animator = await engine.animator()
        order = await _order(
            image=image, prompt=prompt, last_image=last_image, model=model, duration=duration, resolution=resolution,
            aspect_ratio=aspect_ratio, camera_fixed=camera_fixed, generate_audio=generate_audio, seed=seed, take=take,
        )  # fmt: skip
        if not (isinstance(answer, AcceptedElicitation) and answer.data.approve):
            raise PriceTooHighError("The person at the host did not agree to the price.", "Do not ask again unasked.")
        animation = await animator.animate_image(
            order,
            max_price_micro_usdc=_read_price(max_price_usd),
            deadline=deadline,
            report=progress.report,
        )
        result = show_animation(animation, (await engine.settings()).profile)
    return _job_answer(result, is_error=result.status == "failed")


async def get_job(
    ctx: Ctx,
    job_id: Annotated[str, Field(max_length=200)],
    wait_seconds: WaitSeconds = WAIT_SECONDS_DEFAULT,
) -> Annotated[CallToolResult, JobResult]:
    """Read a job, waiting for it a while; on completion its video is saved to `file`. Free."""
    async with _progress(ctx, "Asking the studio") as progress:
        engine = _engine(ctx)
        animator = await engine.animator()
        job = await animator.get_job(job_id, deadline=progress.started_at + wait_seconds, report=progress.report)
        result = show_job(job, (await engine.settings()).profile)
    return _job_answer(result, is_error=False)


async def _order(**arguments: Any) -> "Order":
    """What a caller asks for. The rooms behind it load with the first call, in a thread."""

    def load() -> "type[Order]":
        from seedance_mcp.order import Order

        return Order

    return (await anyio.to_thread.run_sync(load))(**arguments)


def _engine(ctx: Ctx) -> Engine:
    return ctx.request_context.lifespan_context.engine


def _read_price(text: str | None) -> int | None:
    try:
        return None if text is None else parse_usdc(text)
    except ValueError as exc:
        raise RequestError(f"max_price_usd: {exc}.") from exc


def _job_answer(result: JobResult, *, is_error: bool) -> CallToolResult:
    """The same facts as data and as text, and the saved file as a link."""
    content: list[Any] = [TextContent(type="text", text=result.model_dump_json())]
    if result.file is not None:
        uri = "file://" + result.file if result.file.startswith("/") else "file:///" + result.file.replace("\\", "/")
        content.append(
            ResourceLink(
                type="resource_link", uri=uri, name=uri.rpartition("/")[2], title="Video", mime_type="video/mp4"
            )
        )
    return CallToolResult(content=content, structured_content=result.model_dump(mode="json"), is_error=is_error)


@dataclass
class _Progress:
    """Strictly increasing progress of one call; silent where the host gave no token."""

    ctx: Ctx
    message: str
    started_at: float
    value: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)

    async def report(self, job: Any, expected_seconds: float) -> None:
        """Told by the watcher."""
        self.message = f"{job.status}, {job.progress} %; such clips take about {expected_seconds:.0f} s"
        await self.send(float(job.progress))

    async def send(self, value: float) -> None:
        """Tell the host; a value that is not higher than the last is made so."""
        self.value = min(max(value, self.value + 0.01), 99.9) if self.value < 99 else self.value + 0.0001
        await self.ctx.report_progress(self.value, 100, self.message)

    async def keep_alive(self) -> None:
        """Repeat the last word where nothing new comes."""
        while True:
            await self.send(self.value)
            await anyio.sleep(PROGRESS_SECONDS)


@asynccontextmanager
async def _progress(ctx: Ctx, message: str) -> AsyncGenerator[_Progress]:
    progress = _Progress(ctx=ctx, message=message, started_at=time.time())
    errors: list[SeedanceError] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.keep_alive)
        try:
            yield progress
        except SeedanceError as exc:  # carried past the task group, which would wrap it
            errors.append(exc)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]


class MoneyTool(Tool):
    """A tool that refuses what it does not know, and whose every failure is one text with a code.

    The SDK drops unknown arguments silently: on a paying tool a misspelt limit would vanish.
    """

    @classmethod
    def make(cls, fn: Callable[..., Awaitable[Any]], *, title: str, annotations: ToolAnnotations) -> "MoneyTool":
        """Make a tool from a function of this module."""
        tool = cast("MoneyTool", cls.from_function(fn, title=title, annotations=annotations))
        model = tool.fn_metadata.arg_model
        model.model_config["extra"] = "forbid"
        model.model_rebuild(force=True)
        tool.parameters = _trim(model.model_json_schema(by_alias=True))
        return tool

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """Run; every expected failure reads: code, what failed, what became of the money, what to do now."""
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as exc:
            cause = exc.__cause__
            if isinstance(cause, ValidationError):
                raise ToolError(f"request: {_describe_arguments(cause)} Nothing was paid.") from None
            if isinstance(cause, SeedanceError):
                raise ToolError(f"{cause.code}: {cause}") from cause
            if isinstance(exc, UnexpectedToolError):
                raise UnexpectedToolError(
                    f"internal: {self.name} broke unexpectedly. What was paid is in the ledger and is taken up by the "
                    "next call. Repeat the same call once; if it breaks again, tell the owner."
                ) from exc.__cause__
            raise


def _describe_arguments(exc: ValidationError) -> str:
    """What is wrong with the arguments, in a line each, without the validator's links."""
    lines = [
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
        + (f", not {quote_text(error['input'], 40)}" if error["type"] not in ("missing", "extra_forbidden") else "")
        for error in exc.errors(include_url=False)[:5]
    ]
    return "; ".join(lines).replace("Extra inputs are not permitted", "there is no such argument") + "."


def _trim(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop generated titles from a schema: they say the name again, in tokens that every conversation pays for."""
    return {name: _trim_value(value) for name, value in schema.items() if name != "title" or not isinstance(value, str)}


def _trim_value(value: object) -> object:
    if isinstance(value, dict):
        return _trim(cast("dict[str, Any]", value))
    return [_trim_value(item) for item in cast("list[object]", value)] if isinstance(value, list) else value


def _tools() -> list[Tool]:
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=True)
    return [
        MoneyTool.make(
            upload_image,
            title="Upload image ($0.01)",
            annotations=ToolAnnotations(
                read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
            ),
        ),
        MoneyTool.make(quote_price, title="Quote price", annotations=reading),
        MoneyTool.make(
            animate_image,
            title="Animate image (spends money)",
            annotations=ToolAnnotations(
                read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
            ),
        ),
        MoneyTool.make(get_job, title="Get job", annotations=reading),
    ]


def build_server(
    environ: Mapping[str, str], *, settle: Callable[[Settings], Settings] = lambda s: s
) -> MCPServer[State]:
    """The MCP server; touches no network, wallet or ledger until a tool is called.

    Args:
        environ: Where settings are read from, on the first call.
        settle: Turns the owner's settings into those to use; brings up an embedded sandbox.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[State]) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:

            async def guard(work: Callable[[], Awaitable[None]]) -> None:
                try:
                    await work()
                except Exception:  # a background task's crash must not end the server; what it did is in the ledger
                    log.exception("a background task broke")

            engine = Engine(environ, settle=settle, start=lambda work: tasks.start_soon(guard, work))
            stack.push_async_callback(engine.close)  # after the tasks: one of them may be sending a payment
            try:
                yield State(engine=engine, tasks=tasks)
            finally:
                tasks.cancel_scope.cancel()

    hint = CacheHint(ttl_ms=300_000, scope="public")
    return MCPServer(
        "seedance",
        title="Seedance video",
        version=__version__,
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        tools=_tools(),
        cache_hints={"tools/list": hint, "server/discover": hint},
        log_level="WARNING",
    )
