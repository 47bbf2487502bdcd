"""Payment executor: the only coroutines that sign and send a payment.

Theory of operation
-------------------

A purchase is a straight line with two durable marks in it:

    choose ▸ check ▸ RESERVE ▸ sign ▸ RECORD ▸ send ▸ conclude

* Everything that can say no (the offer's terms, the price, the budget) says it before RESERVE, inside one writer's
  transaction.
* Nothing is sent before RECORD is on disk, so that the next process knows what a killed one may have paid.
* From RECORD on no cancellation reaches us: the caller may leave, the line is walked to its end.
* The answer is stored before anyone looks for a job in it: verbatim, but for secrets of ours that it repeats.

Where a studio takes nothing but *pushed* charges, and the owner allows that, sending has two halves: the charge is
brought to the chain, and then its hash to the studio. The money has moved in between, so no refusal frees it.

There is one signature per purchase. Whatever happens after it, the answer to a doubt is to send *the same* credential
again (`resend`), to ask the studio, or to ask the chain; those live in `reconciler`. It is never a second signature.

`pay` does not know what it buys.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.adapters.wallet import Wallet
from seedance_mcp.core.errors import LedgerError, PolicyError, StudioError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Approval, Limits, PinnedTerms, Recipient
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.mpp import find_transaction
from seedance_mcp.core.wire.offers import Credential, Offer, Offers
from seedance_mcp.core.wire.responses import PaidRequest, Refused, Settled, holds_result, read_outcome
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import BalanceReader
from seedance_mcp.payments.pending import refused_error, underway_error, unknown_error, unwritten_error
from seedance_mcp.payments.planning import PaymentPlanner
from seedance_mcp.payments.push import ChargeBroadcaster
from seedance_mcp.payments.unsigned import build_unsigned_payment

SEND_SECONDS = 60
"""How long we wait for the answer to a paid request; verification and settlement take a few seconds."""
LEASE_SECONDS = SEND_SECONDS + 15
"""How long other processes leave a payment alone while one of them is busy with it."""


@dataclass(frozen=True, slots=True)
class PaymentExecutor:
    """Buys within limits, exactly once.

    Attributes:
        wallet: Signs.
        ledger: Remembers.
        studio: Sends.
        limits: What the owner allows.
        pins: What the owner pays in, and where.
        planner: Chooses the offer.
        balance_reader: Knows what the wallet holds.
        broadcaster: Brings a client-broadcast charge to the chain before it is sent.
        now: Unix seconds.
    """

    wallet: Wallet
    ledger: Ledger
    studio: Studio
    limits: Limits
    pins: PinnedTerms
    planner: PaymentPlanner
    balance_reader: BalanceReader
    broadcaster: ChargeBroadcaster
    now: Callable[[], float]
    _unwritten: dict[int, tuple[Payment, Settled]] = field(default_factory=dict[int, tuple[Payment, Settled]])
    """Answers to payments that settled while the ledger could not be written, by the payment's number."""

    async def pay(
        self, request: PaidRequest, offers: Offers, approval: Approval, *, supersedes: Payment | None = None
    ) -> Payment:
        """Pay for a request, once.

        Args:
            request: What is bought; its body is the one that was quoted, byte for byte.
            offers: The challenge that the unpaid request was answered with.
            approval: The most that was agreed for it.
            supersedes: An earlier payment for the same request that is over and was looked at.

        Returns:
            The settled payment with the studio's raw answer.

        Raises:
            ConfigError: The owner's settings are not understood; nothing was signed.
            PolicyError: The owner's limits forbid it, or the recipient changed; nothing was signed.
            PurchaseUnderwayError: The same purchase is unfinished; nothing was signed.
            PaymentRefusedError: The studio settled nothing; the hold stays until the credential expires.
            PaymentOutcomeUnknownError: The answer is lost; see `reconciler`.
            LedgerError: The ledger cannot be written. Its `payment_state` says whether the payment settled before that.
        """
        policy.check_settings(self.limits)
        policy.check_clock(offers, self.now())
        (offer,), wallet_balances = await self.planner.plan(offers)
        now = self.now()
        payment = await self._reserve(
            request, offer, approval, supersedes, fee_micro_usdc=wallet_balances.fee_of(offer), now=now
        )
        document, good_until = build_unsigned_payment(
            offer, offers, payer=self.wallet.address, gas_price=wallet_balances.gas_price, now=now
        )
        hold_until = policy.credential_hold_until(good_until, now, answered_at=offers.answered_at)
        with anyio.CancelScope(shield=True):
            credential, document = await self._sign(payment, document)
            payment = await self.ledger.record_signed(  # on disk BEFORE it is sent
                payment,
                document,
                credential_sha256=_digest(credential),
                hold_until=hold_until,
                lease_until=self.now() + LEASE_SECONDS,
                now=self.now(),  # not `now`: a reservation that lapsed while we slept must not be signed for
            )
            payment = await self._send_recorded(payment, credential)
        return payment  # noqa: RET504 - inside the scope, type checkers see a path that returns nothing

    async def _reserve(
        self,
        request: PaidRequest,
        offer: Offer,
        approval: Approval,
        supersedes: Payment | None,
        *,
        fee_micro_usdc: int,
        now: float,
    ) -> Payment:
        """Take budget for a payment if nothing forbids it, in one transaction: several servers have one budget."""
        async with self.ledger.lock_budget() as budget:
            _check_unbought(await budget.find_latest_payment(request.keys), supersedes, now)
            policy.check_not_frozen(await budget.find_freeze())
            paid_before = await budget.find_recipients(request.studio, offer.network)
            recipient = Recipient.of(offer, self.limits, self.pins, paid_before=paid_before)
            policy.check_recipient(recipient, agreed=approval.recipients)
            policy.check_price(
                offer.amount_micro_usdc,
                self.limits,
                spend=await budget.spend(now),
                approval=approval,
                fee_micro_usdc=fee_micro_usdc,
            )
            policy.check_caps(offer.amount_micro_usdc + fee_micro_usdc, await budget.find_caps(now))
            return await budget.reserve(
                request,
                offer,
                wallet=self.wallet.address,
                hold_until=policy.hold_until(now),
                now=now,
                fee_micro_usdc=fee_micro_usdc,
                remember_recipient=not recipient.replaces,  # a yes is for this payment; once it settled, for good
            )

    async def _send_recorded(self, payment: Payment, credential: Credential) -> Payment:
        """Send a payment that was just recorded, and give its lease back if its outcome stays unknown."""
        sent = payment
        try:
            sent = await self._send(payment, credential)
        except LedgerError as exc:  # its own words, "nothing was paid", would be of before it was sent
            if exc.payment_state == "settled":
                raise
            raise unknown_error(payment, f"It was sent, and its end cannot be written down. {exc.what}") from exc
        finally:
            if sent.state == "signed":
                with contextlib.suppress(LedgerError):  # the next caller may reconcile it at once
                    await self.ledger.release(payment)
        return sent

    async def resend(self, payment: Payment) -> Payment:
        """Send the credential of an unfinished payment again: the same bytes, which can settle at most once.

        Args:
            payment: A signed payment whose lease we hold.

        Returns:
            The settled payment.

        Raises:
            PaymentRefusedError: This sending settled nothing.
            PaymentOutcomeUnknownError: Still unknown, signed by another wallet, or the owner forbids it by now.
        """
        if payment.document is None or payment.wallet != self.wallet.address:
            raise unknown_error(payment, "It was signed by another wallet.")
        await self._check_still_allowed(payment)
        sent = payment
        with anyio.CancelScope(shield=True):
            credential, _ = await self._sign(payment, payment.document)
            if _digest(credential) != payment.credential_sha256:
                # Another library version signs otherwise. Two signatures over one nonce still settle at most once,
                # but we promised the same bytes.
                raise unknown_error(payment, "Its credential cannot be made again.")
            sent = await self._send(payment, credential, again=True)
        return sent  # noqa: RET504 - inside the scope, type checkers see a path that returns nothing

    async def _send(self, payment: Payment, credential: Credential, *, again: bool = False) -> Payment:
        """Send and conclude. The caller shields us: from here on a doubt stays in the ledger, never in the air."""
        try:
            with anyio.fail_after(SEND_SECONDS):
                if credential.raw_transaction:
                    payment = await self.broadcaster.broadcast(payment, credential)
                response = await self.studio.send_paid(payment.request, credential)
        except (StudioError, TimeoutError) as exc:
            why = exc.what if isinstance(exc, StudioError) else "It did not answer in time."
            raise unknown_error(payment, why) from exc
        outcome = read_outcome(response, payment.rail, payment.network)
        if isinstance(outcome, Settled):
            if outcome.receipt is None and not holds_result(payment.purpose, outcome.answer):
                # A page of whatever stands before the studio, such as a bot check: it may never have got there.
                raise unknown_error(payment, "It was answered by neither a receipt nor what was bought.")
            return await self._record_fee(await self._settle(payment, outcome))
        if isinstance(outcome, Refused) and not again and not credential.raw_transaction:
            raise refused_error(await self.ledger.conclude(payment, outcome, now=self.now()))
        # A refusal of a *second* sending says nothing about the first one, and none gives back what was pushed.
        raise unknown_error(payment, f"It answered {outcome.reason}.")

    async def _settle(self, payment: Payment, outcome: Settled) -> Payment:
        """Write that a payment settled; an answer that cannot be written now is kept until `write_down` can.

        Raises:
            LedgerError: It cannot be written; says that the payment settled.
        """
        try:
            settled = await self.ledger.conclude(payment, outcome, now=self.now())
        except LedgerError as exc:
            self._unwritten[payment.id] = (payment, outcome)
            raise unwritten_error(exc, payment, moved=True) from exc
        self._unwritten.pop(payment.id, None)
        return settled

    def find_unwritten(self, keys: tuple[str, ...]) -> Payment | None:
        """Return the payment of these idempotency keys that settled and could not be written down yet."""
        return next((one for one, _ in self._unwritten.values() if one.idempotency_key in keys), None)

    async def write_down(self, payment: Payment) -> Payment | None:
        """Write the answer to a payment that settled while the ledger could not be written.

        Returns:
            The settled payment; None where there is nothing to write.

        Raises:
            LedgerError: It still cannot be written.
        """
        kept = self._unwritten.get(payment.id)
        return None if kept is None else await self._settle(payment, kept[1])

    async def _check_still_allowed(self, payment: Payment) -> None:
        """Raise where the owner no longer wants a payment that was signed and perhaps never sent.

        Sent again it settles at most once. But if it was never sent, sending it now moves money after the owner said
        stop. If it was sent, the studio's list and the chain say so without us. Only what has moved by the chain's own
        word is shown to the studio again: that costs nothing, and it is how the video is had.

        Raises:
            PaymentOutcomeUnknownError: Spending is frozen, or the limits are tighter.
        """
        if payment.receipt is not None:
            return
        if await self.ledger.for_caller(payment.caller).find_freeze() is not None:
            raise unknown_error(payment, "Spending is frozen, so it is not sent again.")
        if not await self._is_within_limits(payment):
            raise unknown_error(payment, "The limits forbid it by now, so it is not sent again.")

    async def _is_within_limits(self, payment: Payment) -> bool:
        return policy.is_still_allowed(
            self.limits,
            await self.ledger.spend(self.now()),
            rail=payment.rail,
            pay_to=payment.pay_to,
            model=None if payment.purpose == "upload" else str(payment.arguments.get("model", "")),
            cost_micro_usdc=payment.cost_micro_usdc,
            caps=await self.ledger.for_caller(payment.caller).find_caps(self.now()),
        )

    async def _sign(self, payment: Payment, document: Mapping[str, object]) -> tuple[Credential, Mapping[str, object]]:
        """Sign a payment; returns its credential, and its document as the ledger keeps it."""
        if payment.rail == "mpp" and self.pins.mpp is not None:
            credential, transaction = await self.wallet.sign_charge(document, self.pins.mpp)
            return credential, document if transaction is None else {**document, "hash": transaction}
        if payment.rail == "x402" and self.pins.x402 is not None:
            return await self.wallet.sign_payment(document, self.pins.x402), document
        raise PolicyError(f"This profile pins no token on {payment.rail}.", "Add one to it.")

    async def _record_fee(self, payment: Payment) -> Payment:
        """Book what the network really kept, where the chain says it at once; else the most that it can be stays."""
        self.balance_reader.forget()
        if payment.rail == "mpp" and payment.document is not None:
            transaction = find_transaction(payment.document)
            fee = None if transaction is None else await self.balance_reader.find_fee(transaction)
            if fee is not None:
                with contextlib.suppress(LedgerError):  # it settled, and what stays booked is the most it can be
                    return await self.ledger.record_fee(payment, fee)
        return payment


def _check_unbought(latest: Payment | None, supersedes: Payment | None, now: float) -> None:
    """Raise unless no payment for this request can still settle, or has settled unseen."""
    if latest is None:
        return
    looked_at = supersedes is not None and supersedes.id == latest.id
    unasked = latest.state == "refused" and not latest.chain_checked  # a studio that said no may have settled
    if latest.counts_against_budget(now) or ((latest.state == "settled" or unasked) and not looked_at):
        raise underway_error(latest)


def _digest(credential: Credential) -> str:
    return hashlib.sha256(f"{credential.header}: {credential.value}".encode()).hexdigest()
