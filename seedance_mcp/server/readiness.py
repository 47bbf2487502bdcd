"""Readiness: whether this server may be sent calls, and why not.

The answer is at most a second old. No request waits for the database longer than `WAIT_SECONDS`, and requests share
one look at it, so that no number of probes makes more work.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.next_steps import NextStep, OwnerOnly

FRESH_SECONDS = 1
"""How long an answer is used."""
WAIT_SECONDS = 3
"""How long a probe waits for a new answer."""
WATCH_SECONDS = 5
"""Pause between two looks without a probe."""
UNANSWERED = "The database does not answer."
DRAINING = "This server is ending."

log = logging.getLogger("seedance_mcp")


@dataclass(slots=True)
class Readiness:
    """Looks for problems, and tells of them.

    Attributes:
        look_at_database: Returns why nothing may be bought with the database; raises if it cannot be reached.
        look_at_objects: Returns why nothing can be stored.
        look_for_notes: Returns what a probe should know of a server that may be sent calls.
        start: Starts a background task.
        is_draining: True once the server was asked to end.
        problems: What the latest look found.
        objections: What the database last said against buying anything.
        notes: What the latest look for notes found.
    """

    look_at_database: Callable[[], Awaitable[list[str]]]
    look_at_objects: Callable[[], Awaitable[list[str]]]
    start: Start
    look_for_notes: Callable[[], Awaitable[list[str]]] | None = None
    is_draining: bool = False
    problems: tuple[str, ...] = (UNANSWERED,)
    objections: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _looked_at: float = -FRESH_SECONDS
    _looking: anyio.Event | None = field(default=None)

    async def list_problems(self) -> list[str]:
        """Return why this server may not be sent calls; empty if it may."""
        if anyio.current_time() - self._looked_at >= FRESH_SECONDS:
            if self._looking is None:
                self._looking = anyio.Event()
                self.start(self._look)
            with anyio.move_on_after(WAIT_SECONDS) as waiting:
                await self._looking.wait()
            if waiting.cancelled_caught:
                self.problems = (UNANSWERED,)
        return [*([DRAINING] if self.is_draining else []), *self.problems]

    async def _look(self) -> None:
        looking = self._looking
        try:
            found = (*await self._look_at_database(), *await self.look_at_objects())
            self._tell(found)
            self.problems, self._looked_at = found, anyio.current_time()
        finally:
            self._looking = None
            if looking is not None:
                looking.set()

    async def _look_at_database(self) -> tuple[str, ...]:
        try:
            self.objections = tuple(await self.look_at_database())
            if self.look_for_notes is not None and not self.objections:
                self.notes = tuple(await self.look_for_notes())
        except SeedanceError as exc:  # what it said last still counts; without it nothing can be bought anyway
            return (exc.what,)
        return self.objections

    def _tell(self, found: tuple[str, ...]) -> None:
        """Log what changed."""
        for problem in found:
            if problem not in self.problems:
                log.error("Not ready: %s", problem)
        if self.problems and not found:
            log.info("Ready")

    async def watch(self) -> None:
        """Look again and again: nothing may be bought with a database that may forget it."""
        while True:
            await self.list_problems()
            await anyio.sleep(WATCH_SECONDS)

    def check(self) -> None:
        """Raise if nothing may be bought now.

        Raises:
            LedgerError: The database may forget what is written to it.
        """
        if self.objections:
            step = NextStep("{0}.", OwnerOnly("correct this", stop=True))
            raise LedgerError(f"This server may not buy anything: {self.objections[0]}", step)
