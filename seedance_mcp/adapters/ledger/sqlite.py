"""The ledger in one SQLite file: the embedded default.

WAL, so that readers never wait; `synchronous=FULL`, so that a written row survives the plug being pulled, because the
next thing after a write is often an HTTP request that spends money. Every write is one `BEGIN IMMEDIATE`.

A transaction that fails, wherever it fails, leaves the connection outside any transaction: the next call finds books
that it can use, or says why not.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from seedance_mcp.adapters.ledger import untracked, untracked_payments, verifying
from seedance_mcp.adapters.ledger.files import OpenFile
from seedance_mcp.adapters.ledger.freezes import drop_freeze, find_freeze, put_freeze
from seedance_mcp.adapters.ledger.migrations import MIGRATIONS
from seedance_mcp.adapters.ledger.rows import (
    JOB_QUERY,
    is_gone,
    make_storable,
    name_ourselves,
    read_job,
    read_payment,
    scrub,
)
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.freezes import Freeze, check_not_frozen
from seedance_mcp.core.limits import DAY_SECONDS, Spend
from seedance_mcp.core.records import Job, Payment, Sight, UntrackedJob, UntrackedPayment, Upload
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.json import Json, parse_json_object
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest, Receipt, Refused, Settled
from seedance_mcp.core.wire.tickets import read_ticket_end

BUSY_SECONDS = 2
"""How long a writer waits for another process's transaction; each takes milliseconds. Everything else in this process
waits meanwhile."""
SQLITE_VERSION_MIN = (3, 37, 0)
"""STRICT tables came with 3.37 (November 2021), RETURNING with 3.35."""


class SQLiteBooks:
    """What one writer may do inside a transaction: the `Books` protocol."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def spend(self, now: float) -> Spend:
        """Sum the budget.

        A signed row counts until it is concluded, whatever the clock says; a refused one until the chain, or the owner,
        has said that it never moved: a studio may say no and settle all the same.
        """
        day = self._sum(now, since=now - DAY_SECONDS)
        total = self._sum(now, since=0)
        return Spend(last_day_micro_usdc=day, total_micro_usdc=total)

    def _sum(self, now: float, *, since: float) -> int:
        """Prices and fees of what was reserved since then. A refusal that the chain confirmed still cost its fee.

        A job that the ledger has no payment for counts as what it is thought to have cost.
        """
        row = self._db.execute(
            """SELECT sum(fee_micro_usdc + amount_micro_usdc * (state <> 'refused' OR NOT chain_checked))
               FROM payments WHERE created_at > :since AND (
                   state IN ('settled', 'signed', 'refused') OR (state = 'reserved' AND hold_until > :now))""",
            {"now": now, "since": since},
        ).fetchone()
        unknown = untracked.sum_untracked(self._db, since=since) + untracked_payments.sum_since(self._db, since)
        return int(row[0] or 0) + unknown

    def find_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        query = f"SELECT * FROM payments WHERE fingerprint IN ({_marks(keys)}) ORDER BY id DESC LIMIT 1"  # noqa: S608 - marks
        row = self._db.execute(query, keys).fetchone()
        return None if row is None else read_payment(row)

    def find_freeze(self) -> Freeze | None:
        """Return the owner's stop, if one stands."""
        return find_freeze(self._db)

    def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses that a studio is known by on a network."""
        rows = self._db.execute("SELECT address FROM recipients WHERE studio = ? AND network = ?", (studio, network))
        return frozenset(str(row["address"]) for row in rows)

    def reserve(
        self,
        request: PaidRequest,
        offer: Offer,
        *,
        wallet: str,
        hold_until: int,
        now: float,
        fee_micro_usdc: int = 0,
        remember_recipient: bool = True,
    ) -> Payment:
        """Take budget for a purchase that is about to be signed.

        What lapsed gives its budget away for good: a clock that is set back later does not bring it to life again. So
        does an earlier reservation for the same purchase, whose process was taken for dead.
        """
        self._db.execute(
            f"""UPDATE payments SET hold_until = 0
                WHERE state = 'reserved' AND (hold_until <= ? OR fingerprint IN ({_marks(request.keys)}))""",  # noqa: S608 - marks
            (now, *request.keys),
        )
        if remember_recipient:
            _remember_recipient(self._db, request.studio, offer.network, offer.pay_to, now=now)
        row = self._db.execute(
            """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                     amount_micro_usdc, fee_micro_usdc, state, hold_until, created_at, lease_owner)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'reserved', ?, ?, ?) RETURNING *""",
            (
                request.purpose, request.fingerprint, request.url, request.body, json.dumps(request.arguments), wallet,
                offer.rail, offer.network, offer.pay_to, offer.amount_micro_usdc, fee_micro_usdc, hold_until, now,
                name_ourselves(),
            ),
        ).fetchone()  # fmt: skip
        return read_payment(row)


def _remember_recipient(db: sqlite3.Connection, studio: str, network: str, address: str, *, now: float) -> None:
    """Write that a studio is known by a recipient."""
    db.execute("INSERT OR IGNORE INTO recipients VALUES (?, ?, ?, ?)", (studio, network, address.lower(), now))


class SQLiteLedger:
    """The `Ledger` protocol on one file."""

    def __init__(self, file: Path) -> None:
        """Open or create the file and bring its schema up to date.

        Raises:
            LedgerError: Not writable, not a ledger, damaged, or written by a newer version.
        """
        self._file = file
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            needed = ".".join(str(part) for part in SQLITE_VERSION_MIN)
            raise LedgerError(
                f"This Python has SQLite {sqlite3.sqlite_version}; the ledger needs {needed} or newer.",
                "Use a newer Python, such as uv's own.",
            )
        with self._translating():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not file.exists():
                os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives -wal and -shm the same mode
            self._open_file = OpenFile.remember(file)
            self._db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with self._translating():
                self._db.row_factory = sqlite3.Row
                self._enter_wal()
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA fullfsync = ON")  # on a Mac, fsync alone stops at the disk's own memory
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.execute("PRAGMA secure_delete = ON")  # what is taken out of a row leaves no bytes behind
            self._migrate()
        except BaseException:
            self._db.close()
            raise

    def _enter_wal(self) -> None:
        """Switch a new file to WAL: the one statement that SQLite lets fail at once while another process does it."""
        give_up = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
            else:
                return

    def _migrate(self) -> None:
        with self._atomic() as db:
            applied = int(db.execute("PRAGMA user_version").fetchone()[0])
            if applied == 0 and db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
                raise LedgerError(f"{self._file} is a database of something else.", "Move it away.")
            if applied > len(MIGRATIONS):
                raise LedgerError(
                    f"The ledger {self._file} was written by a newer version of seedance-mcp.", "Update seedance-mcp."
                )
            for number, migrate in enumerate(MIGRATIONS[applied:], start=applied + 1):
                migrate(db)
                db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _translating(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError) as exc:  # OverflowError: a number of more than 64 bits
            if _is_busy(exc):
                raise LedgerError(
                    f"The ledger {self._file} is locked: another seedance-mcp is writing to it.",
                    "Nothing is damaged. Make the same call again in a moment.",
                ) from exc
            raise LedgerError(
                f"The ledger {self._file} cannot be used: {exc}.",
                "Nothing is signed without it. Check the disk and the file's permissions, or restore a damaged file.",
            ) from exc

    @contextmanager
    def _atomic(self) -> Generator[sqlite3.Connection, None, None]:
        with self._translating():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk, among others, has ended it already
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _impatient(self) -> Generator[None, None, None]:
        """Do not wait for another process's transaction inside the block."""
        with self._translating():
            self._db.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            with self._translating():
                self._db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")

    def _all(self, query: str, *parameters: object) -> list[sqlite3.Row]:
        with self._translating():
            return self._db.execute(query, parameters).fetchall()

    def _one(self, query: str, *parameters: object) -> sqlite3.Row | None:
        rows = self._all(query, *parameters)
        return rows[0] if rows else None

    @contextmanager
    def writing(self) -> Generator[SQLiteBooks, None, None]:
        """One writer's transaction."""
        with self._atomic() as db:
            self._open_file.check()
            yield SQLiteBooks(db)

    def spend(self, now: float) -> Spend:
        """Sum the budget."""
        with self._translating():
            return SQLiteBooks(self._db).spend(now)

    def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses that a studio is known by on a network."""
        with self._translating():
            return SQLiteBooks(self._db).find_recipients(studio, network)

    def record_signed(
        self,
        payment: Payment,
        document: Json,
        *,
        credential_sha256: str,
        hold_until: int,
        lease_until: float,
        now: float,
    ) -> Payment:
        """Write down that a credential exists; on disk before this returns.

        A reservation that lapsed meanwhile (a suspended machine, a starved process) has given its budget away and may
        not be signed for any more. Nor may anything that the owner has stopped meanwhile.
        """
        with self._atomic() as db:
            self._open_file.check()
            check_not_frozen(find_freeze(db))
            row = db.execute(
                """UPDATE payments SET state = 'signed', document = ?, credential_sha256 = ?, hold_until = ?,
                                       lease_until = ?, lease_owner = ?, signed_at = ?
                   WHERE id = ? AND state = 'reserved' AND hold_until > ? RETURNING *""",
                (
                    json.dumps(document),
                    credential_sha256,
                    hold_until,
                    lease_until,
                    name_ourselves(),
                    now,
                    payment.id,
                    now,
                ),
            ).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not reserved any more.", "Call again.")
        return read_payment(row)

    def claim(self, payment: Payment, *, lease_until: float, now: float) -> Payment | None:
        """Take the lease of an unfinished payment; a dead process's lease is free, and counts as an interruption."""
        with self._atomic() as db:
            self._open_file.check(
                charge="held", amount_micro_usdc=payment.cost_micro_usdc, payment_id=payment.id
            )  # its credential may be sent again, which another ledger does not know of
            found = db.execute("SELECT lease_owner FROM payments WHERE id = ?", (payment.id,)).fetchone()
            owner_is_gone = found is not None and is_gone(found["lease_owner"])
            row = db.execute(
                """UPDATE payments SET lease_until = ?, lease_owner = ?,
                                       interruptions = interruptions + (lease_until > 0)
                   WHERE id = ? AND state IN ('signed', 'refused') AND (lease_until <= ? OR ?) RETURNING *""",
                (lease_until, name_ourselves(), payment.id, now, owner_is_gone),
            ).fetchone()
        return None if row is None else read_payment(row)

    def release(self, payment: Payment) -> None:
        """Give the lease back, unless it has passed to somebody else."""
        with self._atomic() as db:
            db.execute(
                "UPDATE payments SET lease_until = 0 WHERE id = ? AND lease_until = ?",
                (payment.id, payment.lease_until),
            )

    def conclude(
        self,
        payment: Payment,
        outcome: Settled | Refused,
        *,
        now: float,
        chain_checked: bool = False,
        fee_micro_usdc: int | None = None,
    ) -> Payment:
        """Write the end of a payment with its raw answer. A settled one stays settled; a late answer completes it."""
        if isinstance(outcome, Settled):
            state, reason, receipt, answer = "settled", None, outcome.receipt, outcome.answer
        else:
            state, reason, receipt, answer = "refused", outcome.reason, None, None
        with self._atomic() as db:
            db.execute(
                """UPDATE payments SET state = ?, reason = ?, receipt_network = coalesce(?, receipt_network),
                                       receipt_transaction = coalesce(?, receipt_transaction), answer = ?,
                                       concluded_at = ?, chain_checked = max(chain_checked, ?), lease_until = 0,
                                       verified = coalesce(?, verified),
                                       fee_micro_usdc = min(fee_micro_usdc, coalesce(?, fee_micro_usdc))
                   WHERE id = ? AND (state IN ('signed', 'refused')
                                     OR (state = 'settled' AND ? AND length(coalesce(answer, '')) = 0))""",
                (
                    state, make_storable(reason), make_storable(receipt.network) if receipt else None,
                    make_storable(receipt.transaction or None) if receipt else None, answer, now, int(chain_checked),
                    receipt.verified if receipt else None, fee_micro_usdc, payment.id, bool(answer),
                ),
            )  # fmt: skip
            row = db.execute("SELECT * FROM payments WHERE id = ?", (payment.id,)).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not in the ledger.")
            if isinstance(outcome, Settled):
                _remember_recipient(db, payment.request.studio, payment.network, payment.pay_to, now=now)
            return read_payment(row)

    def record_moved(self, payment: Payment, receipt: Receipt, *, fee_micro_usdc: int | None) -> Payment:
        """Write that the money of a signed payment has moved; it stays open until its end is known."""
        with self._atomic() as db:
            db.execute(
                """UPDATE payments SET receipt_network = ?, receipt_transaction = ?,
                                       fee_micro_usdc = min(fee_micro_usdc, coalesce(?, fee_micro_usdc))
                   WHERE id = ? AND state = 'signed'""",
                (make_storable(receipt.network), make_storable(receipt.transaction), fee_micro_usdc, payment.id),
            )
            row = db.execute("SELECT * FROM payments WHERE id = ?", (payment.id,)).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not in the ledger.")
            return read_payment(row)

    def record_fee(self, payment: Payment, fee_micro_usdc: int) -> Payment:
        """Write what the network kept of a settled payment; never more than was held for it."""
        with self._atomic() as db:
            row = db.execute(
                "UPDATE payments SET fee_micro_usdc = min(fee_micro_usdc, ?) WHERE id = ? RETURNING *",
                (fee_micro_usdc, payment.id),
            ).fetchone()
            if row is None:
                raise LedgerError(f"Payment {payment.id} is not in the ledger.")
            return read_payment(row)

    def find_payment(self, payment_id: int) -> Payment | None:
        """A payment by its number."""
        row = self._one("SELECT * FROM payments WHERE id = ?", payment_id)
        return None if row is None else read_payment(row)

    def unverified_payments(self, *, after_id: int, limit: int, now: float) -> list[Payment]:
        """Return settled payments whose credential has expired and that no chain was asked about, by number."""
        with self._translating():
            return verifying.select_unverified(self._db, after_id=after_id, limit=limit, now=now)

    def record_verified(
        self, payment: Payment, *, transaction: str, verified: bool | None, fee_micro_usdc: int | None
    ) -> Payment:
        """Write that the chain says that a settled payment moved."""
        with self._atomic() as db:
            verifying.mark_verified(
                db, payment, transaction=transaction, verified=verified, fee_micro_usdc=fee_micro_usdc
            )
        return self.find_payment(payment.id) or payment

    def record_unmoved(self, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> Payment:
        """Write that a payment that the studio called settled never moved."""
        with self._atomic() as db:
            verifying.mark_unmoved(db, payment, reason=reason, fee_micro_usdc=fee_micro_usdc)
        return self.find_payment(payment.id) or payment

    def unfinished_payments(self, now: float) -> list[Payment]:
        """Signed payments, and refused ones whose credential expired before the chain was asked."""
        rows = self._all(
            """SELECT * FROM payments WHERE state = 'signed'
               OR (state = 'refused' AND chain_checked = 0 AND hold_until <= ?) ORDER BY id""",
            now,
        )
        return [read_payment(row) for row in rows]

    def held_payments(self, now: float) -> list[Payment]:
        """Signed payments, refused ones about which the chain has not spoken, and reservations that have not lapsed."""
        rows = self._all(
            """SELECT * FROM payments WHERE state = 'signed' OR (state = 'refused' AND chain_checked = 0)
               OR (state = 'reserved' AND hold_until > ?) ORDER BY id""",
            now,
        )
        return [read_payment(row) for row in rows]

    def settled_without_result(self, wallet: str) -> list[Payment]:
        """Settled generations from whose answer no job was made yet."""
        rows = self._all(
            """SELECT payments.* FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE wallet = ? AND purpose = 'generation' AND state = 'settled' AND jobs.job_id IS NULL""",
            wallet,
        )
        return [read_payment(row) for row in rows]

    def count_rivals(self, payment: Payment, *, now: float) -> int:
        """Other payments of the same wallet for the very same body whose answers are awaited or just being read."""
        return self._count(
            """payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE payments.id <> ? AND wallet = ? AND body = ? AND jobs.job_id IS NULL
                     AND ((state = 'signed' AND lease_until > ?) OR (state = 'settled' AND length(answer) > 0))""",
            payment.id, payment.wallet, payment.body, now,
        )  # fmt: skip

    def count_jobless(self, payment: Payment, *, made_at: float, skew_seconds: float) -> int:
        """Count other payments of the same wallet on the same route without a job that may own one made at a time.

        A refused payment counts until the chain was asked: the studio may have made its job all the same.
        """
        return self._count(
            """payments LEFT JOIN jobs ON jobs.payment_id = payments.id
               WHERE payments.id <> ? AND wallet = ? AND url = ? AND jobs.job_id IS NULL
                     AND (state IN ('signed', 'settled') OR (state = 'refused' AND NOT chain_checked))
                     AND ? BETWEEN coalesce(signed_at, payments.created_at) - ? AND hold_until + ?""",
            payment.id, payment.wallet, payment.url, made_at, skew_seconds, skew_seconds,
        )  # fmt: skip

    def count_unhosted(self, keys: tuple[str, ...], *, since: float, interrupted: bool) -> int:
        """Settled uploads of a picture since a moment that never became a hosted image."""
        return self._count(
            f"""payments LEFT JOIN uploads ON uploads.payment_id = payments.id
                WHERE fingerprint IN ({_marks(keys)}) AND state = 'settled' AND uploads.image_url IS NULL
                      AND payments.created_at > ? AND (interruptions > 0) = ?""",
            *keys, since, interrupted,
        )  # fmt: skip

    def count_uploads_paid(self, keys: tuple[str, ...], *, since: float) -> int:
        """Settled uploads of a picture since a moment."""
        return self._count(
            f"payments WHERE fingerprint IN ({_marks(keys)}) AND state = 'settled' AND created_at > ?", *keys, since
        )

    def _count(self, what: str, *parameters: object) -> int:
        row = self._one(f"SELECT count(*) FROM {what}", *parameters)  # noqa: S608 - our own words
        return 0 if row is None else int(row[0])

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
        query = f"{JOB_QUERY} WHERE fingerprint IN ({_marks(keys)}) ORDER BY payment_id DESC LIMIT 1"
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

    def has_left(self) -> bool:
        """Whether a job is not saved or a payment not over."""
        return (
            self._count(
                """(SELECT 1 FROM jobs WHERE status <> 'failed' AND file IS NULL
                UNION ALL SELECT 1 FROM payments WHERE state = 'signed' OR (state = 'refused' AND chain_checked = 0)
                UNION ALL SELECT 1 FROM payments LEFT JOIN jobs ON jobs.payment_id = payments.id
                          WHERE purpose = 'generation' AND state = 'settled' AND jobs.job_id IS NULL)"""
            )
            > 0
        )

    def recent_jobs(self, limit: int) -> list[Job]:
        """The latest jobs, newest first."""
        return [read_job(row) for row in self._all(f"{JOB_QUERY} ORDER BY payment_id DESC LIMIT ?", limit)]

    def recent_payments(self, limit: int) -> list[Payment]:
        """The latest payments, newest first."""
        return [read_payment(row) for row in self._all("SELECT * FROM payments ORDER BY id DESC LIMIT ?", limit)]

    def find_latest_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        with self._translating():
            return SQLiteBooks(self._db).find_payment(keys)

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

    def record_upload(self, upload: Upload) -> None:
        """Write down a hosted image."""
        with self._atomic() as db:
            db.execute(
                "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    make_storable(upload.image_url), upload.sha256, upload.studio, upload.wallet,
                    make_storable(upload.upload_id), upload.media_type, upload.size_bytes, upload.width, upload.height,
                    upload.payment_id, upload.created_at,
                ),
            )  # fmt: skip
            scrub(db, [upload.payment_id])
        self._forget_old_pages()

    def scrub_tickets(self, now: float) -> None:
        """Take the tokens out of tickets that have expired or were used."""
        rows = self._all(
            """SELECT payments.id, answer, concluded_at, payment_id FROM payments
               LEFT JOIN uploads ON uploads.payment_id = payments.id
               WHERE purpose = 'upload' AND NOT scrubbed AND length(coalesce(answer, '')) > 0"""
        )
        over = [
            row["id"]
            for row in rows
            if row["payment_id"] is not None or now > read_ticket_end(row["answer"], row["concluded_at"] or 0)
        ]
        if over:
            with self._atomic() as db:
                scrub(db, over)
            self._forget_old_pages()

    def _forget_old_pages(self) -> None:
        """Move what was written into the file itself: the log beside it still holds what was there before."""
        with suppress(LedgerError), self._impatient(), self._translating():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def find_upload(self, sha256: str, *, studio: str, wallet: str) -> Upload | None:
        """The hosted copy of these bytes."""
        return self._upload("sha256 = ? AND studio = ? AND wallet = ? AND NOT gone", sha256, studio, wallet)

    def find_upload_by_url(self, image_url: str, *, studio: str) -> Upload | None:
        """The upload behind one of our own hosted URLs."""
        return self._upload("image_url = ? AND studio = ? AND NOT gone", image_url, studio)

    def record_sight(self, sight: Sight) -> None:
        """Write down which picture was seen at a stranger's URL."""
        with self._atomic() as db:
            db.execute(
                "INSERT OR REPLACE INTO sights VALUES (?, ?, ?, ?, ?)",
                (_digest(sight.url), sight.sha256, sight.width, sight.height, sight.seen_at),
            )

    def find_sight(self, url: str, *, since: float) -> Sight | None:
        """The picture that was last seen at a URL."""
        row = self._one("SELECT * FROM sights WHERE url_sha256 = ? AND seen_at > ?", _digest(url), since)
        if row is None:
            return None
        return Sight(url=url, sha256=row["sha256"], width=row["width"], height=row["height"], seen_at=row["seen_at"])

    def find_upload_of(self, payment: Payment) -> Upload | None:
        """What an upload payment bought."""
        return self._upload("payment_id = ?", payment.id)

    def latest_upload(self, *, studio: str, wallet: str) -> Upload | None:
        """Any hosted image of ours."""
        return self._upload("studio = ? AND wallet = ? AND NOT gone", studio, wallet)

    def _upload(self, where: str, *parameters: object) -> Upload | None:
        query = f"SELECT * FROM uploads WHERE {where} ORDER BY created_at DESC LIMIT 1"  # noqa: S608 - our own words
        row = self._one(query, *parameters)
        return None if row is None else Upload(**{name: row[name] for name in Upload.__dataclass_fields__})

    def forget_upload(self, image_url: str) -> None:
        """The studio does not host it any more."""
        with self._atomic() as db:
            db.execute("UPDATE uploads SET gone = 1 WHERE image_url = ?", (image_url,))

    def record_contract(self, studio: str, model: str, contract: Json, *, now: float) -> None:
        """Write what a studio declares for a model's route; nothing waits for it where the ledger is locked."""
        with self._impatient(), self._atomic() as db:
            db.execute(
                "INSERT OR REPLACE INTO route_contracts VALUES (?, ?, ?, ?)", (studio, model, json.dumps(contract), now)
            )

    def find_contract(self, studio: str, model: str) -> Json | None:
        """Return what a studio last declared for a model's route."""
        row = self._one("SELECT contract FROM route_contracts WHERE studio = ? AND model = ?", studio, model)
        return None if row is None else parse_json_object(row["contract"], "A stored contract")

    def find_freeze(self) -> Freeze | None:
        """Return the owner's stop, if one stands."""
        with self._translating():
            return find_freeze(self._db)

    def freeze(self, reason: str, *, now: float) -> Freeze:
        """Stop all spending of every process on this ledger."""
        with self._atomic() as db:
            return put_freeze(db, make_storable(reason) or "", now=now)

    def unfreeze(self) -> bool:
        """End the stop; returns True if one stood."""
        with self._atomic() as db:
            return drop_freeze(db)

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

    def find_chain_reading(self, *, wallet: str, network: str, pay_to: str) -> float | None:
        """When a chain was last read for payments to a recipient."""
        with self._translating():
            return untracked_payments.select_reading(self._db, wallet=wallet, network=network, pay_to=pay_to)

    def record_chain_reading(
        self, payments: Sequence[UntrackedPayment], *, wallet: str, network: str, pay_to: str, now: float
    ) -> None:
        """Write that a chain was read, and which payments are not explained."""
        with self._atomic() as db:
            untracked_payments.insert_reading(db, payments, wallet=wallet, network=network, pay_to=pay_to, now=now)

    def list_untracked_payments(self, *, wallet: str) -> list[UntrackedPayment]:
        """Return the payments that only a chain knows, oldest first."""
        with self._translating():
            return untracked_payments.select_all(self._db, wallet=wallet)

    def adopt_job(self, job: UntrackedJob, request: PaidRequest, *, wallet: str, studio: str, now: float) -> Job | None:
        """Write down an untracked job as what a request bought."""
        with self._atomic() as db:
            untracked.insert_adopted(db, job, request, wallet=wallet, studio=studio, now=now)
        found = self.find_job(job.job_id)
        return found if found is not None and found.fingerprint == request.fingerprint else None

    def close(self) -> None:
        """Close the books."""
        self._db.close()


def _is_busy(exc: Exception) -> bool:
    """Whether somebody else has the lock; the low byte of an extended code is the code itself."""
    code = getattr(exc, "sqlite_errorcode", 0)  # only what the database itself said has one
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _marks(values: tuple[str, ...]) -> str:
    """Write a placeholder for each value."""
    return ", ".join("?" * len(values))


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
