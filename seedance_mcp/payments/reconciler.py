"""Reconciler: determine the outcome of an unfinished payment without ever signing a second one.

Three checks determine it, in this order:

1. **the studio, by the same credential** (`PaymentExecutor.resend`): an EIP-3009 nonce or a Tempo charge settles
   at most once, so this can only finish the payment, and the answer holds what was bought;
2. **the studio's list of jobs**: a job of ours, made from the very body that was sent, that no other payment made;
3. **the chain** (`settlement`), which knows whether the money moved, and later, whether it never will.

What none of them can tell stays held, and is checked again later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.errors import LedgerError, PaymentError, StudioError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.wire.generation import same_body
from seedance_mcp.core.wire.jobs import JobStatus, read_submitted_job
from seedance_mcp.core.wire.mpp import was_pushed
from seedance_mcp.payments.executor import LEASE_SECONDS, PaymentExecutor
from seedance_mcp.payments.pending import unasked_error, unwritten_error
from seedance_mcp.payments.settlement import Settlement, SettlementChecker
from seedance_mcp.payments.verification import PaymentVerifier, write_receipt

LIST_PAGES_MAX = 10
LIST_SKEW_SECONDS = 300
"""How far outside the life of our credential a job of ours may seem to be made: the studio's clock is not ours."""
WAIT_SECONDS = 75
"""How long we wait for another process that is busy with the same purchase."""
WAIT_POLL_SECONDS = 0.25
RESEND_MARGIN_SECONDS = 10
"""A credential with less life left than this is not sent again; a verifier would call it expired."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Looks into unfinished payments of one wallet at one studio.

    Attributes:
        executor: Sends the same credential again.
        ledger: Remembers.
        studio: Is asked for jobs.
        settlement_checker: Asks the chain.
        verifier: Records what the chain says of a payment.
        now: Unix seconds.
        names_jobs: False for a caller who may not see the jobs of others: its errors name none.
    """

    executor: PaymentExecutor
    ledger: Ledger
    studio: Studio
    settlement_checker: SettlementChecker
    verifier: PaymentVerifier
    now: Callable[[], float]
    names_jobs: bool = True
    _candidates: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])

    async def reconcile(self, payment: Payment) -> Payment:
        """Ask what became of a payment, as far as anyone can say now.

        Returns:
            The payment as it stands afterwards: `settled`, `refused`, or still `signed`. A job that was found is in
            the ledger.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        written = await self.executor.write_down(payment)
        if written is not None:
            await self.add_job(written)
            return written
        claimed = await self.ledger.claim(payment, lease_until=self.now() + LEASE_SECONDS, now=self.now())
        if claimed is None:  # another process is at it, or it has ended
            return await self.ledger.find_payment(payment.id) or payment
        try:
            return await self._ask(claimed)
        finally:
            await self.ledger.release(claimed)

    async def wait_and_reconcile(self, payment: Payment) -> Payment:
        """Reconcile a payment: wait while another process does it, then do it here, once.

        Returns:
            The payment as it stands afterwards; still `signed` or `reserved` where no one can say yet.

        Raises:
            PaymentOutcomeUnknownError: The studio refused it, and no chain says whether it settled all the same.
        """
        with anyio.move_on_after(WAIT_SECONDS):
            while payment.counts_against_budget(self.now()) and payment.state != "refused":
                is_ours = (
                    payment.lease_until <= self.now()
                    or self.executor.find_unwritten((payment.idempotency_key,)) is not None
                )
                if payment.state == "signed" and is_ours:
                    return await self.reconcile(payment)
                await anyio.sleep(WAIT_POLL_SECONDS)
                payment = await self.ledger.find_payment(payment.id) or payment
        if payment.state == "refused" and not payment.counts_against_budget(self.now()) and not payment.chain_checked:
            payment = await self.reconcile(payment)  # a studio that said no may have settled: ask before buying again
            if payment.state == "refused" and not payment.chain_checked:
                raise unasked_error(payment)
        return payment

    async def add_payment(self, exc: LedgerError, keys: tuple[str, ...]) -> LedgerError:
        """Return an error of the ledger with what was paid for a purchase before it; as it is if it says so already."""
        if exc.payment_state != "none":
            return exc
        payment = self.executor.find_unwritten(keys)
        if payment is not None:
            return unwritten_error(exc, payment, moved=True)
        with contextlib.suppress(LedgerError):
            payment = await self.ledger.find_latest_payment(keys)
        if payment is not None and (payment.state == "settled" or payment.counts_against_budget(self.now())):
            return unwritten_error(exc, payment, moved=payment.state == "settled" or payment.receipt is not None)
        return exc

    async def _ask(self, payment: Payment) -> Payment:
        if payment.state == "refused":  # its credential has expired: was it used after all?
            return await self.verifier.conclude(payment, await self.settlement_checker.check_settlement(payment))
        if payment.state == "signed" and payment.hold_until > self.now() + RESEND_MARGIN_SECONDS:
            with contextlib.suppress(PaymentError):  # it may still have settled: the next two can say
                payment = await self.executor.resend(payment)
            payment = await self.ledger.find_payment(payment.id) or payment
        if payment.state == "refused":
            return payment
        if payment.state == "settled":
            await self.add_job(payment)
            return payment
        try:
            found = await self.find_job(payment)
        except StudioError:
            found = None
        settlement = await self.verifier.find_settlement(payment)
        if found is not None:
            job = await self.ledger.add_job(
                payment, found.job_id, studio=self.studio.origin, status=found.status, now=self.now()
            )
            if job is not None and settlement is None and not self.settlement_checker.has_one(payment):
                # Else the chain will say it: a job may also be made and never be settled.
                settlement = Settlement(used=True)
        elif settlement is not None and self._may_still_buy(payment, settlement):
            return await self.ledger.record_moved(
                payment, write_receipt(payment, settlement), fee_micro_usdc=settlement.fee_micro_usdc
            )
        return await self.verifier.conclude(payment, settlement)

    def _may_still_buy(self, payment: Payment, settlement: Settlement) -> bool:
        """Whether a payment's money has moved and its hash is still good for what it was paid for."""
        return settlement.used and was_pushed(payment.document) and payment.hold_until > self.now()

    async def add_job(self, payment: Payment) -> Job | None:
        """Make the job row of a settled generation from its stored answer, and return the job; no network needed.

        An answer in which no job can be read, or another payment's, leaves the row to `find_job`: None is returned.
        """
        if payment.purpose != "generation" or not payment.answer:
            return None
        try:
            submitted = read_submitted_job(payment.answer)
        except StudioError:
            return None
        return await self.ledger.add_job(
            payment, submitted.job_id, studio=self.studio.origin, status=submitted.status, now=self.now()
        )

    def list_candidates(self, payment: Payment) -> tuple[str, ...]:
        """Return the jobs that could each be a payment's, as the studio's list was last read; none where one was."""
        return self._candidates.get(payment.id, ()) if self.names_jobs else ()

    async def find_job(self, payment: Payment) -> JobStatus | None:
        """Return the job at the studio that this payment's request made, where no payment of ours owns it yet.

        Matched by the request's body where the studio repeats it, unless the answer to another payment for the same
        body, still on its way, may name it. Where the studio does not repeat it, matched by type and by the time in
        which the credential could be used, and only if a single job fits a single payment: see `list_candidates`.

        Raises:
            StudioError: The list cannot be had.
        """
        self._candidates.pop(payment.id, None)
        if (
            payment.purpose != "generation"
            or payment.signed_at is None
            or payment.wallet != self.executor.wallet.address
        ):
            return None
        jobs = await self._list_unowned(payment, payment.signed_at)
        exact = [job for job in jobs if job.input is not None and same_body(payment.body, job.input)]
        if exact:
            on_their_way = await self.ledger.count_inflight_duplicates(payment, now=self.now())
            return min(exact, key=lambda job: job.created_at or 0) if len(exact) > on_their_way else None
        likely = [job for job in jobs if job.input is None and job.created_at is not None and _same_type(payment, job)]
        if len(likely) == 1 and not await self._has_rival(payment, likely[0].created_at or 0):
            return likely[0]
        if likely:
            self._candidates[payment.id] = tuple(job.job_id for job in likely)
        return None

    async def _list_unowned(self, payment: Payment, signed_at: float) -> list[JobStatus]:
        """Read the studio's list for jobs without a payment that were made while a credential could be used."""
        first, last = signed_at - LIST_SKEW_SECONDS, max(signed_at, payment.hold_until) + LIST_SKEW_SECONDS
        found: list[JobStatus] = []
        cursor: str | None = None
        for _ in range(LIST_PAGES_MAX):
            page = await self.studio.list_jobs(cursor=cursor)
            found += [
                job
                for job in page.jobs
                if (job.created_at is None or first <= job.created_at <= last)
                and not await self.ledger.has_job(job.job_id)
            ]
            cursor = page.next_cursor
            if cursor is None or not page.jobs or _is_older(page.jobs[-1], first):
                break
        return found

    async def _has_rival(self, payment: Payment, made_at: float) -> bool:
        """Return True if the job made at that time could also be another payment's."""
        return (
            await self.ledger.count_payments_without_job(payment, made_at=made_at, skew_seconds=LIST_SKEW_SECONDS) > 0
        )


def _same_type(payment: Payment, job: JobStatus) -> bool:
    """`seedance-fast-i2v` is what `/api/generate/seedance-fast/i2v` makes. Source: contract section 3."""
    return job.type is not None and payment.url.endswith(f"/{job.type.removesuffix('-i2v')}/i2v")


def _is_older(job: JobStatus, moment: float) -> bool:
    return job.created_at is not None and job.created_at < moment
