"""A sandbox studio on a local port, in a thread with its own event loop."""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Self

import uvicorn
from anyio import move_on_after
from uvicorn.protocols.http.h11_impl import H11Protocol

from seedance_mcp.sandbox.api.app import build_app
from seedance_mcp.sandbox.chains.local_chain import LocalChain
from seedance_mcp.sandbox.chains.tempo import TempoChain
from seedance_mcp.sandbox.settings import HOST, SandboxSettings
from seedance_mcp.sandbox.state import SandboxState

BACKLOG = 128
START_SECONDS = 30.0
STOP_SECONDS = 30.0
GRACE_SECONDS = 1
TICK_SECONDS = 1
UVICORN_TICKS = 10
"""How many ticks of uvicorn's a second has."""
TICKS_MAX = 864_000  # a day of ticks, as in uvicorn


class Sandbox:
    """A local StableStudio that verifies real signatures, moves worthless money and renders real videos.

    Use it as a context manager, or call `start` and `stop`. It cannot be started again. Several of them can run in one
    process.

    Args:
        settings: The studio's behaviour.
        host: The address to listen on.
        port: The port, or 0 for a free one.
        sock: A socket that listens already, instead of host and port.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        host: str = HOST,
        port: int = 0,
        sock: socket.socket | None = None,
    ) -> None:
        self.settings = settings or SandboxSettings()
        funded, funded_on = self.settings.funded, self.settings.funded_on
        self.chain = LocalChain(funded if "x402" in funded_on else {})
        self.tempo = TempoChain(funded if "mpp" in funded_on else {})
        self._host = host
        self._port = port
        self._socket = sock
        self._url: str | None = None
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self._ready = threading.Event()  # the server runs, or its start failed

    @property
    def url(self) -> str:
        """Return the origin of the studio; known once the sandbox has started."""
        if self._url is None:
            raise RuntimeError("the sandbox has not started")
        return self._url

    def start(self) -> None:
        """Start the server, and return when it accepts connections.

        Raises:
            OSError: If the port is taken, or the server could not start.
        """
        if self._thread is not None:
            raise RuntimeError("a sandbox starts only once")
        listening = self._socket or socket.create_server((self._host, self._port), backlog=BACKLOG)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited: no answer waits for an ACK
        host, port = listening.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._run, args=(listening,), name="sandbox", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or not self._thread.is_alive():
            raise OSError("the sandbox did not start")

    def stop(self) -> None:
        """Stop the server, and return when the port is free again."""
        if self._thread is not None:
            if self._server is not None:
                self._server.request_stop()
            self._thread.join(STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, listening: socket.socket) -> None:
        try:
            with listening:
                asyncio.run(self._serve(listening))
        finally:
            self._ready.set()

    async def _serve(self, listening: socket.socket) -> None:
        studio = SandboxState(self.settings, self.chain, self.tempo)
        self._server = _Server(studio, self._ready)
        try:
            await self._server.serve([listening])
        finally:
            await studio.close()


class _Server(uvicorn.Server):
    """A uvicorn server that signals when it is ready, and ends hung requests before it waits for open ones."""

    def __init__(self, studio: SandboxState, ready: threading.Event) -> None:
        super().__init__(
            uvicorn.Config(
                build_app(studio),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,  # logging belongs to the process, which may have several sandboxes
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._studio = studio
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._stop_requested = asyncio.Event()

    def request_stop(self) -> None:
        """Request the server to stop; called from another thread."""
        self.should_exit = True
        with suppress(RuntimeError):  # its loop is closed: it has already stopped
            self._loop.call_soon_threadsafe(self._stop_requested.set)

    async def main_loop(self) -> None:
        """Tick once a second, which dates the answers, and return at once when a stop is requested."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + UVICORN_TICKS) % TICKS_MAX
            with move_on_after(TICK_SECONDS):
                await self._stop_requested.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and signal it."""
        await super().startup(sockets)
        self._ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End hung requests, then all others, including connections whose client does not read its last answer."""
        self._studio.stopping.set()
        self._stop_accepting()
        await asyncio.sleep(0)  # connections that are being accepted are opened, and closed with the others
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the loop closes their sockets in its next iteration

    def _stop_accepting(self) -> None:
        """Stop accepting connections: one that is accepted during the shutdown would never be closed."""
        with suppress(NotImplementedError):  # a loop that does not poll
            for listening in (listening for server in self.servers for listening in server.sockets):
                self._loop.remove_reader(listening.fileno())


class _Protocol(H11Protocol):
    """Gives each request its transport, so that a fault can close the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # uvicorn narrows it the same way
        """Store the transport in the request's state."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
