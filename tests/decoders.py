"""Fork the processes that decode pictures and videos: to load their libraries takes longer than what most of them do.

They are forked from a small process, because a decoder bounds its own address space. Where a test sets another Python,
or asks for it by `REAL_VARIABLE`, a real `python -m` is started.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from seedance_mcp.adapters.media import decoder
from tests.launch import PYTHON_VARIABLE, STATUS_BYTES

if sys.platform != "win32":
    import resource

LOADED = (
    "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.WebPImagePlugin",
    "PIL.AvifImagePlugin", "PIL.TiffImagePlugin", "seedance_mcp.adapters.media.preparation",
    "seedance_mcp.adapters.media.bounds", "seedance_mcp.adapters.media.contents",
    "seedance_mcp.adapters.media.messages",
)  # fmt: skip
LOADED_IF_THERE = (
    "seedance_mcp.adapters.media.film_drawing", "seedance_mcp.adapters.media.film_joining",
    "seedance_mcp.adapters.media.film_reading", "seedance_mcp.adapters.media.film_stills",
)  # fmt: skip
"""With the extra `film`."""
REAL_VARIABLE = "SEEDANCETEST_REAL_DECODERS"
"""Name of the environment variable with which a test starts real decoders."""

_start: Callable[[str], "subprocess.Popen[bytes]"] = vars(decoder)["_open_process"]
_python = sys.executable


def load_decoders() -> None:
    """Load what the processes use."""
    for name in LOADED:
        importlib.import_module(name)
    for name in LOADED_IF_THERE:
        with suppress(ImportError):
            importlib.import_module(name)


def fork_decoders(find_address: Callable[[], str | None]) -> None:
    """Have this process and those that it forks fork their decoders from now on.

    Args:
        find_address: Returns the address of the process that forks them; None if there is none.
    """

    def open_process(worker: str) -> "subprocess.Popen[bytes]":
        address = None if _is_real_needed() else find_address()
        return _start(worker) if address is None else cast("subprocess.Popen[bytes]", _Forked(address, worker))

    setattr(decoder, "_open_process", open_process)  # noqa: B010 - no one else may


def _is_real_needed() -> bool:
    pythons = (_python, os.environ.get(PYTHON_VARIABLE))
    if sys.platform == "win32" or REAL_VARIABLE in os.environ or sys.executable not in pythons:
        return True
    return sys.platform != "linux" and resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


class _Forked:
    """What `decoder` uses of a `subprocess.Popen`."""

    def __init__(self, address: str, worker: str) -> None:
        passed_on: tuple[str, ...] = vars(decoder)["_PASSED_ON"]
        variables = [f"{name}={os.environ[name]}" for name in passed_on if name in os.environ]
        path = os.pathsep.join(path for path in sys.path if path)
        request = "\0".join((os.getcwd(), "1", worker, *variables, f"PYTHONPATH={path}")).encode()
        self.returncode: int | None = None
        (read_there, requests), (answers, written_there) = os.pipe(), os.pipe()
        self.stdin, self.stdout = open(requests, "wb"), open(answers, "rb")  # noqa: SIM115 - who uses them closes them
        nowhere = os.open(os.devnull, os.O_WRONLY)
        self._ended = socket.socket(socket.AF_UNIX)
        try:
            self._ended.connect(address)
            size = len(request).to_bytes(4, "big")
            socket.send_fds(self._ended, [size], [read_there, written_there, nowhere])
            self._ended.sendall(request)
        finally:
            for number in (read_there, written_there, nowhere):
                os.close(number)
        self.pid = int(self._ended.recv(STATUS_BYTES, socket.MSG_WAITALL))
        if sys.platform == "linux":
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))

    def kill(self) -> None:
        if self.returncode is None and not self._has_ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            status = self._ended.recv(STATUS_BYTES, socket.MSG_WAITALL)  # none if what forked it has killed it
            self.returncode = int(status) if status else -signal.SIGKILL
            self._ended.close()
        return self.returncode

    def _has_ended(self) -> bool:
        with suppress(BlockingIOError):
            return bool(self._ended.recv(STATUS_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False
