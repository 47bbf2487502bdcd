"""Hosted server: puts the application of a process together, serves it, and ends it.

`serve` opens the wallet, the ledger and the studio's client before it listens, so that a wrong setting or another
version of the ledger ends it with a reason.
"""

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from importlib.util import find_spec
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET, TCP_NODELAY
from socket import socket as Socket  # noqa: N812 - a class
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import RequestStateSecurity
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import SubscriptionsListenRequestParams
from opentelemetry import trace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from seedance_mcp.adapters.media.decoder import end_decoders
from seedance_mcp.app.authorization import open_access_tokens
from seedance_mcp.app.hosted import CallerRuntime, HostedRuntime, open_hosted
from seedance_mcp.app.web import uploads, videos
from seedance_mcp.config.hosted import HostedSettings, ListenAddress
from seedance_mcp.core.callers import Caller
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import ConfigError, InternalError
from seedance_mcp.core.installation import describe_install
from seedance_mcp.server.assembly import State, assemble_server, guard
from seedance_mcp.server.auth import Challenger, TokenVerifier, Verifier, find_caller
from seedance_mcp.server.draining import Drain, DrainingServer, QuietServer, build_config, drain
from seedance_mcp.server.http import BODY_BYTES_MAX, Access, authenticate, build_app
from seedance_mcp.server.limits import SPENDING_TOOLS, CallLimiter, check_rate, check_scope
from seedance_mcp.server.oauth import OAuthVerifier, build_metadata_routes, find_metadata_url
from seedance_mcp.server.protocol import BoundedProtocol
from seedance_mcp.server.readiness import Readiness
from seedance_mcp.server.resources import make_publisher
from seedance_mcp.server.sealing import ReloadedCodec
from seedance_mcp.server.subscriptions import CallerBus

if TYPE_CHECKING:
    from seedance_mcp.adapters.oauth.tokens import AccessTokens
    from seedance_mcp.server.metrics import Metrics

KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle: longer than common proxies keep theirs, so that none sends on a closed one."""

log = logging.getLogger("seedance_mcp")


async def serve(settings: HostedSettings) -> bool:
    """Serve until a signal; returns False if a person interrupted it.

    Raises:
        ConfigError: The address is taken, or there is no wallet.
        LedgerError: The database cannot be reached, or has another version of the ledger.
    """
    errors: list[SeedanceError] = []
    with bind_address(settings.listen) as socket, _bind_metrics(settings.metrics_listen) as metrics_socket:
        async with _opening(settings.at_port(socket.getsockname()[1]), errors) as server:
            if server is not None:
                return await server.run(socket, metrics_socket)
    raise errors[0]


def bind_address(address: ListenAddress) -> Socket:
    """Take an address; only the server listens there, once everything is open.

    Raises:
        ConfigError: It is taken, or not an address of this machine.
    """
    socket = Socket(AF_INET6 if ":" in address.host else AF_INET)
    try:
        socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        socket.setsockopt(
            IPPROTO_TCP, TCP_NODELAY, 1
        )  # for each connection: asyncio sets it only on sockets of its own
        socket.bind((address.host, address.port))
    except OSError as exc:
        socket.close()
        why = os.strerror(exc.errno) if exc.errno else str(exc)
        raise ConfigError(f"It cannot listen at {address.netloc}: {why}.", "Name another address.") from exc
    return socket


def _bind_metrics(address: ListenAddress | None) -> AbstractContextManager[Socket | None]:
    """Take the address of metrics, if there is one.

    Raises:
        ConfigError: It is taken, or the library is not installed.
    """
    if address is None:
        return nullcontext()
    if find_spec("prometheus_client") is None:
        raise ConfigError(
            "SEEDANCE_METRICS_LISTEN is set, and prometheus-client is not installed.", describe_install("hosted")
        )
    return bind_address(address)


@asynccontextmanager
async def _opening(settings: HostedSettings, errors: list[SeedanceError]) -> AsyncGenerator["HostedServer | None"]:
    """Open what all callers share; close it after the background tasks, one of which may be sending a payment.

    Args:
        settings: With the port that was taken.
        errors: Gets what prevented it, past the task group, which would wrap it; None is yielded then.
    """
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        stack.callback(end_decoders)

        def start(work: Callable[[], Awaitable[None]]) -> None:
            tasks.start_soon(guard, work)

        bus = CallerBus()
        opened = open_hosted(settings, start=start, changed=make_publisher(bus, start))
        try:
            runtime = await stack.enter_async_context(opened)
            tokens = await stack.enter_async_context(open_access_tokens(settings, start))
        except SeedanceError as exc:
            errors.append(exc)
            yield None
        else:
            bus.find_owner = runtime.ledger.find_owner
            bus.shares_jobs = runtime.settings.caller_scope == "team"
            yield HostedServer(runtime, bus, start, tokens)
        finally:
            tasks.cancel_scope.cancel()


class HostedServer:
    """One process of a hosted server.

    Args:
        runtime: What its callers share.
        bus: The subscriptions.
        start: Starts a background task.
        tokens: Checks access tokens; None where callers send our own tokens.
    """

    def __init__(
        self,
        runtime: HostedRuntime,
        bus: CallerBus,
        start: Callable[[Callable[[], Awaitable[None]]], object],
        tokens: "AccessTokens | None",
    ) -> None:
        self._settings = runtime.settings
        self._runtime = runtime
        self._bus = bus
        self._tokens = tokens
        self._streams = ListenHandler(bus)
        self._limiter = CallLimiter(runtime.settings.calls_per_minute)
        self._readiness = Readiness(
            runtime.list_database_problems, runtime.list_object_problems, start, runtime.list_notes
        )
        self._drain = Drain(runtime.settings.drain_seconds)
        self._metrics = None if runtime.settings.metrics_listen is None else self._build_metrics()

    async def run(self, socket: Socket, metrics_socket: Socket | None) -> bool:
        """Serve at bound sockets until a signal; returns False if a person interrupted it."""
        mcp = self._build_mcp()
        server = DrainingServer(
            build_config(self._build_app(mcp), keep_alive_seconds=KEEP_ALIVE_SECONDS, protocol=BoundedProtocol),
            listens=lambda: log.info("Serving MCP at %s/mcp", self._settings.public_url),
        )
        async with mcp.session_manager.run(), anyio.create_task_group() as tasks:
            if self._metrics is not None and metrics_socket is not None:
                tasks.start_soon(_serve_metrics, self._metrics, metrics_socket)
            tasks.start_soon(self._readiness.watch)
            await self._readiness.list_problems()
            tasks.start_soon(lambda: drain(server, self._drain, begin=self._begin_end, close=self._streams.close))
            await server.serve([socket])
            tasks.cancel_scope.cancel()
        return not server.was_interrupted

    def _build_mcp(self) -> MCPServer[State]:
        if not self._settings.shares_state:
            log.warning("SEEDANCE_STATE_KEYS_FILE is not set: answers to questions work at this server alone.")
        mcp = assemble_server(
            os.environ,
            bus=self._bus,
            lifespan=self._keep_state,
            middleware=[mark_caller] if self._metrics is None else [self._metrics.measure, mark_caller],
            state_security=RequestStateSecurity(codec=ReloadedCodec(self._settings.state_keys.current)),
            public_url=self._settings.public_url,
        )
        # Host and Origin are checked before this, for all routes; None would choose checks by the host's name.
        checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        mcp.streamable_http_app(
            stateless_http=True, transport_security=checked, max_request_body_size=BODY_BYTES_MAX + 1
        )
        # In the place of the SDK's own, which nothing outside could close.
        mcp.session_manager.app.add_request_handler(
            "subscriptions/listen", SubscriptionsListenRequestParams, self._streams
        )
        return mcp

    def _build_metrics(self) -> "Metrics":
        from seedance_mcp.server.metrics import Metrics  # loads the library, which the extra brings

        return Metrics(self._runtime, lambda: self._readiness.is_draining)

    def _build_app(self, mcp: MCPServer[State]) -> ASGIApp:
        issuer, resource = self._settings.oauth_issuer, self._settings.resource
        access = Access(
            verifier=self._build_verifier(),
            challenger=Challenger(None if issuer is None else find_metadata_url(resource)),
            drain=self._drain,
            readiness=self._readiness,
            hosts=self._settings.hosts,
            origins=self._settings.origins,
        )
        routes = [*self._list_routes(access), *([] if issuer is None else build_metadata_routes(resource, issuer))]
        return build_app(mcp.session_manager.handle_request, access, routes)

    def _build_verifier(self) -> Verifier:
        ledger, defaults = self._runtime.ledger, self._settings.caller_caps
        if self._tokens is None:
            return TokenVerifier(ledger.find_caller)
        if not defaults.limits_spending:
            log.warning("No cap of callers is set: each buys nothing until `callers limit` gives it a cap.")
        return OAuthVerifier(self._tokens.read, ledger.find_or_add, defaults=defaults)

    def _list_routes(self, access: Access) -> Sequence[BaseRoute]:
        """Return the routes of pictures and videos, also below the path of the public URL if no proxy takes it away."""

        async def find_sender(request: Request) -> Caller | Response:
            return await authenticate(request.scope, access)

        runtime = self._runtime
        routes = [
            *uploads.build_routes(runtime.find_pictures(), profile=self._settings.owner.profile.name),
            *videos.build_routes(runtime.links, runtime.store, authenticate=find_sender, find_job=runtime.find_job),
        ]
        prefix = urlsplit(self._settings.public_url).path
        return [*routes, Mount(prefix, routes=routes)] if prefix else routes

    @asynccontextmanager
    async def _keep_state(self) -> AsyncGenerator[State]:
        yield State(find_runtime=self._find_runtime, check_call=self._check_call)

    def _find_runtime(self) -> CallerRuntime:
        return self._runtime.for_caller(_require_caller())

    def _check_call(self, tool: str) -> None:
        caller = _require_caller()
        check_scope(caller, tool)
        check_rate(self._limiter, caller)
        if tool in SPENDING_TOOLS:
            self._readiness.check()

    def _begin_end(self) -> None:
        self._readiness.is_draining = True
        self._runtime.end_work()


async def _serve_metrics(metrics: "Metrics", socket: Socket) -> None:
    """Serve metrics until the end, also while the server drains."""
    log.info("Serving metrics at http://%s:%d/metrics", *socket.getsockname()[:2])
    await QuietServer(build_config(metrics.build_app(), keep_alive_seconds=5)).serve([socket])


def _require_caller() -> Caller:
    caller = find_caller()
    if caller is None:
        raise InternalError("A message came without a caller.")
    return caller


async def mark_caller(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Add the caller to the trace span of this message."""
    caller = find_caller()
    span = trace.get_current_span()
    if caller is not None and span.is_recording():
        span.set_attribute("seedance.caller", caller.id)
    return await call_next(ctx)
