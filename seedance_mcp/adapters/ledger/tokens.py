"""Callers and their tokens, as the owner makes and ends them (PostgreSQL alone). Only a token's hash is stored."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import asdict
from urllib.parse import urlsplit

from seedance_mcp.adapters.ledger.driver import Queries, Row, Session
from seedance_mcp.adapters.ledger.films import end_films
from seedance_mcp.adapters.ledger.webhooks import forget_webhook
from seedance_mcp.core.access_tokens import has_identity
from seedance_mcp.core.callers import (
    TOKEN_BYTES,
    Caller,
    CallerCaps,
    CallerEntry,
    Token,
    parse_scopes,
    parse_token,
    write_scopes,
)
from seedance_mcp.core.errors import ConfigError

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_VALID = f"tokens.revoked_at IS NULL AND (tokens.until IS NULL OR tokens.until > {_NOW})"
ENTRIES = f"""
    SELECT callers.*, budgets.*, (SELECT count(*) FROM tokens WHERE caller = callers.id AND {_VALID}) AS tokens,
           (SELECT url FROM webhooks WHERE caller = callers.id) AS webhook_url
    FROM callers JOIN budgets ON budgets.scope = callers.id"""  # noqa: S608 - constants
"""Each caller with its caps, the number of its valid tokens and its webhook."""
_LIST = "Run: seedance-mcp callers list"


def make_token() -> Token:
    """Make a new token."""
    token = parse_token(f"sdn_{secrets.token_hex(6)}_{secrets.token_urlsafe(TOKEN_BYTES)}")
    assert token is not None  # noqa: S101 - the shape that it reads
    return token


class TokenQueries(Queries):
    """Add, change and end callers, and find the caller of a token."""

    async def find_caller(self, token_id: str, sha256: str) -> Caller | None:
        """Return the caller of a valid token; None for any other.

        Args:
            token_id: The part of the token that names it.
            sha256: Hash of the whole token, hexadecimal.
        """
        row = await self._one(
            f"""SELECT callers.id, name, scopes, sha256 FROM tokens JOIN callers ON callers.id = tokens.caller
                WHERE tokens.id = :id AND {_VALID} AND callers.revoked_at IS NULL""",  # noqa: S608 - constants
            id=token_id,
        )
        if row is None or not hmac.compare_digest(str(row["sha256"]).encode(), sha256.encode()):
            return None
        return _read_caller(row)

    async def find_owner(self, job_id: str) -> str | None:
        """Return the id of the caller whose job it is, empty for the owner's; None for an unknown job."""
        row = await self._one("SELECT caller FROM jobs WHERE job_id = :job_id", job_id=job_id)
        return None if row is None else str(row["caller"])

    async def find_active(self, caller_id: str) -> Caller | None:
        """Return a caller by its id; None for one that has ended."""
        row = await self._one(
            "SELECT id, name, scopes FROM callers WHERE id = :id AND revoked_at IS NULL", id=caller_id
        )
        return None if row is None else _read_caller(row)

    async def add_caller(self, name: str, scopes: frozenset[str], caps: CallerCaps) -> Token:
        """Make a caller with its budget and its first token.

        Raises:
            ConfigError: There is a caller of this name.
        """
        token = make_token()
        async with self._driver.transaction() as session:
            caller = Caller(secrets.token_hex(8), name, scopes)
            if not await insert_caller(session, caller):
                raise ConfigError(f"There is already a caller {name}.", "Choose another name, or change its limits.")
            await set_caps(session, caller.id, caps)
            await _insert_token(session, caller.id, token)
        return token

    async def list_callers(self) -> list[CallerEntry]:
        """Return all callers by name, also those that were revoked."""
        return [read_entry(row) for row in await self._all(f"{ENTRIES} ORDER BY lower(name), created_at")]

    async def find_entry(self, name: str) -> CallerEntry:
        """Return a caller by its name.

        Raises:
            ConfigError: There is none.
        """
        async with self._driver.reading() as session:
            return await _find_entry(session, name)

    async def set_caps(self, name: str, caps: CallerCaps) -> CallerEntry:
        """Set all caps of a caller; they hold from the next reservation on.

        Raises:
            ConfigError: There is no such caller.
        """
        found = await self.find_entry(name)
        async with self._driver.transaction(budget_of=found.caller.id) as session:
            await set_caps(session, found.caller.id, caps)
            return await _find_entry(session, name)

    async def rotate_token(self, name: str, *, overlap_seconds: float) -> Token:
        """Make a new token for a caller. Its other tokens end after the overlap, or when they did before.

        Raises:
            ConfigError: There is no such caller, or its tokens are not ours.
        """
        token = make_token()
        async with self._driver.transaction() as session:
            found = await _find_entry(session, name)
            if has_identity(found.caller.id):
                raise ConfigError(
                    f"The tokens of {found.caller.name} come from the authorization server.",
                    f"End them there, or end the caller: seedance-mcp callers revoke {found.caller.name}",
                )
            await session.execute(
                f"""UPDATE tokens SET until = least(coalesce(until, {_NOW} + :seconds), {_NOW} + :seconds)
                    WHERE caller = :caller AND revoked_at IS NULL""",  # noqa: S608 - a constant
                {"caller": found.caller.id, "seconds": overlap_seconds},
            )
            await _insert_token(session, found.caller.id, token)
        return token

    async def revoke_caller(self, name: str) -> CallerEntry:
        """End a caller and all its tokens; what it bought stays in the ledger.

        Raises:
            ConfigError: There is no such caller.
        """
        async with self._driver.transaction() as session:
            found = await _find_entry(session, name)
            ended = {"id": found.caller.id}
            await session.execute(f"UPDATE callers SET revoked_at = {_NOW} WHERE id = :id", ended)  # noqa: S608 - a constant
            await session.execute(
                f"UPDATE tokens SET revoked_at = {_NOW} WHERE caller = :id AND revoked_at IS NULL",  # noqa: S608 - a constant
                ended,
            )
            await forget_webhook(session, found.caller.id)
            await end_films(session, found.caller.id)
        return found


