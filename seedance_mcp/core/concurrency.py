"""Single-flight: concurrent callers with the same key share one task. A caller may stop waiting; the task continues.

Owns no step of any work. A flight runs in the background and survives its callers; its end is told to all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import InternalError

T = TypeVar("T")

Start = Callable[[Callable[[], Awaitable[None]]], object]
"""Starts a background task that outlives the caller; the face owns the task group and its crashes."""


@dataclass(slots=True)
class _Run(Generic[T]):
    done: anyio.Event = field(default_factory=anyio.Event)
    waiting: int = 0
    values: list[T] = field(default_factory=list["T"])
    error: SeedanceError | None = None


class SingleFlight(Generic[T]):
    """The work that is under way in this process.

    Args:
        start: Starts a background task.
        keep_seconds: How long a value that no one was left to take is kept for the next who asks, once.
    """

    def __init__(self, start: Start, *, keep_seconds: float = 0) -> None:
        self._start = start
        self._keep_seconds = keep_seconds
        self._kept: dict[str, tuple[float, T]] = {}
        self._runs: dict[str, _Run[T]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for the flight of this key, starting it if there is none.

        Args:
            key: What the work is about.
            work: Does it; called at most once while a flight of this key is under way.

        Raises:
            SeedanceError: What the work raised, told to everybody who waits; or that it broke unexpectedly, and no one
                here knows whether money moved.
        """
        now = anyio.current_time()
        self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > now}
        if key in self._kept:
            return self._kept.pop(key)[1]
        run = self._runs.get(key)
        if run is None:
            self._runs[key] = run = _Run[T]()
            self._start(lambda: self._run(key, run, work))
        run.waiting += 1
        try:
            await run.done.wait()
        finally:
            run.waiting -= 1
        if run.error is not None:
            raise run.error
        if not run.values:
            raise InternalError("The work broke off unexpectedly.", payment_state="held")
        return run.values[0]

    async def _run(self, key: str, run: _Run[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            value = await work()
            run.values.append(value)
            if self._keep_seconds and not run.waiting:
                self._kept[key] = (anyio.current_time() + self._keep_seconds, value)
        except SeedanceError as exc:
            run.error = exc
        finally:
            del self._runs[key]
            run.done.set()


class Wakeup:
    """Ends a pause early. One that comes while nothing waits ends the next pause at once."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """End the pause, or the next one."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Pause for up to some seconds."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        self._event = anyio.Event()
