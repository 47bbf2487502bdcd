"""Reserved sums: budget that a film takes at once, and from which its payments draw.

What counts of a sum is what its own payments do not occupy. It is computed from them, so that a payment that lapses, or
that the chain says never moved, gives its part back to the film, and nothing counts twice. A sum that was closed pays
for nothing more; one that lapsed has given its budget away, and its film's payments are judged like any others.
"""

from __future__ import annotations

from seedance_mcp.adapters.ledger.driver import Row, Session
from seedance_mcp.core.errors import PolicyError
from seedance_mcp.core.films import RESERVED_SECONDS, Reservation
from seedance_mcp.core.next_steps import NextStep, Repeat

COUNTED = "fee_micro_usdc + CASE WHEN state = 'refused' AND chain_checked = 1 THEN 0 ELSE amount_micro_usdc END"
"""What a payment adds to a sum: price and fee. A refusal that the chain confirmed still cost its fee.

A signed row counts until it is concluded, whatever the clock says; a refused one until the chain, or the owner, has
said that it never moved: a studio may say no and settle all the same. A reservation counts until it lapses.
"""
_OPEN = f"""
    SELECT reservations.*, (SELECT coalesce(sum({COUNTED}), 0) FROM payments WHERE reservation_id = reservations.id
                                AND (state <> 'reserved' OR hold_until > :now)) AS occupied
    FROM reservations WHERE closed_at IS NULL AND until > :now"""  # noqa: S608 - constants
"""The sums that are open, each with what its payments occupy."""


async def sum_left(session: Session, scope: str = "", *, own: int | None, now: float) -> int:
    """Return what counts of the open sums against a budget.

    Args:
        session: Where to read.
        scope: A caller's id; empty for the wallet's budget.
        own: The sum that the next payment draws from. What its film has reserved, also anew since, does not stand in
            its way. None for no such sum.
        now: Unix seconds.
    """
    rows = await session.fetch_all(_OPEN, {"now": now})
    film = None
    if rows and own is not None:
        film = await session.fetch_one("SELECT reason FROM reservations WHERE id = :own", {"own": own})
    reason = None if film is None else film["reason"]
    return sum(_find_left(row) for row in rows if row["reason"] != reason and scope in ("", row["caller"]))


async def select_open(session: Session, viewer: str | None, *, now: float) -> list[Reservation]:
    """Return the open sums of a caller, or of everyone for None, oldest first."""
    return [
        Reservation(
            id=row["id"],
            caller=row["caller"],
            reason=row["reason"],
            amount_micro_usdc=row["amount_micro_usdc"],
            left_micro_usdc=_find_left(row),
            until=row["until"],
        )
        for row in await session.fetch_all(f"{_OPEN} ORDER BY id", {"now": now})
        if viewer is None or row["caller"] == viewer
    ]


def _find_left(row: Row) -> int:
    return max(0, int(row["amount_micro_usdc"]) - int(row["occupied"]))


async def insert_sum(session: Session, reason: str, amount_micro_usdc: int, *, caller: str, now: float) -> int:
    """Reserve a sum; returns its number."""
    row = await session.fetch_one(
        """INSERT INTO reservations (caller, reason, amount_micro_usdc, created_at, until)
           VALUES (:caller, :reason, :amount_micro_usdc, :now, :reserved_until) RETURNING id""",
        {
            "caller": caller,
            "reason": reason,
            "amount_micro_usdc": amount_micro_usdc,
            "now": now,
            "reserved_until": now + RESERVED_SECONDS,
        },
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return int(row["id"])


async def close_sums(session: Session, reason: str, *, now: float) -> None:
    """Release what a film has reserved; its payments that were not signed lapse with it."""
    which = "SELECT id FROM reservations WHERE reason = :reason AND closed_at IS NULL"
    await session.execute(
        f"UPDATE payments SET hold_until = 0 WHERE state = 'reserved' AND reservation_id IN ({which})",  # noqa: S608 - a constant
        {"reason": reason},
    )
    await session.execute(
        "UPDATE reservations SET closed_at = :now WHERE reason = :reason AND closed_at IS NULL",
        {"reason": reason, "now": now},
    )


async def touch_sum(session: Session, reservation_id: int, *, now: float) -> None:
    """Keep a sum for longer that has neither lapsed nor been closed."""
    await session.execute(
        """UPDATE reservations SET until = :reserved_until
           WHERE id = :reservation_id AND closed_at IS NULL AND until > :now""",
        {"reservation_id": reservation_id, "now": now, "reserved_until": now + RESERVED_SECONDS},
    )


async def check_not_closed(session: Session, reservation_id: int) -> None:
    """Raise if a sum was released: its film has ended.

    Raises:
        PolicyError: Nothing more is bought for the film.
    """
    row = await session.fetch_one(
        "SELECT 1 AS found FROM reservations WHERE id = :reservation_id AND closed_at IS NULL",
        {"reservation_id": reservation_id},
    )
    if row is None:
        raise PolicyError(
            "The film was cancelled, or has ended; nothing more is bought for it.",
            NextStep("If it is wanted all the same, {0}.", Repeat()),
        )
