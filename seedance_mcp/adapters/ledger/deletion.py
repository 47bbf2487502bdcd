"""Deletion: what a caller gave and got goes, and what it paid stays (PostgreSQL alone).

A caller's name, prompts, answers, addresses and tokens are taken out of its rows in one last transaction, which runs
once nothing of it is unfinished. Amounts, states, times, transactions and idempotency keys stay, so that budgets stay
exact and nothing is bought twice. Knows no files: it names the objects that must go before.
"""

from __future__ import annotations

from dataclasses import dataclass

from seedance_mcp.adapters.ledger.callers import OPEN_JOBLESS_SECONDS
from seedance_mcp.adapters.ledger.driver import Queries, Row, Session
from seedance_mcp.adapters.ledger.films import end_films
from seedance_mcp.adapters.ledger.jobs import UNFINISHED
from seedance_mcp.adapters.ledger.webhooks import forget_webhook
from seedance_mcp.core.callers import Caller, parse_scopes
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.objects import PICTURES

GONE = "deleted-"
"""What the name of a deleted caller begins with; its id follows."""

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_UPLOAD_OF_OTHERS = """(
    EXISTS (SELECT 1 FROM slots WHERE caller <> :caller AND object_key = :pictures || uploads.sha256)
    OR EXISTS (SELECT 1 FROM payments WHERE caller <> :caller AND (
        strpos(arguments, uploads.image_url) > 0
        OR position(convert_to(uploads.image_url, 'UTF8') IN body) > 0)))"""
"""Whether another caller has a picture too, or has bought something with this upload of it."""
_UNFINISHED = (
    """SELECT 1 FROM payments WHERE caller = :caller
       AND (state = 'signed' OR (state = 'reserved' AND hold_until > {now}))""",
    """SELECT 1 FROM payments WHERE caller = :caller AND created_at > {now} - :jobless
       AND ((state = 'refused' AND chain_checked = 0) OR (state = 'settled' AND purpose = 'generation'
            AND NOT EXISTS (SELECT 1 FROM jobs WHERE payment_id = payments.id)))""",
    f"SELECT 1 FROM jobs WHERE caller = :caller AND {UNFINISHED}",  # noqa: S608 - our own SQL
    "SELECT 1 FROM films WHERE caller = :caller AND state = 'running' AND lease_until > {now}",
)
_WIPE = (
    "DELETE FROM tokens WHERE caller = :caller",
    "DELETE FROM slots WHERE caller = :caller",
    "DELETE FROM webhooks WHERE caller = :caller",
    "DELETE FROM webhook_messages WHERE caller = :caller",
    "DELETE FROM freezes WHERE scope = :caller",
    "DELETE FROM quotes WHERE key IN (SELECT fingerprint FROM payments WHERE caller = :caller)",
    "UPDATE untracked_jobs SET input = NULL WHERE job_id IN (SELECT job_id FROM jobs WHERE caller = :caller)",
    f"""UPDATE uploads SET image_url = 'deleted:' || payment_id || ':' || left(md5(image_url), 8), sha256 = '',
            upload_id = '', gone = 1
        WHERE caller = :caller AND NOT {_UPLOAD_OF_OTHERS}""",  # noqa: S608 - our own SQL
    """UPDATE jobs SET error = NULL, video_url = NULL, thumbnail_url = NULL, file = NULL, thumbnail = NULL, note = NULL,
            problem = NULL, pruned_at = CASE WHEN video_key IS NULL THEN pruned_at
                                             ELSE coalesce(pruned_at, {now}) END
       WHERE caller = :caller""",
    """UPDATE payments SET body = '', arguments = '{}', answer = NULL, reason = NULL, scrubbed = 1
       WHERE caller = :caller""",
    "DELETE FROM films WHERE caller = :caller",
    "UPDATE reservations SET reason = '' WHERE caller = :caller",
    "UPDATE callers SET name = :gone WHERE id = :caller",
)


@dataclass(frozen=True, slots=True)
class EndedCaller:
    """A caller that was revoked, and since when, in seconds by the database's clock."""

    caller: Caller
    seconds: float


