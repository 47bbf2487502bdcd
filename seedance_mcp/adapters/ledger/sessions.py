"""Sessions: which replicas have a connection to the database, so that a dead one is not waited for (PostgreSQL alone).

The database closes the sessions of a process that has ended, long before its leases end by themselves. A replica's
name is on the session with which it listens. To see it, no more is needed than the same role.
"""

from __future__ import annotations

import hashlib

from seedance_mcp.adapters.ledger.driver import Queries
from seedance_mcp.adapters.ledger.leases import LEASE_SECONDS, RENEW_SECONDS, REPLICA_KEY

MISSED_SECONDS = RENEW_SECONDS + 1
"""A lease that was not renewed for this long has missed a renewal."""

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_PREFIX = "seedance-mcp "
_DIGITS = 16


def name_session(owner: str) -> str:
    """Return the `application_name` of a replica's session: a hash, since only 63 bytes are kept of it."""
    return _PREFIX + hashlib.sha256(owner.encode()).hexdigest()[:_DIGITS]


class SessionQueries(Queries):
    """See which replicas are connected, and end what a dead one holds."""

    async def list_sessions(self) -> frozenset[str]:
        """Return the names of the replicas' sessions that are open, as far as our role may see them."""
        rows = await self._all(
            """SELECT application_name FROM pg_stat_activity
               WHERE datname = current_database() AND starts_with(application_name, :prefix)""",
            prefix=_PREFIX,
        )
        return frozenset(row["application_name"] for row in rows)

    async def list_replicas(self, *, up_seconds: float) -> dict[str, bool]:
        """Return the replicas whose leases have not ended, and whether each has missed a renewal.

        Args:
            up_seconds: How long after its start the database says so: its end has ended all sessions.
        """
        rows = await self._all(
            f"""SELECT owner, until < {_NOW} + {LEASE_SECONDS - MISSED_SECONDS} AND
                       extract(epoch FROM pg_postmaster_start_time()) < {_NOW} - :up_seconds AS has_missed
                FROM leases WHERE starts_with(key, :prefix) AND until > {_NOW}""",  # noqa: S608 - our own SQL
            up_seconds=up_seconds,
            prefix=REPLICA_KEY,
        )
        return {row["owner"]: row["has_missed"] for row in rows}

    async def end_missed_leases(self, owner: str) -> None:
        """End the leases of an owner, unless it has renewed them by now; payments and polling pass on at once."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""UPDATE leases SET until = {_NOW} WHERE owner = :owner AND until > {_NOW}
                    AND until < {_NOW} + {LEASE_SECONDS - MISSED_SECONDS}""",  # noqa: S608 - our own SQL
                {"owner": owner},
            )
