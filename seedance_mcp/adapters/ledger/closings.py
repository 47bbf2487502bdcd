"""Closings: the state of a ledger that was restored, or whose server another one replaced (PostgreSQL alone).

The database itself refuses to reserve and to sign while the ledger is closed (`check_ledger_is_open`), also before
anything here has noticed that it is another database.
"""

from __future__ import annotations

from seedance_mcp.adapters.ledger.driver import Queries, Row, Session
from seedance_mcp.core.closings import CREDENTIAL_SECONDS_MAX, Closing
from seedance_mcp.core.errors import LedgerClosedError
from seedance_mcp.core.limits import DAY_SECONDS

CLOSED_STATE = "SD001"
"""SQLSTATE of what the database refuses because the ledger is closed."""
LOST_IDS_MAX = 10_000
"""How many numbers of payments are passed over when a ledger opens: a lost payment's number is not given again."""
RESTORED_REASON = "the database was restored, or another server took it over"

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_STATE = """SELECT closings, closed_at, coalesce(reason, '') AS reason, read_from,
                   CASE WHEN identity <> database_identity() THEN 1 ELSE 0 END AS is_another FROM ledger_state"""
_LAST_KNOWN = f"""coalesce((SELECT max(created_at) FROM payments) - {CREDENTIAL_SECONDS_MAX},
    (SELECT CAST(extract(epoch FROM min(migrated_at)) AS DOUBLE PRECISION) FROM ledger_versions))"""  # noqa: S608 - our own SQL
"""What was paid after this moment may be lost; what was paid before is in the ledger."""


class ClosingQueries(Queries):
    """Close and open the ledger."""

    async def find_closing(self) -> Closing | None:
        """Return the closing, or None while the ledger is open; closes one that another database answers for."""
        row = await self._one(_STATE)
        if row is not None and row["is_another"]:
            return await self.close_ledger(RESTORED_REASON)
        return None if row is None else _read_closing(row)

    async def close_ledger(self, reason: str) -> Closing:
        """Stop reserving and signing until the ledger was read against the list and the chains.

        A closed ledger is closed anew: another database may have been restored since.
        """
        async with self._driver.transaction(budget_of="") as session:
            await session.execute(
                f"""UPDATE ledger_state SET identity = database_identity(), closings = closings + 1,
                        closed_at = {_NOW}, reason = :reason,
                        read_from = least(read_from, {_LAST_KNOWN}, {_NOW} - {DAY_SECONDS})""",  # noqa: S608 - our own SQL
                {"reason": reason},
            )
            closing = await _select_closing(session)
        assert closing is not None  # noqa: S101 - the transaction has closed it
        return closing

    async def open_ledger(self, closing: Closing) -> bool:
        """End a closing; returns False if the ledger is open, or was closed once more since."""
        async with self._driver.transaction(budget_of="") as session:
            opened = await session.execute(
                """UPDATE ledger_state SET closed_at = NULL, reason = NULL, read_from = NULL
                   WHERE closings = :closings AND closed_at IS NOT NULL AND identity = database_identity()""",
                {"closings": closing.number},
            )
            if opened:
                await session.fetch_all(
                    f"""SELECT setval(CAST(pg_get_serial_sequence('payments', 'id') AS regclass),
                            nextval(CAST(pg_get_serial_sequence('payments', 'id') AS regclass)) + {LOST_IDS_MAX})
                            AS number"""
                )
        return bool(opened)

    async def count_closings(self) -> int:
        """Return how often the ledger was closed: what a process remembers of readings before that counts no more."""
        row = await self._one("SELECT closings FROM ledger_state")
        return 0 if row is None else int(row["closings"])

    async def list_payees(self, *, wallet: str, studio: str) -> frozenset[tuple[str, str]]:
        """Return the networks and addresses at which a studio was paid or a chain was read, in lower case."""
        rows = await self._all(
            """SELECT network, address FROM recipients WHERE studio = :studio
               UNION SELECT network, pay_to FROM chain_readings WHERE wallet = :wallet""",
            studio=studio,
            wallet=wallet.lower(),
        )
        return frozenset((str(row["network"]), str(row["address"])) for row in rows)


def check_not_closed(exc: Exception) -> None:
    """Raise if what the database refused is a payment while the ledger is closed.

    Raises:
        LedgerClosedError: It is.
    """
    if getattr(exc, "sqlstate", None) == CLOSED_STATE:
        raise LedgerClosedError(
            "The ledger was restored, or its database changed: it may lack payments, so nothing is bought."
        ) from exc


async def _select_closing(session: Session) -> Closing | None:
    row = await session.fetch_one(_STATE)
    return None if row is None else _read_closing(row)


def _read_closing(row: Row) -> Closing | None:
    if row["closed_at"] is None:
        return None
    return Closing(number=row["closings"], closed_at=row["closed_at"], reason=row["reason"], read_from=row["read_from"])
