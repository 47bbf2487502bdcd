"""Money: what was spent by day, month and model, and which payments are not over, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from seedance_mcp.core.films import Reservation
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Limits, Spend
from seedance_mcp.core.records import Payment

DAYS = 30
MONTHS = 12
PROMPT_CHARACTERS_MAX = 4000


@dataclass(slots=True)
class _Sum:
    """What settled in one span of time, fees included."""

    micro_usdc: int = 0
    videos: int = 0
    models: Counter[str] = field(default_factory=Counter[str])


def show_money(limits: Limits, spend: Spend, payments: Sequence[Payment], now: float) -> dict[str, object]:
    """Return the spending against the limits, and the sums that the chart shows.

    Args:
        limits: The owner's.
        spend: What counts against them.
        payments: Those of the ledger.
        now: Unix seconds.
    """
    days, months = _sum_up(payments, now)
    return {
        "spent_last_day_micro_usdc": spend.last_day_micro_usdc,
        "spent_total_micro_usdc": spend.total_micro_usdc,
        "max_per_day_micro_usdc": limits.max_per_day_micro_usdc,
        "max_total_micro_usdc": limits.max_total_micro_usdc,
        "max_price_per_video_micro_usdc": limits.max_price_per_video_micro_usdc,
        "ask_above_micro_usdc": limits.ask_above_micro_usdc,
        "windows": _list_windows(limits, spend),
        "days": days,
        "months": months,
    }


def _list_windows(limits: Limits, spend: Spend) -> list[dict[str, object]]:
    """Return the spans of time that the owner limits in addition to the day."""
    windows = (
        ("7 days", spend.last_week_micro_usdc, limits.max_per_week_micro_usdc),
        ("30 days", spend.last_month_micro_usdc, limits.max_per_month_micro_usdc),
    )
    return [
        {"name": name, "spent_micro_usdc": spent, "max_micro_usdc": most}
        for name, spent, most in windows
        if most is not None
    ]


def _sum_up(payments: Iterable[Payment], now: float) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Sum what settled on each of the last days and in each of the last months of this machine's calendar."""
    today = datetime.fromtimestamp(now).astimezone().date()
    days = {(today - timedelta(days=back)).isoformat(): _Sum() for back in range(DAYS - 1, -1, -1)}
    months = {_name_month(today, back): _Sum() for back in range(MONTHS - 1, -1, -1)}
    for payment in payments:
        if payment.state != "settled":
            continue
        day = datetime.fromtimestamp(payment.created_at).astimezone().date().isoformat()
        is_video = payment.purpose == "generation"
        for found in filter(None, (days.get(day), months.get(day[:7]))):
            found.micro_usdc += payment.cost_micro_usdc
            found.videos += is_video
            found.models[str(payment.arguments.get("model") or "") if is_video else ""] += payment.cost_micro_usdc
    return _show_sums(days), _show_sums(months)


def _name_month(today: date, back: int) -> str:
    year, month = divmod(today.year * 12 + today.month - 1 - back, 12)
    return f"{year}-{month + 1:02}"


def _show_sums(sums: dict[str, _Sum]) -> list[dict[str, object]]:
    return [
        {"name": name, "micro_usdc": one.micro_usdc, "videos": one.videos, "models": dict(one.models)}
        for name, one in sums.items()
    ]


async def list_open(payments: Sequence[Payment], ledger: Ledger, now: float) -> list[dict[str, object]]:
    """Return the sums of films, then payments that may still settle or have no job yet, newest first."""
    found = {payment.id: payment for payment in await ledger.held_payments(now)}
    for wallet in {payment.wallet for payment in payments}:
        found |= {payment.id: payment for payment in await ledger.settled_without_result(wallet)}
    sums = [one for one in await ledger.list_reservations(now) if one.left_micro_usdc]
    return [*map(_show_sum, sums), *(_show_open(found[number]) for number in sorted(found, reverse=True))]


def _show_sum(reserved: Reservation) -> dict[str, object]:
    return {
        "payment_id": None,
        "amount_micro_usdc": reserved.left_micro_usdc,
        "purpose": "film",
        "prompt": "",
        "state": "film",
        "hold_until": reserved.until,
    }


def _show_open(payment: Payment) -> dict[str, object]:
    return {
        "payment_id": payment.id,
        "amount_micro_usdc": payment.cost_micro_usdc,
        "purpose": payment.purpose,
        "prompt": str(payment.arguments.get("prompt") or "")[:PROMPT_CHARACTERS_MAX],
        "state": payment.state,
        "hold_until": payment.hold_until,
    }
