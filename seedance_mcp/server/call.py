"""One call of a tool: what it may use, how long it may take, and what its caller is told meanwhile.

A host gives up on a call after about a minute, so every wait of a tool ends at a deadline that is known from the
call's first moment; what was begun goes on without it.
"""

import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.mcpserver import Context

from seedance_mcp.engine import Engine
from seedance_mcp.errors import SeedanceError, StudioUnreachableError

WAIT_SECONDS_DEFAULT = 30
WAIT_SECONDS_MAX = 45
"""Common hosts give up on a call after 60 s."""
ANSWER_SECONDS_MIN = 10
"""Reading a picture and asking a price may take this long even where the caller will not wait for a job."""
PROGRESS_SECONDS = 4
"""A host is told something at least this often."""


@dataclass
class State:
    """What lives as long as the server."""

    engine: Engine


Ctx = Context[State]


@dataclass
class _Clock:
    """When the call that is being served came in, since when a person is being asked, and about which price."""

    began_at: float
    asked_at: float | None = None
    asked_micro_usdc: int = 0


_clock: ContextVar[_Clock] = ContextVar("clock")
"""The question to a person and the tool's body share one clock, and a person's thinking is not our waiting."""


def begin_call() -> None:
    """Start the clock of the call that is being served."""
    _clock.set(_Clock(began_at=time.time()))


def begin_question(price_micro_usdc: int) -> None:
    """Stop the clock: a person is asked about this price now."""
    clock = _read_clock()
    clock.asked_at, clock.asked_micro_usdc = time.time(), price_micro_usdc


def end_question() -> int:
    """Let the clock go on, if a person was asked; returns the price of the question, or 0."""
    clock = _read_clock()
    if clock.asked_at is not None:
        clock.began_at, clock.asked_at = clock.began_at + time.time() - clock.asked_at, None
    return clock.asked_micro_usdc


def _read_clock() -> _Clock:
    return _clock.get(_Clock(began_at=time.time()))


def find_engine(ctx: Ctx) -> Engine:
    """The engine of the server that serves this call."""
    return ctx.request_context.lifespan_context.engine


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Until when one call may wait.

    Attributes:
        job: Unix seconds until which to wait for a job: as long as the caller said.
        answer: Unix seconds until which to wait for whatever comes before it.
    """

    job: float
    answer: float

    @contextmanager
    def bounding(self, what: str) -> Generator[None]:
        """Break off a free step at the deadline.

        Raises:
            StudioUnreachableError: It took too long.
        """
        try:
            with anyio.fail_after(max(self.answer - time.time(), 0.001)):
                yield
        except TimeoutError as exc:
            raise StudioUnreachableError(
                f"{what} took longer than this call may wait.", "Make the same call again in a minute."
            ) from exc


def read_deadlines(wait_seconds: int) -> Deadlines:
    """The deadlines of the call that is being served."""
    began_at = _read_clock().began_at
    return Deadlines(job=began_at + wait_seconds, answer=began_at + max(wait_seconds, ANSWER_SECONDS_MIN))


@dataclass
class Progress:
    """Strictly increasing progress of one call; silent where the host gave no token."""

    ctx: Ctx
    message: str
    value: float = 0.0
    _last_sent: float = field(default=0.0, init=False)

    async def report(self, job: Any, expected_seconds: float) -> None:
        """Told by the watcher."""
        self.message = f"{job.status}, {job.progress} %; such clips take about {expected_seconds:.0f} s"
        await self.send(float(job.progress))

    async def send(self, value: float) -> None:
        """Tell the host; a value that is not higher than the last is made so."""
        self.value = min(max(value, self.value + 0.01), 99.9) if self.value < 99 else self.value + 0.0001
        self._last_sent = time.monotonic()
        await self.ctx.report_progress(self.value, 100, self.message)

    async def keep_alive(self) -> None:
        """Repeat the last word where nothing new comes."""
        while True:
            if time.monotonic() - self._last_sent >= PROGRESS_SECONDS * 0.9:
                await self.send(self.value)
            await anyio.sleep(PROGRESS_SECONDS / 4)


@asynccontextmanager
async def telling_progress(ctx: Ctx, message: str) -> AsyncGenerator[Progress]:
    """Keep the host told while the block runs."""
    progress = Progress(ctx=ctx, message=message)
    errors: list[SeedanceError] = []
    await progress.send(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.keep_alive)
        try:
            yield progress
        except SeedanceError as exc:  # carried past the task group, which would wrap it
            errors.append(exc)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
