"""Stdio process: log to stderr, end promptly on a signal, and keep stdout for JSON-RPC."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from types import FrameType

import anyio
import anyio.to_thread
from mcp.server import MCPServer

from seedance_mcp.app.local_sandbox import resolve_sandbox
from seedance_mcp.app.logging import configure_logging
from seedance_mcp.server.assembly import State, build_server
from seedance_mcp.server.greeter import Greeter
from seedance_mcp.server.lines import serve_stdio

GRACE_SECONDS = 1.5
"""How long the end of the process is delayed for a payment that is being sent.

A host kills a server that has not ended two seconds after the request to end.
"""
DECODER = "seedance_mcp.adapters.media.decoder"
FLUSH_SECONDS = 0.2
"""How long the last output may take: a host that has left may have left its pipes full."""


def serve(greeter: Greeter | None = None) -> None:
    """Serve MCP on stdio until the host closes stdin or sends a signal.

    The server waits `GRACE_SECONDS` for the answer to a payment that is being sent, so that it need not be reconciled
    later. The ledger has all payments that are still pending then, and the next process reconciles them.

    Args:
        greeter: Answers the host while this loads.
    """
    level = os.environ.get("SEEDANCE_LOG_LEVEL", "WARNING").upper()
    known = level in ("DEBUG", "INFO", "WARNING", "ERROR")
    configure_logging(level if known else "WARNING", lines=not sys.stderr.isatty())
    leaving = _Leaving()
    server = build_server(os.environ, resolve_sandbox=resolve_sandbox, ending=leaving.begin, ended=leaving.leave)
    anyio.run(leaving.serve, server, greeter)


class _Leaving:
    """Ends the process, because the SDK's thread that reads stdin cannot be cancelled."""

    def __init__(self) -> None:
        self._code = 0
        self._wakeup: socket.socket | None = None  # never closed: a late signal must not be written to another file

    async def serve(self, server: MCPServer[State], greeter: Greeter | None) -> None:
        async with anyio.create_task_group() as tasks:
            if os.name == "posix":
                tasks.start_soon(self._wait_for_signal, tasks.cancel_scope)
            await serve_stdio(server, greeter)
            tasks.cancel_scope.cancel()
        self.leave()

    async def _wait_for_signal(self, serving: anyio.CancelScope) -> None:
        signals, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _take_note)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        await anyio.to_thread.run_sync(self._hear_signal, signals, abandon_on_cancel=True)
        serving.cancel()

    def _hear_signal(self, signals: socket.socket) -> None:
        """Begin to end at a signal; in a separate thread, because the event loop may wait for a locked ledger."""
        self._code = 0 if signals.recv(1)[0] == signal.SIGTERM else 130
        self.begin()

    def begin(self) -> None:
        """Begin to end: after the delay the process ends, with any work in progress."""
        timer = threading.Timer(GRACE_SECONDS, self.leave)
        timer.daemon = True
        timer.start()

    def leave(self) -> None:
        """End now."""
        if (decoder := sys.modules.get(DECODER)) is not None:  # loaded with the first call
            getattr(decoder, "end_decoders", _do_nothing)()  # without it, it is being loaded
        flushing = threading.Thread(target=_flush, daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)
        os._exit(self._code)


def _do_nothing() -> None: ...


def _take_note(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes a signal to the wakeup socket at once, but only for one that has a handler."""


def _flush() -> None:
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
