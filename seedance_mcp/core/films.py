"""Films: a film and its reserved sum as the ledger keeps them, and the part of the ledger's protocol for them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

from seedance_mcp.core.wire.json import Json

FilmState = Literal["running", "complete", "stopped", "cancelled"]
"""`stopped`: something is missing and nothing more is bought until the film is ordered again."""
FILM_PREFIX = "film_"
"""What the id of a film begins with; a job's id is the studio's own."""
RESERVED_SECONDS = 3600
"""How long a reserved sum is kept for a film that no process works on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What is known of one shot of a film.

    Attributes:
        share_micro_usdc: The most that its video, uploads and network fees may cost, as it was agreed to; 0 if it was
            bought before.
        job_id: Its video's job, once it is bought.
        price_micro_usdc: What its video cost.
        error: Why it has no video, or None.
    """

    share_micro_usdc: int = 0
    job_id: str | None = None
    price_micro_usdc: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One film: one row of the ledger.

    Attributes:
        definition: Its shots and options, as `generation.films` writes them.
        shots: What is known of each shot.
        problem: Why it stopped, or None.
        reservation_id: The sum that its payments draw from; None where nothing is left to buy.
        lease_until: Unix seconds until which one process works on it; 0 if no process does.
        created_at, ended_at: Unix seconds.
        file: Absolute path of the joined film on this machine.
        video_key: Its key in the object store, where several replicas share one.
        pruned_at: Unix seconds at which the joined film was deleted because of its age, or None.
        note: What a person should know of it now, such as why it waits.
    """

    film_id: str
    studio: str
    wallet: str
    definition: Json = field(repr=False)
    shots: tuple[Shot, ...]
    state: FilmState = "running"
    problem: str | None = None
    reservation_id: int | None = None
    lease_until: float = 0
    created_at: float
    ended_at: float | None = None
    file: str | None = None
    video_key: str | None = None
    pruned_at: float | None = None
    note: str | None = None
    caller: str = ""

    @property
    def job_id(self) -> str:
        """Return the id that a link to its video has."""
        return self.film_id

    @property
    def arguments(self) -> Json:
        """Return what names the file that a browser saves: the first shot's prompt."""
        shots = cast("list[Json]", self.definition.get("shots") or [{}])
        return {"prompt": shots[0].get("prompt", "")}

    @property
    def price_micro_usdc(self) -> int:
        """Return what its videos cost so far."""
        return sum(shot.price_micro_usdc or 0 for shot in self.shots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A sum that is taken from the budget at once, and from which the payments of a film draw.

    Attributes:
        reason: The film's id.
        amount_micro_usdc: The whole sum.
        left_micro_usdc: What no payment occupies yet; this part counts against the budget beside the payments.
        until: Unix seconds at which it lapses by itself.
    """

    id: int
    caller: str
    reason: str
    amount_micro_usdc: int
    left_micro_usdc: int
    until: float


class FilmTransaction(Protocol):
    """What a writer may do for a film while it has the budget's lock."""

    async def find_film(self, film_id: str) -> Film | None:
        """Return a film by its id."""
        ...

    async def release_sum(self, reason: str, *, now: float) -> None:
        """End what was reserved for a film so far."""

    async def open_film(self, film: Film, *, amount_micro_usdc: int, now: float, lease_until: float) -> Film:
        """Write a film, reserve its sum, and take its lease; the limits were checked in this transaction.

        Args:
            film: As it is to be written; a row with its id is replaced, and keeps its time.
            amount_micro_usdc: The sum that its payments may still cost; 0 reserves nothing.
            now: Unix seconds.
            lease_until: Unix seconds until which other processes leave it alone.
        """
        ...


class FilmLedger(Protocol):
    """Films. Every method raises `LedgerError` if the ledger cannot be used."""

    async def find_film(self, film_id: str) -> Film | None:
        """Return a film by its id; None for one that may not be shown."""
        ...

    async def recent_films(self, limit: int) -> list[Film]:
        """Return the latest films, newest first."""
        ...

    async def running_films(self) -> list[Film]:
        """Return the films of everyone that have not ended, oldest first."""
        ...

    async def claim_film(self, film_id: str, *, now: float, lease_until: float) -> bool:
        """Take the lease of a film that runs and that no process works on; returns False if there is none to take."""
        ...

    async def renew_film(self, film_id: str, *, now: float, lease_until: float) -> bool:
        """Renew the lease of a film that this process works on, and its sum; returns False once it was cancelled."""
        ...

    async def record_film(self, film: Film, *, now: float) -> Film:
        """Write how far a film is, unless it was cancelled. One that is no longer running gives its sum back."""
        ...

    async def leave_film(self, film_id: str) -> None:
        """Give the lease of a film back, so that another process may go on with it at once."""

    async def cancel_film(self, film_id: str, *, now: float) -> Film | None:
        """End a film that runs: its sum is released, and no payment that draws from it is signed any more."""
        ...

    async def list_reservations(self, now: float) -> Sequence[Reservation]:
        """Return the sums that are reserved now, oldest first."""
        ...
