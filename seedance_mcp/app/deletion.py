"""Deletion: end a caller, and delete what it gave and got from the object store and the ledger.

Every step may be repeated, and the caller's name goes last: after a kill, the same command does the rest. Must not
change what was paid.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.core.errors import ConfigError, StorageError
from seedance_mcp.core.objects import VIDEOS

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger
    from seedance_mcp.adapters.storage.store import ObjectStore

SETTLE_SECONDS = 20
"""How long after its end a caller may still begin something: servers keep a token for 15 seconds."""
UNFINISHED_SECONDS = 120
"""How long a deletion waits for what is unfinished."""
LOOK_SECONDS = 1
ROUNDS_MAX = 100
"""How often the objects are listed: another process may be deleting one of them at the same time."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted: the caller's name and id, and the number of its objects."""

    name: str
    caller_id: str
    objects: int


async def delete_caller(
    ledger: PostgresLedger,
    open_store: Callable[[], Awaitable[ObjectStore]],
    name: str,
    *,
    now: Callable[[], float],
    unfinished_seconds: float = UNFINISHED_SECONDS,
) -> Deleted:
    """End a caller, wait until nothing of it is unfinished, and delete its objects, its requests and its name.

    Args:
        ledger: Has the caller.
        open_store: Opens the store of pictures and videos; called if there are any.
        name: Of the caller, or its id.
        now: Unix seconds.
        unfinished_seconds: How long it waits.

    Raises:
        ConfigError: There is no such caller, or something of it is still unfinished; it has ended all the same.
        StorageError: The store cannot be used; the same call does the rest later.
    """
    ended = await ledger.end_caller(name)
    caller = ended.caller
    await anyio.sleep(max(0.0, SETTLE_SECONDS - ended.seconds))
    await _wait_until_over(ledger, caller.id, caller.name, unfinished_seconds)
    objects = await _delete_objects(ledger, open_store, caller.id, now)
    if not await ledger.wipe_caller(caller.id):
        raise _unfinished_error(caller.name, 1)
    return Deleted(caller.name, caller.id, objects)


async def _wait_until_over(ledger: PostgresLedger, caller: str, name: str, seconds: float) -> None:
    give_up = anyio.current_time() + seconds
    while left := await ledger.count_unfinished(caller):
        if anyio.current_time() >= give_up:
            raise _unfinished_error(name, left)
        await anyio.sleep(LOOK_SECONDS)


async def _delete_objects(
    ledger: PostgresLedger, open_store: Callable[[], Awaitable[ObjectStore]], caller: str, now: Callable[[], float]
) -> int:
    """Delete a caller's objects; a job says that its video is gone before it is, so that no one fetches it again."""
    deleted = 0
    store: ObjectStore | None = None
    for _ in range(ROUNDS_MAX):
        keys = await ledger.list_own_objects(caller)
        if not keys:
            return deleted
        if store is None:
            store = await open_store()
            await store.check()
        for key in keys:
            if key.startswith(VIDEOS):
                await ledger.mark_object_pruned(key, pruned_at=now())
            deleted += await ledger.drop_object(key, older_than_seconds=0, delete=store.delete)
    raise StorageError("Another process is deleting the same objects.", "Run the same command again.")


def _unfinished_error(name: str, left: int) -> ConfigError:
    return ConfigError(
        f"{name} has ended, but {left} of its payments and videos are still pending.",
        "The servers finish them. Run the same command again in some minutes.",
        payment_state="held",
    )
