"""The owner's freeze as a row: read and written inside the ledger's own transactions."""

from seedance_mcp.adapters.ledger.driver import Session
from seedance_mcp.core.freezes import Freeze

EVERYTHING = ""
"""The scope of a freeze that stops every purchase of this ledger."""


async def find_freeze(session: Session) -> Freeze | None:
    """Return the freeze, or None."""
    query = "SELECT reason, created_at FROM freezes WHERE scope = :scope"
    row = await session.fetch_one(query, {"scope": EVERYTHING})
    return None if row is None else Freeze(reason=row["reason"], created_at=row["created_at"])


async def put_freeze(session: Session, reason: str, *, now: float) -> Freeze:
    """Stop all spending. An existing freeze keeps its moment, and takes a new reason if one is given."""
    await session.execute(
        """INSERT INTO freezes VALUES (:scope, :reason, :now)
           ON CONFLICT (scope) DO UPDATE SET reason = excluded.reason WHERE excluded.reason <> ''""",
        {"scope": EVERYTHING, "reason": reason, "now": now},
    )
    return await find_freeze(session) or Freeze(reason=reason, created_at=now)


async def drop_freeze(session: Session) -> bool:
    """End the freeze; returns True if there was one."""
    return await session.execute("DELETE FROM freezes WHERE scope = :scope", {"scope": EVERYTHING}) > 0
