"""Call context: what one tool call may use, how long it may take, and how it reports progress.

A host gives up on a call after about a minute, so every wait of a tool ends at a deadline that is known from the
call's first moment; what was begun goes on without it. Moments are those of the event loop's clock: nobody can set it
back.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.mcpserver import Context

from seedance_mcp.app.runtime import Engine
from seedance_mcp.core.errors import SeedanceError, StudioUnreachableError
from seedance_mcp.generation.questions import Proposal

WAIT_SECONDS_DEFAULT = 30
WAIT_SECONDS_MAX = 45
"""Common hosts give up on a call after 60 s."""
ANSWER_SECONDS_MIN = 10
"""Reading a picture and asking a price may take this long even where the caller will not wait for a job."""
PROGRESS_SECONDS = 4
"""A host is told something at least this often."""
ANSWERED_PROGRESS = 1.0
"""Where the progress of a round that brings a person's answer begins: above the few hundredths of the round before it,
which was a request of its own."""


@dataclass
class State:
    """What lives as long as the server."""

    engine: Engine


Ctx = Context[State]


@dataclass
class _Call:
    """When the call that is being served came in, and what was said in it.

    The question to a person and the tool's body are one call: they share its clock and count its progress together.
    A person's thinking is not our waiting.

    Attributes:
        asked_at: Since when a person is being asked.
        asked: About what.
        progress: What the host was told last.
    """

    began_at: float
    asked_at: float | None = None
    asked: Proposal | None = None
    progress: float = 0.0


_call: ContextVar[_Call] = ContextVar("call")


def begin_call() -> None:
    """Start the clock of the call that is being served."""
    _call.set(_Call(began_at=anyio.current_time()))


def begin_question(proposal: Proposal) -> None:
    """Stop the clock: a person is asked about this now."""
    call = _read_call()
    call.asked_at, call.asked = anyio.current_time(), proposal


def end_question() -> Proposal | None:
    """Let the clock go on, if a person was asked; return what the question was about, or None."""
    call = _read_call()
    if call.asked_at is not None:
        call.began_at, call.asked_at = call.began_at + anyio.current_time() - call.asked_at, None
    return call.asked


def _read_call() -> _Call:
    return _call.get(_Call(began_at=anyio.current_time()))


def find_engine(ctx: Ctx) -> Engine:
    """The engine of the server that serves this call."""
    return ctx.request_context.lifespan_context.engine


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Until when one call may wait.

    Attributes:
        job: The moment until which to wait for a job: as long as the caller said.
        answer: The moment until which to wait for whatever comes before it.
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
            with anyio.fail_after(max(self.answer - anyio.current_time(), 0.001)):
                yield
        except TimeoutError as exc:
            raise StudioUnreachableError(
                f"{what} took longer than this call may wait.", "Make the same call again in a minute."
            ) from exc


def read_deadlines(wait_seconds: int) -> Deadlines:
    """The deadlines of the call that is being served."""
    began_at = _read_call().began_at
    return Deadlines(job=began_at + wait_seconds, answer=began_at + max(wait_seconds, ANSWER_SECONDS_MIN))


@dataclass
class Progress:
    """Strictly increasing progress of one call; silent where the host gave no token."""

    ctx: Ctx
    message: str
    _call: _Call = field(default_factory=_read_call)
    _last_sent: float = field(default=0.0, init=False)

    async def report(self, job: Any, expected_seconds: float) -> None:
        """Told by the watcher."""
        self.message = f"{job.status}, {job.progress} %; such clips take about {expected_seconds:.0f} s"
        await self.send(float(job.progress))

    async def send(self, value: float) -> None:
        """Tell the host; a value that is not higher than the last is made so."""
        last = self._call.progress
        self._call.progress = min(max(value, last + 0.01), 99.9) if last < 99 else last + 0.0001
        self._last_sent = anyio.current_time()
        await self.ctx.report_progress(self._call.progress, 100, self.message)

    async def keep_alive(self) -> None:
        """Repeat the last word where nothing new comes."""
        while True:
            if anyio.current_time() - self._last_sent >= PROGRESS_SECONDS * 0.9:
                await self.send(self._call.progress)
            await anyio.sleep(PROGRESS_SECONDS / 4)


@asynccontextmanager
async def telling_progress(ctx: Ctx, message: str) -> AsyncGenerator[Progress]:
    """Keep the host told while the block runs."""
    progress = Progress(ctx=ctx, message=message)
    errors: list[SeedanceError] = []
    await progress.send(ANSWERED_PROGRESS if ctx.input_responses else 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.keep_alive)
        try:
            yield progress
        except SeedanceError as exc:  # carried past the task group, which would wrap it
            errors.append(exc)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
