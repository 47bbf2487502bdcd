"""The `budget` and `payments` commands: what the callers of a shared server spend. They work on the database alone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from seedance_mcp.app.opening import open_shared_ledger
from seedance_mcp.cli.console import AsJson, read_environ, say, words
from seedance_mcp.cli.export import parse_moment, write_payments
from seedance_mcp.config.hosted import read_caller_caps
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.config.sources import Source
from seedance_mcp.core.callers import OWNER, CallerCaps, CallerEntry
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.limits import OpenCap
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import write_time

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import CallerUsage, PostgresLedger
    from seedance_mcp.core.limits import Cap
    from seedance_mcp.core.records import Payment

PAYMENTS_DEFAULT, PAYMENTS_MAX = 20, 1000

OneCaller = Annotated[str | None, typer.Option("--caller", help="One caller, by its name; all if left out.")]


@dataclass(frozen=True, slots=True)
class NamedUsage:
    """What one caller has spent, or the wallet, whose name is `wallet`.

    Attributes:
        name: The caller's name.
        usage: Its sums and caps.
    """

    name: str
    usage: CallerUsage


def budget(caller: OneCaller = None, as_json: AsJson = False) -> None:
    """Show what the callers of a shared server have spent, and what is left of their caps."""
    settings = read_settings(read_environ(sandbox=False), blocking=True)
    found = anyio.run(list_usage, settings, caller)
    if as_json:
        say({"results": [_describe_usage(one) for one in found]})
        return
    for one in found:
        typer.echo(write_usage(one))


def payments(
    caller: OneCaller = None,
    limit: Annotated[int, typer.Option(min=1, max=PAYMENTS_MAX, help="Most payments.")] = PAYMENTS_DEFAULT,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write all payments as CSV, oldest first.")] = False,
    since: Annotated[str | None, typer.Option(help="With --csv: from this date on, UTC.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="With --csv: before this date, UTC.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the latest payments of a shared server, with the caller of each, newest first."""
    settings = read_settings(read_environ(sandbox=False), blocking=True)
    if as_csv:
        span = parse_moment("--since", since), parse_moment("--until", until)
        anyio.run(write_payments, settings, caller, *span)
        return
    if since is not None or until is not None:
        raise ConfigError("--since and --until are for --csv.", "Add --csv.")
    found = anyio.run(_list_payments, settings, caller, limit)
    if as_json:
        say({"results": [_describe_payment(payment, name) for payment, name in found]})
        return
    for payment, name in found:
        amount, moment = format_usdc(payment.cost_micro_usdc), write_time(payment.created_at)
        typer.echo(f"{payment.id}: ${amount} for {payment.purpose}, {payment.state}, by {name}, {moment}")
    if not found:
        words.print("There are no payments.")


async def list_usage(settings: Settings, name: str | None = None) -> list[NamedUsage]:
    """Return what the wallet and each caller have spent, or one caller alone.

    Raises:
        ConfigError: The settings name no database, or there is no such caller.
        LedgerError: The database cannot be used.
    """
    caps, now = _read_defaults(), time.time()
    async with open_shared_ledger(settings) as opened:
        ledger = opened.with_defaults(caps)
        if name is not None:
            return [await _find_usage(ledger, await ledger.find_entry(name), now)]
        entries = [entry for entry in await ledger.list_callers() if entry.revoked_at is None]
        callers = [await _find_usage(ledger, entry, now) for entry in entries]
        return [NamedUsage("wallet", await ledger.find_usage(now)), *callers]


def write_usage(one: NamedUsage) -> str:
    """Return what a caller has spent as a line of text."""
    from seedance_mcp.app.wallet_rendering import describe_cap

    usage = one.usage
    parts = [
        f"${format_usdc(usage.spend.last_day_micro_usdc)} in 24 hours",
        f"${format_usdc(usage.spend.total_micro_usdc)} in total",
        f"{usage.open} open",
        *map(describe_cap, usage.caps),
        *([] if usage.freeze is None else [f"frozen since {usage.freeze.since}"]),
    ]
    return f"{one.name}: {'; '.join(parts)}"


def _read_defaults() -> CallerCaps:
    return read_caller_caps(Source.open(os.environ))


async def _find_usage(ledger: PostgresLedger, entry: CallerEntry, now: float) -> NamedUsage:
    return NamedUsage(entry.caller.name, await ledger.for_caller(entry.caller.id).find_usage(now))


async def _list_payments(settings: Settings, name: str | None, limit: int) -> list[tuple[Payment, str]]:
    async with open_shared_ledger(settings) as ledger:
        entry = None if name is None else await ledger.find_entry(name)
        names = {one.caller.id: one.caller.name for one in await ledger.list_callers()}
        chosen = ledger if entry is None else ledger.for_caller(entry.caller.id)
        found = await chosen.recent_payments(limit)
    return [(payment, names.get(payment.caller, payment.caller) or OWNER.name) for payment in found]


def _describe_usage(one: NamedUsage) -> dict[str, object]:
    usage = one.usage
    return {
        "name": one.name,
        "spent_24h_micro_usdc": usage.spend.last_day_micro_usdc,
        "spent_total_micro_usdc": usage.spend.total_micro_usdc,
        "open": usage.open,
        "caps": [_describe_cap(cap) for cap in usage.caps],
        "frozen_since": None if usage.freeze is None else usage.freeze.since,
    }


def _describe_cap(cap: Cap) -> dict[str, object]:
    if isinstance(cap, OpenCap):
        return {"name": cap.name, "max": cap.max_open, "used": cap.open}
    left = cap.left_micro_usdc
    return {
        "name": cap.name,
        "max_micro_usdc": cap.max_micro_usdc,
        "spent_micro_usdc": cap.spent_micro_usdc,
        "left_micro_usdc": left,
    }


def _describe_payment(payment: Payment, name: str) -> dict[str, object]:
    receipt = payment.receipt
    return {
        "payment_id": payment.id,
        "caller": name,
        "purpose": payment.purpose,
        "state": payment.state,
        "rail": payment.rail,
        "amount_micro_usdc": payment.amount_micro_usdc,
        "fee_micro_usdc": payment.fee_micro_usdc,
        "created_at": write_time(payment.created_at),
        "receipt": None if receipt is None else {"network": receipt.network, "transaction": receipt.transaction},
    }
