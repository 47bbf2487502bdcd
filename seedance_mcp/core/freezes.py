"""Freezes: the owner's stop. While a freeze is in force, nothing new is signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from seedance_mcp.core.errors import SpendingFrozenError
from seedance_mcp.core.texts import quote_text

FREEZE_REASON_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A stop of all spending that the owner has set.

    Attributes:
        reason: The owner's own words; may be empty.
        created_at: Unix seconds.
    """

    reason: str
    created_at: float

    @property
    def since(self) -> str:
        """Return the time at which it was set, in UTC."""
        return datetime.fromtimestamp(self.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def describe(self) -> str:
        """Return one sentence with the start and the reason of the freeze."""
        reason = f": {quote_text(self.reason, FREEZE_REASON_CHARACTERS_MAX)}" if self.reason else ""
        return f"Spending is frozen since {self.since}{reason}."


def check_not_frozen(freeze: Freeze | None) -> None:
    """Raise if the owner has stopped all spending.

    Raises:
        SpendingFrozenError: A freeze is in force.
    """
    if freeze is not None:
        raise SpendingFrozenError(freeze.describe())
