"""Decoders: the processes that decode pictures and videos, and that are killed if one takes too long.

A process starts with the first picture, decodes the next ones, and ends when it is idle for a while or the server ends.
At most `DECODERS_MAX` pictures are decoded at a time, so that a hostile one does not delay the others. Each operation
on videos has a process of its own. A process gets no settings and no secrets, and never writes to the server's stdout.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, cast

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from seedance_mcp.adapters.media.messages import Header, read_message, write_message
from seedance_mcp.core.errors import InternalError
from seedance_mcp.core.next_steps import NextStep, OwnerDo

DECODERS_MAX = 3
"""Most pictures that are decoded at a time."""
PICTURE_SECONDS_MAX = 60
"""Time after which a process is killed; its own bounds are lower."""
START_SECONDS_MAX = 30
IDLE_SECONDS = 120
"""How long an idle process waits for the next picture."""

log = logging.getLogger("seedance_mcp")

_WORKER = "seedance_mcp.adapters.media.worker"
_PASSED_ON = (
    "PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "PYTHONHOME",
    "__PYVENV_LAUNCHER__", "LANG", "LC_ALL",
)  # fmt: skip
"""Environment variables that Python needs to find itself and its libraries."""
_WATCHDOG_CODE = 1
"""Exit status of a process that `faulthandler` ends."""


class DecoderEndedError(Exception):
    """A process ended before it answered.

    Attributes:
        too_slow: True if it was ended because it took too long.
    """

    def __init__(self, *, too_slow: bool) -> None:
        super().__init__("too slow" if too_slow else "crashed")
        self.too_slow = too_slow


class _Decoder:
    """One process. `run` blocks; `end` may be called from another thread, and ends a running `run`."""

    def __init__(self, worker: str = _WORKER, seconds_max: float = PICTURE_SECONDS_MAX) -> None:
        self._worker, self._seconds_max = worker, seconds_max
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = self._overdue = False
        self._idle: threading.Timer | None = None

    def run(self, header: Header, data: bytes) -> tuple[Header, bytes]:
        """Send a request and read its answer.

        Raises:
            DecoderEndedError: The process ended without an answer.
            InternalError: The process cannot be started.
        """
        process = self._process or self._start()
        with _Timeout(self._seconds_max, self._give_up):
            try:
                write_message(cast("IO[bytes]", process.stdin), header, data)
                return read_message(cast("IO[bytes]", process.stdout))
            except (OSError, EOFError, ValueError) as exc:
                self.end()
                raise DecoderEndedError(too_slow=self._overdue or _was_too_slow(process.returncode)) from exc

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise DecoderEndedError(too_slow=False)
            try:
                self._process = process = _open_process(self._worker)
            except OSError as exc:
                raise _start_error(exc.strerror or type(exc).__name__) from exc
        with _Timeout(START_SECONDS_MAX, self._give_up):
            try:
                read_message(cast("IO[bytes]", process.stdout))
            except (OSError, EOFError, ValueError) as exc:
                was_ended = self._ended and not self._overdue
                self.end()
                if was_ended:
                    raise DecoderEndedError(too_slow=False) from exc
                raise _start_error(f"exit status {process.returncode}") from exc
        return process

    def _give_up(self) -> None:
        self._overdue = True
        self.end()

    def end(self) -> None:
        """Kill the process and leave no zombie; may be called twice."""
        with self._lock:
            self._ended, process = True, self._process
            if process is None:
                return
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # the process did not read all bytes
                cast("IO[bytes]", stream).close()

    def start_idle_time(self, expire: Callable[[_Decoder], None]) -> None:
        """Start the idle time, after which the process expires."""
        self._idle = threading.Timer(IDLE_SECONDS, expire, (self,))
        self._idle.daemon = True
        self._idle.start()

    def wake(self) -> None:
        """Stop waiting."""
        if self._idle is not None:
            self._idle.cancel()


class _Timeout:
    """Call a function if the block does not end in time."""

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self._timer = threading.Timer(seconds, ring)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


class _Decoders:
    """The decoding processes of the server. Idle ones are used again, the latest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()

    def take(self) -> _Decoder:
        """Return a process for one picture; the caller gives it back or drops it."""
        with self._lock:
            decoder = self._idle.pop() if self._idle else _Decoder()
            self._busy.add(decoder)
        decoder.wake()
        return decoder

    def start(self, worker: str, seconds_max: float) -> _Decoder:
        """Return a new process for one request to another worker; the caller drops it."""
        decoder = _Decoder(worker, seconds_max)
        with self._lock:
            self._busy.add(decoder)
        return decoder

    def give_back(self, decoder: _Decoder) -> None:
        """Return a process that has answered to the idle ones."""
        with self._lock:
            self._busy.discard(decoder)
            self._idle.append(decoder)
            decoder.start_idle_time(self._expire)

    def drop(self, decoder: _Decoder) -> None:
        """End a process."""
        with self._lock:
            self._busy.discard(decoder)
        decoder.end()

    def _expire(self, decoder: _Decoder) -> None:
        with self._lock:
            if decoder not in self._idle:
                return
            self._idle.remove(decoder)
        decoder.end()

    def end(self) -> None:
        """End all of them."""
        with self._lock:
            decoders = [*self._idle, *self._busy]
            self._idle.clear()
            self._busy.clear()
        for decoder in decoders:
            decoder.wake()
            decoder.end()


