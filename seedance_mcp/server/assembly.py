"""Put the tools, prompts and resources together into one server.

`app.runtime` opens wallet, ledger and network on the first call.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from mcp.server import CacheHint, MCPServer
from mcp.server.context import ServerMiddleware
from mcp.server.mcpserver import RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, SubscriptionBus

from seedance_mcp import __version__
from seedance_mcp.app.runtime import ResolveSandbox, Runtime, Start
from seedance_mcp.server.call_context import State
from seedance_mcp.server.prompts import add_prompts, check_prompt_arguments
from seedance_mcp.server.resources import add_resources, make_publisher, name_video_type
from seedance_mcp.server.tools import build_tools
from seedance_mcp.server.ui_page import Apps, tell_of_page

if TYPE_CHECKING:
    from seedance_mcp.config.settings import Settings

log = logging.getLogger("seedance_mcp")

CACHE_MS = 300_000
INSTRUCTIONS = (
    "Turns a still image into a short video, paid in USDC by the owner's wallet. "
    "Shortest path: animate_image(image, prompt); unless its `file` is set (the saved MP4), get_job(job_id) until it "
    "is. For a picture without a path or URL, call upload_image without image. "
    "quote_price tells the price for free. Repeating the same animate_image call never pays twice: it returns the "
    "same job; only another take buys another video. After a timeout or an unclear error, repeat the same call; do not "
    "change its arguments. list_jobs finds the jobs of a lost session. Every error says whether money moved. Limits "
    "belong to the owner and cannot be raised here; wallet_status shows them."
)


async def _keep(settings: "Settings") -> "Settings":
    return settings


async def guard(work: Callable[[], Awaitable[None]]) -> None:
    """Run a background task. Its crash must not end the server: its payments are in the ledger."""
    try:
        await work()
    except Exception:
        log.exception("a background task failed")


@asynccontextmanager
async def _keep_runtime(
    open_runtime: Callable[[Start], Runtime], ending: Callable[[], object], ended: Callable[[], object]
) -> AsyncGenerator[State]:
    """Keep the runtime and its background tasks for as long as the server runs."""
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:

        def start(work: Callable[[], Awaitable[None]]) -> None:
            tasks.start_soon(guard, work)

        runtime = open_runtime(start)
        stack.callback(ended)
        stack.push_async_callback(runtime.close)  # after the tasks: one of them may be sending a payment
        start(runtime.resume_left)
        try:
            yield State(find_runtime=lambda: runtime)
        finally:
            ending()
            tasks.cancel_scope.cancel()


def build_server(
    environ: Mapping[str, str],
    *,
    resolve_sandbox: ResolveSandbox = _keep,
    ending: Callable[[], object] = lambda: None,
    ended: Callable[[], object] = lambda: None,
) -> MCPServer[State]:
    """Build the MCP server. It uses no network, wallet or ledger until a tool is called.

    Args:
        environ: The environment of the settings, which are read on the first call.
        resolve_sandbox: Returns the settings to use for the owner's settings; starts an embedded sandbox.
        ending: Called when the host has left; a payment may still be waiting for its answer.
        ended: Called when everything is closed.
    """
    bus = InMemorySubscriptionBus()

    def open_runtime(start: Start) -> Runtime:
        return Runtime(environ, resolve_sandbox=resolve_sandbox, start=start, changed=make_publisher(bus, start))

    return assemble_server(environ, bus=bus, lifespan=lambda: _keep_runtime(open_runtime, ending, ended))


def assemble_server(
    environ: Mapping[str, str],
    *,
    bus: SubscriptionBus,
    lifespan: Callable[[], AbstractAsyncContextManager[State]],
    middleware: Sequence[ServerMiddleware[State]] = (),
    state_security: RequestStateSecurity | None = None,
    public_url: str | None = None,
) -> MCPServer[State]:
    """Put the tools, prompts and resources together.

    Args:
        environ: The environment of the settings.
        bus: The subscriptions.
        lifespan: Opens the state of the server, and closes it.
        middleware: Runs around every message, before ours.
        state_security: Seals what a client must bring back; a key of this process alone if None.
        public_url: Where a hosted server has its videos; None on stdio.
    """
    # Lists differ by host: only one that shows pages gets ours.
    listed, told = CacheHint(ttl_ms=CACHE_MS, scope="private"), CacheHint(ttl_ms=CACHE_MS, scope="public")
    server = MCPServer(
        "seedance",
        title="Seedance video",
        version=__version__,
        instructions=INSTRUCTIONS,
        lifespan=lambda _: lifespan(),
        tools=[*build_tools()],
        extensions=[Apps(environ, public_url)],
        middleware=[*middleware, check_prompt_arguments, tell_of_page, name_video_type],
        request_state_security=state_security,
        subscriptions=bus,
        cache_hints={"tools/list": listed, "server/discover": told},
        log_level="WARNING",
    )
    add_prompts(server)
    add_resources(server)
    return server
