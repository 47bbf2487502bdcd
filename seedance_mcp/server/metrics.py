"""Metrics for Prometheus, at a port of their own. No label has unbounded values: none names a caller or a job.

What happens in this process is counted as it happens. What is in the ledger is read when someone asks, at most every
few seconds; it is the same at every server, so take the maximum of them, not the sum.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, get_args

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seedance_mcp.adapters.ledger.figures import LedgerFigures
from seedance_mcp.app.hosted import HostedRuntime
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.webhooks import Outcome
from seedance_mcp.payments import policy
from seedance_mcp.payments.wallet_status import WalletStatus
from seedance_mcp.server.tool import ERROR_KEY

LEDGER_SECONDS = 5
"""How long figures of the ledger are used."""
WALLET_SECONDS = 30
"""How long balances are used: they are asked of chains."""
METHODS = frozenset({
    "completion/complete", "initialize", "ping", "prompts/get", "prompts/list", "resources/list", "resources/read",
    "resources/templates/list", "server/discover", "subscriptions/listen", "tools/call", "tools/list",
})  # fmt: skip
TOOLS = frozenset({
    "animate_image", "animate_storyboard", "get_job", "list_jobs", "quote_price", "upload_image", "wallet_status",
})  # fmt: skip
OTHER = "other"
"""What a label says for a value that it does not list."""
SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60)
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class Metrics:
    """The metrics of one process.

    Args:
        runtime: Reads the ledger and the wallet.
        is_draining: Tells whether the server was asked to end.
    """

    def __init__(self, runtime: HostedRuntime, is_draining: Callable[[], bool]) -> None:
        self._registry = CollectorRegistry()
        self._runtime = runtime
        self._figures: LedgerFigures | None = None
        self._wallet: WalletStatus | None = None
        self._is_leader = False
        self._read_at, self._wallet_read_at = -LEDGER_SECONDS, -WALLET_SECONDS
        self._reading = anyio.Lock()
        self._operations = Histogram(
            "mcp_server_operation_duration_seconds", "Time from a message to its answer",
            ("mcp_method_name", "gen_ai_tool_name", "error_type"), buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self._reservations = Histogram(
            "seedance_reserve_seconds", "Time for which a reservation has the budget's lock, with waiting for it",
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self._requests = Counter(
            "seedance_studio_requests_total", "Requests to the studio and to chains", ("route", "status"),
            registry=self._registry,
        )  # fmt: skip
        webhooks = Counter(
            "seedance_webhooks", "Attempts to send a webhook message", ("outcome",), registry=self._registry
        )
        for outcome in get_args(Outcome):
            webhooks.labels(outcome)
        if runtime.replica.webhooks is not None:
            runtime.replica.webhooks.watch = lambda outcome: webhooks.labels(outcome).inc()
        Gauge("seedance_draining", "1 once the server was asked to end", registry=self._registry).set_function(
            lambda: float(is_draining())
        )
        self._registry.register(_Figures(self))
        runtime.ledger.watch_reservations(self._reservations.observe)
        runtime.services.studio.http.event_hooks = {"response": [self._count_response]}

    async def measure(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Measure a message."""
        began_at, error = time.perf_counter(), "exception"
        try:
            result = await call_next(ctx)
            error = _find_error(result)
            return result
        finally:
            tool = str((ctx.params or {}).get("name")) if ctx.method == "tools/call" else ""
            self._operations.labels(
                ctx.method if ctx.method in METHODS else OTHER,
                tool if tool in TOOLS or not tool else OTHER,
                error,
            ).observe(time.perf_counter() - began_at)

    async def _count_response(self, response: Any) -> None:
        """Count an answer of the studio or a chain."""
        studio = self._runtime.settings.owner.profile.studio_url
        path = response.request.url.path if str(response.request.url).startswith(studio) else ""
        self._requests.labels(_name_studio_route(path), str(response.status_code)).inc()

    def build_app(self) -> Starlette:
        """Return the application that serves `/metrics`."""

        async def show(_: Request) -> Response:
            await self._read()
            return Response(generate_latest(self._registry), headers={"content-type": CONTENT_TYPE})

        return Starlette(routes=[Route("/metrics", show)])

    async def _read(self) -> None:
        """Read ledger and wallet again if that is due; without them, what was read last is told."""
        async with self._reading:
            now = anyio.current_time()
            try:
                if now - self._read_at >= LEDGER_SECONDS:
                    self._read_at = now
                    ledger = self._runtime.ledger
                    self._figures = await ledger.read_figures()
                    self._is_leader = await ledger.is_poll_leader(ledger.owner)
                if now - self._wallet_read_at >= WALLET_SECONDS:
                    self._wallet_read_at = now
                    self._wallet = await self._runtime.services.wallet_status.read()
            except SeedanceError:
                self._figures = self._wallet = None  # a figure that is not told is seen; an old one is not

    def list_read(self) -> Iterable[Metric]:
        """Return what was read of ledger and wallet."""
        yield _gauge("seedance_poll_leader", "1 if this server polls the studio", {(): float(self._is_leader)})
        if self._figures is not None:
            yield from _show_figures(self._figures)
        if self._wallet is not None:
            yield from _show_wallet(self._wallet)


