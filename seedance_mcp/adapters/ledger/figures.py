"""Figures of the whole ledger for metrics: counts, sums and ages (PostgreSQL alone). Every server reads the same."""

from __future__ import annotations

from dataclasses import dataclass

from seedance_mcp.adapters.ledger.driver import Queries

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_UNFINISHED = "(state = 'signed' OR (state = 'refused' AND chain_checked = 0))"
_UNSAVED = "status = 'complete' AND file IS NULL AND video_key IS NULL AND expired_at IS NULL AND pruned_at IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFigures:
    """What the ledger has now.

    Attributes:
        payments: Number of payments by rail and state.
        settled: Number of payments that settled, and their seconds from signing to settlement.
        held_micro_usdc: What payments hold whose outcome is not known.
        unfinished: Number of these payments.
        oldest_unfinished_seconds: Age of the oldest of them; 0 if there is none.
        jobs: Number of jobs by status.
        unsaved_seconds: How long the oldest complete video has not been saved; 0 if all are.
        spent_micro_usdc: By scope: `wallet` all payments, `callers` those of callers.
        is_closed: True while the ledger is closed after a restore.
        undelivered_seconds: Age of the oldest webhook message that was not delivered; 0 if all were.
    """

    payments: dict[tuple[str, str], int]
    settled: tuple[int, float]
    held_micro_usdc: int
    unfinished: int
    oldest_unfinished_seconds: float
    jobs: dict[str, int]
    unsaved_seconds: float
    spent_micro_usdc: dict[str, int]
    is_closed: bool
    undelivered_seconds: float


class FigureQueries(Queries):
    """Read the figures."""

    async def read_figures(self) -> LedgerFigures:
        """Return the figures of the whole ledger.

        Raises:
            LedgerError: It cannot be reached.
        """
        async with self._driver.reading() as session:
            payments = await session.fetch_all(
                "SELECT rail, state, count(*) AS number FROM payments GROUP BY rail, state"
            )
            jobs = await session.fetch_all("SELECT status, count(*) AS number FROM jobs GROUP BY status")
            sums = await session.fetch_one(
                f"""SELECT count(*) FILTER (WHERE state = 'settled' AND adopted = 0) AS settled,
                        coalesce(sum(concluded_at - signed_at) FILTER (WHERE state = 'settled' AND adopted = 0), 0)
                            AS settled_seconds,
                        coalesce(sum(amount_micro_usdc + fee_micro_usdc) FILTER (WHERE {_UNFINISHED}), 0) AS held,
                        count(*) FILTER (WHERE {_UNFINISHED}) AS unfinished,
                        coalesce({_NOW} - min(created_at) FILTER (WHERE {_UNFINISHED}), 0) AS oldest,
                        (SELECT coalesce({_NOW} - min(ended_at), 0) FROM jobs WHERE {_UNSAVED}) AS unsaved,
                        (SELECT coalesce({_NOW} - min(webhook_messages.created_at), 0) FROM webhook_messages
                            JOIN webhooks ON webhooks.caller = webhook_messages.caller WHERE ended_at IS NULL)
                            AS undelivered,
                        (SELECT count(closed_at) FROM ledger_state) AS closed,
                        (SELECT spent_micro_usdc FROM budgets WHERE scope = '') AS wallet,
                        (SELECT coalesce(sum(spent_micro_usdc), 0) FROM budgets WHERE scope <> '') AS callers
                    FROM payments"""  # noqa: S608 - our own SQL
            )
        found = sums or {}
        return LedgerFigures(
            payments={(row["rail"], row["state"]): int(row["number"]) for row in payments},
            settled=(int(found["settled"]), float(found["settled_seconds"])),
            held_micro_usdc=int(found["held"]),
            unfinished=int(found["unfinished"]),
            oldest_unfinished_seconds=max(float(found["oldest"]), 0),
            jobs={row["status"]: int(row["number"]) for row in jobs},
            unsaved_seconds=max(float(found["unsaved"]), 0),
            spent_micro_usdc={"wallet": int(found["wallet"]), "callers": int(found["callers"])},
            is_closed=bool(found["closed"]),
            undelivered_seconds=max(float(found["undelivered"]), 0),
        )

    async def is_poll_leader(self, owner: str) -> bool:
        """Return True if this replica holds a lease to poll the studio."""
        row = await self._one(
            f"SELECT 1 FROM leases WHERE key LIKE 'poll:%' AND owner = :owner AND until > {_NOW}",  # noqa: S608 - ours
            owner=owner,
        )
        return row is not None
