"""Run a module in a process that `tests.forks` forks, and behave as that process does.

Usage: python -I -S tests/launch.py SOCKET MODULE [ARGUMENT]...

Passes its environment, folder and standard files on, forwards SIGINT and SIGTERM, and ends with the same exit status.
Imports as little as possible: it starts in the time of an empty Python, which `socket` and `signal` would double.
"""

import _socket
import os
import sys

_signal = __import__("_signal")  # type checkers do not know it
STANDARD_FILES = (0, 1, 2)
FILE_NUMBER_BYTES = 4
STATUS_BYTES = 16
PYTHON_VARIABLE = "SEEDANCETEST_PYTHON"
"""The environment variable with the Python that a forked process starts others with, if not its own."""
FORWARDED = (_signal.SIGINT, _signal.SIGTERM)


def main(address: str, words: list[str]) -> None:
    """Have the words run, wait for the end, and end alike."""
    fields = [os.getcwd(), str(len(words)), *words, *(f"{name}={value}" for name, value in os.environ.items())]
    request = "\0".join(fields).encode(errors="surrogateescape")
    forks = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    forks.connect(address)
    files = b"".join(number.to_bytes(FILE_NUMBER_BYTES, sys.byteorder) for number in STANDARD_FILES)
    forks.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    forks.sendall(request)
    _let_go_of_files()
    early: list[int] = []
    process_ids: list[int] = []

    def receive(number: int, _: object) -> None:
        if process_ids:
            _forward(number, process_ids[0])
        else:
            early.append(number)

    for number in FORWARDED:
        _signal.signal(number, receive)
    process_ids.append(process_id := int(forks.recv(STATUS_BYTES, _socket.MSG_WAITALL)))
    for number in early:
        _forward(number, process_id)
    status = int(forks.recv(STATUS_BYTES, _socket.MSG_WAITALL))
    forks.close()
    if status < 0:
        _signal.signal(-status, _signal.SIG_DFL) if -status != _signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _let_go_of_files() -> None:
    """Leave the standard files to the other process: who reads or writes them must see the end of that one."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in STANDARD_FILES:
        os.dup2(nothing, number)


def _forward(number: int, process_id: int) -> None:
    try:
        os.kill(process_id, number)
    except ProcessLookupError:  # it has ended; its status is on the way
        return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