_decoders = _Decoders()
_places = RunVar[anyio.CapacityLimiter]("places")
"""The event loop's queue for the processes, first in, first out."""

atexit.register(_decoders.end)


async def run_decoder(operation: str, data: bytes, **parameters: object) -> tuple[Header, bytes]:
    """Run one operation of `worker` on a picture's bytes.

    Args:
        operation: A name of `worker.OPERATIONS`.
        data: The picture.
        parameters: The operation's parameters, as JSON values.

    Returns:
        The answer's header and bytes.

    Raises:
        DecoderEndedError: The picture takes too long, or crashes the decoder.
        InternalError: No process can be started.
    """
    header = {"operation": operation, **parameters}
    async with _find_places():
        try:
            return await _run_one(header, data)
        except DecoderEndedError as exc:
            if exc.too_slow:
                raise
        return await _run_one(header, data)  # an idle process may have ended without the picture's fault


async def _run_one(header: Header, data: bytes) -> tuple[Header, bytes]:
    decoder = _decoders.take()
    try:
        answer = await anyio.to_thread.run_sync(decoder.run, header, data, abandon_on_cancel=True)
    except BaseException:  # also when the caller is cancelled: the result is not needed any more
        _decoders.drop(decoder)
        raise
    _decoders.give_back(decoder)
    return answer


async def run_alone(worker: str, header: Header, *, seconds_max: float) -> tuple[Header, bytes]:
    """Run one request in a process of its own, which ends with it, also when the caller is cancelled.

    Args:
        worker: The module that the process runs.
        header: The request.
        seconds_max: After how many seconds the process is killed.

    Raises:
        DecoderEndedError: It takes too long, or crashes the process.
        InternalError: No process can be started.
    """
    decoder = _decoders.start(worker, seconds_max)
    try:
        return await anyio.to_thread.run_sync(decoder.run, header, b"", abandon_on_cancel=True)
    finally:
        _decoders.drop(decoder)


def end_decoders() -> None:
    """End every process; the next picture starts another."""
    _decoders.end()


def _find_places() -> anyio.CapacityLimiter:
    try:
        return _places.get()
    except LookupError:
        _places.set(places := anyio.CapacityLimiter(DECODERS_MAX))
        return places


def _open_process(worker: str) -> subprocess.Popen[bytes]:
    environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # the same import path as ours
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", worker],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
        creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
    )


def _was_too_slow(code: int | None) -> bool:
    return code == _WATCHDOG_CODE or (sys.platform != "win32" and code == -signal.SIGXCPU)


def _start_error(why: str) -> InternalError:
    log.error("The decoder cannot be started: %s", why)
    return InternalError(f"The decoder cannot be started: {why}.", NextStep("{0}.", OwnerDo("install this again")))
