"""Ledger protocol: what was bought, what it cost, and what may still be paid.

Theory of operation
-------------------

A payment is written before anything that can make it real, and its answer is written before anything interprets it:

    reserved ──▶ signed ──▶ settled
       │            │          ▼
       │            └─────▶ refused
       └ lapses by itself

* `reserved`: budget is taken, nothing is signed. If the process ends here, the reservation lapses in a minute.
* `signed`: the credential may have been sent. There is no "unknown" state: a signed row whose call has ended is the
  unknown outcome. It counts against the budget until its outcome is known, not merely until it expires, because a
  settlement without an answer is still a settlement.
* `settled`: the money moved, as the studio or the chain reports. The raw answer is kept with the receipt. Once the
  credential has expired, the chain is asked once; if it reports that nothing moved, the row becomes `refused`.
* `refused`: the studio settled nothing when it was sent. The studio still has the credential, so the row keeps its hold
  until the credential expires; after that the chain is asked once whether it was used. Until the chain has answered,
  the row counts against the budget.

The budget is the sum over settled rows and over every other row that may still become one.
On Tempo the payer also pays the network's fee. `amount_micro_usdc` is the price; `fee_micro_usdc` is the most that the
signed transaction can cost on top, and the budget counts both. Once the chain has named the fee, that fee counts; for a
payment that was never included it is 0. A transaction that the chain included and undid has cost its fee, so a refused
row's fee counts after the chain was asked.

Several processes may share one ledger: in `lock_budget()`, the transaction of a single writer, the budget is summed,
the policy checked and the reservation made. SQLite locks the file, PostgreSQL the budgets' rows, the wallet's first.

A film reserves the sum of all its payments in one such transaction. Each payment that draws from a sum takes its place
in it; what is left of the sum counts beside the payments until the film ends, is cancelled, or was left for an hour.

The owner's freeze is a row of its own. The transaction that reserves reads it, and so does the one that records a
signature: once it is committed, no process sends a credential that was not recorded before it.
These, and the one that claims an unfinished payment, check that the path still leads to the open file. Otherwise two
processes could have two ledgers. Every method is atomic: one that began also ends, and is cancelled afterwards.

The ledger never holds a key, a signature or a credential. A signed row keeps the unsigned payment; signing is
deterministic, and the hash beside it proves that a resent credential has the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from seedance_mcp.core.budget_ledger import BudgetReader, LedgerTransaction
from seedance_mcp.core.films import FilmLedger
from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Expense, Job, Payment, UntrackedJob, UntrackedPayment, WrongTotal
from seedance_mcp.core.upload_ledger import UploadLedger
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.responses import PaidRequest, Receipt, Refused, Settled


class PaymentLedger(BudgetReader, Protocol):
    """Payments, the budget and the owner's freeze. Every method raises `LedgerError` if the ledger cannot be used.

    A ledger may be that of one caller (`for_caller`). New payments are then the caller's. What is shown to people
    (`held_payments`, `recent_payments`, `find_visible_spend`, `find_job`, `recent_jobs`) is the caller's alone; what
    keeps the wallet from paying twice reads the payments and jobs of everyone.
    """

    async def find_visible_spend(self, now: float) -> Spend:
        """Sum what this caller may see of the budget: its own payments, or the wallet's."""
        ...

    def lock_budget(self, *, sync: bool = False) -> AbstractAsyncContextManager[LedgerTransaction]:
        """Begin the transaction of a single writer: no other process sums or reserves the budget until it ends.

        Committed at the end of the block, rolled back by an exception. A cancellation is delivered after the block.

        Args:
            sync: Be on disk at the end. A reservation need not be: `record_signed` comes before anything is sent.
        """
        ...

    async def record_signed(
        self,
        payment: Payment,
        document: Json,
        *,
        credential_sha256: str,
        hold_until: int,
        lease_until: float,
        now: float,
    ) -> Payment:
        """Write down that a credential exists; on disk before this returns, and before it is sent.

        Args:
            payment: A reservation.
            document: The unsigned payment.
            credential_sha256: Hash of the signed one.
            hold_until: The credential's expiry, Unix seconds.
            lease_until: Until when other processes leave it alone, Unix seconds.
            now: The time of this call, not of the reservation: a lapsed reservation is not signed.

        Raises:
            LedgerError: The reservation has lapsed, or the ledger cannot be written. Nothing may be sent.
            SpendingFrozenError: The owner has stopped all spending since. Nothing may be sent.
        """
        ...

    async def claim(self, payment: Payment, *, lease_until: float, now: float) -> Payment | None:
        """Take the lease of an unfinished payment; returns None if another process has it or the payment has ended.

        Raises:
            LedgerError: The file was moved or replaced; nothing may be sent again.
        """
        ...

    async def release(self, payment: Payment) -> None:
        """Give the lease back. A lease that another process has taken since stays with it."""

    async def conclude(
        self,
        payment: Payment,
        outcome: Settled | Refused,
        *,
        now: float,
        chain_checked: bool = False,
        fee_micro_usdc: int | None = None,
    ) -> Payment:
        """Write the outcome of a payment with its raw answer; with the fee if the chain has named it."""
        ...

    async def record_moved(self, payment: Payment, receipt: Receipt, *, fee_micro_usdc: int | None) -> Payment:
        """Write that the money of a signed payment has moved, while what it is for may still come."""
        ...

    async def record_fee(self, payment: Payment, fee_micro_usdc: int) -> Payment:
        """Write what the network kept of a settled payment; never more than was held for it."""
        ...

    async def find_payment(self, payment_id: int) -> Payment | None:
        """Return a payment by its number."""
        ...

    async def unverified_payments(self, *, after_id: int, limit: int, now: float) -> list[Payment]:
        """Return settled payments whose credential has expired and that no chain was asked about, by number."""
        ...

    async def record_verified(
        self, payment: Payment, *, transaction: str, verified: bool | None, fee_micro_usdc: int | None
    ) -> Payment:
        """Write that the chain says that a settled payment moved.

        Args:
            payment: A settled payment.
            transaction: Its hash by the chain's word; empty leaves what the studio named.
            verified: Whether the chain has the transaction that is named then; None where it cannot say.
            fee_micro_usdc: What the network kept; None where the chain did not say.
        """
        ...

    async def record_unmoved(self, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> Payment:
        """Write that a payment that the studio called settled never moved; its answer and its job stay."""
        ...

    async def unfinished_payments(self, now: float) -> list[Payment]:
        """Return signed payments, and refused ones that expired before the chain was asked; of every wallet."""
        ...

    async def held_payments(self, now: float) -> list[Payment]:
        """Return every payment that holds budget and is not settled; of every wallet, and of this caller."""
        ...

    async def awaited_payments(self, wallet: str, now: float) -> list[Payment]:
        """Return the generations of a wallet, of everyone, whose job may still be found in the studio's list."""
        ...

    async def settled_without_result(self, wallet: str) -> list[Payment]:
        """Return settled generations from whose answer no job was made yet."""
        ...

    async def count_inflight_duplicates(self, payment: Payment, *, now: float) -> int:
        """Count other payments of the same wallet for the same body whose answers are expected or being read."""
        ...

    async def count_payments_without_job(self, payment: Payment, *, made_at: float, skew_seconds: float) -> int:
        """Count other payments of the same wallet on the same route without a job that may own one made at a time.

        Args:
            payment: The one that is not counted.
            made_at: When the job was made, Unix seconds.
            skew_seconds: How far the studio's clock may be from ours.
        """
        ...

    async def count_failed_uploads(self, keys: tuple[str, ...], *, since: float, interrupted: bool | None) -> int:
        """Count the settled uploads of a picture since a moment that never became a hosted image.

        Args:
            keys: The idempotency keys of the upload.
            since: Unix seconds.
            interrupted: Count those whose answer may have been lost with a process that died, or the others; None: all.
        """
        ...

    async def count_uploads_paid(self, keys: tuple[str, ...], *, since: float) -> int:
        """Count the settled uploads of a picture since a moment."""
        ...

    async def recent_payments(self, limit: int) -> list[Payment]:
        """Return the latest payments, newest first."""
        ...

    async def freeze(self, reason: str, *, now: float) -> Freeze:
        """Stop all spending of every process on this ledger; an existing freeze keeps its moment."""
        ...

    async def unfreeze(self) -> bool:
        """End the freeze; returns True if there was one."""
        ...

    async def find_chain_reading(self, *, wallet: str, network: str, pay_to: str) -> float | None:
        """Return when a chain was last read for payments to a recipient, in Unix seconds; None if it never was."""
        ...

    async def record_chain_reading(
        self, payments: Sequence[UntrackedPayment], *, wallet: str, network: str, pay_to: str, now: float
    ) -> None:
        """Write that a chain was read, and which of these payments neither a row nor an untracked job explains."""

    async def count_closings(self) -> int:
        """Return how often the ledger was closed after a restore; readings of a chain before that count no more."""
        ...

    async def list_untracked_payments(self, *, wallet: str) -> list[UntrackedPayment]:
        """Return the payments that only a chain knows, oldest first."""
        ...

    async def find_wrong_totals(self) -> list[WrongTotal]:
        """Return each running total that is not the sum of its payments."""
        ...

    async def has_unfinished_work(self) -> bool:
        """Return True if a job is not saved or the outcome of a payment is not known."""
        ...


class JobLedger(Protocol):
    """Jobs, and those that only the studio's list has. Every method raises `LedgerError`."""

    async def add_job(self, payment: Payment, job_id: str, *, studio: str, status: Status, now: float) -> Job | None:
        """Write down a job; doing it twice is the same as doing it once."""
        ...

    async def update_job(self, seen: JobStatus, *, now: float) -> Job | None:
        """Write what the studio reports of a job; returns None if there is no such job. An ended job stays ended."""
        ...

    async def end_jobs(self, studio: str, *, error: str, now: float) -> None:
        """Fail every unfinished job of a studio that no longer exists, and forget its URLs."""
        ...

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
        ...

    async def mark_pruned(self, name: str, *, pruned_at: float | None) -> None:
        """Write that the saved video with this file name was deleted because of its age, or that it was not."""
        ...

    async def expire_job(self, job_id: str, *, error: str, now: float) -> Job:
        """Write that a paid result is lost: the job has failed for good, unless it is revived."""
        ...

    async def revive_job(self, job_id: str) -> Job:
        """Write that the studio has a result again for a job that had expired."""
        ...

    async def find_job(self, job_id: str) -> Job | None:
        """Return a job by the studio's id."""
        ...

    async def has_job(self, job_id: str) -> bool:
        """Return True if a job of anyone is in the ledger."""
        ...

    async def find_latest_job(self, keys: tuple[str, ...]) -> Job | None:
        """Return the latest job that was bought under any of these idempotency keys."""
        ...

    async def find_job_of(self, payment: Payment) -> Job | None:
        """Return the job that a payment bought."""
        ...

    async def unfinished_jobs(self, studio: str) -> list[Job]:
        """Return the jobs of a studio that have not failed and are not saved."""
        ...

    async def unfinished_studios(self) -> list[str]:
        """Return the studios that `unfinished_jobs` has jobs of."""
        ...

    async def recent_jobs(self, limit: int) -> list[Job]:
        """Return the latest jobs, newest first."""
        ...

    async def typical_seconds(self, arguments: Json) -> float | None:
        """Return how many seconds the latest jobs of this model, length and resolution took; None without any."""
        ...

    async def find_reading(self, *, wallet: str, studio: str) -> float | None:
        """Return when the ledger was last read against the studio's list, in Unix seconds; None if it never was."""
        ...

    async def record_reading(self, jobs: Sequence[UntrackedJob], *, wallet: str, studio: str, now: float) -> None:
        """Write that the ledger was read against the studio's list, and which jobs it did not know."""
        ...

    async def list_untracked(self, *, wallet: str, studio: str) -> list[UntrackedJob]:
        """Return the jobs that no payment of the ledger made, oldest first."""
        ...

    async def adopt_job(
        self, job: UntrackedJob, request: PaidRequest, *, wallet: str, studio: str, now: float
    ) -> Job | None:
        """Write down an untracked job as what a request bought; returns None if another payment owns it by now."""
        ...


class Ledger(PaymentLedger, JobLedger, UploadLedger, FilmLedger, Protocol):
    """The ledger of one profile: all of it."""

    def for_caller(self, caller: str) -> Ledger:
        """Return the ledger of one caller; the same ledger where it knows no callers."""
        ...

    def drawing_from(self, reservation_id: int | None) -> Ledger:
        """Return the same ledger, whose new payments draw from a reserved sum: it does not stand in their way."""
        ...

    async def list_expenses(self, since: float) -> list[Expense]:
        """Return what was spent since a moment, oldest first; reservations are not in it."""
        ...

    async def close(self) -> None:
        """Close it."""
