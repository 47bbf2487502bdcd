"""Serving: the process around the MCP face. Logs to stderr, ends promptly, and leaves stdout to JSON-RPC."""

import contextlib
import logging
import os
import re
import signal
import sys

import anyio
from mcp.server import MCPServer

from seedance_mcp.embedded import settle
from seedance_mcp.server import State, build_server

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
    """Serve MCP on stdio until the host closes stdin or sends a signal."""
    level = os.environ.get("SEEDANCE_LOG_LEVEL", "WARNING").upper()
    configure_logging(level if level in ("DEBUG", "INFO", "WARNING", "ERROR") else "WARNING")
    anyio.run(_serve, build_server(os.environ, settle=settle))


async def _serve(server: MCPServer[State]) -> None:
    async with anyio.create_task_group() as tasks:
        if os.name == "posix":
            tasks.start_soon(_leave_on_signal)
        await server.run_stdio_async()
        tasks.cancel_scope.cancel()
    _leave(0)  # the thread that reads stdin cannot be cancelled; everything that matters is on disk


async def _leave_on_signal() -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            _leave(0 if number == signal.SIGTERM else 130)


def _leave(code: int) -> None:
    """End now. A payment in flight is in the ledger, and the next process takes it up."""
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)
