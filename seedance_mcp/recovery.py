"""Recovery: driving an unfinished payment to its end without ever signing a second one.

Three askings, in this order:

1. **the studio, by the same credential** (`Buyer.resend`): an EIP-3009 nonce settles at most once, so this can only
   finish what was begun, and its answer holds what was bought;
2. **the studio's list of jobs**: a job of ours, made from the very body that we sent, that no other payment made;
3. **the chain** (`authorizationState` of the nonce on Base; on Tempo the receipt of the very transaction that we
   signed): used means that the money moved; unused at a block after the credential's expiry means that it never will.

What none of them can say stays held, and is asked again later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import anyio

from seedance_mcp.errors import PaymentError, StudioError
from seedance_mcp.ledger import Ledger, Payment
from seedance_mcp.policy import Pins
from seedance_mcp.purchase import LEASE_SECONDS, Buyer
from seedance_mcp.studio import Studio
from seedance_mcp.wire.encoding import Json
from seedance_mcp.wire.exchange import Receipt, Refused, Settled
from seedance_mcp.wire.generation import same_body
from seedance_mcp.wire.jobs import JobStatus, read_submitted_job
from seedance_mcp.wire.mpp import find_transaction, read_charge, read_inclusion
from seedance_mcp.wire.x402 import build_authorization_state_call, read_authorization, read_word

LIST_PAGES_MAX = 10
LIST_SKEW_SECONDS = 300
"""How much earlier than our signature a job of ours may seem to be: the studio's clock is not ours."""
WAIT_SECONDS = 75
"""How long we wait for another process that is busy with the same purchase."""
WAIT_POLL_SECONDS = 0.25
RESEND_MARGIN_SECONDS = 10
"""A credential with less life left than this is not sent again; a verifier would call it expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a credential, for good.

    Attributes:
        used: Whether the money moved; False where it never will.
        transaction: Its hash, where it is known.
        fee_micro_usdc: What the network kept; None where nobody said.
    """

    used: bool
    transaction: str = ""
    fee_micro_usdc: int | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """Looks into unfinished payments of one wallet at one studio.

    Attributes:
        buyer: Sends the same credential again.
        ledger: Remembers.
        studio: Is asked for jobs, and for the chain's word.
        pins: Which token the chain is asked about.
        now: Unix seconds.
    """

    buyer: Buyer
    ledger: Ledger
    studio: Studio
    pins: Pins
    now: Callable[[], float]

    async def recover(self, payment: Payment) -> Payment:
        """Ask what became of a payment, as far as anyone can say now.

        Returns:
            The payment as it stands afterwards: `settled`, `refused`, or still `signed`. A job that was found is in
            the ledger.

        Raises:
            LedgerError: The books cannot be written.
        """
        claimed = self.ledger.claim(payment, lease_until=self.now() + LEASE_SECONDS, now=self.now())
        if claimed is None:  # another process is at it, or it has ended
            return self.ledger.find_payment(payment.id) or payment
        try:
            return await self._ask(claimed)
        finally:
            self.ledger.release(claimed)

    async def bring_to_end(self, payment: Payment) -> Payment:
        """Recover a payment whoever is at it: wait while another process is, then ask ourselves, once.

        Returns:
            The payment as it stands afterwards; still `signed` or `reserved` where nobody can say yet.
        """
        with anyio.move_on_after(WAIT_SECONDS):
            while payment.holds(self.now()) and payment.state != "refused":
                if payment.state == "signed" and payment.lease_until <= self.now():
                    return await self.recover(payment)
                await anyio.sleep(WAIT_POLL_SECONDS)
                payment = self.ledger.find_payment(payment.id) or payment
        if payment.state == "refused" and not payment.holds(self.now()) and not payment.chain_checked:
            return await self.recover(payment)  # a studio that said no may have settled: ask before buying again
        return payment

    async def _ask(self, payment: Payment) -> Payment:
        if payment.state == "refused":  # its credential has expired: was it used after all?
            return self._conclude(payment, await self.find_fate(payment))
        if payment.state == "signed" and payment.hold_until > self.now() + RESEND_MARGIN_SECONDS:
            with contextlib.suppress(PaymentError):  # it may still have settled: the next two can say
                payment = await self.buyer.resend(payment)
        if payment.state == "settled":
            self.add_job(payment)
            return payment
        try:
            found = await self.find_job(payment)
        except StudioError:
            found = None
        fate = await self.find_fate(payment)
        if found is not None:
            self.ledger.add_job(payment, found.job_id, studio=self.studio.origin, status=found.status, now=self.now())
            if fate is None and (not self._has_chain(payment) or payment.hold_until <= self.now()):
                fate = Fate(used=True)
        return self._conclude(payment, fate)

    def _has_chain(self, payment: Payment) -> bool:
        """Whether there is a chain that could be asked about a payment."""
        return (self.pins.x402 if payment.rail == "x402" else self.pins.mpp) is not None

    def _conclude(self, payment: Payment, fate: Fate | None) -> Payment:
        if fate is None:
            return payment
        outcome: Settled | Refused
        if fate.used:
            receipt = Receipt(rail=payment.rail, network=payment.network, transaction=fate.transaction)
            outcome = Settled(receipt=receipt, answer=b"")
        else:
            outcome = Refused(reason=payment.reason or "it expired unused")
        return self.ledger.conclude(
            payment, outcome, now=self.now(), chain_checked=True, fee_micro_usdc=fate.fee_micro_usdc
        )

    def add_job(self, payment: Payment) -> None:
        """Make the job row of a settled generation from its stored answer; no network needed.

        An answer in which no job can be read leaves the row to `find_job`.
        """
        if payment.purpose != "generation" or not payment.answer:
            return
        try:
            submitted = read_submitted_job(payment.answer)
        except StudioError:
            return
        self.ledger.add_job(
            payment, submitted.job_id, studio=self.studio.origin, status=submitted.status, now=self.now()
        )

    async def find_job(self, payment: Payment) -> JobStatus | None:
        """A job at the studio that this payment's request made and that no payment of ours owns yet.

        Matched by the request's body where the studio repeats it; where it does not, by type and time, and then only
        if a single job fits.

        Raises:
            StudioError: The list cannot be had.
        """
        if payment.purpose != "generation" or payment.signed_at is None:
            return None
        exact: list[JobStatus] = []
        likely: list[JobStatus] = []
        cursor: str | None = None
        for _ in range(LIST_PAGES_MAX):
            page = await self.studio.list_jobs(cursor=cursor)
            for job in page.jobs:
                made_at = job.created_at
                if made_at is not None and made_at < payment.signed_at - LIST_SKEW_SECONDS:
                    continue
                if self.ledger.find_job(job.job_id) is not None:
                    continue
                if job.input is not None and same_body(payment.body, job.input):
                    exact.append(job)
                elif job.input is None and made_at is not None and _same_type(payment, job):
                    likely.append(job)
            cursor = page.next_cursor
            if cursor is None or not page.jobs or _is_older(page.jobs[-1], payment.signed_at):
                break
        if exact:
            return min(exact, key=lambda job: job.created_at or 0)
        return likely[0] if len(likely) == 1 else None

    async def find_fate(self, payment: Payment) -> Fate | None:
        """The chain's word on a payment; None where it cannot be said now."""
        if payment.document is None or not self._has_chain(payment):
            return None
        try:
            # The block first, the state second and at that block or later: "unused" is then final.
            block = await self.studio.call_rpc("eth_getBlockByNumber", ["latest", False], rail=payment.rail)
            if not isinstance(block, Mapping):
                return None
            chain_time = read_word(cast("Mapping[str, object]", block).get("timestamp"))
            if payment.rail == "mpp":
                return await self._find_charge_fate(payment.document, chain_time)
            return await self._find_authorization_fate(payment.document, chain_time)
        except StudioError:
            return None

    async def _find_authorization_fate(self, document: Json, chain_time: int) -> Fate | None:
        authorization = read_authorization(document)
        assert self.pins.x402 is not None  # noqa: S101 - `_has_chain` said so
        call = build_authorization_state_call(authorization, self.pins.x402)
        if read_word(await self.studio.call_rpc("eth_call", call)) != 0:
            return Fate(used=True)
        return Fate(used=False) if chain_time >= authorization.valid_before else None

    async def _find_charge_fate(self, document: Json, chain_time: int) -> Fate | None:
        """A reverted transaction is over as well: its nonce is spent, and its fee."""
        transaction = find_transaction(document)
        if transaction is None:
            return None
        inclusion = read_inclusion(await self.studio.call_rpc("eth_getTransactionReceipt", [transaction], rail="mpp"))
        if inclusion is not None:
            return Fate(used=inclusion.succeeded, transaction=transaction, fee_micro_usdc=inclusion.fee_micro_usdc)
        return Fate(used=False, fee_micro_usdc=0) if chain_time >= read_charge(document).valid_before else None


def _same_type(payment: Payment, job: JobStatus) -> bool:
    """`seedance-fast-i2v` is what `/api/generate/seedance-fast/i2v` makes. Source: contract section 3."""
    return job.type is not None and payment.url.endswith(f"/{job.type.removesuffix('-i2v')}/i2v")


def _is_older(job: JobStatus, signed_at: float) -> bool:
    return job.created_at is not None and job.created_at < signed_at - LIST_SKEW_SECONDS
