"""Films: put together what makes films, and go on with those that a dead replica left. Must not buy by itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.core.errors import LedgerError
from seedance_mcp.generation.film_files import LocalFilmFiles, SharedFilmFiles
from seedance_mcp.generation.film_quotes import FilmQuoter
from seedance_mcp.generation.films import FilmService

if TYPE_CHECKING:
    from seedance_mcp.app.parts import Parts
    from seedance_mcp.core.concurrency import Start
    from seedance_mcp.core.films import Film
    from seedance_mcp.generation.service import GenerationService, QuoteService

LOOK_SECONDS = 2
"""Pause between two looks for films that no process works on."""
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 4, 120
"""How long this process leaves a film to others after it tried to continue it; the next time twice as long."""

FindFilms = Callable[[str], Awaitable[FilmService | None]]
"""Returns what makes the films of a caller, by its id; None for one that has ended."""

log = logging.getLogger("seedance_mcp")


def build_film_quoter(parts: Parts, generation: QuoteService) -> FilmQuoter:
    """Wire what quotes films."""
    return FilmQuoter(service=generation, ledger=parts.ledger, limits=parts.settings.limits, now=parts.now)


def build_films(parts: Parts, generation: GenerationService) -> FilmService:
    """Wire what makes films."""
    local = LocalFilmFiles(parts.settings.videos_dir)
    return FilmService(
        generation=generation,
        quoter=build_film_quoter(parts, generation),
        ledger=parts.ledger,
        limits=parts.settings.limits,
        files=local if parts.shared is None else SharedFilmFiles(parts.shared),
        start=parts.start,
        now=parts.now,
    )


@dataclass(kw_only=True, eq=False)
class FilmKeeper:
    """Continues the films of all callers that no replica works on.

    Attributes:
        base: The films of the server itself.
        find_films: See `FindFilms`.
        start: Starts a background task.
        is_ending: True once this process begins nothing more.
    """

    base: FilmService
    find_films: FindFilms
    start: Start
    is_ending: bool = False
    _tried: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    """For each film that this process tried to continue: until when it leaves the film to others, and that pause."""

    async def run(self) -> None:
        """Look for films until cancelled."""
        while True:
            if not self.is_ending:
                with suppress(LedgerError):  # read again in a moment
                    await self._look()
            await anyio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        running = [film for film in await self.base.ledger.running_films() if self.base.is_ours(film)]
        self._tried = {film.film_id: self._tried[film.film_id] for film in running if film.film_id in self._tried}
        for film in running:
            if self._is_left(film) and (films := await self.find_films(film.caller)) is not None:
                log.warning("Film %s was left by another server.", film.film_id)
                self.start(partial(films.take_over, film))

    def _is_left(self, film: Film) -> bool:
        """Return True if this process may continue a film now, and remember that it tries."""
        if film.film_id in self.base.works or film.lease_until > self.base.now():
            return False
        until, pause = self._tried.get(film.film_id, (0, RETRY_SECONDS_MIN))
        if anyio.current_time() < until:
            return False
        self._tried[film.film_id] = (anyio.current_time() + pause, min(pause * 2, RETRY_SECONDS_MAX))
        return True
