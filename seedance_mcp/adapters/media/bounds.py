"""Bounds of a decoding process: its processor time, its elapsed time, its memory and its output.

A process that reads hostile bytes sets them for itself, so that such bytes can only end this process. It must be a
process of our own that does nothing else.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from contextlib import suppress
from typing import IO

from seedance_mcp.adapters.media.messages import Header

if sys.platform != "win32":
    import resource

WALL_FACTOR = 3
"""Ratio of the bound on elapsed time to the one on processor time."""

Result = tuple[Header, bytes]


def limit_seconds(seconds: float) -> None:
    """End this process if it takes longer from now on; neither bound needs the interpreter."""
    # A thread outside the interpreter: no decoder can block it, on any platform.
    faulthandler.dump_traceback_later(seconds * WALL_FACTOR, exit=True)
    if sys.platform != "win32":
        used = resource.getrusage(resource.RUSAGE_SELF)
        _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)


def lift_limits() -> None:
    """Remove the bounds on time."""
    faulthandler.cancel_dump_traceback_later()
    if sys.platform != "win32":
        _set_limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def limit_memory(bytes_max: int) -> None:
    """Bound the address space of this process, if the platform can."""
    if sys.platform != "win32":
        _set_limit(resource.RLIMIT_AS, bytes_max)
        _set_limit(resource.RLIMIT_CORE, 0)  # an intended end must not write a core file


def _set_limit(kind: int, soft: int) -> None:
    """Set a soft limit within the hard one; macOS does not support every kind."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def take_stdout() -> IO[bytes]:
    """Return the stream of the answers, and leave nothing at the process's own stdout for libraries that print."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return answers
