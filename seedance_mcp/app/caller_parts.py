"""Caller parts: what the services of one caller of a shared server are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seedance_mcp.app.parts import Parts
from seedance_mcp.core.callers import Caller, CallerScope
from seedance_mcp.generation.shared_quotes import SharedQuotes

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger


def choose_parts(parts: Parts, ledger: PostgresLedger, caller: Caller, *, scope: CallerScope = "caller") -> Parts:
    """Return the parts of one caller.

    Args:
        parts: Those of the server.
        ledger: Of everyone, with the caps that hold for callers without their own.
        caller: Whose services are made.
        scope: Whether each caller has its own purchases, or all callers share theirs.
    """
    shares_jobs = scope == "team"
    own = ledger.for_caller(caller.id, sees_jobs=shares_jobs or caller.is_admin, sees_sums=caller.is_admin)
    return replace(
        parts,
        ledger=own,
        caller=caller,
        key_caller="" if shares_jobs else caller.id,
        memory=SharedQuotes(own, parts.now),
    )
