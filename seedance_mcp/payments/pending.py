"""Pending payments: the errors that report a payment whose outcome is not known.

Pure: a row of the ledger becomes an error, whose money is the row's. `executor` raises them where it sends,
`reconciler` and `purchase` where they find what was sent before.
"""

from __future__ import annotations

from typing import TypeVar

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    UNWRITTEN_STEP,
    LedgerError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    PurchaseUnderwayError,
)
from seedance_mcp.core.next_steps import Argument, Call, Command, NextStep, OwnerDo, Repeat
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.x402 import find_nonce

UNDONE = "the chain undid it"
"""The reason of a refused payment whose charge was included and reverted: its fee is gone, and no other money."""

CHOOSE_JOB = NextStep(
    "It is not bought again. {0} to see them, then {1} with the {2} of the right one.",
    Call("list_jobs"),
    Call("get_job"),
    Argument("job_id"),
)

CANDIDATES_MAX = 5
"""How many jobs an error names."""

Doubt = TypeVar("Doubt", bound=SeedanceError)


def held_error(payment: Payment, now: float, candidates: tuple[str, ...] = ()) -> SeedanceError:
    """Why a payment that is not over keeps the same thing from being bought.

    Args:
        payment: What holds.
        now: Unix seconds.
        candidates: The jobs of the studio's list that could each be the payment's.
    """
    if payment.state == "refused":
        return refused_error(payment)
    if payment.state == "signed" and candidates:
        return _notify(
            PaymentOutcomeUnknownError,
            payment,
            f"The outcome of a payment is not known yet, and {_name_candidates(candidates)}.",
            CHOOSE_JOB,
        )
    if payment.state == "signed":
        return unknown_error(payment) if payment.hold_until > now else unasked_error(payment)
    return _notify(
        PurchaseUnderwayError,
        payment,
        "Another process was about to make the same purchase.",
        NextStep("{0} in a minute.", Repeat()),
    )


def underway_error(payment: Payment) -> PurchaseUnderwayError:
    """Build the error of a purchase that another caller made a moment ago or is making."""
    return _notify(
        PurchaseUnderwayError,
        payment,
        "The same purchase is being made already.",
        NextStep("{0} to join it.", Repeat()),
    )


def refused_error(payment: Payment) -> PaymentRefusedError | PaymentOutcomeUnknownError:
    """Build the error of a payment that the studio refused or the chain undid; the studio still has its credential.

    A refusal that was not recorded, because another process has sent the same credential, says nothing.
    """
    if payment.state != "refused":
        return unknown_error(payment, "Another process has taken it over.")
    what = f"The studio refused the payment: {payment.reason}."
    next_step = NextStep(
        "It took nothing, but it has the credential until then. Fix the cause; after that, {0}.", Repeat()
    )
    if payment.reason == UNDONE:
        what = "The Tempo chain undid the payment; no more than the network's fee is gone."
        next_step = NextStep("Check that the wallet may send that token. After that time, {0}.", Repeat())
    return _notify(PaymentRefusedError, payment, what, next_step)


def unknown_error(payment: Payment, why: str = "It is being checked.") -> PaymentOutcomeUnknownError:
    """No one can say yet whether this payment settled; or it moved, and what it is for has not come."""
    what = "The outcome of a payment is not known yet."
    next_step = NextStep(
        "Do not change the request. {0}: it continues this payment and never makes a second one.", Repeat()
    )
    if payment.receipt is not None and payment.receipt.transaction:
        what = f"Paid by the Tempo transaction {payment.receipt.transaction}, and nothing came for it yet."
    elif payment.purpose == "upload":
        next_step = NextStep(
            "{0}: it continues this payment. A picture whose paid slot stays lost is uploaded again, and the result "
            "says so.",
            Repeat(),
        )
    return _notify(PaymentOutcomeUnknownError, payment, f"{what} {why}", next_step)


def jobless_error(payment: Payment, candidates: tuple[str, ...] = ()) -> PaymentOutcomeUnknownError:
    """Build the error of a generation that was paid and whose job is not known.

    Args:
        payment: A settled generation.
        candidates: The jobs of the studio's list that could each be the one.
    """
    by = _name_proof(payment)
    what = f"The video was paid{by}, but no answer of the studio's named a job, and its list has none yet."
    next_step = NextStep(
        "It is not bought again. {0} in a minute: the studio's list is read again. If it stays so, {1}.",
        Repeat(),
        OwnerDo("give what is named here to the studio's support"),
    )
    if candidates:
        what = f"The video was paid{by}, but the studio named no job, and {_name_candidates(candidates)}."
        next_step = CHOOSE_JOB
    return PaymentOutcomeUnknownError(
        what, next_step, payment_state="settled", amount_micro_usdc=payment.amount_micro_usdc, payment_id=payment.id
    )


def _name_proof(payment: Payment) -> str:
    """Return " by transaction 0x…" or, where its hash is not known, what else names a payment on its chain."""
    if payment.receipt is not None and payment.receipt.transaction:
        return f" by transaction {payment.receipt.transaction}"
    nonce = find_nonce(payment.document or {})
    return f" by the authorization with nonce {nonce}" if nonce else ""


def _name_candidates(candidates: tuple[str, ...]) -> str:
    named = ", ".join(candidates[:CANDIDATES_MAX])
    more = len(candidates) - CANDIDATES_MAX
    named += f" and {more} more" if more > 0 else ""
    if len(candidates) == 1:
        return f"one job of its list, {named}, could also be another payment's"
    return f"{len(candidates)} jobs of its list could be the one: {named}"


def unasked_error(payment: Payment) -> PaymentOutcomeUnknownError:
    """Its credential is over, and no chain says whether it settled, whatever the studio says."""
    return PaymentOutcomeUnknownError(
        "An earlier payment for this has expired, and no chain says whether it moved.",
        NextStep(
            "It is not bought again until that is known: {0} later. If it stays so, {1} {2}, which says what to do.",
            Repeat(),
            OwnerDo("run"),
            Command("doctor"),
        ),
        payment_state="held",
        amount_micro_usdc=payment.cost_micro_usdc,
        payment_id=payment.id,
    )


def unwritten_error(exc: LedgerError, payment: Payment, *, moved: bool) -> LedgerError:
    """Return an error of the ledger with what became of a payment that was sent before it.

    Args:
        exc: Says that nothing was paid, which is true only of what failed before a payment was sent.
        payment: What was sent.
        moved: Whether its money moved; otherwise it is held.
    """
    return exc.with_payment_state(
        "settled" if moved else "held",
        amount_micro_usdc=payment.amount_micro_usdc if moved else payment.cost_micro_usdc,
        payment_id=payment.id,
        held_until=None if moved else payment.hold_until,
        next_step=UNWRITTEN_STEP,
    )


def _notify(kind: type[Doubt], payment: Payment, what: str, next_step: NextStep) -> Doubt:
    """Build an error about a payment with its money: moved, or held until its credential expires."""
    moved = payment.state == "settled" or payment.receipt is not None
    return kind(
        what,
        next_step,
        payment_state="settled" if moved else "held",
        amount_micro_usdc=payment.cost_micro_usdc,
        payment_id=payment.id,
        held_until=None if moved else payment.hold_until,
    )
