"""The CSV of `payments --csv`: one line per payment, exact to the micro-USDC, and safe to open as a spreadsheet."""

from __future__ import annotations

import csv
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from seedance_mcp.app.opening import open_shared_ledger
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.texts import write_time

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.exporting import ExportedPayment
    from seedance_mcp.config.settings import Settings

COLUMNS = (
    "payment_id", "caller", "caller_id", "created_at", "purpose", "state", "job_id", "model", "price_usd",
    "price_micro_usdc", "fee_usd", "fee_micro_usdc", "counted_micro_usdc", "rail", "network", "transaction",
)  # fmt: skip
"""The columns, in their order; more may follow them in later versions."""
_SPAN = re.compile(r"(\d{1,4})([hdw])")
_SPAN_SECONDS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet."""


async def write_payments(settings: Settings, name: str | None, since: float | None, until: float | None) -> None:
    """Write payments as CSV to stdout.

    Raises:
        ConfigError: The settings name no database, or there is no such caller.
        LedgerError: The database cannot be used.
    """
    async with open_shared_ledger(settings) as ledger:
        caller_id = None if name is None else (await ledger.find_entry(name)).caller.id
    from seedance_mcp.adapters.ledger.exporting import stream_payments  # loads the database's library

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    async for payment in stream_payments(settings.database_url or "", caller_id=caller_id, since=since, until=until):
        writer.writerow([write_cell(value) for value in _list_values(payment)])


def parse_moment(option: str, text: str | None) -> float | None:
    """Return a date, or a date with a time, in Unix seconds; UTC unless it names another zone. `7d` is a week ago.

    Raises:
        ConfigError: It is none of them.
    """
    if text is None:
        return None
    if span := _SPAN.fullmatch(text):
        return time.time() - int(span[1]) * _SPAN_SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = f"Write {option} 2026-11-01, {option} 2026-11-01T12:00:00Z, or {option} 7d."
        raise ConfigError(f"{option} is not a date.", hint) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _list_values(payment: ExportedPayment) -> tuple[object, ...]:
    return (
        "" if payment.id is None else payment.id,
        payment.caller,
        payment.caller_id,
        write_time(payment.created_at),
        payment.purpose,
        payment.state,
        payment.job_id,
        payment.model,
        _write_usd(payment.amount_micro_usdc),
        payment.amount_micro_usdc,
        _write_usd(payment.fee_micro_usdc),
        payment.fee_micro_usdc,
        payment.counted_micro_usdc,
        payment.rail,
        payment.network,
        payment.transaction_hash,
    )


def _write_usd(micro_usdc: int) -> str:
    return f"{micro_usdc // 1_000_000}.{micro_usdc % 1_000_000:06d}"


def write_cell(value: object) -> object:
    """Return a value as a cell: a text that would be a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
