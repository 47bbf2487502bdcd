"""Shared retention: delete objects that are older than the owner keeps them, and ended slots.

Any replica does it, and two at once do no harm: the ledger gives each object to one of them. A job says that its video
was pruned before the video is gone, so that no one takes it for lost and fetches it again.
"""

from __future__ import annotations

from collections.abc import Callable

from seedance_mcp.adapters.media.given import UNUSED_SECONDS
from seedance_mcp.core.objects import PICTURES, VIDEOS
from seedance_mcp.jobs.archive import SharedArchive
from seedance_mcp.jobs.retention import DAY_SECONDS


async def prune_shared(archive: SharedArchive, *, keep_days: int | None, now: Callable[[], float]) -> None:
    """Delete old objects, unused pictures after a day, and with them the slots.

    Args:
        archive: Where they are.
        keep_days: How long the owner keeps them; None for ever.
        now: Unix seconds.

    Raises:
        StorageError: One cannot be deleted; it stays known.
        LedgerError: The ledger cannot be written.
    """
    await archive.clear_left(now())
    keep_seconds = None if keep_days is None else float(keep_days * DAY_SECONDS)
    old = await archive.ledger.list_old_objects(older_than_seconds=keep_seconds, unused_seconds=UNUSED_SECONDS)
    for key in old:
        if key.startswith(VIDEOS):
            await archive.ledger.mark_object_pruned(key, pruned_at=now())
        age = min(UNUSED_SECONDS, keep_seconds or UNUSED_SECONDS) if key.startswith(PICTURES) else keep_seconds
        await archive.ledger.drop_object(key, older_than_seconds=age or 0.0, delete=archive.store.delete)
    await archive.ledger.drop_old_slots(unused_seconds=UNUSED_SECONDS)