class DeletionQueries(Queries):
    """End a caller and take out of the ledger what is its own."""

    async def end_caller(self, name: str) -> EndedCaller:
        """Revoke a caller, its tokens, its webhook and its links for pictures; one that was revoked stays so.

        Args:
            name: Its name, or its id where several had the name.

        Raises:
            ConfigError: There is none, or there are several.
        """
        async with self._driver.transaction() as session:
            row = await _find_one(session, name)
            ended = {"id": row["id"]}
            await session.execute(
                f"UPDATE callers SET revoked_at = coalesce(revoked_at, {_NOW}) WHERE id = :id",  # noqa: S608 - a constant
                ended,
            )
            await session.execute(
                f"UPDATE tokens SET revoked_at = coalesce(revoked_at, {_NOW}) WHERE caller = :id",  # noqa: S608 - a constant
                ended,
            )
            await session.execute("UPDATE slots SET until = 0 WHERE caller = :id AND used_at IS NULL", ended)
            await forget_webhook(session, row["id"])
            await end_films(session, row["id"])
        caller = Caller(row["id"], row["name"], parse_scopes(row["scopes"]))
        return EndedCaller(caller, float(row["seconds"]))

    async def count_unfinished(self, caller: str) -> int:
        """Count a caller's payments and jobs that are not over; their requests may be needed once more."""
        async with self._driver.reading() as session:
            return await _count_unfinished(session, caller)

    async def list_own_objects(self, caller: str) -> list[str]:
        """Return the keys of a caller's objects that the store has, without the pictures that others use, too."""
        rows = await self._all(
            f"""SELECT objects.key FROM objects WHERE key IN (
                    SELECT video_key FROM jobs WHERE caller = :caller UNION
                    SELECT thumbnail_key FROM jobs WHERE caller = :caller UNION
                    SELECT video_key FROM films WHERE caller = :caller UNION
                    SELECT object_key FROM slots WHERE caller = :caller UNION
                    SELECT :pictures || sha256 FROM uploads WHERE caller = :caller)
                AND NOT EXISTS (SELECT 1 FROM slots WHERE caller <> :caller AND object_key = objects.key)
                AND NOT EXISTS (SELECT 1 FROM uploads WHERE objects.key = :pictures || uploads.sha256
                                AND (caller <> :caller OR {_UPLOAD_OF_OTHERS}))
                ORDER BY objects.key""",  # noqa: S608 - our own SQL
            caller=caller,
            pictures=PICTURES,
        )
        return [str(row["key"]) for row in rows]

    async def wipe_caller(self, caller: str) -> bool:
        """Take a caller's name, requests and answers out of the ledger; returns False if it is not over after all."""
        parameters: dict[str, object] = {"caller": caller, "gone": GONE + caller, "pictures": PICTURES}
        async with self._driver.transaction(budget_of=caller) as session:
            if await _count_unfinished(session, caller):
                return False
            for statement in _WIPE:
                text = statement.replace("{now}", _NOW)
                used = {name: value for name, value in parameters.items() if f":{name}" in text}
                await session.execute(text, used)
        return True


async def _find_one(session: Session, name: str) -> Row:
    rows = await session.fetch_all(
        f"""SELECT id, name, scopes, {_NOW} - coalesce(revoked_at, {_NOW}) AS seconds FROM callers
            WHERE id = :name OR lower(name) = lower(:name) ORDER BY created_at FOR UPDATE""",  # noqa: S608 - constants
        {"name": name},
    )
    if not rows:
        raise ConfigError(f"There is no caller {name[:64]!r}.", "Run: seedance-mcp callers list")
    if len(rows) > 1:
        ids = ", ".join(str(row["id"]) for row in rows)
        raise ConfigError(f"{len(rows)} callers had the name {name[:64]}.", f"Name the id of one of them: {ids}.")
    return rows[0]


async def _count_unfinished(session: Session, caller: str) -> int:
    counts = " + ".join(f"(SELECT count(*) FROM ({query}) AS found)" for query in _UNFINISHED)  # noqa: S608 - ours
    row = await session.fetch_one(
        f"SELECT {counts} AS number".replace("{now}", _NOW),
        {"caller": caller, "jobless": float(OPEN_JOBLESS_SECONDS)},
    )
    return 0 if row is None else int(row["number"])
