"""Call context: the runtime, the deadlines and the progress of one tool call.

A host gives up on a call after about a minute, so every wait of a tool ends at a deadline that is set at the start of
the call; the work continues without it. Times are those of the event loop's clock, which cannot be set back.
"""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp.server.mcpserver import Context

from seedance_mcp.app.runtime import CallRuntime
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import StudioUnreachableError
from seedance_mcp.core.texts import describe_pace

if TYPE_CHECKING:
    from seedance_mcp.generation.questions import Proposal

WAIT_SECONDS_DEFAULT = 30
WAIT_SECONDS_MAX = 45
"""Longest wait of a call. Common hosts give up on a call after 60 s."""
ANSWER_SECONDS_MIN = 10
"""Time for reading a picture and a price, also if the caller does not wait for a job."""
PROGRESS_SECONDS = 4
"""Longest interval between two progress messages."""
ANSWERED_PROGRESS = 1.0
"""First progress value of a round with a person's answer: above the few hundredths of the round before, which was a
separate request."""


def _allow(_tool: str) -> None:
    """Allow any call: on stdio the caller is the owner."""


@dataclass
class State:
    """The objects that live as long as the server.

    Attributes:
        find_runtime: Returns the runtime of the current call: on stdio there is one, over HTTP each caller has its own.
        check_call: Takes a tool's name; raises a `SeedanceError` if the current caller may not call it now.
    """

    find_runtime: Callable[[], CallRuntime]
    check_call: Callable[[str], None] = _allow


Ctx = Context[State]


@dataclass
class _Call:
    """The start, the question and the progress of the current call.

    The question to a person and the tool's body are one call, with one clock and one progress. The time in which a
    person answers does not count.

    Attributes:
        asked_at: Start of the question to a person.
        asked: Subject of the question.
        progress: The latest progress value.
        notes: What was changed in the arguments, for the caller.
    """

    began_at: float
    asked_at: float | None = None
    asked: "Proposal | None" = None
    progress: float = 0.0
    notes: tuple[str, ...] = ()


_call: ContextVar[_Call] = ContextVar("call")


def begin_call() -> None:
    """Start the clock of the current call."""
    _call.set(_Call(began_at=anyio.current_time()))


def keep_notes(notes: tuple[str, ...]) -> None:
    """Keep what the result of the current call must also say."""
    _read_call().notes = notes


def read_notes() -> tuple[str, ...]:
    """Return what the result of the current call must also say."""
    return _read_call().notes


def begin_question(proposal: "Proposal") -> None:
    """Stop the clock while a person is asked about a proposal."""
    call = _read_call()
    call.asked_at, call.asked = anyio.current_time(), proposal


def end_question() -> "Proposal | None":
    """Resume the clock if a person was asked; return the subject of the question, or None."""
    call = _read_call()
    if call.asked_at is not None:
        call.began_at, call.asked_at = call.began_at + anyio.current_time() - call.asked_at, None
    return call.asked


def _read_call() -> _Call:
    return _call.get(_Call(began_at=anyio.current_time()))


def find_runtime(ctx: Context[Any]) -> CallRuntime:
    """Return the runtime of the caller of this call."""
    return find_state(ctx).find_runtime()


def find_state(ctx: Context[Any]) -> State:
    """Return the state of the server of this call."""
    return cast("State", ctx.request_context.lifespan_context)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The deadlines of one call.

    Attributes:
        job: When to stop waiting for a job; set by the caller.
        answer: When to stop waiting for the steps before it.
    """

    job: float
    answer: float

    @contextmanager
    def bounding(self, what: str) -> Generator[None]:
        """Stop a free step at the deadline.

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
    """Return the deadlines of the current call."""
    began_at = _read_call().began_at
    return Deadlines(job=began_at + wait_seconds, answer=began_at + max(wait_seconds, ANSWER_SECONDS_MIN))


@dataclass
class Progress:
    """Strictly increasing progress of one call; it sends nothing if the host gave no token."""

    ctx: Ctx
    message: str
    _call: _Call = field(default_factory=_read_call)
    _last_sent: float = field(default=0.0, init=False)

    async def report(self, job: Any, expected_seconds: float) -> None:
        """Report the state of a job; called by the poller."""
        pace = describe_pace(time.time() - job.created_at, expected_seconds)
        self.message = f"{job.status}, {job.progress} %; {pace}"
        await self.send(float(job.progress))

    async def send(self, value: float) -> None:
        """Send a progress value; one that is not higher than the last is increased."""
        last = self._call.progress
        self._call.progress = min(max(value, last + 0.01), 99.9) if last < 99 else last + 0.0001
        self._last_sent = anyio.current_time()
        await self.ctx.report_progress(self._call.progress, 100, self.message)

    async def keep_alive(self) -> None:
        """Repeat the latest message while there is no new one."""
        while True:
            if anyio.current_time() - self._last_sent >= PROGRESS_SECONDS * 0.9:
                await self.send(self._call.progress)
            await anyio.sleep(PROGRESS_SECONDS / 4)


@asynccontextmanager
async def telling_progress(ctx: Ctx, message: str) -> AsyncGenerator[Progress]:
    """Send progress messages while the block runs."""
    progress = Progress(ctx=ctx, message=message)
    errors: list[SeedanceError] = []
    await progress.send(ANSWERED_PROGRESS if ctx.input_responses else 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.keep_alive)
        try:
            yield progress
        except SeedanceError as exc:  # passed around the task group, which would wrap it
            errors.append(exc)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
