"""Stages: how far the purchase of a request has come, as the ledger knows it. Asks no studio and no chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # they load the HTTP client
    from seedance_mcp.core.ledger import Ledger
    from seedance_mcp.core.records import Job
    from seedance_mcp.generation.preparation import PreparedRequest

Stage = Literal["new", "tried", "begun"]
"""Never bought; a payment was refused or never sent; bought or pending, so that it takes no more of the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a purchase has come.

    Attributes:
        job: The job that answers the request for good, finished or failed; only another `take` buys again.
    """

    stage: Stage
    job: Job | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReader:
    """Reads the ledger for the purchases of requests.

    Attributes:
        now: Unix seconds.
    """

    ledger: Ledger
    now: Callable[[], float]

    async def read(self, prepared: PreparedRequest) -> Progress:
        """Return how far the purchase of a request has come."""
        job = await self.ledger.find_latest_job(prepared.keys.all)
        if job is not None:
            return Progress(stage="begun", job=job)
        payment = await self.ledger.find_latest_payment(prepared.keys.all)
        if payment is None:
            return Progress(stage="new")
        is_paid_or_pending = payment.counts_against_budget(self.now()) or payment.state == "settled"
        return Progress(stage="begun" if is_paid_or_pending else "tried")
