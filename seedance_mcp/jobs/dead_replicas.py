"""Dead replicas: their leases are ended early, so that what they held passes on within seconds.

A killed process loses its connections at once, and its leases only when they end by themselves.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedance_mcp.adapters.ledger.leases import LEASE_SECONDS
from seedance_mcp.adapters.ledger.sessions import name_session

if TYPE_CHECKING:  # it loads psycopg
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

log = logging.getLogger("seedance_mcp")


@dataclass(slots=True)
class DeadReplicas:
    """Finds replicas whose process has ended.

    One is dead if its session was seen before and is gone, and if it also missed a renewal of its leases. A frozen
    replica has its session, and one that lost only that connection renews over others: for both, their leases end by
    themselves. If one is taken for dead that is not, its late writes fail like those of a frozen one.

    Attributes:
        ledger: Knows leases and sessions.
        up_seconds: How long after a start of the database none is taken for dead: the others connect again.
    """

    ledger: PostgresLedger
    up_seconds: float = LEASE_SECONDS
    _seen: frozenset[str] = field(default_factory=frozenset[str])

    async def end_leases(self) -> None:
        """End the leases of dead replicas; called every second or so.

        Raises:
            LedgerError: The database cannot be reached.
        """
        replicas = await self.ledger.list_replicas(up_seconds=self.up_seconds)
        sessions = await self.ledger.list_sessions()
        for owner, has_missed in replicas.items():
            name = name_session(owner)
            if has_missed and name in self._seen and name not in sessions:
                log.warning("Another server has ended: what it held is free.")
                await self.ledger.end_missed_leases(owner)
        self._seen = sessions | (self._seen & frozenset(map(name_session, replicas)))
