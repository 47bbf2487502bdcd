"""Purchase: the one implementation of "buy this once".

It finds the latest payment of an idempotency key, reconciles it and returns what it bought. Only if that payment bought
nothing, and never will, it pays, superseding that payment. It does not know what is bought.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from seedance_mcp.core.errors import LedgerError, PaymentOutcomeUnknownError, PurchaseUnderwayError
from seedance_mcp.core.ledger import PaymentLedger
from seedance_mcp.core.records import Payment
from seedance_mcp.payments.pending import held_error
from seedance_mcp.payments.reconciler import Reconciler

ATTEMPTS_MAX = 3
"""How often a caller who finds the same purchase under way reconciles it and looks again."""

T = TypeVar("T")

Deliver = Callable[[Payment], Awaitable[T | None]]
"""Returns what a reconciled payment bought; None if it bought nothing, so that the purchase may be paid again."""
Pay = Callable[[Payment | None], Awaitable[T]]
"""Pays, superseding a payment that bought nothing, and returns what was bought."""


@dataclass(frozen=True, slots=True)
class Purchaser:
    """Buys things of one wallet, each once.

    Attributes:
        ledger: Knows the earlier payments.
        reconciler: Reconciles them.
        now: Unix seconds.
    """

    ledger: PaymentLedger
    reconciler: Reconciler
    now: Callable[[], float]

    async def purchase_once(self, keys: tuple[str, ...], *, deliver: Deliver[T], pay: Pay[T]) -> T:
        """Return what the purchase with these idempotency keys bought, paying only if nothing was bought before.

        Args:
            keys: The idempotency keys, the current one first.
            deliver: See `Deliver`.
            pay: See `Pay`.

        Raises:
            PaymentError: An earlier payment is pending, or has no result yet; or see `PaymentExecutor.pay`.
            LedgerError: The ledger cannot be used; says what was paid before.
        """
        try:
            for _ in range(ATTEMPTS_MAX - 1):
                with contextlib.suppress(PurchaseUnderwayError):  # another process is a moment ahead
                    return await self._purchase(keys, deliver, pay)
            return await self._purchase(keys, deliver, pay)
        except LedgerError as exc:
            explained = await self.reconciler.add_payment(exc, keys)
            if explained is exc:
                raise
            raise explained from exc

    async def _purchase(self, keys: tuple[str, ...], deliver: Deliver[T], pay: Pay[T]) -> T:
        latest = await self.ledger.find_latest_payment(keys)
        if latest is not None:
            latest, result = await self._reconcile(latest, deliver)
            if result is not None:
                return result
        try:
            return await pay(latest)
        except PaymentOutcomeUnknownError as exc:
            result = await self._find_unknown(exc, keys, deliver)
            if result is None:
                raise
            return result

    async def _reconcile(self, payment: Payment, deliver: Deliver[T]) -> tuple[Payment, T | None]:
        """Return a payment as it is by now, and what it bought.

        Raises:
            PaymentError: It is pending.
        """
        payment = await self.reconciler.wait_and_reconcile(payment)
        result = await deliver(payment)
        if result is None and payment.counts_against_budget(self.now()):
            raise held_error(payment, self.now(), self.reconciler.list_candidates(payment))
        return payment, result

    async def _find_unknown(
        self, exc: PaymentOutcomeUnknownError, keys: tuple[str, ...], deliver: Deliver[T]
    ) -> T | None:
        """Return what the payment bought whose outcome an error could not tell, if that is known by now."""
        if exc.payment_id is None:
            return None
        with contextlib.suppress(LedgerError):  # a ledger that cannot be written now: the outcome stays unknown
            payment = await self.ledger.find_payment(exc.payment_id)
            if payment is not None and payment.idempotency_key in keys:
                _, result = await self._reconcile(payment, deliver)
                return result
        return None
