"""Spending: sum what counts against a budget, in rolling windows and in total. Writes nothing.

Triggers keep two kinds of sums at a row's every change: the total, and one sum per hour of the clock (`spent_hours`). A
window is the hours that lie wholly in it, and the rows of the hour in which it begins: exact, and as cheap in a ledger
of 100,000 payments as in an empty one. Reservations are in neither sum, because they lapse by themselves.
"""

from __future__ import annotations

from seedance_mcp.adapters.ledger import untracked
from seedance_mcp.adapters.ledger.driver import Session
from seedance_mcp.adapters.ledger.reservations import COUNTED, sum_left
from seedance_mcp.core.limits import DAY_SECONDS, MONTH_SECONDS, WEEK_SECONDS, Spend

WINDOWS = {"day": DAY_SECONDS, "week": WEEK_SECONDS, "month": MONTH_SECONDS}
"""Lengths of the rolling windows. A calendar's day would allow twice the cap around midnight."""
HOUR_SECONDS = 3600
"""Length of the span that a row of `spent_hours` sums; the migrations have it as a number."""

_UNTRACKED = f"""
    UNION ALL SELECT created_at, amount_micro_usdc FROM untracked_jobs WHERE {untracked.UNPAID}
    UNION ALL SELECT created_at, amount_micro_usdc FROM untracked_payments"""  # noqa: S608 - constants
"""What only the studio or a chain knows counts for the wallet alone; a job, as its estimated price."""


def _write_query(whose: str, others: str = "") -> str:
    """Return the statement that sums one scope.

    Args:
        whose: Condition for its payments.
        others: Further rows that count beside the kept sums.
    """
    windows = [
        f"""(SELECT coalesce(sum(spent_micro_usdc), 0) FROM spent_hours WHERE scope = :scope AND hour > :{name}_hour)
            + (SELECT coalesce(sum({COUNTED}), 0) FROM payments WHERE {whose} AND state <> 'reserved'
               AND created_at > :{name}_since AND created_at < :{name}_full)
            + (SELECT coalesce(sum(micro_usdc), 0) FROM beside WHERE created_at > :{name}_since) AS last_{name}"""  # noqa: S608 - constants
        for name in WINDOWS
    ]
    return f"""
        WITH beside AS (
            SELECT created_at, {COUNTED} AS micro_usdc FROM payments
            WHERE {whose} AND state = 'reserved' AND hold_until > :now {others})
        SELECT {", ".join(windows)},
               coalesce((SELECT spent_micro_usdc FROM budgets WHERE scope = :scope), 0)
                   + (SELECT coalesce(sum(micro_usdc), 0) FROM beside) AS total"""  # noqa: S608 - constants


_OF_WALLET = _write_query("1 = 1", _UNTRACKED)
_OF_CALLER = _write_query("caller = :scope")


async def select_spend(session: Session, scope: str = "", *, own: int | None = None, now: float) -> Spend:
    """Sum what counts against a budget, in one statement, and what is reserved beside it.

    Args:
        session: Where to read.
        scope: A caller's id; empty for the wallet's budget, in which the payments of all callers are.
        own: The reserved sum that the next payment draws from, which does not stand in its way.
        now: Unix seconds.
    """
    parameters: dict[str, object] = {"now": now, "scope": scope}
    for name, seconds in WINDOWS.items():
        since = now - seconds
        hour = int(since) // HOUR_SECONDS
        full = float((hour + 1) * HOUR_SECONDS)
        parameters |= {f"{name}_since": since, f"{name}_hour": hour, f"{name}_full": full}
    row = await session.fetch_one(_OF_CALLER if scope else _OF_WALLET, parameters)
    if row is None:
        return Spend()
    spend = Spend(
        last_day_micro_usdc=int(row["last_day"]),
        last_week_micro_usdc=int(row["last_week"]),
        last_month_micro_usdc=int(row["last_month"]),
        total_micro_usdc=int(row["total"]),
    )
    return spend.plus(await sum_left(session, scope, own=own, now=now))