class _Figures:
    """Prometheus's collector of what was read."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.list_read()


def _show_figures(figures: LedgerFigures) -> Iterable[Metric]:
    payments = CounterMetricFamily("seedance_payments", "Payments in the ledger", labels=("rail", "state"))
    for labels, number in figures.payments.items():
        payments.add_metric(labels, number)
    yield payments
    number, seconds = figures.settled
    yield SummaryMetricFamily(
        "seedance_payment_seconds",
        "Time from signing a payment to its settlement",
        count_value=number,
        sum_value=seconds,
    )
    spent = {(scope,): float(amount) for scope, amount in figures.spent_micro_usdc.items()}
    yield _gauge("seedance_spent_micro_usdc", "Spent in all, with what is held", spent, "scope")
    yield _gauge("seedance_held_micro_usdc", "Held by payments whose outcome is unknown", {(): figures.held_micro_usdc})
    yield _gauge("seedance_unfinished_payments", "Payments whose outcome is unknown", {(): figures.unfinished})
    age = {(): figures.oldest_unfinished_seconds}
    yield _gauge("seedance_oldest_unfinished_seconds", "Age of the oldest payment whose outcome is unknown", age)
    jobs = {(status,): float(number) for status, number in figures.jobs.items()}
    yield _gauge("seedance_jobs", "Jobs in the ledger", jobs, "status")
    closed = {(): float(figures.is_closed)}
    yield _gauge("seedance_ledger_closed", "1 while nothing is bought because the ledger was restored", closed)
    undelivered = {(): figures.undelivered_seconds}
    age_of_message = "Age of the oldest webhook message that was not delivered"
    yield _gauge("seedance_webhook_undelivered_seconds", age_of_message, undelivered)
    unsaved = {(): figures.unsaved_seconds}
    yield _gauge("seedance_clip_unsaved_seconds", "How long the oldest complete video is not saved", unsaved)


def _show_wallet(wallet: WalletStatus) -> Iterable[Metric]:
    balances = {
        (one.rail, one.network, one.token): float(one.amount_micro_usdc)
        for one in wallet.balances
        if one.amount_micro_usdc is not None
    }
    yield _gauge("seedance_wallet_balance_micro_usdc", "What the wallet holds", balances, "rail", "network", "token")
    budgets = policy.find_remaining_budget(wallet.limits, wallet.spend)
    left = {(one.setting.lower(),): float(one.micro_usdc) for one in budgets}
    left[("max_per_day",)] = float(wallet.day_left_micro_usdc)
    yield _gauge("seedance_cap_left_micro_usdc", "What a cap of the wallet leaves", left, "cap")


def _gauge(name: str, meaning: str, values: Mapping[tuple[str, ...], float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _find_error(result: HandlerResult) -> str:
    """Return the code of a failed result; empty for any other."""
    fields: Any = result if isinstance(result, dict) else getattr(result, "__dict__", {})
    if not (fields.get("isError") or fields.get("is_error")):
        return ""
    meta = cast("dict[str, Any]", fields.get("_meta") or fields.get("meta") or {})
    code = str(meta.get(ERROR_KEY, {}).get("code", ""))
    return code if code in _list_codes(SeedanceError) else OTHER


def _list_codes(root: type[SeedanceError]) -> set[str]:
    return {root.code}.union(*(_list_codes(child) for child in root.__subclasses__()))


def _name_studio_route(path: str) -> str:
    """Return the route of a path of the studio's, without ids; `other` for a chain or a store of videos."""
    parts = path.strip("/").split("/")
    if parts[0] != "api" or len(parts) < 2:
        return OTHER
    if parts[1] == "jobs":
        return "/api/jobs" if len(parts) == 2 else "/api/jobs/{id}"
    return f"/api/{parts[1]}" if parts[1] in ("generate", "upload") else OTHER
