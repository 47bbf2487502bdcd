"""Pending payments: the errors that report a payment whose outcome is not known.

Pure: a row of the ledger becomes an error, whose money is the row's. `purchase` raises them where it sends, `recovery`,
`hosting` and `ordering` where they find what was sent before.
"""

from __future__ import annotations

from typing import TypeVar

from seedance_mcp.core.errors import (
    UNWRITTEN_HINT,
    LedgerError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    PurchaseUnderwayError,
    SeedanceError,
)
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.x402 import find_nonce

UNDONE = "the chain undid it"
"""The reason of a refused payment whose charge was included and reverted: its fee is gone, and no other money."""

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
        return _tell(
            PaymentOutcomeUnknownError,
            payment,
            f"The outcome of a payment is not known yet, and {_name_candidates(candidates)}.",
            "It is not bought again. Call list_jobs to see them, then get_job with the job_id of the right one.",
        )
    if payment.state == "signed":
        return unknown_error(payment) if payment.hold_until > now else unasked_error(payment)
    return _tell(
        PurchaseUnderwayError,
        payment,
        "Another process was about to make the same purchase.",
        "Make the same call again in a minute.",
    )


def underway_error(payment: Payment) -> PurchaseUnderwayError:
    """The same thing was bought by somebody else a moment ago, or is being bought."""
    return _tell(
        PurchaseUnderwayError,
        payment,
        "The same purchase is being made already.",
        "Call again with the same arguments to join it.",
    )


def refused_error(payment: Payment) -> PaymentRefusedError:
    """The studio settled nothing by that sending, yet still has the credential; or the chain undid the charge."""
    what = f"The studio refused the payment: {payment.reason}."
    hint = "It took nothing, but it has the credential until then. Mend the cause; the same call works after that."
    if payment.reason == UNDONE:
        what = "The Tempo chain undid the payment; no more than the network's fee is gone."
        hint = "Look whether the wallet may send that token. The same call works after that time."
    return _tell(PaymentRefusedError, payment, what, hint)


def unknown_error(payment: Payment, why: str = "It is being looked into.") -> PaymentOutcomeUnknownError:
    """Nobody can say yet whether this payment settled; or it moved, and what it is for has not come."""
    what = "The outcome of a payment is not known yet."
    hint = "Do not change the request. Make the same call again: it takes up this payment, never a second one."
    if payment.receipt is not None and payment.receipt.transaction:
        what = f"Paid by the Tempo transaction {payment.receipt.transaction}, and nothing came for it yet."
    elif payment.purpose == "upload":
        hint = (
            "Make the same call again: it takes up this payment. A picture whose paid place stays lost is hosted anew, "
            "and the result says so."
        )
    return _tell(PaymentOutcomeUnknownError, payment, f"{what} {why}", hint)


def jobless_error(payment: Payment, candidates: tuple[str, ...] = ()) -> PaymentOutcomeUnknownError:
    """A generation was paid, and which job it made is not known.

    Args:
        payment: A settled generation.
        candidates: The jobs of the studio's list that could each be the one.
    """
    by = _name_proof(payment)
    what = f"The clip was paid{by}, but no answer of the studio's named a job, and its list has none yet."
    hint = (
        "It is not bought again. Make the same call in a minute: the studio's list is asked again. If it stays so, "
        "tell the owner to give what is named here to the studio's support."
    )
    if candidates:
        what = f"The clip was paid{by}, but the studio named no job, and {_name_candidates(candidates)}."
        hint = "It is not bought again. Call list_jobs to see them, then get_job with the job_id of the right one."
    return PaymentOutcomeUnknownError(
        what, hint, charge="settled", amount_micro_usdc=payment.amount_micro_usdc, payment_id=payment.id
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
        "An earlier payment for this is over, and no chain says whether it moved.",
        "It is not bought again before that is known: make the same call later. If it stays so, tell the owner to run "
        "seedance-mcp doctor, which names the way out.",
        charge="held",
        amount_micro_usdc=payment.cost_micro_usdc,
        payment_id=payment.id,
    )


def tell_payment(exc: LedgerError, payment: Payment, *, moved: bool) -> None:
    """Let an error of the ledger say what became of a payment that was sent before it.

    Args:
        exc: Says that nothing was paid, which is true only of what failed before a payment was sent.
        payment: What was sent.
        moved: Whether its money moved; otherwise it is held.
    """
    exc.charge = "settled" if moved else "held"
    exc.amount_micro_usdc = payment.amount_micro_usdc if moved else payment.cost_micro_usdc
    exc.payment_id = payment.id
    exc.held_until = None if moved else payment.hold_until
    exc.hint = UNWRITTEN_HINT


def _tell(kind: type[Doubt], payment: Payment, what: str, hint: str) -> Doubt:
    """An error about a payment, with its money: moved, or held until its credential is over."""
    moved = payment.state == "settled" or payment.receipt is not None
    return kind(
        what,
        hint,
        charge="settled" if moved else "held",
        amount_micro_usdc=payment.cost_micro_usdc,
        payment_id=payment.id,
        held_until=None if moved else payment.hold_until,
    )
