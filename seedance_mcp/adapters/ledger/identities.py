"""Identities: callers whose tokens come from an authorization server (PostgreSQL alone).

The id of such a caller is a hash of its issuer and subject, so that replicas that meet its first token together make
one row. A revoked row stays, and so the identity stays refused.
"""

from __future__ import annotations

from seedance_mcp.adapters.ledger.driver import Queries, Session
from seedance_mcp.adapters.ledger.tokens import ENTRIES, insert_caller, read_entry, set_caps
from seedance_mcp.core.access_tokens import Identity
from seedance_mcp.core.callers import SCOPES_DEFAULT, Caller, CallerCaps, CallerEntry, write_scopes
from seedance_mcp.core.errors import ConfigError, InternalError


class IdentityQueries(Queries):
    """Find, add and admit again the callers of an authorization server."""

    async def find_or_add(self, identity: Identity) -> CallerEntry:
        """Return the caller of an identity, also a revoked one; add it with no caps of its own if it is new."""
        async with self._driver.reading() as session:
            found = await _find(session, identity)
        return found or await self._add(identity)

    async def _add(self, identity: Identity) -> CallerEntry:
        for name in (identity.name, identity.long_name):  # the owner may have given another caller the first one
            async with self._driver.transaction() as session:
                await insert_caller(session, Caller(identity.id, name, SCOPES_DEFAULT))
                found = await _find(session, identity)
            if found is not None:
                return found
        raise InternalError(f"The caller {identity.name} cannot be added.")

    async def admit(self, identity: Identity, name: str, scopes: frozenset[str], caps: CallerCaps) -> CallerEntry:
        """Add the caller of an identity before its first token, or again after it was revoked, with what it had spent.

        Raises:
            ConfigError: It is there already, or there is another caller of this name.
        """
        async with self._driver.transaction() as session:
            found = await _find(session, identity)
            if found is not None and found.revoked_at is None:
                raise ConfigError(
                    f"This subject already belongs to the caller {found.caller.name}.",
                    f"Change its limits: seedance-mcp callers limit {found.caller.name} --max-per-day 5.00",
                )
            caller = Caller(identity.id, name, scopes)
            added = await insert_caller(session, caller) if found is None else await _admit_again(session, caller)
            if not added:
                raise ConfigError(f"There is already a caller {name}.", "Choose another name.")
            await set_caps(session, identity.id, caps)
            entry = await _find(session, identity)
        if entry is None:
            raise InternalError(f"The caller {name} cannot be added.")
        return entry


async def _find(session: Session, identity: Identity) -> CallerEntry | None:
    row = await session.fetch_one(f"{ENTRIES} WHERE callers.id = :id", {"id": identity.id})
    return None if row is None else read_entry(row)


async def _admit_again(session: Session, caller: Caller) -> bool:
    """Let a revoked caller call again; returns False if another one has the name."""
    changed = await session.execute(
        """UPDATE callers SET revoked_at = NULL, name = :name, scopes = :scopes
           WHERE id = :id AND NOT EXISTS (
               SELECT 1 FROM callers others WHERE lower(name) = lower(:name) AND revoked_at IS NULL)""",
        {"id": caller.id, "name": caller.name, "scopes": write_scopes(caller.scopes)},
    )
    return changed == 1
