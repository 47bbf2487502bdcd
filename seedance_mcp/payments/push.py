"""Client-broadcast charges: bring a signed Tempo charge to the chain before the studio gets its hash.

The money moves before the studio accepts the work, so this is for studios that take no other payment, and only where
the owner allows it. Must not sign.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from seedance_mcp.adapters.chain.rpc import ChainRpc
from seedance_mcp.core.errors import ChainError, LedgerError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Payment
from seedance_mcp.core.wire.mpp import Inclusion, find_transaction, read_charge
from seedance_mcp.core.wire.offers import Credential
from seedance_mcp.core.wire.responses import Receipt, Refused
from seedance_mcp.payments import policy
from seedance_mcp.payments.balances import BalanceReader
from seedance_mcp.payments.pending import UNDONE, refused_error

PUSH_SECONDS = 20
"""How long a broadcast charge may take to be seen on the chain; its hash is sent to the studio even so."""
BLOCK_SECONDS = 0.5
"""Pause between two looks for it; Tempo makes a block in about that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeBroadcaster:
    """Broadcasts charges.

    Attributes:
        is_allowed: Whether the owner still allows it.
        now: Unix seconds.
    """

    rpc: ChainRpc
    ledger: Ledger
    balance_reader: BalanceReader
    is_allowed: bool
    now: Callable[[], float]

    async def broadcast(self, payment: Payment, credential: Credential) -> Payment:
        """Bring a charge to the chain and see it there: the same bytes, however often, move its money once.

        Returns:
            The payment; with its transaction as soon as the chain says that it moved. Whatever the chain does not say
            in time, sending the hash to the studio costs nothing.

        Raises:
            PaymentRefusedError: The chain undid it.
        """
        document = payment.document or {}
        transaction_hash = find_transaction(document)
        if payment.receipt is not None or transaction_hash is None:
            return payment
        over_at = read_charge(document).valid_before + policy.CLOCK_SKEW_SECONDS_MAX
        inclusion = None
        with anyio.move_on_after(PUSH_SECONDS):
            if self.is_allowed:  # it may have been taken back since it was signed
                with contextlib.suppress(ChainError):  # also where it is there already
                    await self.rpc.call("eth_sendRawTransaction", [credential.raw_transaction], rail="mpp")
            inclusion = await self._look_for(transaction_hash, until=over_at)
        if inclusion is None:
            return payment
        if not inclusion.succeeded:
            raise refused_error(await self.ledger.conclude(payment, Refused(reason=UNDONE), now=self.now()))
        receipt = Receipt(rail=payment.rail, network=payment.network, transaction=transaction_hash)
        with contextlib.suppress(LedgerError):  # to show the hash comes first; the chain will say it again
            payment = await self.ledger.record_moved(payment, receipt, fee_micro_usdc=inclusion.fee_micro_usdc)
        return payment

    async def _look_for(self, transaction_hash: str, *, until: float) -> Inclusion | None:
        """Return what the chain says of a charge, as soon as it says anything; None once it cannot come any more."""
        while True:
            inclusion = None
            with contextlib.suppress(ChainError):
                inclusion = await self.balance_reader.find_inclusion(transaction_hash)
            if inclusion is not None or self.now() > until:
                return inclusion
            await anyio.sleep(BLOCK_SECONDS)
