"""What the chain says of payments that the studio called settled, once their credentials have expired."""

import sqlite3

from seedance_mcp.adapters.ledger.rows import make_storable, read_payment
from seedance_mcp.core.records import Payment


def select_unverified(db: sqlite3.Connection, *, after_id: int, limit: int, now: float) -> list[Payment]:
    """Return settled payments whose credential has expired and that no chain was asked about, by number."""
    rows = db.execute(
        """SELECT * FROM payments WHERE state = 'settled' AND chain_checked = 0 AND document IS NOT NULL
           AND hold_until <= ? AND id > ? ORDER BY id LIMIT ?""",
        (now, after_id, limit),
    ).fetchall()
    return [read_payment(row) for row in rows]


def mark_verified(
    db: sqlite3.Connection,
    payment: Payment,
    *,
    transaction: str,
    verified: bool | None,
    fee_micro_usdc: int | None,
) -> None:
    """Write that the chain says that a settled payment moved."""
    db.execute(
        """UPDATE payments SET chain_checked = 1, verified = ?, receipt_network = coalesce(receipt_network, network),
                               receipt_transaction = coalesce(nullif(?, ''), receipt_transaction, ''),
                               fee_micro_usdc = min(fee_micro_usdc, coalesce(?, fee_micro_usdc))
           WHERE id = ? AND state = 'settled'""",
        (None if verified is None else int(verified), make_storable(transaction), fee_micro_usdc, payment.id),
    )


def mark_unmoved(db: sqlite3.Connection, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> None:
    """Write that a payment that the studio called settled never moved."""
    db.execute(
        """UPDATE payments SET state = 'refused', reason = ?, chain_checked = 1, verified = 0,
                               fee_micro_usdc = min(fee_micro_usdc, coalesce(?, fee_micro_usdc))
           WHERE id = ? AND state = 'settled' AND chain_checked = 0""",
        (reason, fee_micro_usdc, payment.id),
    )
