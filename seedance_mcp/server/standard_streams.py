"""Standard streams: take the host's pipes, so that other code and child processes find neither.

It loads nothing but the standard library.
"""

import io
import os
from typing import Any

STDIN, STDOUT, STDERR = 0, 1, 2


def duplicate(descriptor: int) -> int:
    """Return a duplicate that takes the place of no standard stream.

    Raises:
        OSError: There is none.
    """
    ours = os.dup(descriptor)
    if ours <= STDERR:
        os.close(ours)
        raise OSError("no separate descriptor")
    return ours


def claim_stdin() -> int:
    """Return a descriptor of the host's lines, and leave an empty stdin for other code and child processes.

    Raises:
        OSError: The descriptor cannot be duplicated.
    """
    ours, nowhere = duplicate(STDIN), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, STDIN)
    os.close(nowhere)
    return ours


class Rest(io.RawIOBase):
    """What the greeter has read and not answered, and then the rest of stdin, whose descriptor it never closes."""

    def __init__(self, read: bytes, descriptor: int) -> None:
        self._read, self._descriptor = read, descriptor

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; return how many bytes it was."""
        chunk = self._read[: len(buffer)] or os.read(self._descriptor, len(buffer))
        self._read = self._read[len(chunk) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)
