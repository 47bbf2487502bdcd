"""Door: listen on the loopback address, and serve an application there until it is no longer needed."""

import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Generator

import anyio
import uvicorn
from starlette.types import ASGIApp

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.next_steps import Argument, NextStep

HOST = "127.0.0.1"
GRACE_SECONDS = 1
"""How long an open request may take once the application is no longer needed."""


def open_door(port: int, *, name: str) -> tuple[socket.socket, str]:
    """Return a listening socket and its origin.

    Args:
        port: The port; 0 for a free one.
        name: What an error calls the page.

    Raises:
        ConfigError: The port is taken.
    """
    try:
        door = socket.create_server((HOST, port))
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else exc  # its own text repeats the address
        step = NextStep("Choose another {0}.", Argument("port"))
        raise ConfigError(f"{name} cannot use port {port}: {why}.", step) from exc
    # Connections inherit it. asyncio sets it only on sockets of its own, and an answer in two writes would wait 40 ms.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return door, f"http://{HOST}:{door.getsockname()[1]}"


def build_config(app: ASGIApp) -> uvicorn.Config:
    """Return how a local page is served: without a log, and without trust in what a proxy would say."""
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, door: socket.socket) -> AsyncGenerator[None]:
    """Serve in this event loop while the block runs."""
    server = _Server(build_config(app))

    async def serve() -> None:
        try:
            await server.serve([door])
        except anyio.get_cancelled_exc_class():
            server.force_exit = True
            with anyio.CancelScope(shield=True):
                await server.shutdown([door])
            raise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield
        server.should_exit = True


class _Server(uvicorn.Server):
    """A server in a process whose signals belong to another part of it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield
