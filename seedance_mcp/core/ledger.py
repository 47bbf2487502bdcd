"""Ledger protocol: what was bought, what it cost, and what may still be paid.

Theory of operation
-------------------

A payment is written down *before* anything that could make it real, and its answer is written down before anyone
interprets it. The states are

    reserved ──▶ signed ──▶ settled
       │            │          ▼
       │            └─────▶ refused
       └ lapses by itself

* `reserved`: budget is taken, nothing is signed. If the process dies here, the reservation lapses in a minute.
* `signed`: the credential may have left the house. There is no "unknown" state: a signed row whose call is over *is*
  the unknown. It counts against the budget until somebody can say what became of it, not merely until it expires,
  because a settlement that nobody told us about is still a settlement.
* `settled`: the money moved, by the studio's word or the chain's. The raw answer is kept with the receipt. Once the
  credential has expired, the chain is asked once; if it says that nothing moved, the row becomes `refused`.
* `refused`: the studio settled nothing by that sending. It still has the credential, so the row keeps its hold until
  the credential expires; after that the chain is asked once whether it was used after all. Until the chain has
  spoken it counts against the budget for a few minutes more.

The budget is the sum over settled rows and over every other row that may still become one.

On Tempo the payer also pays the network's fee. `amount_micro_usdc` stays the price; `fee_micro_usdc` beside it is the
most that the signed transaction can cost besides, and the budget counts both. Once the chain has named the fee, that is
what counts; where the chain says that a payment never was included, it is nothing. A transaction that the chain
included and undid has cost its fee all the same, so a refused row's fee counts after the chain was asked.

Two processes may share one ledger: `writing()` is a single writer's transaction, in which the budget is summed, the
policy is asked and the reservation is made, so that no two processes can both spend the last dollar.

The owner's stop (`freeze`) is a row of its own. It is looked at in the transaction that reserves and again in the one
that records a signature, so once it is committed no process sends a credential that was not recorded before it.

The same two transactions, and the one that takes up an unfinished payment, check that the path still leads to the open
file. Otherwise two processes could have two ledgers that know nothing of each other.

The ledger never holds a key, a signature or a credential. A signed row keeps the *unsigned* payment; signing is
deterministic, and the hash beside it proves that a resent credential is the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from seedance_mcp.core.freezes import Freeze
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Job, Payment, Sight, State, UntrackedJob, UntrackedPayment, Upload
from seedance_mcp.core.wire.jobs import JobStatus, Status
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest, Receipt, Refused, Settled

__all__ = [
    "Books", "Job", "Ledger", "Payment", "Sight", "State", "UntrackedJob", "UntrackedPayment", "Upload",
]  # fmt: skip


class Books(Protocol):
    """What one writer may do inside a transaction."""

    def spend(self, now: float) -> Spend:
        """Sum the budget: settled rows and every row that still may settle."""
        ...

    def find_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys; `Payment.holds` says whether it is over."""
        ...

    def find_freeze(self) -> Freeze | None:
        """Return the owner's stop, if one stands."""
        ...

    def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses, in lower case, that a studio is known by on a network."""
        ...

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
        """Take budget for a purchase that is about to be signed: its price, and the most that its fee can be.

        From now on the studio is known by the offer's recipient; without `remember_recipient`, once the payment has
        settled.
        """
        ...


class Ledger(Protocol):
    """The books of one profile. Every method raises `LedgerError` where they cannot be read or written."""

    def writing(self) -> AbstractContextManager[Books]:
        """One writer's transaction; committed at the end of the block, undone by an exception.

        Never wait for anything inside the block: other tasks of this process share the connection.
        """
        ...

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
        """Write down that a credential exists; on disk before this returns, and before it is sent.

        Args:
            payment: A reservation.
            document: The unsigned payment.
            credential_sha256: Hash of the signed one.
            hold_until: The credential's expiry, Unix seconds.
            lease_until: Until when others leave it alone, Unix seconds.
            now: The moment of this call, not of the reservation: a reservation that has lapsed is not signed for.

        Raises:
            LedgerError: The reservation has lapsed, or the books cannot be written. Nothing may be sent.
            SpendingFrozenError: The owner has stopped all spending meanwhile. Nothing may be sent.
        """
        ...

    def claim(self, payment: Payment, *, lease_until: float, now: float) -> Payment | None:
        """Take the lease of an unfinished payment, or None where another process has it or it has ended.

        Raises:
            LedgerError: The file was moved or replaced; nothing may be sent again.
        """
        ...

    def release(self, payment: Payment) -> None:
        """Give the lease back: this process is done with it for now. A lease that others took since stays theirs."""
        ...

    def conclude(
        self,
        payment: Payment,
        outcome: Settled | Refused,
        *,
        now: float,
        chain_checked: bool = False,
        fee_micro_usdc: int | None = None,
    ) -> Payment:
        """Write the end of a payment with its raw answer, in one transaction; the fee where the chain has named it."""
        ...

    def record_moved(self, payment: Payment, receipt: Receipt, *, fee_micro_usdc: int | None) -> Payment:
        """Write that the money of a signed payment has moved, while what it is for may still come."""
        ...

    def record_fee(self, payment: Payment, fee_micro_usdc: int) -> Payment:
        """Write what the network kept of a settled payment; never more than was held for it."""
        ...

    def find_payment(self, payment_id: int) -> Payment | None:
        """A payment by its number."""
        ...

    def unverified_payments(self, *, after_id: int, limit: int, now: float) -> list[Payment]:
        """Return settled payments whose credential has expired and that no chain was asked about, by number."""
        ...

    def record_verified(
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

    def record_unmoved(self, payment: Payment, *, reason: str, fee_micro_usdc: int | None) -> Payment:
        """Write that a payment that the studio called settled never moved; its answer and its job stay."""
        ...

    def unfinished_payments(self, now: float) -> list[Payment]:
        """Signed payments, and refused ones whose credential expired before the chain was asked; of every wallet."""
        ...

    def held_payments(self, now: float) -> list[Payment]:
        """Every payment that holds budget and is not settled, whether or not it may be asked about; of every wallet."""
        ...

    def settled_without_result(self, wallet: str) -> list[Payment]:
        """Settled generations from whose answer no job was made yet."""
        ...

    def spend(self, now: float) -> Spend:
        """Sum the budget."""
        ...

    def find_recipients(self, studio: str, network: str) -> frozenset[str]:
        """Return the addresses, in lower case, that a studio is known by on a network."""
        ...

    def count_rivals(self, payment: Payment, *, now: float) -> int:
        """Other payments of the same wallet for the very same body whose answers are awaited or just being read."""
        ...

    def count_jobless(self, payment: Payment, *, made_at: float, skew_seconds: float) -> int:
        """Count other payments of the same wallet on the same route without a job that may own one made at a time.

        Args:
            payment: The one that is not counted.
            made_at: When the job was made, Unix seconds.
            skew_seconds: How far the studio's clock may be from ours.
        """
        ...

    def count_unhosted(self, keys: tuple[str, ...], *, since: float, interrupted: bool) -> int:
        """Count the settled uploads of a picture since a moment that never became a hosted image.

        Args:
            keys: The idempotency keys of the upload.
            since: Unix seconds.
            interrupted: Count those whose answer may have been lost with a process that died, or the others.
        """
        ...

    def count_uploads_paid(self, keys: tuple[str, ...], *, since: float) -> int:
        """Settled uploads of a picture since a moment."""
        ...

    def add_job(self, payment: Payment, job_id: str, *, studio: str, status: Status, now: float) -> Job | None:
        """Write down a job; doing it twice is the same as doing it once."""
        ...

    def update_job(self, seen: JobStatus, *, now: float) -> Job | None:
        """Write what the studio says of a job now; None for a job that is not ours. An ended job stays ended."""
        ...

    def end_jobs(self, studio: str, *, error: str, now: float) -> None:
        """Fail every unfinished job of a studio that is no more, and forget the addresses it gave for them."""
        ...

    def finish_job(self, job_id: str, *, file: str, thumbnail: str | None, note: str | None = None) -> Job:
        """Write where the video was saved, and what a person should know of the file. Ends an expiry, too."""
        ...

    def mark_pruned(self, name: str, *, pruned_at: float | None) -> None:
        """Write that the saved video with this file name was deleted because of its age, or that it was not."""
        ...

    def expire_job(self, job_id: str, *, error: str, now: float) -> Job:
        """Write that a paid result cannot be had any more: the job has failed for good, unless it is revived."""
        ...

    def revive_job(self, job_id: str) -> Job:
        """Write that the studio has a result again for a job that had expired."""
        ...

    def find_job(self, job_id: str) -> Job | None:
        """A job by the studio's id."""
        ...

    def find_latest_job(self, keys: tuple[str, ...]) -> Job | None:
        """Return the latest job that was bought under any of these idempotency keys."""
        ...

    def find_job_of(self, payment: Payment) -> Job | None:
        """Return the job that a payment bought."""
        ...

    def unfinished_jobs(self, studio: str) -> list[Job]:
        """Jobs of a studio that are not failed and not saved."""
        ...

    def unfinished_studios(self) -> list[str]:
        """The studios that `unfinished_jobs` has jobs of."""
        ...

    def recent_jobs(self, limit: int) -> list[Job]:
        """The latest jobs, newest first."""
        ...

    def recent_payments(self, limit: int) -> list[Payment]:
        """The latest payments, newest first."""
        ...

    def find_latest_payment(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the latest payment of any of these idempotency keys."""
        ...

    def typical_seconds(self, arguments: Json) -> float | None:
        """How long the latest jobs of this model, length and resolution took, or None where there were none."""
        ...

    def record_upload(self, upload: Upload) -> None:
        """Write down a hosted image; its ticket's token is of no more use, and is taken out."""
        ...

    def scrub_tickets(self, now: float) -> None:
        """Take the tokens out of tickets that have expired or were used."""
        ...

    def find_upload(self, sha256: str, *, studio: str, wallet: str) -> Upload | None:
        """The hosted copy of these bytes."""
        ...

    def find_upload_by_url(self, image_url: str, *, studio: str) -> Upload | None:
        """The upload behind one of our own hosted URLs."""
        ...

    def record_sight(self, sight: Sight) -> None:
        """Write down which picture was seen at a stranger's URL."""
        ...

    def find_sight(self, url: str, *, since: float) -> Sight | None:
        """The picture that was last seen at a URL."""
        ...

    def find_upload_of(self, payment: Payment) -> Upload | None:
        """What an upload payment bought, whether or not the studio still hosts it."""
        ...

    def latest_upload(self, *, studio: str, wallet: str) -> Upload | None:
        """Any hosted image of ours, to ask for a price with."""
        ...

    def forget_upload(self, image_url: str) -> None:
        """The studio does not host it any more."""
        ...

    def record_contract(self, studio: str, model: str, contract: Json, *, now: float) -> None:
        """Write what a studio declares for a model's route; never waits for another process's transaction.

        Raises:
            LedgerError: Among others, that the ledger is locked just now.
        """
        ...

    def find_contract(self, studio: str, model: str) -> Json | None:
        """Return what a studio last declared for a model's route."""
        ...

    def find_freeze(self) -> Freeze | None:
        """Return the owner's stop, if one stands."""
        ...

    def freeze(self, reason: str, *, now: float) -> Freeze:
        """Stop all spending of every process on this ledger; one that stands keeps its moment."""
        ...

    def unfreeze(self) -> bool:
        """End the stop; returns True if one stood."""
        ...

    def find_reading(self, *, wallet: str, studio: str) -> float | None:
        """When the ledger was last read against the studio's list, in Unix seconds; None where it never was."""
        ...

    def record_reading(self, jobs: Sequence[UntrackedJob], *, wallet: str, studio: str, now: float) -> None:
        """Write that the ledger was read against the studio's list, and which jobs it did not know."""
        ...

    def list_untracked(self, *, wallet: str, studio: str) -> list[UntrackedJob]:
        """Return the jobs that no payment of the ledger made, oldest first."""
        ...

    def find_chain_reading(self, *, wallet: str, network: str, pay_to: str) -> float | None:
        """When a chain was last read for payments to a recipient, in Unix seconds; None where it never was."""
        ...

    def record_chain_reading(
        self, payments: Sequence[UntrackedPayment], *, wallet: str, network: str, pay_to: str, now: float
    ) -> None:
        """Write that a chain was read, and which of these payments neither a row nor an untracked job explains."""
        ...

    def list_untracked_payments(self, *, wallet: str) -> list[UntrackedPayment]:
        """Return the payments that only a chain knows, oldest first."""
        ...

    def adopt_job(self, job: UntrackedJob, request: PaidRequest, *, wallet: str, studio: str, now: float) -> Job | None:
        """Write down an untracked job as what a request bought; None where another payment owns it by now."""
        ...

    def close(self) -> None:
        """Close the books."""
        ...
