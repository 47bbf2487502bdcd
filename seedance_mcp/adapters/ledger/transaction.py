"""One writer's transaction: the budget is summed and reserved in it."""

from __future__ import annotations

import json
import sqlite3

from seedance_mcp.adapters.ledger import untracked, untracked_payments
from seedance_mcp.adapters.ledger.connection import list_marks
from seedance_mcp.adapters.ledger.freezes import find_freeze
from seedance_mcp.adapters.ledger.rows import name_ourselves, read_payment
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import DAY_SECONDS, Spend
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest


class SQLiteBooks:
    """What one writer may do inside a transaction: the `Books` protocol."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def spend(self, now: float) -> Spend:
        """Sum the budget.

        A signed row counts until it is concluded, whatever the clock says; a refused one until the chain, or the owner,
        has said that it never moved: a studio may say no and settle all the same.
        """
        return Spend(last_day_micro_usdc=self._sum_since(now, now - DAY_SECONDS), total_micro_usdc=self._sum_all(now))

    def _sum_since(self, now: float, since: float) -> int:
        """Prices and fees of what was reserved since then. A refusal that the chain confirmed still cost its fee.

        A job that the ledger has no payment for counts as what it is thought to have cost.
        """
        row = self._db.execute(
            """SELECT sum(fee_micro_usdc + amount_micro_usdc * (state <> 'refused' OR NOT chain_checked))
               FROM payments WHERE created_at > :since AND (
                   state IN ('settled', 'signed', 'refused') OR (state = 'reserved' AND hold_until > :now))""",
            {"now": now, "since": since},
        ).fetchone()
        return int(row[0] or 0) + self._sum_untracked(since)

    def _sum_all(self, now: float) -> int:
        """The same of everything, from the running total: its triggers count a row's every change."""
        row = self._db.execute(
            """SELECT spent_micro_usdc + (SELECT coalesce(sum(fee_micro_usdc + amount_micro_usdc), 0)
               FROM payments WHERE state = 'reserved' AND hold_until > ?) FROM totals""",
            (now,),
        ).fetchone()
        return int(row[0]) + self._sum_untracked(since=0)

    def _sum_untracked(self, since: float) -> int:
        return untracked.sum_untracked(self._db, since=since) + untracked_payments.sum_since(self._db, since)

    def find_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        query = f"SELECT * FROM payments WHERE fingerprint IN ({list_marks(keys)}) ORDER BY id DESC LIMIT 1"  # noqa: S608 - marks
        row = self._db.execute(query, keys).fetchone()
        return None if row is None else read_payment(row)

    def find_freeze(self) -> Freeze | None:
        """Return the owner's stop, if one stands."""
        return find_freeze(self._db)

    def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses that a studio is known by on a network."""
        rows = self._db.execute("SELECT address FROM recipients WHERE studio = ? AND network = ?", (studio, network))
        return frozenset(str(row["address"]) for row in rows)

    def reserve(
        self,
        request: PaidRequest,
        offer: Offer,
        *,
        wallet: str,
        hold_until: int,
        now: float,
        fee_micro_usdc: int = 0,
        remember_recipient: bool = True,
    ) -> Payment:
        """Take budget for a purchase that is about to be signed.

        What lapsed gives its budget away for good: a clock that is set back later does not bring it to life again. So
        does an earlier reservation for the same purchase, whose process was taken for dead.
        """
        self._db.execute(
            f"""UPDATE payments SET hold_until = 0
                WHERE state = 'reserved' AND (hold_until <= ? OR fingerprint IN ({list_marks(request.keys)}))""",  # noqa: S608 - marks
            (now, *request.keys),
        )
        if remember_recipient:
            insert_recipient(self._db, request.studio, offer.network, offer.pay_to, now=now)
        row = self._db.execute(
            """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                     amount_micro_usdc, fee_micro_usdc, state, hold_until, created_at, lease_owner)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'reserved', ?, ?, ?) RETURNING *""",
            (
                request.purpose, request.fingerprint, request.url, request.body, json.dumps(request.arguments), wallet,
                offer.rail, offer.network, offer.pay_to, offer.amount_micro_usdc, fee_micro_usdc, hold_until, now,
                name_ourselves(),
            ),
        ).fetchone()  # fmt: skip
        return read_payment(row)


def insert_recipient(db: sqlite3.Connection, studio: str, network: str, address: str, *, now: float) -> None:
    """Write that a studio is known by a recipient."""
    db.execute("INSERT OR IGNORE INTO recipients VALUES (?, ?, ?, ?)", (studio, network, address.lower(), now))
