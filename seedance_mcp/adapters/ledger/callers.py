"""Callers: the caps of the wallet's budget and of each caller's, kept in the database (PostgreSQL alone)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seedance_mcp.adapters.ledger.driver import Row, Session
from seedance_mcp.adapters.ledger.spending import select_spend
from seedance_mcp.adapters.ledger.transaction import BudgetTransaction
from seedance_mcp.core.callers import NO_CAPS, CallerCaps, merge_caps
from seedance_mcp.core.limits import DAY_SECONDS, BudgetCap, Cap, OpenCap, Spend

_WALLETS, _CALLERS = "wallet's", "caller's"


OPEN_JOBLESS_SECONDS = DAY_SECONDS
"""How long a payment that settled without a job counts as open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """A caller, the caps that hold where its own row has none, and what it may see.

    Attributes:
        caller: Its id; empty for the owner.
        defaults: Caps of every caller without its own.
        sees_jobs: True if it may see the payments and jobs of everyone.
        sees_sums: True if it may see what others have spent.
        reservation_id: The reserved sum that its new payments draw from, or None.
    """

    caller: str = ""
    defaults: CallerCaps = NO_CAPS
    sees_jobs: bool = True
    sees_sums: bool = True
    reservation_id: int | None = None


class CallerTransaction(BudgetTransaction):
    """The transaction of a single writer, which also reads the caps that the database keeps."""

    def __init__(self, session: Session, viewpoint: Viewpoint) -> None:
        super().__init__(session, viewpoint.caller, viewpoint.reservation_id)
        self._viewpoint = viewpoint

    async def spend(self, now: float) -> Spend:
        """Sum the wallet's budget, in which the payments of all callers are."""
        return replace(await super().spend(now), is_private=not self._viewpoint.sees_sums)

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return the caps that bind this caller, with what counts against each."""
        return await select_caps(self._session, self._viewpoint, now=now)


async def select_caps(session: Session, viewpoint: Viewpoint, *, now: float) -> tuple[Cap, ...]:
    """Return the caps of the wallet's budget and of a caller's, with what counts against each."""
    rows = await session.fetch_all(
        "SELECT * FROM budgets WHERE scope IN ('', :caller) ORDER BY scope", {"caller": viewpoint.caller}
    )
    caps: list[Cap] = []
    for row in rows:
        own = CallerCaps(**{name: row[name] for name in CallerCaps.__dataclass_fields__})
        chosen = merge_caps(own, viewpoint.defaults) if row["scope"] else own
        caps += await _read_caps(session, row, chosen, viewpoint.reservation_id, now)
    return tuple(replace(cap, is_private=True) if _is_private(cap, viewpoint) else cap for cap in caps)


def _is_private(cap: Cap, viewpoint: Viewpoint) -> bool:
    return not viewpoint.sees_sums and cap.name.startswith(_WALLETS)


async def _read_caps(session: Session, row: Row, own: CallerCaps, reservation_id: int | None, now: float) -> list[Cap]:
    scope = str(row["scope"])
    whose = _CALLERS if scope else _WALLETS
    spend = await select_spend(session, scope, own=reservation_id, now=now) if own.limits_spending else Spend()
    budgets = (
        (own.max_per_day_micro_usdc, spend.last_day_micro_usdc, "budget per day"),
        (own.max_per_week_micro_usdc, spend.last_week_micro_usdc, "budget per week"),
        (own.max_per_month_micro_usdc, spend.last_month_micro_usdc, "budget per month"),
        (own.max_total_micro_usdc, spend.total_micro_usdc, "total budget"),
    )
    caps: list[Cap] = [
        BudgetCap(max_micro_usdc=most, spent_micro_usdc=spent, name=f"{whose} {name}")
        for most, spent, name in budgets
        if most is not None
    ]
    if own.max_open is not None:
        open_purchases = await count_open(session, scope, now=now)
        caps.append(OpenCap(max_open=own.max_open, open=open_purchases, name=f"{whose} open purchases"))
    return caps


async def count_open(session: Session, scope: str, *, now: float) -> int:
    """Count the running jobs of a scope, and its payments that may still become one."""
    whose = "caller = :scope" if scope else "1 = 1"
    jobless = "NOT EXISTS (SELECT 1 FROM jobs WHERE payment_id = payments.id)"
    on_their_way = (  # one query each, because each has an index of its own
        "state = 'signed'",
        "state = 'reserved' AND hold_until > :now",
        "state = 'settled' AND purpose = 'generation' AND created_at > :since",
    )
    counts = [f"(SELECT count(*) FROM payments WHERE {whose} AND {state} AND {jobless})" for state in on_their_way]  # noqa: S608 - ours
    counts.append(f"(SELECT count(*) FROM jobs WHERE status IN ('pending', 'loading') AND {whose})")  # noqa: S608 - ours
    row = await session.fetch_one(
        f"SELECT {' + '.join(counts)} AS open",
        {"scope": scope, "now": now, "since": now - OPEN_JOBLESS_SECONDS},
    )
    return 0 if row is None else int(row["open"])
