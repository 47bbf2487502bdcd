"""Slots: places for one picture each, which comes over a link to any replica (PostgreSQL alone).

Only the hash of a link's token is stored. All times are by the database's clock.
"""

from __future__ import annotations

from seedance_mcp.adapters.ledger.driver import Queries, Row
from seedance_mcp.adapters.ledger.objects import NOW, USED
from seedance_mcp.core.objects import Slot

WAITING_MAX = 32
"""How many slots of one caller wait at a time; another one ends the oldest."""
UNUSED_SECONDS = 24 * 3600
"""How long a picture that nothing was bought with can be read."""

_SELECT = f"""
    SELECT upload_id, caller, until, object_key,
           CASE WHEN used_at IS NULL AND until > {NOW} THEN 'waiting'
                WHEN used_at IS NULL THEN 'expired'
                WHEN used_at > {NOW} - {UNUSED_SECONDS} OR {USED.format(key="object_key")} THEN 'filled'
                ELSE 'expired' END AS state
    FROM slots"""  # noqa: S608 - our own SQL


class SlotQueries(Queries):
    """The `SlotLedger` protocol."""

    async def open_slot(self, token_sha256: str, upload_id: str, *, seconds: float) -> Slot:
        """Make a slot; the oldest ones that wait end where the caller has too many."""
        async with self._driver.transaction() as session:
            row = await session.fetch_one(
                f"""INSERT INTO slots (token_sha256, upload_id, caller, created_at, until)
                    VALUES (:token, :upload_id, :caller, {NOW}, {NOW} + :seconds)
                    RETURNING upload_id, caller, until, object_key, 'waiting' AS state""",  # noqa: S608 - our own SQL
                {"token": token_sha256, "upload_id": upload_id, "caller": self._caller, "seconds": seconds},
            )
            await session.execute(
                """DELETE FROM slots WHERE token_sha256 IN (
                       SELECT token_sha256 FROM slots WHERE caller = :caller AND used_at IS NULL
                       ORDER BY created_at DESC, upload_id OFFSET :kept)""",
                {"caller": self._caller, "kept": WAITING_MAX},
            )
        assert row is not None  # noqa: S101 - RETURNING gives the inserted row
        return Slot(**row)

    async def find_slot(self, token_sha256: str) -> Slot | None:
        """Return the slot of a token of any caller: the token is the right to use it."""
        return _read_slot(await self._one(f"{_SELECT} WHERE token_sha256 = :token", token=token_sha256))

    async def find_own_slot(self, upload_id: str) -> Slot | None:
        """Return a slot of this caller by its id."""
        query = f"{_SELECT} WHERE upload_id = :upload_id AND caller = :caller"
        return _read_slot(await self._one(query, upload_id=upload_id, caller=self._caller))

    async def fill_slot(self, token_sha256: str, object_key: str) -> bool:
        """Write where the picture of a slot is; returns False if it waits no more."""
        async with self._driver.transaction() as session:
            changed = await session.execute(
                f"""UPDATE slots SET used_at = {NOW}, object_key = :object_key
                    WHERE token_sha256 = :token AND used_at IS NULL AND until > {NOW}""",  # noqa: S608 - our own SQL
                {"token": token_sha256, "object_key": object_key},
            )
        return changed == 1

    async def end_slot(self, upload_id: str) -> None:
        """End a slot of this caller that waits."""
        async with self._driver.transaction() as session:
            await session.execute(
                "DELETE FROM slots WHERE upload_id = :upload_id AND caller = :caller AND used_at IS NULL",
                {"upload_id": upload_id, "caller": self._caller},
            )

    async def drop_old_slots(self, *, unused_seconds: float) -> int:
        """Delete the slots that ended, or whose picture went unused, for longer than this."""
        async with self._driver.transaction() as session:
            return await session.execute(
                f"""DELETE FROM slots WHERE coalesce(used_at, until) < {NOW} - :unused
                    AND (object_key IS NULL OR NOT {USED.format(key="object_key")})""",  # noqa: S608 - our own SQL
                {"unused": unused_seconds},
            )


def _read_slot(row: Row | None) -> Slot | None:
    return None if row is None else Slot(**row)
