"""What the chain reports of payments that the studio called settled, once their credentials have expired."""

from seedance_mcp.adapters.ledger.driver import Session
from seedance_mcp.adapters.ledger.rows import make_storable, read_payment
from seedance_mcp.core.records import Payment


async def select_unverified(session: Session, *, after_id: int, limit: int, now: float) -> list[Payment]:
    """Return settled payments whose credential has expired and that no chain was asked about, by number."""
    rows = await session.fetch_all(
        """SELECT * FROM payments WHERE state = 'settled' AND chain_checked = 0 AND document IS NOT NULL
           AND hold_until <= :now AND id > :after_id ORDER BY id LIMIT :limit""",
        {"now": now, "after_id": after_id, "limit": limit},
    )
    return [read_payment(row) for row in rows]


async def mark_verified(
    session: Session,
    payment: Payment,
    *,
    transaction: str,
    verified: bool | None,
    fee_micro_usdc: int | None,
) -> None:
    """Write that the chain reports that a settled payment moved."""
    await session.execute(
        """UPDATE payments SET chain_checked = 1, verified = :verified,
                               receipt_network = coalesce(receipt_network, network),
                               receipt_transaction = coalesce(nullif(:transaction_hash, ''), receipt_transaction, ''),
                               fee_micro_usdc = CASE WHEN :fee < fee_micro_usdc THEN :fee ELSE fee_micro_usdc END
           WHERE id = :id AND state = 'settled'""",
        {
            "verified": None if verified is None else int(verified),
            "transaction_hash": make_storable(transaction),
            "fee": fee_micro_usdc,
            "id": payment.id,
        },
    )


async def mark_unmoved(session: Session, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> None:
    """Write that a payment that the studio called settled never moved."""
    await session.execute(
        """UPDATE payments SET state = 'refused', reason = :reason, chain_checked = 1, verified = 0,
                               fee_micro_usdc = CASE WHEN :fee < fee_micro_usdc THEN :fee ELSE fee_micro_usdc END
           WHERE id = :id AND state = 'settled' AND chain_checked = 0""",
        {"reason": reason, "fee": fee_micro_usdc, "id": payment.id},
    )
