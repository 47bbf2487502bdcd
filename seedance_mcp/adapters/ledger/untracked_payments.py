"""Payments of a wallet that a chain has and its ledger has not."""

import sqlite3
from collections.abc import Sequence

from seedance_mcp.core.records import UntrackedPayment

MATCH_SECONDS = 300
"""How far a payment's row, or a job, may be from its transfer in time: a credential lives no longer."""


def insert_reading(
    db: sqlite3.Connection,
    payments: Sequence[UntrackedPayment],
    *,
    wallet: str,
    network: str,
    pay_to: str,
    now: float,
) -> None:
    """Write that a chain was read, and which of its payments neither a row nor an untracked job explains."""
    known = _list_known(db, wallet)
    for payment in payments:
        if not _take_explanation(known, payment):
            db.execute(
                "INSERT OR IGNORE INTO untracked_payments VALUES (?, ?, ?, ?, ?, ?)",
                (
                    payment.transaction, wallet.lower(), payment.network, payment.pay_to, payment.amount_micro_usdc,
                    payment.created_at,
                ),
            )  # fmt: skip
    db.execute("INSERT OR REPLACE INTO chain_readings VALUES (?, ?, ?, ?)", (wallet.lower(), network, pay_to, now))


def _list_known(db: sqlite3.Connection, wallet: str) -> list[sqlite3.Row]:
    """Return what may have caused a transfer: the wallet's payments, and its jobs without a payment.

    Those with a transaction come first: they explain it for sure.
    """
    rows = db.execute(
        """SELECT lower(coalesce(receipt_transaction, '')) AS transaction_hash, amount_micro_usdc,
                  coalesce(signed_at, created_at) AS moment
           FROM payments WHERE lower(wallet) = :wallet AND NOT (state = 'refused' AND chain_checked)
           UNION ALL
           SELECT '', amount_micro_usdc, created_at FROM untracked_jobs WHERE wallet = :wallet
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id)""",
        {"wallet": wallet.lower()},
    ).fetchall()
    return sorted(rows, key=lambda row: not row["transaction_hash"])


def _take_explanation(known: list[sqlite3.Row], payment: UntrackedPayment) -> bool:
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


def select_reading(db: sqlite3.Connection, *, wallet: str, network: str, pay_to: str) -> float | None:
    """When a chain was last read for payments to a recipient, in Unix seconds; None where it never was."""
    row = db.execute(
        "SELECT read_at FROM chain_readings WHERE wallet = ? AND network = ? AND pay_to = ?",
        (wallet.lower(), network, pay_to),
    ).fetchone()
    return None if row is None else float(row["read_at"])


def select_all(db: sqlite3.Connection, *, wallet: str) -> list[UntrackedPayment]:
    """Return the payments that only a chain knows, oldest first."""
    rows = db.execute(
        "SELECT * FROM untracked_payments WHERE wallet = ? ORDER BY created_at, transaction_hash", (wallet.lower(),)
    ).fetchall()
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


def sum_since(db: sqlite3.Connection, since: float) -> int:
    """Return what was paid since a moment by payments that only a chain knows."""
    row = db.execute("SELECT sum(amount_micro_usdc) FROM untracked_payments WHERE created_at > ?", (since,)).fetchone()
    return int(row[0] or 0)
