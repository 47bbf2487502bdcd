"""The transaction of a single writer: it sums the budget and reserves in it."""

from __future__ import annotations

import json

from seedance_mcp.adapters.ledger import untracked, untracked_payments
from seedance_mcp.adapters.ledger.driver import Session, bind_keys
from seedance_mcp.adapters.ledger.freezes import find_freeze
from seedance_mcp.adapters.ledger.rows import read_payment
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import DAY_SECONDS, Cap, Spend
from seedance_mcp.core.records import Payment, WrongTotal
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest

COUNTED = "fee_micro_usdc + CASE WHEN state = 'refused' AND chain_checked = 1 THEN 0 ELSE amount_micro_usdc END"
"""What a payment adds to a sum: price and fee. A refusal that the chain confirmed still cost its fee."""
COUNTS = "(state IN ('settled', 'signed', 'refused') OR (state = 'reserved' AND hold_until > :now))"
"""Which payments count.

A signed row counts until it is concluded, whatever the clock says; a refused one until the chain, or the owner, has
said that it never moved: a studio may say no and settle all the same.
"""
_SPEND = f"""
    SELECT (SELECT coalesce(sum({COUNTED}), 0) FROM payments WHERE created_at > :since AND {COUNTS})
               + {untracked.SUM.format(since=":since")} + {untracked_payments.SUM.format(since=":since")} AS last_day,
           (SELECT spent_micro_usdc FROM budgets WHERE scope = '')
               + (SELECT coalesce(sum({COUNTED}), 0) FROM payments WHERE state = 'reserved' AND hold_until > :now)
               + {untracked.SUM.format(since="0")} + {untracked_payments.SUM.format(since="0")} AS total"""  # noqa: S608 - constants
"""The total is kept by triggers at a row's every change, but for reservations, which lapse by themselves."""


class BudgetTransaction:
    """What a writer may do while it has the budget's lock: the `LedgerTransaction` protocol."""

    def __init__(self, session: Session, caller: str = "") -> None:
        self._session = session
        self._caller = caller

    async def spend(self, now: float) -> Spend:
        """Sum the budget, in one statement. A job that the ledger has no payment for counts as its estimated price."""
        row = await self._session.fetch_one(_SPEND, {"now": now, "since": now - DAY_SECONDS})
        if row is None:
            return Spend()
        return Spend(last_day_micro_usdc=int(row["last_day"]), total_micro_usdc=int(row["total"]))

    async def find_caps(self, now: float) -> tuple[Cap, ...]:
        """Return the caps that the ledger itself keeps: none, where there is one caller."""
        return ()

    async def find_latest_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        marks, parameters = bind_keys(keys)
        query = f"""SELECT *, {self._session.owner_is_gone} AS owner_is_gone FROM payments
                    WHERE fingerprint IN ({marks}) ORDER BY id DESC LIMIT 1"""  # noqa: S608 - marks
        row = await self._session.fetch_one(query, parameters)
        return None if row is None else read_payment(row)

    async def find_freeze(self) -> Freeze | None:
        """Return the freeze that stops this caller, if there is one."""
        return await find_freeze(self._session, self._caller)

    async def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses that a studio is known by on a network."""
        rows = await self._session.fetch_all(
            "SELECT address FROM recipients WHERE studio = :studio AND network = :network",
            {"studio": studio, "network": network},
        )
        return frozenset(str(row["address"]) for row in rows)

    async def reserve(
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
        marks, parameters = bind_keys(request.keys)
        await self._session.execute(
            f"""UPDATE payments SET hold_until = 0
                WHERE state = 'reserved' AND (hold_until <= :now OR fingerprint IN ({marks}))""",  # noqa: S608 - marks
            {"now": now, **parameters},
        )
        if remember_recipient:
            await insert_recipient(self._session, request.studio, offer.network, offer.pay_to, now=now)
        row = await self._session.fetch_one(
            """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                     amount_micro_usdc, fee_micro_usdc, state, hold_until, created_at, lease_owner,
                                     caller)
               VALUES (:purpose, :key, :url, :body, :arguments, :wallet, :rail, :network, :pay_to, :amount_micro_usdc,
                       :fee_micro_usdc, 'reserved', :reserved_until, :now, :lease_owner, :caller) RETURNING *""",
            {
                "purpose": request.purpose, "key": request.idempotency_key, "url": request.url, "body": request.body,
                "arguments": json.dumps(request.arguments), "wallet": wallet, "rail": offer.rail,
                "network": offer.network, "pay_to": offer.pay_to, "amount_micro_usdc": offer.amount_micro_usdc,
                "fee_micro_usdc": fee_micro_usdc, "reserved_until": hold_until, "now": now,
                "lease_owner": self._session.owner, "caller": self._caller,
            },
        )  # fmt: skip
        assert row is not None  # noqa: S101 - RETURNING gives the inserted row
        return read_payment(row)


async def insert_recipient(session: Session, studio: str, network: str, address: str, *, now: float) -> None:
    """Write that a studio is known by a recipient."""
    await session.execute(
        "INSERT INTO recipients VALUES (:studio, :network, :address, :now) ON CONFLICT DO NOTHING",
        {"studio": studio, "network": network, "address": address.lower(), "now": now},
    )


async def select_wrong_totals(session: Session) -> list[WrongTotal]:
    """Return each running total that is not the sum of its payments."""
    rows = await session.fetch_all(
        f"""SELECT scope, spent_micro_usdc, (SELECT coalesce(sum({COUNTED}), 0) FROM payments
                WHERE state <> 'reserved' AND (scope = '' OR caller = scope)) AS counted FROM budgets"""  # noqa: S608 - constants
    )
    return [
        WrongTotal(
            caller=row["scope"], recorded_micro_usdc=row["spent_micro_usdc"], counted_micro_usdc=int(row["counted"])
        )
        for row in rows
        if row["spent_micro_usdc"] != row["counted"]
    ]
