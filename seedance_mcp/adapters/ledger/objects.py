"""Objects: the facts of files that replicas share, and which of them must go (PostgreSQL alone).

The row is written before the file is stored, and its age begins again with it. So an object that is being stored is not
old, and a deletion, which has the row's lock until the file is gone, never takes a file that came after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from seedance_mcp.adapters.ledger.driver import Queries
from seedance_mcp.core.objects import PICTURES, StoredObject

NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
USED = f"EXISTS (SELECT 1 FROM uploads WHERE '{PICTURES}' || uploads.sha256 = {{key}})"  # noqa: S608 - ours
"""Whether something was bought with the picture of a key."""


class ObjectQueries(Queries):
    """The `ObjectLedger` protocol."""

    async def record_object(self, stored: StoredObject) -> None:
        """Write an object's facts before its file is stored; its age begins again."""
        async with self._driver.transaction() as session:
            await session.execute(
                f"""INSERT INTO objects (key, sha256, size_bytes, media_type, created_at)
                    VALUES (:key, :sha256, :size_bytes, :media_type, {NOW})
                    ON CONFLICT (key) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes,
                        media_type = excluded.media_type, created_at = excluded.created_at""",  # noqa: S608 - our own SQL
                {
                    "key": stored.key, "sha256": stored.sha256, "size_bytes": stored.size_bytes,
                    "media_type": stored.media_type,
                },
            )  # fmt: skip

    async def find_object(self, key: str) -> StoredObject | None:
        """Return the facts of an object."""
        row = await self._one("SELECT key, sha256, size_bytes, media_type FROM objects WHERE key = :key", key=key)
        return None if row is None else StoredObject(**row)

    async def list_old_objects(self, *, older_than_seconds: float | None, unused_seconds: float) -> list[str]:
        """Return the keys of what must go, the oldest first."""
        rows = await self._all(
            f"""SELECT key FROM objects
                WHERE created_at < {NOW} - CAST(:older AS DOUBLE PRECISION)
                   OR (key LIKE '{PICTURES}%' AND created_at < {NOW} - :unused AND NOT {USED.format(key="objects.key")}
                       AND NOT EXISTS (SELECT 1 FROM slots WHERE object_key = objects.key
                                       AND used_at >= {NOW} - :unused))
                ORDER BY created_at""",  # noqa: S608 - our own SQL
            older=older_than_seconds,
            unused=unused_seconds,
        )
        return [str(row["key"]) for row in rows]

    async def mark_object_pruned(self, key: str, *, pruned_at: float) -> None:
        """Write that the video with this key is deleted because of its age."""
        async with self._driver.transaction() as session:
            for table in ("jobs", "films"):
                await session.execute(
                    f"UPDATE {table} SET pruned_at = :pruned_at WHERE video_key = :key AND pruned_at IS NULL",  # noqa: S608 - ours
                    {"key": key, "pruned_at": pruned_at},
                )

    async def drop_object(
        self, key: str, *, older_than_seconds: float, delete: Callable[[str], Awaitable[None]]
    ) -> bool:
        """Delete an object that is older than an age, file first; see `ObjectLedger`."""
        async with self._driver.transaction() as session:
            row = await session.fetch_one(
                f"""SELECT key FROM objects WHERE key = :key AND created_at < {NOW} - :older
                    FOR UPDATE SKIP LOCKED""",  # noqa: S608 - our own SQL
                {"key": key, "older": older_than_seconds},
            )
            if row is None:
                return False
            await delete(key)
            await session.execute("DELETE FROM objects WHERE key = :key", {"key": key})
        return True
