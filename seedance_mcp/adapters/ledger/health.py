"""Health of the database: what must be true of it before anything is bought (PostgreSQL alone)."""

from __future__ import annotations

from seedance_mcp.adapters.ledger.driver import Queries
from seedance_mcp.adapters.ledger.postgres_migrations import SCRIPTS, Versions

_DURABLE = ("on", "remote_apply")
"""Values of `synchronous_commit` with which a commit is on disk, and on the standby's, before it is confirmed."""
_SETTINGS = """
    SELECT coalesce((SELECT max(number) FROM ledger_scripts), 0) AS latest_version,
           coalesce((SELECT max(version) FROM ledger_versions), 0) AS oldest_version,
           CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END AS in_recovery,
           current_setting('fsync') AS fsync,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('synchronous_standby_names') AS standbys"""


class HealthQueries(Queries):
    """Read what the database says of itself."""

    async def list_problems(self, *, is_single: bool) -> list[str]:
        """Return why nothing may be bought with this database, as sentences; empty if it may.

        Args:
            is_single: True if the owner accepts a database without a synchronous standby.

        Raises:
            LedgerError: It cannot be reached.
        """
        row = await self._one(_SETTINGS)
        if row is None:
            return ["The database answers with nothing."]
        problems = _judge_versions(Versions(int(row["latest_version"]), int(row["oldest_version"])))
        if row["in_recovery"]:
            return [*problems, "The database is in recovery: it is a standby, or not yet restored."]
        if row["fsync"] != "on":
            problems.append("fsync is off: the database may forget a commit.")
        if row["synchronous_commit"] not in _DURABLE:
            problems.append(
                f"synchronous_commit is {row['synchronous_commit']}: the database may forget a commit. Set it to on."
            )
        if not row["standbys"].strip() and not is_single:
            problems.append(
                "No synchronous standby is named (synchronous_standby_names): a failover may forget a commit. "
                "Name one, or accept that with SEEDANCE_DATABASE_SINGLE=on."
            )
        return problems or await self._judge_writes()

    async def _judge_writes(self) -> list[str]:
        """Read the setting inside a writing transaction: it is set there, and something between may drop that."""
        async with self._driver.transaction() as session:
            row = await session.fetch_one("SELECT current_setting('synchronous_commit') AS value")
        value = "unknown" if row is None else str(row["value"])
        return [] if value == "on" else [f"synchronous_commit is {value} in writing transactions."]


def _judge_versions(versions: Versions) -> list[str]:
    if versions.is_too_new:
        return [
            f"The ledger needs version {versions.oldest} of seedance-mcp's ledger; this program has {len(SCRIPTS)}."
        ]
    if versions.is_behind:
        return [
            f"The ledger has version {versions.latest}; this program needs {len(SCRIPTS)}. Run seedance-mcp migrate."
        ]
    return []
