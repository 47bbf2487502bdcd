"""HTTP protocol with bounds on slow clients: uvicorn waits for a request's head, and for a reader, for ever.

A connection that does not send the whole head in time, or that does not read its answer, is closed. The body has its
own bound, where it is read.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10
"""How long a client may take for the head of a request, from the connection, or from its first byte."""
SEND_SECONDS = 60
"""How long a client may take to read what the operating system does not hold for it."""


class BoundedProtocol(H11Protocol):
    """Closes a connection whose next request does not come in time.

    Attributes:
        head_seconds: How long a client may take for the head of a request.
        send_seconds: How long a client may leave an answer unread.
    """

    head_seconds: float = HEAD_SECONDS
    send_seconds: float = SEND_SECONDS
    _send_timer: asyncio.TimerHandle | None = None
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn names the general type
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

    def pause_writing(self) -> None:
        """Start to wait for the client to read."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.send_seconds, self._abort)

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        self._stop_sending()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also where its last answer was never read."""
        super().timeout_keep_alive_handler()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.send_seconds, self._abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_sending(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _abort(self) -> None:
        self._send_timer = None
        self.transport.abort()

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
