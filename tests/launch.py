"""Run a module in a process that `tests.forks` forks, and behave as that process does.

Usage: python -I -S tests/launch.py SOCKET MODULE [ARGUMENT]...

Passes its environment, folder and standard files on, forwards SIGINT and SIGTERM, and ends with the same exit status.
Imports as little as possible: it starts in the time of an empty Python.
"""

import array
import os
import signal
import socket
import sys
from contextlib import suppress

STANDARD_FILES = (0, 1, 2)
STATUS_BYTES = 16
FORWARDED = (signal.SIGINT, signal.SIGTERM)


def main(address: str, words: list[str]) -> None:
    """Have the words run, wait for the end, and end alike."""
    fields = [os.getcwd(), str(len(words)), *words, *(f"{name}={value}" for name, value in os.environ.items())]
    request = "\0".join(fields).encode(errors="surrogateescape")
    with socket.socket(socket.AF_UNIX) as forks:
        forks.connect(address)
        files = array.array("i", STANDARD_FILES)
        forks.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        forks.sendall(request)
        _let_go_of_files()
        early: list[int] = []
        for number in FORWARDED:
            signal.signal(number, lambda number, _: early.append(number))
        process_id = int(forks.recv(STATUS_BYTES))
        for number in FORWARDED:
            signal.signal(number, lambda number, _: _forward(number, process_id))
        for number in early:
            _forward(number, process_id)
        status = int(forks.recv(STATUS_BYTES))
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _let_go_of_files() -> None:
    """Leave the standard files to the other process: who reads or writes them must see the end of that one."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in STANDARD_FILES:
        os.dup2(nothing, number)


def _forward(number: int, process_id: int) -> None:
    with suppress(ProcessLookupError):  # it has ended; its status is on the way
        os.kill(process_id, number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
