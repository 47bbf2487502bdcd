"""Films in the ledger: what was ordered, how far it is, which process works on it, and the sum that it has reserved."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any, cast

from seedance_mcp.adapters.ledger import reservations
from seedance_mcp.adapters.ledger.driver import Queries, Row, Session
from seedance_mcp.adapters.ledger.rows import is_gone, make_storable, read_json
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.films import Film, Reservation, Shot
from seedance_mcp.core.next_steps import NextStep, Repeat

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_OPEN_SUMS = "SELECT id FROM reservations WHERE caller = :caller AND closed_at IS NULL"
_END = (
    f"""UPDATE films SET state = 'cancelled', problem = NULL, ended_at = {_NOW}, lease_until = 0
        WHERE caller = :caller AND state = 'running'""",  # noqa: S608 - ours
    f"UPDATE payments SET hold_until = 0 WHERE state = 'reserved' AND reservation_id IN ({_OPEN_SUMS})",  # noqa: S608 - ours
    f"UPDATE reservations SET closed_at = {_NOW} WHERE caller = :caller AND closed_at IS NULL",  # noqa: S608 - ours
)


class FilmQueries(Queries):
    """The `FilmLedger` protocol."""

    async def find_film(self, film_id: str) -> Film | None:
        """Return a film by its id; None for one that may not be shown."""
        visible, parameters = self._visible("films")
        async with self._driver.reading() as session:
            row = await _select_film(session, f"film_id = :film_id AND {visible}", film_id=film_id, **parameters)
        return None if row is None else _read_film(row)

    async def recent_films(self, limit: int) -> list[Film]:
        """Return the latest films, newest first."""
        visible, parameters = self._visible("films")
        query = f"SELECT films.*, 0 AS owner_is_gone FROM films WHERE {visible} ORDER BY created_at DESC LIMIT :limit"  # noqa: S608 - ours
        return [_read_film(row) for row in await self._all(query, limit=limit, **parameters)]

    async def running_films(self) -> list[Film]:
        """Return the films of everyone that have not ended, oldest first."""
        async with self._driver.reading() as session:
            rows = await session.fetch_all(
                f"""SELECT films.*, {session.owner_is_gone} AS owner_is_gone FROM films
                    WHERE state = 'running' ORDER BY created_at"""  # noqa: S608 - ours
            )
        return [_read_film(row) for row in rows]

    async def claim_film(self, film_id: str, *, now: float, lease_until: float) -> bool:
        """Take the lease of a film that no process works on; of several processes, one gets it."""
        async with self._driver.transaction() as session:
            row = await _select_film(session, "film_id = :film_id AND state = 'running'", film_id=film_id)
            if row is None or _read_film(row).lease_until > now:
                return False
            taken = await session.execute(
                """UPDATE films SET lease_owner = :lease_owner, lease_until = :lease_until
                   WHERE film_id = :film_id AND state = 'running' AND lease_owner = :left_by""",
                {
                    "film_id": film_id,
                    "lease_owner": session.owner,
                    "lease_until": lease_until,
                    "left_by": row["lease_owner"],
                },
            )
        return taken == 1

    async def renew_film(self, film_id: str, *, now: float, lease_until: float) -> bool:
        """Renew the lease of a film, and keep its sum."""
        async with self._driver.transaction() as session:
            row = await session.fetch_one(
                """UPDATE films SET lease_until = :lease_until
                   WHERE film_id = :film_id AND state = 'running' AND lease_owner = :lease_owner
                   RETURNING reservation_id""",
                {"film_id": film_id, "lease_until": lease_until, "lease_owner": session.owner},
            )
            if row is not None and row["reservation_id"] is not None:
                await reservations.touch_sum(session, row["reservation_id"], now=now)
        return row is not None

    async def record_film(self, film: Film, *, now: float) -> Film:
        """Write how far a film is, unless it was cancelled or another process works on it by now."""
        async with self._lock_payments() as session:
            ended = film.state != "running"
            row = await session.fetch_one(
                """UPDATE films SET shots = :shots, state = :state, problem = :problem, file = :file,
                                    video_key = :video_key, note = :note,
                                    ended_at = CASE WHEN :ended = 1 THEN :now ELSE NULL END,
                                    lease_until = CASE WHEN :ended = 1 THEN 0 ELSE lease_until END
                   WHERE film_id = :film_id AND state = 'running' AND lease_owner = :lease_owner
                   RETURNING *, 0 AS owner_is_gone""",
                {
                    "shots": _write_shots(film),
                    "state": film.state,
                    "problem": make_storable(film.problem),
                    "file": film.file,
                    "video_key": film.video_key,
                    "note": film.note,
                    "ended": int(ended),
                    "now": now,
                    "film_id": film.film_id,
                    "lease_owner": session.owner,
                },
            )
            if row is not None and ended:
                await reservations.close_sums(session, film.film_id, now=now)
            row = row or await _select_film(session, "film_id = :film_id", film_id=film.film_id)
        if row is None:
            raise LedgerError(f"Film {film.film_id} is not in the ledger.", NextStep("{0}.", Repeat()))
        return _read_film(row)

    async def leave_film(self, film_id: str) -> None:
        """Give the lease of a film back, so that another process may go on with it at once."""
        async with self._driver.transaction() as session:
            await session.execute(
                "UPDATE films SET lease_until = 0 WHERE film_id = :film_id AND lease_owner = :lease_owner",
                {"film_id": film_id, "lease_owner": session.owner},
            )

    async def cancel_film(self, film_id: str, *, now: float) -> Film | None:
        """End a film that runs or stopped: its sum is released, and no payment that draws from it is signed."""
        if await self.find_film(film_id) is None:
            return None
        async with self._lock_payments() as session:
            await session.execute(
                """UPDATE films SET state = 'cancelled', problem = NULL, ended_at = :now, lease_until = 0
                   WHERE film_id = :film_id AND state IN ('running', 'stopped')""",
                {"film_id": film_id, "now": now},
            )
            await reservations.close_sums(session, film_id, now=now)
        return await self.find_film(film_id)

    async def list_reservations(self, now: float) -> list[Reservation]:
        """Return the sums that are reserved now, oldest first."""
        async with self._driver.reading() as session:
            return await reservations.select_open(session, self._viewer, now=now)


async def end_films(session: Session, caller: str) -> None:
    """End the films of a caller that has ended, with their sums: nothing more is bought for them (PostgreSQL alone)."""
    for statement in _END:
        await session.execute(statement, {"caller": caller})


async def select_film(session: Session, film_id: str) -> Film | None:
    """Return a film of anyone by its id."""
    row = await _select_film(session, "film_id = :film_id", film_id=film_id)
    return None if row is None else _read_film(row)


async def insert_film(
    session: Session, film: Film, *, amount_micro_usdc: int, caller: str, now: float, lease_until: float
) -> Film:
    """Write a film with its sum and its lease; a row with its id is replaced, and keeps its time."""
    await reservations.close_sums(session, film.film_id, now=now)
    number = None
    if amount_micro_usdc:
        number = await reservations.insert_sum(session, film.film_id, amount_micro_usdc, caller=caller, now=now)
    row = await session.fetch_one(
        """INSERT INTO films (film_id, caller, studio, wallet, definition, shots, state, reservation_id, created_at,
                              lease_owner, lease_until)
           VALUES (:film_id, :caller, :studio, :wallet, :definition, :shots, 'running', :reservation_id, :now,
                   :lease_owner, :lease_until)
           ON CONFLICT (film_id) DO UPDATE SET
               definition = excluded.definition, shots = excluded.shots, state = 'running', problem = NULL,
               reservation_id = excluded.reservation_id, lease_owner = excluded.lease_owner,
               lease_until = excluded.lease_until, ended_at = NULL, file = NULL, video_key = NULL, pruned_at = NULL,
               note = NULL
           RETURNING *, 0 AS owner_is_gone""",
        {
            "film_id": film.film_id,
            "caller": caller,
            "studio": film.studio,
            "wallet": film.wallet,
            "definition": make_storable(json.dumps(film.definition)),
            "shots": _write_shots(film),
            "reservation_id": number,
            "now": now,
            "lease_owner": session.owner,
            "lease_until": lease_until,
        },
    )
    assert row is not None  # noqa: S101 - RETURNING gives the written row
    return _read_film(row)


async def _select_film(session: Session, condition: str, **parameters: object) -> Row | None:
    return await session.fetch_one(
        f"SELECT films.*, {session.owner_is_gone} AS owner_is_gone FROM films WHERE {condition}",  # noqa: S608 - ours
        parameters,
    )


def _write_shots(film: Film) -> str:
    shots = [replace(shot, error=make_storable(shot.error)) for shot in film.shots]
    return json.dumps({"shots": [asdict(shot) for shot in shots]})


def _read_film(row: Row) -> Film:
    """Read a row of `films`, without the lease of a process that no longer runs."""
    gone = bool(row["owner_is_gone"]) or is_gone(row["lease_owner"])
    shots = cast("list[dict[str, Any]]", read_json(row["shots"]).get("shots", []))
    names = set(Film.__dataclass_fields__) - {"definition", "shots", "lease_until"}
    return Film(
        **{name: row[name] for name in names},
        definition=read_json(row["definition"]),
        shots=tuple(Shot(**shot) for shot in shots),
        lease_until=0 if gone else row["lease_until"],
    )
