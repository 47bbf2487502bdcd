"""Untracked payments: what this wallet paid to the studio and neither its ledger nor the studio's list explains.

Before a process pays a recipient for the first time, it reads the chain for what the wallet sent there. The ledger may
be new, lost or restored. Such payments count against the budget. A request at the price of one of them is refused, and
the error names the transaction: what it bought cannot be told.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from seedance_mcp.core.errors import PossiblyBoughtError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import DAY_SECONDS
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import Call, NextStep, OwnerOnly, RaiseTake
from seedance_mcp.core.records import UntrackedPayment
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.transfers import Payee, Transfer
from seedance_mcp.payments.settlement import SettlementChecker

log = logging.getLogger("seedance_mcp")

READING_SECONDS = 900
"""How long another process's reading of a chain is relied on."""
CHAIN_SECONDS = 10
"""How long a purchase waits for a chain: one that cannot be read stops nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedPayments:
    """Finds payments that only a chain knows.

    Attributes:
        wallet: The paying address.
        now: Unix seconds.
        names_payments: False for a caller who may not see the payments of others: its errors name none.
    """

    settlement_checker: SettlementChecker
    ledger: Ledger
    wallet: str
    now: Callable[[], float]
    names_payments: bool = True
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _read: set[tuple[int, str, str]] = field(default_factory=set[tuple[int, str, str]])
    """Networks and recipients that this process has read, each with the number of closings before."""

    async def check(
        self,
        offers: Sequence[Offer],
        *,
        price_micro_usdc: int | None,
        take: int,
        count_unbought: Callable[[], Awaitable[int]],
    ) -> None:
        """Raise if a request may have been paid for by a payment that only a chain knows.

        Args:
            offers: The offers that may be signed.
            price_micro_usdc: What the request costs, as far as it is known.
            take: The request's take.
            count_unbought: Counts the lower takes of the request that the ledger has no purchase of; one of these
                payments may be for each. Called only if there are such payments: it reads the ledger for each take.

        Raises:
            PossiblyBoughtError: It may; nothing is paid.
        """
        async with self._lock:  # one reading, however many requests come first
            await self._read_chains(offers)
        recipients = {(offer.network, offer.pay_to.lower()) for offer in offers}
        found = [
            payment
            for payment in await self.ledger.list_untracked_payments(wallet=self.wallet)
            if (payment.network, payment.pay_to) in recipients
            and payment.amount_micro_usdc == price_micro_usdc
            and payment.created_at > self.now() - DAY_SECONDS
        ]
        unbought = await count_unbought() if found else 0
        if unbought < len(found):
            highest = take + len(found) - unbought
            raise _possibly_bought_error(found[-1], highest) if self.names_payments else hidden_purchase_error(highest)

    async def read_all(self, payees: Sequence[Payee], *, since: float, until: float) -> None:
        """Read everything that the wallet sent to recipients since a moment, for a ledger that is closed.

        Args:
            payees: The recipients.
            since: Unix seconds.
            until: The moment that the chains must have come to, in Unix seconds.

        Raises:
            ChainError: A chain cannot be read, or not completely.
        """
        for payee in payees:
            now = self.now()
            found = await self.settlement_checker.list_all_transfers(payee, self.wallet, since=since, until=until)
            await self._record(payee.network, payee.pay_to.lower(), found, now)

    async def _read_chains(self, offers: Sequence[Offer]) -> None:
        """Read the chains of all offers at once, each once in this process and after each closing of the ledger."""
        now, closings = self.now(), await self.ledger.count_closings()
        found: dict[tuple[str, str], list[Transfer] | None] = {}

        async def read(offer: Offer, since: float) -> None:
            with anyio.move_on_after(CHAIN_SECONDS):
                found[offer.network, offer.pay_to.lower()] = await self.settlement_checker.list_transfers(
                    offer, self.wallet, since=since
                )

        due: list[tuple[Offer, float]] = []
        for offer in offers:
            key = (offer.network, offer.pay_to.lower())
            if (closings, *key) in self._read or key in found:
                continue
            since = await self._find_start(*key, now)
            if since is None:
                self._read.add((closings, *key))
            else:
                found[key] = None
                due.append((offer, since))
        async with anyio.create_task_group() as tasks:
            for offer, since in due:
                tasks.start_soon(read, offer, since)
        for key, transfers in found.items():
            await self._record(*key, transfers, now)
            self._read.add(
                (closings, *key)
            )  # only now: what a locked ledger could not keep is read again by the next call

    async def _find_start(self, network: str, pay_to: str, now: float) -> float | None:
        """Return the moment from which a chain is to be read; None where that was done lately."""
        last = await self.ledger.find_chain_reading(wallet=self.wallet, network=network, pay_to=pay_to)
        if last is None:
            return now - DAY_SECONDS
        if abs(now - last) <= READING_SECONDS:
            return None
        return max(min(last, now) - READING_SECONDS, now - DAY_SECONDS)

    async def _record(self, network: str, pay_to: str, transfers: list[Transfer] | None, now: float) -> None:
        if transfers is None:
            log.warning("The chain %s cannot be read for payments that the ledger does not know.", network)
            return
        payments = [
            UntrackedPayment(
                transaction=transfer.transaction,
                network=network,
                pay_to=pay_to,
                amount_micro_usdc=transfer.amount_micro_usdc,
                created_at=transfer.time or now,
            )
            for transfer in transfers
        ]
        await self.ledger.record_chain_reading(payments, wallet=self.wallet, network=network, pay_to=pay_to, now=now)


def hidden_purchase_error(take: int) -> PossiblyBoughtError:
    """Build the error for a caller who may not see what the wallet bought and the ledger does not know."""
    return PossiblyBoughtError(
        "The wallet bought something at the studio that the ledger does not know, and it may be this video.",
        NextStep(
            "{0}. To buy another video all the same, {1}.",
            OwnerOnly("find out what it was", stop=True),
            RaiseTake(take),
        ),
    )


def _possibly_bought_error(payment: UntrackedPayment, take: int) -> PossiblyBoughtError:
    return PossiblyBoughtError(
        f"This wallet paid the studio ${format_usdc(payment.amount_micro_usdc)} in transaction {payment.transaction}, "
        "which is what this video costs. This machine's ledger does not know that payment, and the studio's list has "
        "no job for it.",
        NextStep(
            "It may be this video. {0} in a minute to see whether it has a job by then; the studio's support can say "
            "what the transaction bought. To buy another video all the same, {1}.",
            Call("list_jobs"),
            RaiseTake(take),
        ),
    )
