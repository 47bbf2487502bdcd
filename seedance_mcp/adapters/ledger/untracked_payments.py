"""Payments of a wallet that a chain has and its ledger has not."""

from collections.abc import Sequence

from seedance_mcp.adapters.ledger.driver import Row, Session
from seedance_mcp.core.records import UntrackedPayment

MATCH_SECONDS = 300
"""How far a payment's row, or a job, may be from its transfer in time: a credential lives no longer."""
KNOWN_SECONDS = 3600
"""How long before the earliest transfer the rows begin that may explain it: no process has them all in memory."""


async def insert_reading(
    session: Session,
    payments: Sequence[UntrackedPayment],
    *,
    wallet: str,
    network: str,
    pay_to: str,
    now: float,
) -> None:
    """Write that a chain was read, and which of its payments neither a row nor an untracked job explains."""
    known = await _list_known(session, wallet, payments)
    for payment in payments:
        if not _take_explanation(known, payment):
            await session.execute(
                """INSERT INTO untracked_payments
                   VALUES (:transaction_hash, :wallet, :network, :pay_to, :amount_micro_usdc, :created_at)
                   ON CONFLICT DO NOTHING""",
                {
                    "transaction_hash": payment.transaction, "wallet": wallet.lower(), "network": payment.network,
                    "pay_to": payment.pay_to, "amount_micro_usdc": payment.amount_micro_usdc,
                    "created_at": payment.created_at,
                },
            )  # fmt: skip
    await session.execute(
        """INSERT INTO chain_readings VALUES (:wallet, :network, :pay_to, :now)
           ON CONFLICT (wallet, network, pay_to) DO UPDATE SET read_at = excluded.read_at""",
        {"wallet": wallet.lower(), "network": network, "pay_to": pay_to, "now": now},
    )


async def _list_known(session: Session, wallet: str, payments: Sequence[UntrackedPayment]) -> list[Row]:
    """Return what may have caused transfers: the wallet's payments, and its jobs without a payment.

    Those with a transaction come first: they explain it for sure.
    """
    if not payments:
        return []
    rows = await session.fetch_all(
        """SELECT lower(coalesce(receipt_transaction, '')) AS transaction_hash, amount_micro_usdc,
                  coalesce(signed_at, created_at) AS moment
           FROM payments WHERE lower(wallet) = :wallet AND NOT (state = 'refused' AND chain_checked = 1)
           AND created_at >= :since
           UNION ALL
           SELECT '', amount_micro_usdc, created_at FROM untracked_jobs WHERE wallet = :wallet
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id)""",
        {"wallet": wallet.lower(), "since": min(one.created_at for one in payments) - KNOWN_SECONDS},
    )
    return sorted(rows, key=lambda row: not row["transaction_hash"])


def _take_explanation(known: list[Row], payment: UntrackedPayment) -> bool:
    """Return True if a row explains a payment, and take the row away: it explains no other one.

    A row without a transaction explains the transfer of its amount at its time; an amount of 0 is one not known.
    """
    for index, row in enumerate(known):
        if row["transaction_hash"]:
            is_it = row["transaction_hash"] == payment.transaction
        else:
            is_near = abs(row["moment"] - payment.created_at) <= MATCH_SECONDS
            is_it = is_near and row["amount_micro_usdc"] in (0, payment.amount_micro_usdc)
        if is_it:
            del known[index]
            return True
    return False


async def select_reading(session: Session, *, wallet: str, network: str, pay_to: str) -> float | None:
    """Return when a chain was last read for payments to a recipient, in Unix seconds; None where it never was."""
    row = await session.fetch_one(
        "SELECT read_at FROM chain_readings WHERE wallet = :wallet AND network = :network AND pay_to = :pay_to",
        {"wallet": wallet.lower(), "network": network, "pay_to": pay_to},
    )
    return None if row is None else float(row["read_at"])


async def select_all(session: Session, *, wallet: str) -> list[UntrackedPayment]:
    """Return the payments that only a chain knows, oldest first."""
    rows = await session.fetch_all(
        "SELECT * FROM untracked_payments WHERE wallet = :wallet ORDER BY created_at, transaction_hash",
        {"wallet": wallet.lower()},
    )
    return [
        UntrackedPayment(
            transaction=row["transaction_hash"],
            network=row["network"],
            pay_to=row["pay_to"],
            amount_micro_usdc=row["amount_micro_usdc"],
            created_at=row["created_at"],
        )
        for row in rows
    ]
