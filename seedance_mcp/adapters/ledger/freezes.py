"""The owner's stop, as rows of SQLite: read and written inside the ledger's own transactions."""

import sqlite3

from seedance_mcp.core.freezes import Freeze

EVERYTHING = ""
"""The scope of a freeze that stops every purchase of this ledger."""


def find_freeze(db: sqlite3.Connection) -> Freeze | None:
    """Return the freeze that stands, or None."""
    row = db.execute("SELECT reason, created_at FROM freezes WHERE scope = ?", (EVERYTHING,)).fetchone()
    return None if row is None else Freeze(reason=row["reason"], created_at=row["created_at"])


def put_freeze(db: sqlite3.Connection, reason: str, *, now: float) -> Freeze:
    """Stop all spending. One that stands keeps its moment, and takes a new reason where one is given."""
    db.execute(
        """INSERT INTO freezes VALUES (?, ?, ?)
           ON CONFLICT (scope) DO UPDATE SET reason = excluded.reason WHERE excluded.reason <> ''""",
        (EVERYTHING, reason, now),
    )
    return find_freeze(db) or Freeze(reason=reason, created_at=now)


def drop_freeze(db: sqlite3.Connection) -> bool:
    """End the freeze; returns True if one stood."""
    return db.execute("DELETE FROM freezes WHERE scope = ?", (EVERYTHING,)).rowcount > 0
