"""Callers: the caps of the wallet's budget and of each caller's, kept in the database (PostgreSQL alone)."""

from __future__ import annotations

from seedance_mcp.adapters.ledger import untracked, untracked_payments
from seedance_mcp.adapters.ledger.driver import Row, Session
from seedance_mcp.adapters.ledger.transaction import COUNTED, COUNTS, BudgetTransaction
from seedance_mcp.core.limits import DAY_SECONDS, BudgetCap

WINDOWS = {"day": DAY_SECONDS, "week": 7 * DAY_SECONDS, "month": 30 * DAY_SECONDS}
"""Lengths of the rolling windows. A calendar's day would allow twice the cap around midnight."""


class CallerTransaction(BudgetTransaction):
    """The transaction of a single writer, which also reads the caps that the database keeps."""

    async def find_caps(self, now: float) -> tuple[BudgetCap, ...]:
        """Return the caps that bind this caller, with what counts against each."""
        return await select_caps(self._session, self._caller, now=now)


async def select_caps(session: Session, caller: str, *, now: float) -> tuple[BudgetCap, ...]:
    """Return the caps of the wallet's budget and of a caller's, with what counts against each."""
    rows = await session.fetch_all(
        "SELECT * FROM budgets WHERE scope IN ('', :caller) ORDER BY scope", {"caller": caller}
    )
    return tuple([cap for row in rows for cap in await _read_caps(session, row, now)])


async def _read_caps(session: Session, row: Row, now: float) -> list[BudgetCap]:
    scope = str(row["scope"])
    whose = "caller's" if scope else "wallet's"
    caps = [
        BudgetCap(
            max_micro_usdc=row[f"max_per_{window}_micro_usdc"],
            spent_micro_usdc=await _sum_since(session, scope, since=now - seconds, now=now),
            name=f"{whose} budget per {window}",
        )
        for window, seconds in WINDOWS.items()
        if row[f"max_per_{window}_micro_usdc"] is not None
    ]
    if row["max_total_micro_usdc"] is not None:
        spent = row["spent_micro_usdc"] + await _sum_reserved(session, scope, now=now)
        caps.append(
            BudgetCap(max_micro_usdc=row["max_total_micro_usdc"], spent_micro_usdc=spent, name=f"{whose} total budget")
        )
    return caps


async def _sum_since(session: Session, scope: str, *, since: float, now: float) -> int:
    """Sum what counts of a scope since a moment. What only the studio or a chain knows counts for the wallet alone."""
    found = f"SELECT coalesce(sum({COUNTED}), 0) AS spent FROM payments WHERE created_at > :since AND {COUNTS}"  # noqa: S608 - ours
    if scope:
        query = f"{found} AND caller = :scope"
    else:
        untracked_sum = untracked.SUM.format(since=":since")
        query = f"SELECT ({found}) + {untracked_sum} + {untracked_payments.SUM.format(since=':since')} AS spent"
    return await _read_sum(session, query, scope=scope, since=since, now=now)


async def _sum_reserved(session: Session, scope: str, *, now: float) -> int:
    """Sum what the total on the budget's row does not have."""
    mine = "caller = :scope" if scope else "1 = 1"
    query = f"""SELECT coalesce(sum({COUNTED}), 0) AS spent FROM payments
                WHERE state = 'reserved' AND hold_until > :now AND {mine}"""  # noqa: S608 - our own SQL
    reserved = await _read_sum(session, query, scope=scope, now=now)
    return reserved if scope else reserved + await _sum_untracked(session)


async def _sum_untracked(session: Session) -> int:
    sums = f"{untracked.SUM.format(since='0')} + {untracked_payments.SUM.format(since='0')}"
    return await _read_sum(session, f"SELECT {sums} AS spent")


async def _read_sum(session: Session, query: str, **parameters: object) -> int:
    row = await session.fetch_one(query, parameters)
    return 0 if row is None else int(row["spent"])
