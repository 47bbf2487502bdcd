"""Jobs of a wallet that its ledger has no payment for, as the studio's list reported them."""

import json
from collections.abc import Sequence
from typing import cast

from seedance_mcp.adapters.ledger.driver import Session
from seedance_mcp.adapters.ledger.rows import make_storable
from seedance_mcp.core.records import UntrackedJob
from seedance_mcp.core.wire.jobs import Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import PaidRequest

UNPAID = "NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id)"
"""Condition: no payment of the ledger made the job, so far."""


async def insert_reading(
    session: Session, jobs: Sequence[UntrackedJob], *, wallet: str, studio: str, now: float
) -> None:
    """Write that the ledger was read against the studio's list, and which jobs it did not know."""
    await session.execute_many(
        """INSERT INTO untracked_jobs (job_id, wallet, studio, type, status, input, created_at, amount_micro_usdc)
           VALUES (:job_id, :wallet, :studio, :type, :status, :input, :created_at, :amount_micro_usdc)
           ON CONFLICT (job_id) DO UPDATE SET status = excluded.status""",
        [
            {
                "job_id": job.job_id, "wallet": wallet.lower(), "studio": studio, "type": make_storable(job.type),
                "status": job.status, "input": None if job.input is None else json.dumps(job.input),
                "created_at": job.created_at, "amount_micro_usdc": job.amount_micro_usdc,
            }
            for job in jobs
        ],
    )  # fmt: skip
    await session.execute(
        """INSERT INTO readings VALUES (:wallet, :studio, :now)
           ON CONFLICT (wallet, studio) DO UPDATE SET read_at = excluded.read_at""",
        {"wallet": wallet.lower(), "studio": studio, "now": now},
    )


async def select_reading(session: Session, *, wallet: str, studio: str) -> float | None:
    """Return when the ledger was last read against the studio's list, in Unix seconds; None if it never was."""
    row = await session.fetch_one(
        "SELECT read_at FROM readings WHERE wallet = :wallet AND studio = :studio",
        {"wallet": wallet.lower(), "studio": studio},
    )
    return None if row is None else float(row["read_at"])


async def select_untracked(session: Session, *, wallet: str, studio: str) -> list[UntrackedJob]:
    """Return the jobs that still have no payment, oldest first."""
    rows = await session.fetch_all(
        """SELECT * FROM untracked_jobs WHERE wallet = :wallet AND studio = :studio
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id) ORDER BY created_at, job_id""",
        {"wallet": wallet.lower(), "studio": studio},
    )
    return [
        UntrackedJob(
            job_id=row["job_id"],
            type=row["type"],
            status=cast("Status", row["status"]),
            input=None if row["input"] is None else cast("Json", json.loads(row["input"])),
            created_at=row["created_at"],
            amount_micro_usdc=row["amount_micro_usdc"],
        )
        for row in rows
    ]


async def insert_adopted(
    session: Session,
    job: UntrackedJob,
    request: PaidRequest,
    *,
    wallet: str,
    studio: str,
    now: float,
    caller: str,
) -> None:
    """Write a job and a settled payment for it, whose price is only estimated, under a request's idempotency key."""
    known = await session.fetch_one("SELECT 1 FROM jobs WHERE job_id = :job_id", {"job_id": job.job_id})
    if known is not None:
        return
    created_at = min(job.created_at, now)
    row = await session.fetch_one(
        """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                 amount_micro_usdc, state, hold_until, created_at, concluded_at, chain_checked, adopted,
                                 caller)
           VALUES ('generation', :key, :url, :body, :arguments, :wallet, 'x402', '', '', :amount_micro_usdc, 'settled',
                   0, :created_at, :now, 1, 1, :caller) RETURNING id""",
        {
            "key": request.idempotency_key, "url": request.url, "body": request.body,
            "arguments": json.dumps(request.arguments), "wallet": wallet,
            "amount_micro_usdc": max(job.amount_micro_usdc, 1), "created_at": created_at, "now": now,
            "caller": caller,
        },
    )  # fmt: skip
    await session.execute(
        """INSERT INTO jobs (job_id, studio, payment_id, status, progress, created_at)
           VALUES (:job_id, :studio, :payment_id, :status, 0, :created_at)""",
        {
            "job_id": job.job_id,
            "studio": studio,
            "payment_id": None if row is None else row["id"],
            "status": "loading" if job.status == "complete" else job.status,
            "created_at": created_at,
        },
    )
