"""Leases: what one replica at a time does, such as polling for a wallet (PostgreSQL alone).

A lease ends by the database's clock, so that a frozen replica loses it and a wrong clock takes none. Each new holder
has a higher term. What a holder writes, it writes in a transaction that has checked owner and term.

Each replica also has a lease of its own name. Where it ends, its payments are free for the others.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from seedance_mcp.adapters.ledger.driver import Driver, Queries, Session
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import NextStep, Repeat

LEASE_SECONDS = 10
"""How long a lease lasts without being renewed."""
RENEW_SECONDS = 3
"""How often its holder renews it."""

OLD_SECONDS = 24 * 3600
"""How long after its end a replica's own lease is kept; longer than any lease of a payment."""
REPLICA_KEY = "replica:"
"""How the key of a replica's own lease begins; its name follows."""

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

    async def is_free(self, key: str) -> bool:
        """Return True if no one holds a lease now."""
        row = await self._one(f"SELECT 1 FROM leases WHERE key = :key AND until > {_NOW}", key=key)  # noqa: S608 - ours
        return row is None

    async def release_lease(self, lease: Lease) -> None:
        """Give one lease back, so that the next holder need not wait for its end."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"UPDATE leases SET until = {_NOW} WHERE key = :key AND owner = :owner AND term = :term AND until > {_NOW}",  # noqa: S608, E501 - ours
                {"key": lease.key, "owner": lease.owner, "term": lease.term},
            )

    async def release_leases(self, owner: str) -> None:
        """Give all leases of an owner back; the next holder has a higher term all the same."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"UPDATE leases SET until = {_NOW} WHERE owner = :owner AND until > {_NOW}",  # noqa: S608 - our own SQL
                {"owner": owner},
            )

    async def delete_old_leases(self) -> None:
        """Delete the own leases of replicas that ended long ago: no payment is left to them by now."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"DELETE FROM leases WHERE key LIKE '{REPLICA_KEY}%' AND until < {_NOW} - {OLD_SECONDS}"  # noqa: S608 - ours
            )


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
        raise LedgerError(f"Another replica now has the lease {lease.key}.", NextStep("{0}.", Repeat()))


class FencedDriver:
    """The `Driver` protocol under a lease: each transaction begins with a check that it is still held.

    Reading and closing are those of the driver underneath.
    """

    def __init__(self, driver: Driver, check: Callable[[Session], Awaitable[None]]) -> None:
        """Set up a driver.

        Args:
            driver: Runs the statements.
            check: Raises a `LedgerError` unless this process may still write.
        """
        self._driver = driver
        self._check = check
        self.owner = driver.owner
        self.reading = driver.reading
        self.erase_old_pages = driver.erase_old_pages
        self.close = driver.close

    @asynccontextmanager
    async def transaction(
        self, *, wait: bool = True, budget_of: str | None = None, sync: bool = True
    ) -> AsyncGenerator[Session]:
        """Begin a transaction; see `Driver`.

        Raises:
            LedgerError: The lease has ended; nothing is written.
        """
        async with self._driver.transaction(wait=wait, budget_of=budget_of, sync=sync) as session:
            await self._check(session)
            yield session
