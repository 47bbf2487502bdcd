"""Listening: hear at once what other replicas changed (PostgreSQL alone).

One connection of its own, never through PgBouncer in transaction mode. A lost connection is made again; what
happened in between is not repeated, so it is read then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio
import psycopg

from seedance_mcp.adapters.ledger.postgres_migrations import connect
from seedance_mcp.adapters.ledger.sessions import name_session
from seedance_mcp.core.errors import LedgerError

RECONNECT_SECONDS = 1
"""Pause before a lost connection is made again."""

log = logging.getLogger("seedance_mcp")

Heard = Callable[[str, str], None]
"""Told a channel and what was said on it; two empty texts after each new connection."""


async def listen(url: str, channels: Sequence[str], heard: Heard, *, owner: str) -> None:
    """Listen on channels until cancelled.

    Args:
        url: The database, without a pooler in between.
        channels: Their names.
        heard: See `Heard`; must not raise.
        owner: Our name in leases: others see by this connection that we live.
    """
    settings = f"SELECT set_config('application_name', '{name_session(owner)}', false)"
    statement = "; ".join([settings, *(f"LISTEN {channel}" for channel in channels)]).encode()
    is_told = False
    while True:
        try:
            async with connect(url) as connection:
                await connection.execute(statement)
                is_told = False
                heard("", "")
                async for notice in connection.notifies():
                    heard(notice.channel, notice.payload)
        except (LedgerError, psycopg.Error, OSError) as exc:
            if not is_told:
                log.warning("Changes by other servers are not heard now, only read: %s", exc)
                is_told = True
        await anyio.sleep(RECONNECT_SECONDS)
