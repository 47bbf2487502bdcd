"""Bring an empty ledger up to date once per process: in a new file, that takes longer than all writes of a purchase.

What makes a new file itself is tested in `tests/adapters/ledger/test_sqlite.py`, and in every process of its own.
"""

import functools
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from seedance_mcp.adapters.ledger import sqlite_driver
from seedance_mcp.adapters.ledger.files import OpenFile

Open = Callable[[Path], tuple[sqlite3.Connection, OpenFile]]
open_file: Open = sqlite_driver.open_file


@functools.cache
def _make_ledger() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite3"
        open_file(file)[0].close()
        return file.read_bytes()


def _open_copy(file: Path) -> tuple[sqlite3.Connection, OpenFile]:
    """Open a file like `open_file`; put a copy of an empty ledger where none is."""
    if not os.path.lexists(file):
        copy = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
        with suppress(OSError):  # the driver says what is wrong
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with open(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
                    opened.write(_make_ledger())
                os.link(copy, file)  # in one step: another thread finds all or nothing
            finally:
                copy.unlink(missing_ok=True)
    return open_file(file)


def share_fresh_ledgers() -> None:
    """Let every new ledger file of this process be a copy."""
    sqlite_driver.open_file = _open_copy
