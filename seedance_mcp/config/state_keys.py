"""State keys: the keys of the file that all servers share, read again when it changes, so that no restart is needed.

A file that is away or wrong for a moment changes nothing: the keys that were read last stay, and the log says why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from seedance_mcp.core.errors import ConfigError

LOOK_SECONDS = 1
"""How often the file is looked at, at most."""

log = logging.getLogger("seedance_mcp")


class StateKeys:
    """The keys in use: the first seals, all open.

    Args:
        keys: Those that were read at the start.
        file: Where they are from; None for keys of this process alone.
        read: Reads them anew; raises a `ConfigError` where the file is wrong.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        keys: tuple[bytes, ...],
        file: Path | None,
        read: Callable[[], tuple[bytes, ...]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._file = file
        self._read = read
        self._clock = clock
        self._looked_at = clock()
        self._version = self._find_version()

    def current(self) -> tuple[bytes, ...]:
        """Return the keys; the same object for as long as they are the same."""
        if self._file is not None and self._clock() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock()
            version = self._find_version()
            if version != self._version:
                self._reread(version)
        return self._keys

    def _reread(self, version: tuple[int, ...]) -> None:
        try:
            keys = self._read()
        except ConfigError as exc:
            log.warning("The earlier state keys stay in use: %s", exc.what)
        else:
            self._keys = keys
            log.info("State keys were read again: %d", len(keys))
        self._version = version

    def _find_version(self) -> tuple[int, ...]:
        """Return what changes with the file: a mounted secret is another file behind the same name."""
        if self._file is None:
            return ()
        try:
            status = self._file.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_ino, status.st_size
