"""Changes: what is new in the ledger since a page was told, as server-sent events.

The files of the ledger are looked at often, and read only if one of them changed.
Source: HTML, section 9.2 (server-sent events).
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread

from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import LedgerError

LOOK_SECONDS = 0.5
"""Pause between two looks at the ledger's files."""
REST = 4
"""How many times as long as the last reading took is waited for at least: a large ledger occupies no processor."""
READ_SECONDS = 30
"""How long a reading is used although no file changed: sums of the last day change with time."""
DATABASE_SECONDS = 3
"""As `READ_SECONDS`, for a ledger in a database."""

Show = Mapping[str, object]
Stamp = tuple[tuple[int, int] | None, ...]


@dataclass(slots=True)
class ShowReader:
    """The latest reading, which all open pages share.

    Attributes:
        build: Reads everything the page shows.
        took_seconds: How long the last reading took.
    """

    settings: Settings
    build: Callable[[], Awaitable[Show]]
    took_seconds: float = 0
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _show: Show | None = None
    _stamp: Stamp = ()
    _read_at: float = 0

    async def read(self) -> Show:
        """Return what the page shows now.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        async with self._lock:
            stamp = await anyio.to_thread.run_sync(_read_stamp, self.settings.ledger_file)
            seconds = READ_SECONDS if self.settings.database_url is None else DATABASE_SECONDS
            if self._show is None or stamp != self._stamp or time.monotonic() - self._read_at > seconds:
                begun = time.monotonic()
                self._show = await self.build()
                self._stamp, self._read_at = stamp, time.monotonic()
                self.took_seconds = self._read_at - begun
            return self._show


def _read_stamp(ledger_file: Path) -> Stamp:
    """Return time and size of the ledger's files; they change with every commit."""
    stamps: list[tuple[int, int] | None] = []
    for file in (ledger_file, ledger_file.with_name(f"{ledger_file.name}-wal")):
        try:
            found = file.stat()
            stamps.append((found.st_mtime_ns, found.st_size))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


async def stream_changes(reader: ShowReader, version: str) -> AsyncGenerator[str]:
    """Yield events for as long as the page listens.

    Args:
        reader: Reads the ledger.
        version: Of what the page shows.
    """
    yield ": open\n\n"
    before: Show | None = None
    trouble = ""
    while True:
        try:
            show = await reader.read()
            if before is None and show["version"] == version:
                before = show
            elif before is None or show["version"] != before["version"] or trouble:
                yield _write_event("change", find_change(before, show))
                before = show
            trouble = ""
        except LedgerError:
            if not trouble:
                trouble = "The gallery cannot read the ledger now."
                yield _write_event("trouble", trouble)
        await anyio.sleep(max(LOOK_SECONDS, REST * reader.took_seconds))


def find_change(before: Show | None, show: Show) -> dict[str, object]:
    """Return what a page must be told that shows an earlier reading, or an unknown one."""
    old, new = _list_videos(before), _list_videos(show)
    head, known = ({name: one for name, one in (each or {}).items() if name != "clips"} for each in (show, before))
    passing = ("version", "made_at")
    is_same = all(head[name] == known.get(name) for name in head if name not in passing)
    return {
        "version": show["version"],
        "show": None if is_same else head,
        "clips": [video for job_id, video in new.items() if video != old.get(job_id)],
        "gone": [job_id for job_id in old if job_id not in new],
    }


def _list_videos(show: Show | None) -> dict[str, dict[str, object]]:
    videos = cast("list[dict[str, object]]", [] if show is None else show["clips"])
    return {str(video["job_id"]): video for video in videos}


def _write_event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
