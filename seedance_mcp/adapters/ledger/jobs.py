"""Jobs in the ledger, and those that only the studio's list has."""

from __future__ import annotations

from collections.abc import Sequence

from seedance_mcp.adapters.ledger import untracked
from seedance_mcp.adapters.ledger.connection import Connection, list_marks
from seedance_mcp.adapters.ledger.rows import JOB_QUERY, make_storable, read_job
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job, Payment, UntrackedJob
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import PaidRequest


class Jobs(Connection):
    """The jobs of the ledger."""

    def add_job(self, payment: Payment, job_id: str, *, studio: str, status: Status, now: float) -> Job | None:
        """Write down a job; doing it twice is the same as doing it once. None where it is another payment's."""
        with self._atomic() as db:
            db.execute(
                """INSERT INTO jobs (job_id, studio, payment_id, status, progress, created_at)
                   VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING""",
                (job_id, studio, payment.id, status, now),
            )
            row = db.execute(f"{JOB_QUERY} WHERE payment_id = ?", (payment.id,)).fetchone()
        return None if row is None else read_job(row)

    def update_job(self, seen: JobStatus, *, now: float) -> Job | None:
        """Write what the studio says of a job now. An ended job stays ended; its URLs may be renewed."""
        with self._atomic() as db:
            db.execute(
                """UPDATE jobs SET
                       status = CASE WHEN ended_at IS NULL THEN :status ELSE status END,
                       progress = max(progress, :progress),
                       error = CASE WHEN ended_at IS NULL THEN :error ELSE error END,
                       video_url = coalesce(:video_url, video_url),
                       thumbnail_url = coalesce(:thumbnail_url, thumbnail_url),
                       url_seen_at = CASE WHEN coalesce(:video_url, video_url) IS video_url THEN url_seen_at
                                          ELSE :now END,
                       stalled_at = CASE WHEN :stalled THEN coalesce(stalled_at, :now) END,
                       ended_at = CASE WHEN ended_at IS NULL AND :ended THEN :now ELSE ended_at END
                   WHERE job_id = :job_id""",
                {
                    "status": seen.status, "progress": seen.progress, "error": make_storable(seen.error), "now": now,
                    "video_url": make_storable(seen.video_url), "thumbnail_url": make_storable(seen.thumbnail_url),
                    "ended": seen.ended, "stalled": seen.stalled, "job_id": seen.job_id,
                },
            )  # fmt: skip
        return self.find_job(seen.job_id)

    def end_jobs(self, studio: str, *, error: str, now: float) -> None:
        """Fail every unfinished job of a studio that is no more, also one whose finished clip nobody saved."""
        with self._atomic() as db:
            db.execute(
                """UPDATE jobs SET status = 'failed', error = ?, video_url = NULL, thumbnail_url = NULL, ended_at = ?
                   WHERE studio = ? AND status <> 'failed' AND file IS NULL""",
                (error, now, studio),
            )

    def finish_job(self, job_id: str, *, file: str, thumbnail: str | None, note: str | None = None) -> Job:
        """Write where the video was saved, and what a person should know of the file. Ends an expiry, too."""
        return self._change_job(
            job_id,
            """file = ?, thumbnail = ?, note = ?, expired_at = NULL, pruned_at = NULL,
               status = CASE WHEN expired_at IS NULL THEN status ELSE 'complete' END,
               error = CASE WHEN expired_at IS NULL THEN error END""",
            file, thumbnail, note,
        )  # fmt: skip

    def mark_pruned(self, name: str, *, pruned_at: float | None) -> None:
        """Write that the saved video with this file name was deleted because of its age, or that it was not."""
        tail = f"/{name}"  # the folder may have been written otherwise, or have been moved
        with self._atomic() as db:
            db.execute(
                "UPDATE jobs SET pruned_at = ? WHERE substr(replace(file, '\\', '/'), ?) = ?",
                (pruned_at, -len(tail), tail),
            )

    def expire_job(self, job_id: str, *, error: str, now: float) -> Job:
        """Write that a paid result cannot be had any more."""
        return self._change_job(
            job_id,
            "status = 'failed', error = ?, expired_at = ?, ended_at = coalesce(ended_at, ?)",
            make_storable(error), now, now,
        )  # fmt: skip

    def revive_job(self, job_id: str) -> Job:
        """Write that the studio has a result again for a job that had expired."""
        return self._change_job(job_id, "status = 'complete', error = NULL, expired_at = NULL")

    def _change_job(self, job_id: str, change: str, *parameters: object) -> Job:
        with self._atomic() as db:
            db.execute(f"UPDATE jobs SET {change} WHERE job_id = ?", (*parameters, job_id))  # noqa: S608 - our own words
            row = db.execute(f"{JOB_QUERY} WHERE job_id = ?", (job_id,)).fetchone()
        if row is None:
            raise LedgerError(f"Job {job_id} is not in the ledger.")
        return read_job(row)

    def find_job(self, job_id: str) -> Job | None:
        """A job by the studio's id."""
        row = self._one(f"{JOB_QUERY} WHERE job_id = ?", job_id)
        return None if row is None else read_job(row)

    def find_latest_job(self, keys: tuple[str, ...]) -> Job | None:
        """Return the latest job that was bought under any of these idempotency keys."""
        query = f"{JOB_QUERY} WHERE fingerprint IN ({list_marks(keys)}) ORDER BY payment_id DESC LIMIT 1"
        row = self._one(query, *keys)
        return None if row is None else read_job(row)

    def find_job_of(self, payment: Payment) -> Job | None:
        """Return the job that a payment bought."""
        row = self._one(f"{JOB_QUERY} WHERE payment_id = ?", payment.id)
        return None if row is None else read_job(row)

    def unfinished_jobs(self, studio: str) -> list[Job]:
        """Jobs of a studio that are not failed and not saved."""
        rows = self._all(
            f"{JOB_QUERY} WHERE studio = ? AND status <> 'failed' AND file IS NULL ORDER BY payment_id", studio
        )
        return [read_job(row) for row in rows]

    def unfinished_studios(self) -> list[str]:
        """The studios that `unfinished_jobs` has jobs of."""
        rows = self._all("SELECT DISTINCT studio FROM jobs WHERE status <> 'failed' AND file IS NULL ORDER BY studio")
        return [str(row["studio"]) for row in rows]

    def recent_jobs(self, limit: int) -> list[Job]:
        """The latest jobs, newest first."""
        return [read_job(row) for row in self._all(f"{JOB_QUERY} ORDER BY payment_id DESC LIMIT ?", limit)]

    def typical_seconds(self, arguments: Json) -> float | None:
        """The median of the latest ten such jobs; an adopted one was not watched while it ran."""
        rows = self._all(
            """SELECT ended_at - jobs.created_at AS seconds FROM jobs JOIN payments ON payments.id = jobs.payment_id
               WHERE jobs.status = 'complete' AND ended_at IS NOT NULL AND NOT adopted
                     AND json_extract(arguments, '$.model') = ? AND json_extract(arguments, '$.duration') = ?
                     AND json_extract(arguments, '$.resolution') = ?
               ORDER BY payment_id DESC LIMIT 10""",
            *(arguments.get(name) for name in ("model", "duration", "resolution")),
        )
        seconds = sorted(row["seconds"] for row in rows)
        return seconds[len(seconds) // 2] if seconds else None

    def find_reading(self, *, wallet: str, studio: str) -> float | None:
        """When the ledger was last read against the studio's list."""
        with self._translating():
            return untracked.select_reading(self._db, wallet=wallet, studio=studio)

    def record_reading(self, jobs: Sequence[UntrackedJob], *, wallet: str, studio: str, now: float) -> None:
        """Write that the ledger was read against the studio's list, and which jobs it did not know."""
        with self._atomic() as db:
            untracked.insert_reading(db, jobs, wallet=wallet, studio=studio, now=now)

    def list_untracked(self, *, wallet: str, studio: str) -> list[UntrackedJob]:
        """Return the jobs that no payment of the ledger made, oldest first."""
        with self._translating():
            return untracked.select_untracked(self._db, wallet=wallet, studio=studio)

    def adopt_job(self, job: UntrackedJob, request: PaidRequest, *, wallet: str, studio: str, now: float) -> Job | None:
        """Write down an untracked job as what a request bought."""
        with self._atomic() as db:
            untracked.insert_adopted(db, job, request, wallet=wallet, studio=studio, now=now)
        found = self.find_job(job.job_id)
        return found if found is not None and found.fingerprint == request.fingerprint else None
