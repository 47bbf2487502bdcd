"""Reports: what was spent, payment by payment, for people who add it up. Changes nothing."""

from __future__ import annotations

import json
from typing import cast

from seedance_mcp.adapters.ledger import untracked
from seedance_mcp.adapters.ledger.driver import Queries, Row
from seedance_mcp.adapters.ledger.spending import COUNTED
from seedance_mcp.core.records import Expense
from seedance_mcp.core.wire.json import Json


class ReportQueries(Queries):
    """The `ReportLedger` protocol."""

    async def list_expenses(self, since: float) -> list[Expense]:
        """Return what was spent since a moment, oldest first, without reservations; for the owner, all of it."""
        visible, parameters = self._visible("payments")
        query = f"""SELECT created_at, purpose, arguments, {COUNTED} AS micro_usdc FROM payments
                    WHERE state <> 'reserved' AND created_at >= :since AND {visible}"""  # noqa: S608 - our own SQL
        if self._viewer is None:
            query += f"""
                UNION ALL SELECT created_at, 'untracked', '{{}}', amount_micro_usdc FROM untracked_jobs
                          WHERE created_at >= :since AND {untracked.UNPAID}
                UNION ALL SELECT created_at, 'untracked', '{{}}', amount_micro_usdc FROM untracked_payments
                          WHERE created_at >= :since"""  # noqa: S608 - our own SQL
        rows = await self._all(f"{query} ORDER BY created_at", since=since, **parameters)
        return [_read_expense(row) for row in rows]


def _read_expense(row: Row) -> Expense:
    model = cast("Json", json.loads(row["arguments"])).get("model") if row["purpose"] == "generation" else None
    return Expense(
        created_at=row["created_at"],
        purpose=row["purpose"],
        model=None if model is None else str(model),
        amount_micro_usdc=int(row["micro_usdc"]),
    )
