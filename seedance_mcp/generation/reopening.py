"""Reopening: read a closed ledger against the studio's list and the chains, and open it.

A ledger that was restored may lack payments that were made. What is found counts against the budget; a repeated request
finds its job, or is refused. The ledger opens only after a reading that was complete and made when no credential of a
lost payment could settle any more. One process at a time reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.core.closings import Closing
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.limits import Limits, PinnedTerms
from seedance_mcp.core.wire.offers import Rail
from seedance_mcp.core.wire.transfers import Payee
from seedance_mcp.generation.untracked import UntrackedJobs
from seedance_mcp.payments.untracked import UntrackedPayments

if TYPE_CHECKING:  # it loads psycopg
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

LOOK_SECONDS = 5
"""Pause between two looks whether the ledger is closed."""
FAILED_SECONDS = 30
"""Pause after a reading that failed."""
READ_SECONDS_MAX = 900
"""How long one reading may take."""
NODE_LAG_SECONDS = 60
"""How far a chain's node may be behind; the time until a ledger opens has that much to spare."""
LEASE_KEY = "read:"
"""How the key of the reader's lease begins; the wallet follows."""

log = logging.getLogger("seedance_mcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReopener:
    """Opens the ledger of one wallet and studio.

    Attributes:
        ledger: Of all callers.
        jobs: Reads the studio's list.
        payments: Reads the chains.
        pins: The tokens that were paid in.
        limits: Name the rails in use.
        now: Unix seconds.
    """

    ledger: PostgresLedger
    jobs: UntrackedJobs
    payments: UntrackedPayments
    pins: PinnedTerms
    limits: Limits
    now: Callable[[], float]
    _read: set[int] = field(default_factory=set[int])
    """Closings for which this process has read once, before a reading could be final."""

    async def run(self) -> None:
        """Look until cancelled whether the ledger is closed, and open it."""
        while True:
            pause = LOOK_SECONDS
            try:
                await self.look()
            except (SeedanceError, TimeoutError) as exc:
                pause = FAILED_SECONDS
                why = exc.what if isinstance(exc, SeedanceError) else "It takes too long."
                log.warning("The ledger cannot be read against the studio and the chains now: %s", why)
            await anyio.sleep(pause)

    async def look(self) -> bool:
        """Read for a closed ledger where that is due, and open it; returns True if it is open.

        Raises:
            SeedanceError: The list or a chain cannot be read, or not completely; the ledger stays closed.
            TimeoutError: Reading takes too long.
        """
        closing = await self.ledger.find_closing()
        if closing is None:
            return True
        is_final = self.now() >= closing.opens_after
        if not is_final and closing.number in self._read:
            return False
        lease = await self.ledger.take_lease(LEASE_KEY + self.payments.wallet, self.ledger.owner)
        if lease is None:
            return False
        try:
            log.warning("%s %s", closing.describe(), closing.describe_reading())
            with anyio.fail_after(READ_SECONDS_MAX):
                await self._read_all(closing, is_final=is_final)
            self._read.add(closing.number)
            return is_final and await self._open(closing)
        finally:
            with anyio.CancelScope(shield=True):
                await self.ledger.release_lease(lease)

    async def _read_all(self, closing: Closing, *, is_final: bool) -> None:
        """Read the list first: a job that it has explains a transfer."""
        await self.jobs.read_all(since=closing.read_from)
        until = closing.opens_after - NODE_LAG_SECONDS if is_final else closing.read_from
        await self.payments.read_all(await self._list_payees(), since=closing.read_from, until=until)

    async def _open(self, closing: Closing) -> bool:
        if not await self.ledger.open_ledger(closing):
            return False
        jobs = await self.ledger.list_untracked(wallet=self.payments.wallet, studio=self.jobs.studio.origin)
        payments = await self.ledger.list_untracked_payments(wallet=self.payments.wallet)
        log.warning(
            "The ledger is open. Jobs that it has no payment for: %d; payments that only a chain has: %d.",
            len(jobs),
            len(payments),
        )
        return True

    async def _list_payees(self) -> list[Payee]:
        """Return whom the wallet may have paid: all that the ledger knows, and the published recipients."""
        known = await self.ledger.list_payees(wallet=self.payments.wallet, studio=self.jobs.studio.origin)
        return [
            Payee(rail=rail, network=network, asset=asset, pay_to=address)
            for rail, network, asset in self._list_tokens()
            for address in sorted(
                {address for chain, address in known if chain == network} | self._find_published(rail, network)
            )
        ]

    def _list_tokens(self) -> list[tuple[Rail, str, str]]:
        tokens: list[tuple[Rail, str, str]] = []
        if self.pins.x402 is not None:
            tokens.append(("x402", self.pins.x402.network, self.pins.x402.asset))
        if self.pins.mpp is not None:
            for currency in self.pins.mpp.currencies:
                tokens.append(("mpp", self.pins.mpp.network, currency))  # noqa: PERF401 - a list of `str` would not do
        return tokens

    def _find_published(self, rail: Rail, network: str) -> set[str]:
        """Return the published recipients of a rail in use: what was paid on another is in the ledger's own list."""
        return set(self.pins.recipients.get(network, ())) if rail in self.limits.rails else set()
