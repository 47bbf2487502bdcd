"""Runs a studio: a real server on a real port, in a thread with its own event loop."""

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
from seedance_mcp.sandbox.state import Studio

BACKLOG = 128
START_SECONDS = 30.0
STOP_SECONDS = 30.0
GRACE_SECONDS = 1
TICK_SECONDS = 0.1
TICKS_MAX = 864_000  # a day of ticks, as in uvicorn


class Sandbox:
    """A local StableStudio that verifies real signatures, moves worthless money and renders real clips.

    Use it as a context manager, or call `start` and `stop`; once stopped it stays so. Any number of them can
    run in one process.

    Args:
        settings: How it behaves.
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
        self._settled = threading.Event()  # the server runs, or has failed to

    @property
    def url(self) -> str:
        """The origin to talk to; known once the sandbox has started."""
        if self._url is None:
            raise RuntimeError("the sandbox has not started")
        return self._url

    def start(self) -> None:
        """Start serving; returns when connections are accepted.

        Raises:
            OSError: If the port is taken, or the server could not start.
        """
        if self._thread is not None:
            raise RuntimeError("a sandbox starts only once")
        listening = self._socket or socket.create_server((self._host, self._port), backlog=BACKLOG)
        host, port = listening.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._run, args=(listening,), name="sandbox", daemon=True)
        self._thread.start()
        if not self._settled.wait(START_SECONDS) or not self._thread.is_alive():
            raise OSError("the sandbox did not start")

    def stop(self) -> None:
        """Stop serving; returns when the port is free again."""
        if self._thread is not None:
            if self._server is not None:
                self._server.leave()
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
            self._settled.set()

    async def _serve(self, listening: socket.socket) -> None:
        studio = Studio(self.settings, self.chain, self.tempo)
        self._server = _Server(studio, self._settled)
        try:
            await self._server.serve([listening])
        finally:
            await studio.close()


class _Server(uvicorn.Server):
    """A uvicorn that says when it is ready, and lets go of hung requests before it waits for open ones."""

    def __init__(self, studio: Studio, settled: threading.Event) -> None:
        super().__init__(
            uvicorn.Config(
                build_app(studio),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,  # logging belongs to the process, and there may be several of us in it
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._studio = studio
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Ask the server, from another thread, to stop."""
        self.should_exit = True
        with suppress(RuntimeError):  # its loop is closed: it has stopped by itself
            self._loop.call_soon_threadsafe(self._leaving.set)

    async def main_loop(self) -> None:
        """Tick as uvicorn does, but leave at once when asked to."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % TICKS_MAX
            with move_on_after(TICK_SECONDS):
                await self._leaving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and say so."""
        await super().startup(sockets)
        self._settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End hung requests, then everything else, also a connection whose client does not read its last answer."""
        self._studio.stopping.set()
        self._lock_door()
        await asyncio.sleep(0)  # whoever is on the doorstep comes in, and is sent away like the others
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the loop closes their sockets with its next turn

    def _lock_door(self) -> None:
        """Accept nobody any more: whoever is being accepted while the door closes would be left standing for good."""
        with suppress(NotImplementedError):  # a loop that does not poll
            for door in (door for server in self.servers for door in server.sockets):
                self._loop.remove_reader(door.fileno())


class _Protocol(H11Protocol):
    """Shows each request the connection below it, so that a fault can close that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # uvicorn narrows it the same way
        """Remember the connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
