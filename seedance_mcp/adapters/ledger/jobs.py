"""Jobs in the ledger, and those that only the studio's list has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from seedance_mcp.adapters.ledger import untracked
from seedance_mcp.adapters.ledger.driver import Queries, bind_keys
from seedance_mcp.adapters.ledger.rows import JOB_QUERY, make_storable, read_job, read_json
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job, Payment, UntrackedJob
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import PaidRequest

JOBS_COMPARED_MAX = 200
"""How many of the latest jobs are looked at for the time that one takes."""
ALIKE_MAX = 10
"""How many of them count, if they are of the same kind."""
UNFINISHED = "status <> 'failed' AND file IS NULL AND video_key IS NULL"
"""Jobs that have not failed and are not saved."""


class JobQueries(Queries):
    """The `JobLedger` protocol."""

    async def add_job(self, payment: Payment, job_id: str, *, studio: str, status: Status, now: float) -> Job | None:
        """Write down a job; twice is the same as once. Returns None if it is another payment's.

        It need not be on disk at the end. The answer that it was read from is, with the settled payment: after a
        power failure the job is read from it again, as after a kill (`settled_without_result`).
        """
        async with self._driver.transaction(sync=False) as session:
            await session.execute(
                """INSERT INTO jobs (job_id, studio, payment_id, status, progress, created_at)
                   VALUES (:job_id, :studio, :payment_id, :status, 0, :now) ON CONFLICT DO NOTHING""",
                {"job_id": job_id, "studio": studio, "payment_id": payment.id, "status": status, "now": now},
            )
            row = await session.fetch_one(f"{JOB_QUERY} WHERE payment_id = :id", {"id": payment.id})
        return None if row is None else read_job(row)

    async def update_job(self, seen: JobStatus, *, now: float) -> Job | None:
        """Write what the studio reports of a job now. An ended job stays ended; its URLs may be renewed.

        It need not be on disk at the end. After a power failure the job is as it was before, and the studio is asked
        for it again; where its video was saved is on disk, and this with it.
        """
        async with self._driver.transaction(sync=False) as session:
            await session.execute(
                """UPDATE jobs SET
                       status = CASE WHEN ended_at IS NULL THEN :status ELSE status END,
                       progress = CASE WHEN progress < :progress THEN :progress ELSE progress END,
                       error = CASE WHEN ended_at IS NULL THEN :error ELSE error END,
                       video_url = coalesce(:video_url, video_url),
                       thumbnail_url = coalesce(:thumbnail_url, thumbnail_url),
                       url_seen_at = CASE WHEN :video_url <> coalesce(video_url, '') THEN :now ELSE url_seen_at END,
                       stalled_at = CASE WHEN :is_stalled = 1 THEN coalesce(stalled_at, :now) END,
                       ended_at = CASE WHEN ended_at IS NULL AND :has_ended = 1 THEN :now ELSE ended_at END
                   WHERE job_id = :job_id""",
                {
                    "status": seen.status, "progress": seen.progress, "error": make_storable(seen.error), "now": now,
                    "video_url": make_storable(seen.video_url), "thumbnail_url": make_storable(seen.thumbnail_url),
                    "has_ended": int(seen.ended), "is_stalled": int(seen.stalled), "job_id": seen.job_id,
                },
            )  # fmt: skip
            row = await session.fetch_one(f"{JOB_QUERY} WHERE job_id = :job_id", {"job_id": seen.job_id})
        return None if row is None else read_job(row)

    async def end_jobs(self, studio: str, *, error: str, now: float) -> None:
        """Fail every unfinished job of a studio that no longer exists, also one whose finished video was not saved."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""UPDATE jobs SET status = 'failed', error = :error, video_url = NULL, thumbnail_url = NULL,
                                    ended_at = :now
                    WHERE studio = :studio AND {UNFINISHED}""",  # noqa: S608 - our own SQL
                {"error": error, "now": now, "studio": studio},
            )

    async def finish_job(
        self,
        job_id: str,
        *,
        file: str | None = None,
        thumbnail: str | None = None,
        video_key: str | None = None,
        thumbnail_key: str | None = None,
        note: str | None = None,
    ) -> Job:
        """Write where the video was saved, and what a person should know of the file. Ends an expiry, too."""
        return await self._change_job(
            job_id,
            """file = :file, thumbnail = :thumbnail, video_key = :video_key, thumbnail_key = :thumbnail_key,
               note = :note, expired_at = NULL, pruned_at = NULL,
               status = CASE WHEN expired_at IS NULL THEN status ELSE 'complete' END,
               error = CASE WHEN expired_at IS NULL THEN error END""",
            {
                "file": file,
                "thumbnail": thumbnail,
                "video_key": video_key,
                "thumbnail_key": thumbnail_key,
                "note": note,
            },
            # The place of the video is on disk before. After a power failure only its thumbnail is not known.
            sync=thumbnail is None and thumbnail_key is None,
        )

    async def mark_pruned(self, name: str, *, pruned_at: float | None) -> None:
        """Write that the saved video with this file name was deleted because of its age, or that it was not."""
        async with self._driver.transaction() as session:
            for table in ("jobs", "films"):
                await session.execute(  # the folder may have been written otherwise, or have been moved
                    f"""UPDATE {table} SET pruned_at = :pruned_at
                        WHERE substr(replace(file, '\\', '/'), length(file) - length(:tail) + 1) = :tail""",  # noqa: S608 - ours
                    {"pruned_at": pruned_at, "tail": f"/{name}"},
                )

    async def expire_job(self, job_id: str, *, error: str, now: float) -> Job:
        """Write that a paid result is lost: its URLs have expired."""
        return await self._change_job(
            job_id,
            "status = 'failed', error = :error, expired_at = :now, ended_at = coalesce(ended_at, :now)",
            {"error": make_storable(error), "now": now},
        )

    async def revive_job(self, job_id: str) -> Job:
        """Write that the studio has a result again for a job that had expired."""
        return await self._change_job(job_id, "status = 'complete', error = NULL, expired_at = NULL", {})

    async def _change_job(self, job_id: str, change: str, parameters: dict[str, object], *, sync: bool = True) -> Job:
        async with self._driver.transaction(sync=sync) as session:
            await session.execute(
                f"UPDATE jobs SET {change} WHERE job_id = :job_id",  # noqa: S608 - our own SQL
                {**parameters, "job_id": job_id},
            )
            row = await session.fetch_one(f"{JOB_QUERY} WHERE job_id = :job_id", {"job_id": job_id})
        if row is None:
            raise LedgerError(f"Job {job_id} is not in the ledger.")
        return read_job(row)

    async def find_job(self, job_id: str) -> Job | None:
        """Return a job by the studio's id; None for one that may not be shown."""
        visible, parameters = self._visible("jobs")
        row = await self._one(f"{JOB_QUERY} WHERE job_id = :job_id AND {visible}", job_id=job_id, **parameters)
        return None if row is None else read_job(row)

    async def has_job(self, job_id: str) -> bool:
        """Return True if a job of anyone is in the ledger."""
        return await self._one("SELECT 1 AS found FROM jobs WHERE job_id = :job_id", job_id=job_id) is not None

    async def find_latest_job(self, keys: tuple[str, ...]) -> Job | None:
        """Return the latest job that was bought under any of these idempotency keys."""
        marks, parameters = bind_keys(keys)
        query = f"{JOB_QUERY} WHERE fingerprint IN ({marks}) ORDER BY payment_id DESC LIMIT 1"
        row = await self._one(query, **parameters)
        return None if row is None else read_job(row)

    async def find_job_of(self, payment: Payment) -> Job | None:
        """Return the job that a payment bought."""
        row = await self._one(f"{JOB_QUERY} WHERE payment_id = :id", id=payment.id)
        return None if row is None else read_job(row)

    async def unfinished_jobs(self, studio: str) -> list[Job]:
        """Return the jobs of a studio that have not failed and are not saved."""
        rows = await self._all(
            f"{JOB_QUERY} WHERE studio = :studio AND {UNFINISHED} ORDER BY payment_id",
            studio=studio,
        )
        return [read_job(row) for row in rows]

    async def unfinished_studios(self) -> list[str]:
        """Return the studios that `unfinished_jobs` has jobs of."""
        rows = await self._all(f"SELECT DISTINCT studio FROM jobs WHERE {UNFINISHED} ORDER BY studio")  # noqa: S608 - ours
        return [str(row["studio"]) for row in rows]

    async def recent_jobs(self, limit: int) -> list[Job]:
        """Return the latest jobs, newest first."""
        visible, parameters = self._visible("jobs")
        query = f"{JOB_QUERY} WHERE {visible} ORDER BY payment_id DESC LIMIT :limit"
        rows = await self._all(query, limit=limit, **parameters)
        return [read_job(row) for row in rows]

    async def typical_seconds(self, arguments: Json) -> float | None:
        """Return the median time of the latest ten such jobs; an adopted one was not watched while it ran."""
        rows = await self._all(
            """SELECT arguments, ended_at - jobs.created_at AS seconds
               FROM jobs JOIN payments ON payments.id = jobs.payment_id
               WHERE jobs.status = 'complete' AND ended_at IS NOT NULL AND adopted = 0
               ORDER BY payment_id DESC LIMIT :limit""",
            limit=JOBS_COMPARED_MAX,
        )
        alike = (float(row["seconds"]) for row in rows if _is_alike(read_json(row["arguments"]), arguments))
        seconds = sorted(islice(alike, ALIKE_MAX))  # no row behind those is parsed
        return seconds[len(seconds) // 2] if seconds else None

    async def find_reading(self, *, wallet: str, studio: str) -> float | None:
        """Return when the ledger was last read against the studio's list."""
        async with self._driver.reading() as session:
            return await untracked.select_reading(session, wallet=wallet, studio=studio)

    async def record_reading(self, jobs: Sequence[UntrackedJob], *, wallet: str, studio: str, now: float) -> None:
        """Write that the ledger was read against the studio's list, and which jobs it did not know."""
        async with self._driver.transaction() as session:
            await untracked.insert_reading(session, jobs, wallet=wallet, studio=studio, now=now)

    async def list_untracked(self, *, wallet: str, studio: str) -> list[UntrackedJob]:
        """Return the jobs that no payment of the ledger made, oldest first."""
        async with self._driver.reading() as session:
            return await untracked.select_untracked(session, wallet=wallet, studio=studio)

    async def adopt_job(
        self, job: UntrackedJob, request: PaidRequest, *, wallet: str, studio: str, now: float
    ) -> Job | None:
        """Write down an untracked job as what a request bought."""
        async with self._lock_payments() as session:
            await untracked.insert_adopted(
                session, job, request, wallet=wallet, studio=studio, now=now, caller=self._caller
            )
        found = await self.find_job(job.job_id)
        return found if found is not None and found.idempotency_key == request.idempotency_key else None


def _is_alike(one: Json, other: Json) -> bool:
    """Return True if both name the same model, length and resolution; what names none is like no other."""
    return all(one.get(name) == other.get(name) is not None for name in ("model", "duration", "resolution"))
