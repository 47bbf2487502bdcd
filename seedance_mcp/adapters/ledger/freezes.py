"""The owner's freezes as rows: read and written inside the ledger's own transactions."""

from seedance_mcp.adapters.ledger.driver import Session
from seedance_mcp.core.freezes import Freeze

EVERYTHING = ""
"""The scope of a freeze that stops every purchase of this ledger."""


async def find_freeze(session: Session, caller: str = EVERYTHING) -> Freeze | None:
    """Return the freeze that stops a caller, that of everything first; or None."""
    query = "SELECT reason, created_at FROM freezes WHERE scope IN (:everything, :caller) ORDER BY scope LIMIT 1"
    row = await session.fetch_one(query, {"everything": EVERYTHING, "caller": caller})
    return None if row is None else Freeze(reason=row["reason"], created_at=row["created_at"])


async def put_freeze(session: Session, reason: str, *, now: float, scope: str = EVERYTHING) -> Freeze:
    """Stop all spending, or one caller's. An existing freeze keeps its moment, and takes a new reason if given."""
    await session.execute(
        """INSERT INTO freezes VALUES (:scope, :reason, :now)
           ON CONFLICT (scope) DO UPDATE SET reason = excluded.reason WHERE excluded.reason <> ''""",
        {"scope": scope, "reason": reason, "now": now},
    )
    return await find_freeze(session, scope) or Freeze(reason=reason, created_at=now)


async def drop_freeze(session: Session, scope: str = EVERYTHING) -> bool:
    """End the freeze of everything, or of one caller; returns True if there was one."""
    return await session.execute("DELETE FROM freezes WHERE scope = :scope", {"scope": scope}) > 0
