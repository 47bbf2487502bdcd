"""Closings: the time after a restore, until the ledger was read against the studio's list and the chains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from seedance_mcp.core.texts import quote_text

CLOSING_REASON_CHARACTERS_MAX = 200
CREDENTIAL_SECONDS_MAX = 300
"""After which a credential that a lost row was about can settle no more; longer than one lives by any clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A ledger that may lack payments: nothing new is signed.

    Attributes:
        number: Counts the closings of this ledger.
        closed_at: Unix seconds.
        reason: Why; may be empty.
        read_from: The moment from which the list and the chains are read, in Unix seconds.
    """

    number: int
    closed_at: float
    reason: str
    read_from: float

    @property
    def since(self) -> str:
        """Return the time at which it was closed, in UTC."""
        return _write_time(self.closed_at)

    @property
    def opens_after(self) -> float:
        """Return the moment before which no reading is final, in Unix seconds: a lost credential may still settle."""
        return self.closed_at + CREDENTIAL_SECONDS_MAX

    def describe(self) -> str:
        """Return one sentence with the start and the reason of the closing."""
        reason = f": {quote_text(self.reason, CLOSING_REASON_CHARACTERS_MAX)}" if self.reason else ""
        return f"The ledger is closed since {self.since}{reason}."

    def describe_reading(self) -> str:
        """Return one sentence that says what is read, and from when the ledger may open."""
        return (
            f"The studio's list and the chains are read from {_write_time(self.read_from)} on. It opens by itself "
            f"after {_write_time(self.opens_after)}, once all of them were read."
        )


def _write_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
