"""HTTP protocol with a bound on the head of a request: uvicorn waits for one for ever.

A connection that does not send the whole head in time is closed. The body has its own bound, where it is read.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10
"""How long a client may take for the head of a request, from the connection, or from its first byte."""
HEAD_BYTES_MAX = 32 * 1024


class BoundedProtocol(H11Protocol):
    """Closes a connection whose next request does not come in time."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Read; wait on while a head is incomplete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:  # its head is here
            self._stop_waiting()
        elif self._head_timer is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
