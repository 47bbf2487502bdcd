"""The transaction of a single writer: it sums the budget and reserves in it."""

from __future__ import annotations

import json

from seedance_mcp.adapters.ledger import reservations
from seedance_mcp.adapters.ledger.driver import Session, bind_keys
from seedance_mcp.adapters.ledger.films import insert_film, select_film
from seedance_mcp.adapters.ledger.freezes import find_freeze
from seedance_mcp.adapters.ledger.rows import read_payment
from seedance_mcp.adapters.ledger.spending import HOUR_SECONDS, select_spend
from seedance_mcp.core.films import Film
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Cap, Spend
from seedance_mcp.core.records import Payment, WrongTotal
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest


class BudgetTransaction:
    """What a writer may do while it has the budget's lock: the `LedgerTransaction` protocol."""

    def __init__(self, session: Session, caller: str = "", reservation_id: int | None = None) -> None:
        self._session = session
        self._caller = caller
        self._reservation_id = reservation_id

    async def spend(self, now: float) -> Spend:
        """Sum the wallet's budget, but for the sum that this ledger's payments draw from."""
        return await select_spend(self._session, own=self._reservation_id, now=now)

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
        if self._reservation_id is not None:
            await reservations.check_not_closed(self._session, self._reservation_id)
            await reservations.touch_sum(self._session, self._reservation_id, now=now)
        if remember_recipient:
            await insert_recipient(self._session, request.studio, offer.network, offer.pay_to, now=now)
        row = await self._session.fetch_one(
            """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                     amount_micro_usdc, fee_micro_usdc, state, hold_until, created_at, lease_owner,
                                     caller, reservation_id)
               VALUES (:purpose, :key, :url, :body, :arguments, :wallet, :rail, :network, :pay_to, :amount_micro_usdc,
                       :fee_micro_usdc, 'reserved', :reserved_until, :now, :lease_owner, :caller, :reservation_id)
               RETURNING *""",
            {
                "purpose": request.purpose, "key": request.idempotency_key, "url": request.url, "body": request.body,
                "arguments": json.dumps(request.arguments), "wallet": wallet, "rail": offer.rail,
                "network": offer.network, "pay_to": offer.pay_to, "amount_micro_usdc": offer.amount_micro_usdc,
                "fee_micro_usdc": fee_micro_usdc, "reserved_until": hold_until, "now": now,
                "lease_owner": self._session.owner, "caller": self._caller,
                "reservation_id": self._reservation_id,
            },
        )  # fmt: skip
        assert row is not None  # noqa: S101 - RETURNING gives the inserted row
        return read_payment(row)

    async def find_film(self, film_id: str) -> Film | None:
        """Return a film by its id."""
        return await select_film(self._session, film_id)

    async def release_sum(self, reason: str, *, now: float) -> None:
        """End what was reserved for a film so far."""
        await reservations.close_sums(self._session, reason, now=now)

    async def open_film(self, film: Film, *, amount_micro_usdc: int, now: float, lease_until: float) -> Film:
        """Write a film, reserve its sum, and take its lease."""
        return await insert_film(
            self._session,
            film,
            amount_micro_usdc=amount_micro_usdc,
            caller=self._caller,
            now=now,
            lease_until=lease_until,
        )


async def insert_recipient(session: Session, studio: str, network: str, address: str, *, now: float) -> None:
    """Write that a studio is known by a recipient."""
    await session.execute(
        "INSERT INTO recipients VALUES (:studio, :network, :address, :now) ON CONFLICT DO NOTHING",
        {"studio": studio, "network": network, "address": address.lower(), "now": now},
    )


async def select_wrong_totals(session: Session) -> list[WrongTotal]:
    """Return each running total, and each sum of an hour, that is not the sum of its payments."""
    rows = await session.fetch_all(
        f"""SELECT scope, spent_micro_usdc, (SELECT coalesce(sum({reservations.COUNTED}), 0) FROM payments
                WHERE state <> 'reserved' AND (scope = '' OR caller = scope)) AS counted FROM budgets
            UNION ALL
            SELECT scope, sum(spent_micro_usdc), sum(counted) FROM (
                SELECT scope, spent_micro_usdc, (SELECT coalesce(sum({reservations.COUNTED}), 0) FROM payments
                    WHERE state <> 'reserved' AND (scope = '' OR caller = scope)
                    AND created_at >= hour * {HOUR_SECONDS} AND created_at < (hour + 1) * {HOUR_SECONDS}) AS counted
                FROM spent_hours) AS hours
            WHERE spent_micro_usdc <> counted GROUP BY scope"""  # noqa: S608 - constants
    )
    return [
        WrongTotal(
            caller=row["scope"],
            recorded_micro_usdc=int(row["spent_micro_usdc"]),
            counted_micro_usdc=int(row["counted"]),
        )
        for row in rows
        if row["spent_micro_usdc"] != row["counted"]
    ]
