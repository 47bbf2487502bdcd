"""Serving: the process around the MCP face. Logs to stderr, ends promptly, and leaves stdout to JSON-RPC."""

import contextlib
import logging
import os
import re
import signal
import sys
import threading

import anyio
from mcp.server import MCPServer

from seedance_mcp.embedded import settle
from seedance_mcp.server import State, build_server

LEAVE_SECONDS = 1.7
"""A host kills a server that has not ended two seconds after it was told to."""

GRACE_SECONDS = 1.5
"""How long a signal waits for a payment that is being sent."""

_SECRET = re.compile(r"(0x)?[0-9a-fA-F]{64,}|eyJ[A-Za-z0-9+/_=-]{80,}|vercel_blob_client_\S+")


class RedactingFormatter(logging.Formatter):
    """Formats a record, then takes out whatever looks like a key, a signature, a credential or an upload token.

    It works on the finished text, traceback included, so that no call site and no library can forget it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text without secrets."""
        return _SECRET.sub("[redacted]", super().format(record))


def configure_logging(level: str) -> None:
    """Send logs to stderr, quiet by default; before `MCPServer` exists, which would otherwise choose for us."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("seedance_mcp").setLevel(level)
    if level == "DEBUG":
        logging.getLogger().setLevel(logging.DEBUG)


def serve() -> None:
    """Serve MCP on stdio until the host closes stdin or sends a signal.

    A payment that is being sent is given `GRACE_SECONDS` to come back, so that its answer need not be looked for
    afterwards; whatever is still open then is in the ledger, and the next process takes it up.
    """
    level = os.environ.get("SEEDANCE_LOG_LEVEL", "WARNING").upper()
    configure_logging(level if level in ("DEBUG", "INFO", "WARNING", "ERROR") else "WARNING")
    leaving = _Leaving()
    anyio.run(leaving.serve, build_server(os.environ, settle=settle, ended=leaving.leave))


class _Leaving:
    """Ends the process: the SDK's thread that reads stdin cannot be cancelled, so nothing else would."""

    def __init__(self) -> None:
        self._code = 0

    async def serve(self, server: MCPServer[State]) -> None:
        async with anyio.create_task_group() as tasks:
            if os.name == "posix":
                tasks.start_soon(self._wait_for_signal, tasks.cancel_scope)
            await server.run_stdio_async()
            tasks.cancel_scope.cancel()
        self.leave()

    async def _wait_for_signal(self, serving: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                self._code = 0 if number == signal.SIGTERM else 130
                timer = threading.Timer(GRACE_SECONDS, self.leave)
                timer.daemon = True
                timer.start()
                serving.cancel()
                return

    def leave(self) -> None:
        """End now."""
        logging.shutdown()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(self._code)