async def insert_caller(session: Session, caller: Caller) -> bool:
    """Add a caller with its budget; returns False if there is one of this id or name."""
    added = await session.execute(
        f"""INSERT INTO callers (id, name, scopes, created_at) VALUES (:id, :name, :scopes, {_NOW})
            ON CONFLICT DO NOTHING""",  # noqa: S608 - a constant
        {"id": caller.id, "name": caller.name, "scopes": write_scopes(caller.scopes)},
    )
    if added:
        await session.execute("INSERT INTO budgets (scope) VALUES (:id)", {"id": caller.id})
    return added == 1


async def _find_entry(session: Session, name: str) -> CallerEntry:
    row = await session.fetch_one(
        f"{ENTRIES} WHERE lower(name) = lower(:name) AND callers.revoked_at IS NULL", {"name": name}
    )
    if row is None:
        raise ConfigError(f"There is no caller {name[:64]!r}.", _LIST)
    return read_entry(row)


async def _insert_token(session: Session, caller: str, token: Token) -> None:
    await session.execute(
        f"INSERT INTO tokens (id, caller, sha256, created_at) VALUES (:id, :caller, :sha256, {_NOW})",  # noqa: S608 - a constant
        {"id": token.id, "caller": caller, "sha256": token.sha256},
    )


async def set_caps(session: Session, caller: str, caps: CallerCaps) -> None:
    """Set all caps of a caller."""
    changes = ", ".join(f"{name} = :{name}" for name in asdict(caps))
    await session.execute(f"UPDATE budgets SET {changes} WHERE scope = :scope", {"scope": caller, **asdict(caps)})  # noqa: S608 - fields


def _read_caller(row: Row) -> Caller:
    return Caller(row["id"], row["name"], parse_scopes(row["scopes"]))


def read_entry(row: Row) -> CallerEntry:
    """Return a row of `ENTRIES`."""
    return CallerEntry(
        caller=_read_caller(row),
        caps=CallerCaps(**{name: row[name] for name in CallerCaps.__dataclass_fields__}),
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        tokens=row["tokens"],
        webhook_host=None if row["webhook_url"] is None else urlsplit(str(row["webhook_url"])).hostname,
    )
