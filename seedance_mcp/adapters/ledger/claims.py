"""Claims: which replica saves a finished video, and what replicas tell each other of jobs (PostgreSQL alone).

A claim is on the job's row and ends by the database's clock. It is renewed while its video is downloaded, so that the
claim of a killed process lapses. What its holder writes of the job, it writes in a transaction that has checked it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from seedance_mcp.adapters.ledger.driver import Queries, Session
from seedance_mcp.adapters.ledger.rows import JOB_QUERY, make_storable, read_job, read_payment
from seedance_mcp.adapters.ledger.webhooks import WEBHOOKS_CHANNEL
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job, Payment

CLAIM_SECONDS = 60
"""How long a claim lasts without being renewed."""
JOBS_CHANNEL, UNSAVED_CHANNEL, LEASES_CHANNEL = "seedance_jobs", "seedance_unsaved", "seedance_leases"
"""Channels on which triggers announce a changed job, a finished job without a saved video, and a released lease."""
WANTED_CHANNEL = "seedance_wanted"
"""Channel on which a replica announces the job that a caller waits for."""
CHANNELS = (JOBS_CHANNEL, UNSAVED_CHANNEL, LEASES_CHANNEL, WANTED_CHANNEL, WEBHOOKS_CHANNEL)

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_UNSAVED = "jobs.status = 'complete' AND jobs.file IS NULL AND jobs.video_key IS NULL"
_OWN = "studio = :studio AND lower(wallet) = lower(:wallet)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedJob:
    """A job, and what stands between it and its video now, as `jobs.problems` writes it."""

    job: Job
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A finished job that this replica saves, and how often saving it has failed."""

    job: Job
    failures: int


class ClaimQueries(Queries):
    """Claim unsaved jobs, and follow jobs that another replica polls or saves."""

    async def claim_unsaved(self, *, studio: str, wallet: str, owner: str) -> ClaimedJob | None:
        """Claim the oldest finished job that is neither saved nor claimed; returns None if there is none."""
        async with self._driver.transaction() as session:
            row = await session.fetch_one(
                f"""UPDATE jobs SET claim_owner = :owner, claim_until = {_NOW} + {CLAIM_SECONDS} WHERE job_id = (
                        SELECT job_id FROM jobs JOIN payments ON payments.id = jobs.payment_id
                        WHERE {_UNSAVED} AND claim_until <= {_NOW} AND {_OWN}
                        ORDER BY payment_id LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED)
                    RETURNING job_id, failures""",  # noqa: S608 - our own SQL
                {"owner": owner, "studio": studio, "wallet": wallet},
            )
            if row is None:
                return None
            found = await session.fetch_one(f"{JOB_QUERY} WHERE job_id = :job_id", {"job_id": row["job_id"]})
        return None if found is None else ClaimedJob(job=read_job(found), failures=row["failures"])

    async def renew_claims(self, job_ids: Collection[str], owner: str) -> frozenset[str]:
        """Renew claims in one statement; a job that is not returned was lost, or is saved."""
        async with self._driver.transaction() as session:
            rows = await session.fetch_all(
                f"""UPDATE jobs SET claim_until = {_NOW} + {CLAIM_SECONDS}
                    WHERE job_id = ANY(:job_ids) AND claim_owner = :owner AND claim_until > {_NOW} AND {_UNSAVED}
                    RETURNING job_id""",  # noqa: S608 - our own SQL
                {"job_ids": list(job_ids), "owner": owner},
            )
        return frozenset(str(row["job_id"]) for row in rows)

    async def give_up_claim(self, job_id: str, owner: str, *, problem: str | None, retry_seconds: float) -> None:
        """Write why a video is not saved, and when the next replica may try."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""UPDATE jobs SET claim_owner = '', claim_until = {_NOW} + :retry_seconds, problem = :problem,
                                    failures = failures + CASE WHEN CAST(:problem AS TEXT) IS NULL THEN 0 ELSE 1 END
                    WHERE job_id = :job_id AND claim_owner = :owner""",  # noqa: S608 - our own SQL
                {
                    "job_id": job_id,
                    "owner": owner,
                    "problem": make_storable(problem),
                    "retry_seconds": retry_seconds,
                },
            )

    async def report_problem(self, job_id: str, problem: str | None) -> None:
        """Write why the studio does not report a job; None once it does again."""
        async with self._driver.transaction() as session:
            await session.execute(
                "UPDATE jobs SET problem = :problem WHERE job_id = :job_id",
                {"job_id": job_id, "problem": make_storable(problem)},
            )

    async def want_job(self, job_id: str) -> None:
        """Announce that a caller waits for a job: an earlier problem is forgotten, and what failed is tried again."""
        async with self._driver.transaction() as session:
            await session.execute(
                """UPDATE jobs SET problem = NULL, failures = 0,
                                   claim_until = CASE WHEN claim_owner = '' THEN 0 ELSE claim_until END
                   WHERE job_id = :job_id AND problem IS NOT NULL""",
                {"job_id": job_id},
            )
            await session.execute(f"SELECT pg_notify('{WANTED_CHANNEL}', :job_id)", {"job_id": job_id})

    async def follow_jobs(self, job_ids: Collection[str]) -> list[FollowedJob]:
        """Return jobs with their problems, in one statement."""
        rows = await self._all(f"{JOB_QUERY} WHERE job_id = ANY(:job_ids)", job_ids=list(job_ids))
        return [FollowedJob(job=read_job(row), problem=row["problem"]) for row in rows]

    async def list_running(self, *, studio: str, wallet: str) -> frozenset[str]:
        """Return the ids of the jobs that the studio has not ended."""
        rows = await self._all(
            f"""SELECT job_id FROM jobs JOIN payments ON payments.id = jobs.payment_id
                WHERE jobs.status IN ('pending', 'loading') AND {_OWN}""",  # noqa: S608 - our own SQL
            studio=studio,
            wallet=wallet,
        )
        return frozenset(str(row["job_id"]) for row in rows)

    async def list_left_payments(self, wallet: str) -> list[Payment]:
        """Return the signed payments of a wallet whose process stopped renewing its lease."""
        rows = await self._all(
            """SELECT *, 1 AS owner_is_gone FROM payments
               WHERE state = 'signed' AND wallet = :wallet AND owner_is_gone(lease_owner) = 1 AND lease_until > 0
               ORDER BY id""",
            wallet=wallet,
        )
        return [read_payment(row) for row in rows]


async def check_claim(session: Session, job_id: str, owner: str) -> None:
    """Raise unless a job is still claimed; no one can claim it until the session's transaction ends.

    Raises:
        LedgerError: The claim has ended.
    """
    row = await session.fetch_one(
        f"""SELECT 1 FROM jobs WHERE job_id = :job_id AND claim_owner = :owner AND claim_until > {_NOW} FOR UPDATE""",  # noqa: S608 - ours
        {"job_id": job_id, "owner": owner},
    )
    if row is None:
        raise LedgerError(f"Another replica now saves the video of job {job_id}.")
