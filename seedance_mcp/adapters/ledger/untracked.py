"""Jobs of a wallet that its ledger has no payment for, as the studio's list told of them."""

import json
import sqlite3
from collections.abc import Sequence
from typing import cast

from seedance_mcp.adapters.ledger.rows import make_storable
from seedance_mcp.core.records import UntrackedJob
from seedance_mcp.core.wire.jobs import Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import PaidRequest


def insert_reading(
    db: sqlite3.Connection, jobs: Sequence[UntrackedJob], *, wallet: str, studio: str, now: float
) -> None:
    """Write that the ledger was read against the studio's list, and which jobs it did not know."""
    db.executemany(
        """INSERT INTO untracked_jobs (job_id, wallet, studio, type, status, input, created_at, amount_micro_usdc)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id) DO UPDATE SET status = excluded.status""",
        [
            (
                job.job_id, wallet.lower(), studio, make_storable(job.type), job.status,
                None if job.input is None else json.dumps(job.input), job.created_at, job.amount_micro_usdc,
            )
            for job in jobs
        ],
    )  # fmt: skip
    db.execute("INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", (wallet.lower(), studio, now))


def select_reading(db: sqlite3.Connection, *, wallet: str, studio: str) -> float | None:
    """When the ledger was last read against the studio's list, in Unix seconds; None where it never was."""
    row = db.execute(
        "SELECT read_at FROM readings WHERE wallet = ? AND studio = ?", (wallet.lower(), studio)
    ).fetchone()
    return None if row is None else float(row["read_at"])


def select_untracked(db: sqlite3.Connection, *, wallet: str, studio: str) -> list[UntrackedJob]:
    """Return the jobs that still have no payment, oldest first."""
    rows = db.execute(
        """SELECT * FROM untracked_jobs WHERE wallet = ? AND studio = ?
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id) ORDER BY created_at, job_id""",
        (wallet.lower(), studio),
    ).fetchall()
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


def sum_untracked(db: sqlite3.Connection, *, since: float) -> int:
    """Return what the jobs without a payment that were made since a moment are thought to have cost."""
    row = db.execute(
        """SELECT sum(amount_micro_usdc) FROM untracked_jobs WHERE created_at > ?
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = untracked_jobs.job_id)""",
        (since,),
    ).fetchone()
    return int(row[0] or 0)


def insert_adopted(
    db: sqlite3.Connection, job: UntrackedJob, request: PaidRequest, *, wallet: str, studio: str, now: float
) -> None:
    """Write a job and a settled payment for it, whose price is only estimated, under a request's idempotency key."""
    known = db.execute("SELECT 1 FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
    if known is not None:
        return
    created_at = min(job.created_at, now)
    row = db.execute(
        """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                 amount_micro_usdc, state, hold_until, created_at, concluded_at, chain_checked, adopted)
           VALUES ('generation', ?, ?, ?, ?, ?, 'x402', '', '', ?, 'settled', 0, ?, ?, 1, 1) RETURNING id""",
        (
            request.fingerprint, request.url, request.body, json.dumps(request.arguments), wallet,
            max(job.amount_micro_usdc, 1), created_at, now,
        ),
    ).fetchone()  # fmt: skip
    db.execute(
        "INSERT INTO jobs (job_id, studio, payment_id, status, progress, created_at) VALUES (?, ?, ?, ?, 0, ?)",
        (job.job_id, studio, row["id"], "loading" if job.status == "complete" else job.status, created_at),
    )
