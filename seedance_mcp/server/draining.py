"""Draining: how a hosted server ends after SIGTERM without cutting a purchase off.

`/readyz` answers 503 at once, so that the proxy before it sends no more. Some seconds later the server takes no new
purchase, closes the streams that never end, and waits for the calls in progress. The purchases of callers that have
left go on in the background; what is being sent is never cut off.
"""

import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import FrameType

import anyio
import uvicorn
from sse_starlette.sse import AppStatus

NOTICE_SECONDS = 5
"""How long calls are still taken, while proxies find out by `/readyz`."""
REFUSING_SECONDS = 2
"""How long purchases are refused at the least, so that one that is just coming gets an answer, not a closed port."""
END_SECONDS = 5
"""How long connections may take to close at the end."""
RETRY_SECONDS = 5
"""What a refused caller is told to wait; another server takes the call at once."""

log = logging.getLogger("seedance_mcp")


@dataclass(slots=True)
class Drain:
    """What the end of a server waits for.

    Attributes:
        drain_seconds: How long calls may go on.
        is_closing: True once no new purchase is taken.
        calls: Requests in progress.
    """

    drain_seconds: int
    is_closing: bool = False
    calls: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    @contextlib.contextmanager
    def counting(self) -> Generator[None]:
        """Count a request while the block runs."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            if self.calls == 0:
                self._changed.set()
                self._changed = anyio.Event()

    async def wait(self) -> bool:
        """Wait for the requests in progress; returns False if some were still going on."""
        with anyio.move_on_after(self.drain_seconds):
            while self.calls:
                await self._changed.wait()
        return self.calls == 0


class DrainingServer(uvicorn.Server):
    """A server whose first signal asks it to end, and whose second ends it at once.

    Attributes:
        asked_to_end: Set by the first signal.
        signal_number: The first signal, or 0.

    Args:
        config: How the application is served.
        listens: Called once clients can connect.
    """

    def __init__(self, config: uvicorn.Config, *, listens: Callable[[], object] = lambda: None) -> None:
        super().__init__(config)
        self._listens = listens
        self.asked_to_end = anyio.Event()
        self.signal_number = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal. It is not raised again at the end, so that the exit code is ours."""
        if self.signal_number:
            self.force_exit = self.should_exit = True
        self.signal_number = self.signal_number or sig

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell that clients can connect."""
        await super().startup(sockets)
        self._listens()

    async def on_tick(self, counter: int) -> bool:
        """Tell of a signal; called ten times a second."""
        if self.signal_number:
            self.asked_to_end.set()
        return await super().on_tick(counter)

    @property
    def was_interrupted(self) -> bool:
        """Return True if a person ended it by Ctrl-C."""
        return self.signal_number == signal.SIGINT

    def end(self) -> None:
        """Stop listening and end. What came in the last moment has `END_SECONDS`, so streams are not cut off here."""
        self.should_exit = True


class QuietServer(uvicorn.Server):
    """A server that leaves the signals to another one, and ends when it is cancelled."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield


async def drain(
    server: DrainingServer, state: Drain, *, begin: Callable[[], object], close: Callable[[], object]
) -> None:
    """Wait for a signal, then drain and end the server.

    Args:
        server: Ends.
        state: What is waited for.
        begin: Called at the signal.
        close: Called when no new purchase is taken any more.
    """
    await server.asked_to_end.wait()
    log.info("Asked to end: %d requests in progress", state.calls)
    begin()
    await anyio.sleep(NOTICE_SECONDS)
    state.is_closing = True
    close()
    await anyio.sleep(REFUSING_SECONDS)
    if not await state.wait():
        log.warning("%d requests are cut off after %d seconds", state.calls, state.drain_seconds)
    server.end()


def build_config(app: object, *, keep_alive_seconds: int, protocol: type | str = "h11") -> uvicorn.Config:
    """Return how an application is served: without the library's logs, and without trust in a proxy's headers."""
    AppStatus.disable_automatic_graceful_drain()  # it cuts calls of the earlier revisions off at the signal
    return uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]  # an ASGI application
        http=protocol,  # pyright: ignore[reportArgumentType]  # a protocol class, or its name
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=END_SECONDS,
    )
