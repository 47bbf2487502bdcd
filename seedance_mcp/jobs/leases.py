"""Leases of a replica: renewed together for as long as the process runs, and work that ends with its lease.

A replica renews on its own event loop's clock, counted from before each renewal. So it stops before the database gives
its lease to another one, also where it was frozen or cut off from the database.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.adapters.ledger.leases import LEASE_SECONDS, RENEW_SECONDS, REPLICA_KEY, Lease
from seedance_mcp.core.errors import LedgerError

if TYPE_CHECKING:  # it loads psycopg
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

RETRY_SECONDS = 1
"""Pause after a renewal that failed."""

log = logging.getLogger("seedance_mcp")


@dataclass(frozen=True, slots=True)
class _Held:
    """A lease of this replica: the work under it, and when it was taken by the event loop's clock."""

    scope: anyio.CancelScope
    taken_at: float


class LeaseKeeper:
    """Keeps the leases of one replica.

    Args:
        ledger: Where they are.
    """

    def __init__(self, ledger: PostgresLedger) -> None:
        self._ledger = ledger
        self._held: dict[Lease, _Held] = {}

    async def run(self) -> None:
        """Renew until cancelled, also the lease of this replica's own name, without which it counts as gone."""
        is_first = True
        while True:
            try:
                await self._renew()
                if is_first:
                    await self._ledger.delete_old_leases()
                is_first, pause = False, RENEW_SECONDS
            except LedgerError as exc:
                log.warning("The leases of this server cannot be renewed now: %s", exc.what)
                pause = RETRY_SECONDS
            await anyio.sleep(pause)

    async def _renew(self) -> None:
        began_at = anyio.current_time()
        kept = await self._ledger.renew_leases(self._ledger.owner)
        for lease, held in tuple(self._held.items()):
            if lease in kept:
                held.scope.deadline = began_at + LEASE_SECONDS
            elif held.taken_at < began_at:
                held.scope.cancel()
        own_key = REPLICA_KEY + self._ledger.owner
        if all(lease.key != own_key for lease in kept):
            await self._ledger.take_lease(own_key, self._ledger.owner)

    async def hold(self, key: str, work: Callable[[Lease], Awaitable[None]]) -> bool:
        """Take a lease and work until the work ends or the lease is lost, then give it back.

        Returns:
            False if another replica holds it.

        Raises:
            LedgerError: The database does not say who holds it.
        """
        taken_at = anyio.current_time()
        lease = await self._ledger.take_lease(key, self._ledger.owner)
        if lease is None:
            return False
        try:
            with anyio.CancelScope(deadline=taken_at + LEASE_SECONDS) as scope:
                self._held[lease] = _Held(scope, taken_at)
                await work(lease)
        finally:
            del self._held[lease]
            with anyio.CancelScope(shield=True):
                await self._release(lease)
        return True

    async def _release(self, lease: Lease) -> None:
        try:
            await self._ledger.release_lease(lease)
        except LedgerError as exc:
            log.warning("The lease %s ends by itself: %s", lease.key, exc.what)

    async def release_all(self) -> None:
        """Give all leases back, so that what this replica leaves is free at once."""
        await self._ledger.release_leases(self._ledger.owner)
