"""Driver: what the ledger's queries need of a database.

Every query is written once, for every driver: named parameters (`:name`), integers 0 and 1 for truth values, `CASE`
instead of functions that databases spell differently. A driver translates the database's errors to `LedgerError`.

What differs between databases is in the drivers, in their schemas, and in what only replicas need (`leases`, `quotes`,
`callers`), which is written for PostgreSQL alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from seedance_mcp.core.error_base import PaymentState

Row = Mapping[str, Any]
"""A row by the names of its columns."""


class Session(Protocol):
    """Statements on one connection."""

    @property
    def owner(self) -> str:
        """Return our name in leases."""
        ...

    @property
    def owner_is_gone(self) -> str:
        """Return SQL that is 1 if the database knows that the process named by the column `lease_owner` is gone."""
        ...

    async def fetch_all(self, query: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Run a statement and return its rows."""
        ...

    async def fetch_one(self, query: str, parameters: Mapping[str, object] | None = None) -> Row | None:
        """Run a statement and return its first row."""
        ...

    async def execute(self, query: str, parameters: Mapping[str, object] | None = None) -> int:
        """Run a statement and return the number of changed rows."""
        ...

    async def execute_many(self, query: str, parameters: Sequence[Mapping[str, object]]) -> None:
        """Run a statement once per set of parameters."""
        ...

    async def check_storage(
        self, *, payment_state: PaymentState = "none", amount_micro_usdc: int = 0, payment_id: int | None = None
    ) -> None:
        """Raise if what is written here would not be seen by the next process that opens the ledger.

        Args:
            payment_state: What the error says of the money: that of the payment that is being reconciled.
            amount_micro_usdc: Its amount.
            payment_id: Its number.

        Raises:
            LedgerError: The ledger was moved, deleted or replaced.
        """
        ...


class Driver(Protocol):
    """One open database."""

    @property
    def owner(self) -> str:
        """Return our name in leases."""
        ...

    def transaction(
        self, *, wait: bool = True, budget_of: str | None = None, sync: bool = True
    ) -> AbstractAsyncContextManager[Session]:
        """Begin a transaction; committed at the end of the block, rolled back by an exception.

        A transaction that began also ends: a cancellation of the caller is delivered after the block. A commit that the
        database does not confirm is an error.

        Args:
            wait: Wait for another process's transaction, for up to a bounded time.
            budget_of: Be the only writer of payments until the end: lock the wallet's budget, then that of this caller;
                an empty text locks the wallet's alone. None locks no budget, where the database can do without.
            sync: Be on disk at the end. Else a power failure, but no end of a process, may lose the transaction until
                the next one that is synced: for what costs nothing then, or can be had again.
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """Return a session for statements that only read."""
        ...

    async def erase_old_pages(self) -> None:
        """Overwrite what was taken out of rows, if the database keeps it elsewhere; does nothing while it is locked."""
        ...

    async def close(self) -> None:
        """Close the database."""
        ...


class Queries:
    """What payments, jobs and uploads have in common.

    Attributes:
        _driver: The database.
        _caller: Whom new payments belong to; empty in a ledger without callers.
        _viewer: The only caller whose payments and jobs are shown; None shows those of everyone.
        _reservation_id: The reserved sum that new payments draw from, or None.
    """

    def __init__(
        self, driver: Driver, caller: str = "", viewer: str | None = None, reservation_id: int | None = None
    ) -> None:
        self._driver = driver
        self._caller = caller
        self._viewer = viewer
        self._reservation_id = reservation_id

    def _lock_payments(self) -> AbstractAsyncContextManager[Session]:
        """Begin the transaction of the only writer of payments."""
        return self._driver.transaction(budget_of=self._caller)

    def _visible(self, table: str) -> tuple[str, dict[str, object]]:
        """Return the condition for rows of `payments`, `jobs` or `films` that may be shown, and its parameters."""
        if self._viewer is None:
            return "1 = 1", {}
        return f"{table}.caller = :viewer", {"viewer": self._viewer}

    async def _all(self, query: str, **parameters: object) -> list[Row]:
        async with self._driver.reading() as session:
            return await session.fetch_all(query, parameters)

    async def _one(self, query: str, **parameters: object) -> Row | None:
        async with self._driver.reading() as session:
            return await session.fetch_one(query, parameters)

    async def _count(self, source: str, **parameters: object) -> int:
        row = await self._one(f"SELECT count(*) AS number FROM {source}", **parameters)  # noqa: S608 - our own SQL
        return 0 if row is None else int(row["number"])


def bind_keys(keys: Sequence[str]) -> tuple[str, dict[str, object]]:
    """Return the placeholders for a list of idempotency keys, and their parameters."""
    parameters: dict[str, object] = {f"key_{index}": key for index, key in enumerate(keys)}
    return ", ".join(f":{name}" for name in parameters), parameters
