"""Verification: record what the chain says of a payment, or what the owner says of one that no chain explains.

Asks no studio. Must not sign or send anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seedance_mcp.core.ledger import PaymentLedger
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.responses import Receipt, Refused, Settled
from seedance_mcp.payments.pending import UNDONE
from seedance_mcp.payments.settlement import Settlement, SettlementChecker

NEVER_CHARGED = "the chain says that it was never used"
WRITTEN_OFF = "written off by the owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentVerifier:
    """Records the outcome of payments by the chain.

    Attributes:
        settlement_checker: Asks the chain.
        now: Unix seconds.
    """

    ledger: PaymentLedger
    settlement_checker: SettlementChecker
    now: Callable[[], float]

    def can_verify(self, payment: Payment) -> bool:
        """Return True if a settled payment's credential has expired and a chain can be asked, which was not yet.

        The chain of a sandbox begins and ends with it, so that another sandbox does not know the payment.
        """
        is_due = payment.state == "settled" and not payment.chain_checked and payment.hold_until <= self.now()
        pins = self.settlement_checker.pins
        knows = not pins.play_money or payment.url.startswith(f"{pins.studio_origin}/")
        return is_due and knows and payment.document is not None and self.settlement_checker.has_one(payment)

    async def verify(self, payment: Payment) -> Payment:
        """Ask the chain whether a payment that the studio called settled has moved; its answer is asked for once.

        Returns:
            The payment as it stands afterwards: `refused` where nothing moved; unchanged where no chain can say.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        settlement = await self.settlement_checker.check_settlement(payment) if self.can_verify(payment) else None
        return payment if settlement is None else await self._record_verdict(payment, settlement)

    async def _record_verdict(self, payment: Payment, settlement: Settlement) -> Payment:
        if not settlement.used:
            reason = UNDONE if settlement.fee_micro_usdc else NEVER_CHARGED
            return await self.ledger.record_unmoved(payment, reason=reason, fee_micro_usdc=settlement.fee_micro_usdc)
        claimed = payment.receipt.transaction if payment.receipt is not None else ""
        verified = True if settlement.transaction else None
        if claimed and not settlement.transaction:
            verified = await self.settlement_checker.knows(claimed, payment.rail)
        return await self.ledger.record_verified(
            payment, transaction=settlement.transaction, verified=verified, fee_micro_usdc=settlement.fee_micro_usdc
        )

    async def write_off(self, payment: Payment) -> Payment:
        """Accept the owner's statement that an expired payment never moved; the chain's verdict comes first.

        Returns:
            The payment: `refused`, or `settled` where the chain knows better.
        """
        if payment.state == "settled":
            settlement = await self.settlement_checker.check_settlement(payment)
            if settlement is not None:
                return await self._record_verdict(payment, settlement)
            return await self.ledger.record_unmoved(payment, reason=WRITTEN_OFF, fee_micro_usdc=0)
        settlement = await self.find_settlement(payment)
        if settlement is not None:
            return await self.conclude(payment, settlement)
        outcome = Refused(reason=WRITTEN_OFF)
        return await self.ledger.conclude(payment, outcome, now=self.now(), chain_checked=True, fee_micro_usdc=0)

    async def find_settlement(self, payment: Payment) -> Settlement | None:
        """Return the chain's verdict on a payment; that on a client-broadcast one is in the ledger."""
        if payment.receipt is not None:
            return Settlement(used=True, transaction=payment.receipt.transaction, fee_micro_usdc=payment.fee_micro_usdc)
        return await self.settlement_checker.check_settlement(payment)

    async def conclude(self, payment: Payment, settlement: Settlement | None) -> Payment:
        """End a payment by the chain's verdict; unchanged without one, or while the credential may still be used."""
        if settlement is None or not (settlement.used or self.now() >= payment.hold_until):
            return payment  # a chain that calls a credential dead before our own clock does is not believed
        outcome: Settled | Refused
        if settlement.used:
            outcome = Settled(receipt=write_receipt(payment, settlement), answer=b"")
        else:
            outcome = Refused(reason=payment.reason or (UNDONE if settlement.fee_micro_usdc else "it expired unused"))
        return await self.ledger.conclude(
            payment, outcome, now=self.now(), chain_checked=True, fee_micro_usdc=settlement.fee_micro_usdc
        )


def write_receipt(payment: Payment, settlement: Settlement) -> Receipt:
    """Return the receipt of a payment that the chain reports."""
    return Receipt(
        rail=payment.rail,
        network=payment.network,
        transaction=settlement.transaction,
        verified=True if settlement.transaction else None,
    )
