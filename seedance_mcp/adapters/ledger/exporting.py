"""Exporting: all payments of a ledger row by row, for charge-back (PostgreSQL alone).

One statement reads them, so that the rows are those of one moment; the server sends some at a time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from seedance_mcp.adapters.ledger.postgres_driver import describe_database, translate_errors
from seedance_mcp.adapters.ledger.postgres_migrations import connect

_ROWS_READ_MAX = 1_000
"""How many rows are in memory at a time."""
_PAYMENTS = """
    SELECT payments.id, coalesce(callers.name, '') AS caller, payments.caller AS caller_id, payments.created_at,
           purpose, state, coalesce(job_id, '') AS job_id, coalesce(arguments::json ->> 'model', '') AS model,
           amount_micro_usdc, fee_micro_usdc, counted_micro_usdc(payments) AS counted_micro_usdc,
           rail, network, coalesce(receipt_transaction, '') AS transaction_hash
    FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id LEFT JOIN callers ON callers.id = payments.caller"""
_UNTRACKED = """
    SELECT NULL, '', '', created_at, 'generation', 'untracked', job_id, '', amount_micro_usdc, 0, amount_micro_usdc,
           '', '', ''
    FROM untracked_jobs WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id)
    UNION ALL
    SELECT NULL, '', '', created_at, '', 'untracked', '', '', amount_micro_usdc, 0, amount_micro_usdc, '', network,
           transaction_hash
    FROM untracked_payments"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedPayment:
    """A payment as a row of an export.

    Attributes:
        id: Its number; None for what only the studio's list or a chain knows.
        caller: The caller's name; empty for the owner.
        caller_id: The caller's id; empty for the owner.
        created_at: Unix seconds, by the database's clock.
        state: Its state, or `untracked`.
        counted_micro_usdc: What counts against the budgets in all; 0 for a reservation, which lapses by itself.
        transaction_hash: Of its receipt, or empty.
    """

    id: int | None
    caller: str
    caller_id: str
    created_at: float
    purpose: str
    state: str
    job_id: str
    model: str
    amount_micro_usdc: int
    fee_micro_usdc: int
    counted_micro_usdc: int
    rail: str
    network: str
    transaction_hash: str


async def stream_payments(
    url: str, *, caller_id: str | None = None, since: float | None = None, until: float | None = None
) -> AsyncGenerator[ExportedPayment]:
    """Read payments, oldest first.

    Args:
        url: The database.
        caller_id: One caller alone; None for all, with what the ledger has no payment for.
        since: Unix seconds, included.
        until: Unix seconds, not included.

    Raises:
        LedgerError: It cannot be read.
    """
    rows = _PAYMENTS if caller_id is not None else f"{_PAYMENTS} UNION ALL {_UNTRACKED}"
    query = f"""SELECT * FROM ({rows}) AS found WHERE (%(caller)s::text IS NULL OR caller_id = %(caller)s)
                AND created_at >= coalesce(%(since)s::double precision, '-infinity')
                AND created_at < coalesce(%(until)s::double precision, 'infinity') ORDER BY created_at, id"""  # noqa: S608 - our own SQL
    async with connect(url) as connection:
        with translate_errors(describe_database(url)):
            async with connection.transaction(), connection.cursor(name="export") as cursor:
                cursor.itersize = _ROWS_READ_MAX
                await cursor.execute(query.encode(), {"caller": caller_id, "since": since, "until": until})
                async for row in cursor:
                    yield ExportedPayment(**row)
