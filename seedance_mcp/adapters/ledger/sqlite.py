"""The ledger in one SQLite file: the embedded default."""

from __future__ import annotations

from seedance_mcp.adapters.ledger.jobs import Jobs
from seedance_mcp.adapters.ledger.payments import Payments
from seedance_mcp.adapters.ledger.uploads import Uploads


class SQLiteLedger(Payments, Jobs, Uploads):
    """The `Ledger` protocol on one file."""
