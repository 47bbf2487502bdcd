"""Leases: what one replica at a time does, such as polling for a wallet (PostgreSQL alone).

A lease ends by the database's clock, so that a frozen replica loses it and a wrong clock takes none. Each new holder
has a higher term. What a holder writes, it writes in a transaction that has checked owner and term.
"""

from __future__ import annotations

from dataclasses import dataclass

from seedance_mcp.adapters.ledger.driver import Queries, Session
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import NextStep, Repeat

LEASE_SECONDS = 10
"""How long a lease lasts without being renewed."""
RENEW_SECONDS = 3
"""How often its holder renews it."""

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to do something alone.

    Attributes:
        key: What, such as `poll:0x…`.
        owner: Who; another name at each start of a process.
        term: Number of the holder: it rises with each new one.
    """

    key: str
    owner: str
    term: int


class LeaseQueries(Queries):
    """Take, renew and give back leases."""

    async def take_lease(self, key: str, owner: str) -> Lease | None:
        """Take a lease that is free, or renew one's own; returns None if another owner holds it."""
        async with self._driver.transaction() as session:
            row = await session.fetch_one(
                f"""INSERT INTO leases (key, owner, until, term) VALUES (:key, :owner, {_NOW} + {LEASE_SECONDS}, 1)
                    ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until,
                        term = leases.term + CASE WHEN leases.until > {_NOW} THEN 0 ELSE 1 END
                    WHERE leases.until <= {_NOW} OR leases.owner = excluded.owner RETURNING term""",  # noqa: S608 - our own SQL
                {"key": key, "owner": owner},
            )
        return None if row is None else Lease(key=key, owner=owner, term=row["term"])

    async def renew_leases(self, owner: str) -> frozenset[Lease]:
        """Renew all leases of an owner in one statement; what is not returned was lost."""
        async with self._driver.transaction() as session:
            rows = await session.fetch_all(
                f"""UPDATE leases SET until = {_NOW} + {LEASE_SECONDS} WHERE owner = :owner AND until > {_NOW}
                    RETURNING key, term""",  # noqa: S608 - our own SQL
                {"owner": owner},
            )
        return frozenset(Lease(key=row["key"], owner=owner, term=row["term"]) for row in rows)

    async def release_leases(self, owner: str) -> None:
        """Give all leases of an owner back; the next holder has a higher term all the same."""
        async with self._driver.transaction() as session:
            await session.execute("UPDATE leases SET until = 0 WHERE owner = :owner", {"owner": owner})


async def check_lease(session: Session, lease: Lease) -> None:
    """Raise unless a lease is still held; no one can take it until the session's transaction ends.

    Raises:
        LedgerError: It has ended, or another replica has it.
    """
    row = await session.fetch_one(
        f"""SELECT term FROM leases WHERE key = :key AND owner = :owner AND term = :term AND until > {_NOW}
            FOR SHARE""",  # noqa: S608 - our own SQL
        {"key": lease.key, "owner": lease.owner, "term": lease.term},
    )
    if row is None:
        raise LedgerError(f"Another replica has the lease {lease.key} by now.", NextStep("{0}.", Repeat()))
