"""Reservations: what does one cost in a ledger of 100,000 payments, against one of 1,000?

Usage: python benchmarks/reservations.py [--rows 1000 100000] [--runs 200] [--json]

Fills a SQLite ledger with settled payments, 1,000 a day, and times what an executor does before it signs: the writer's
transaction with the sum of the budget and a reservation. The median of the runs is told for each size, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, add_json_option, finish, report
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.core.money import MicroUSDC
from seedance_mcp.core.wire.offers import Offer
from seedance_mcp.core.wire.responses import PaidRequest

PER_DAY = 1_000
NOW = 1_800_000_000.0
HOLD_SECONDS = 60
OFFER = Offer(
    rail="x402",
    scheme="exact",
    network="eip155:8453",
    asset="0x" + "1" * 40,
    pay_to="0x" + "2" * 40,
    amount_micro_usdc=MicroUSDC(320_000),
    lifetime_seconds=60,
)


def fill(file: Path, rows: int) -> None:
    """Write settled payments that end now, `PER_DAY` a day."""
    pause = 24 * 3600 / PER_DAY
    with closing(sqlite3.connect(file)) as db, db:  # one by one would take minutes
        db.executemany(
            """INSERT INTO payments (purpose, fingerprint, url, body, arguments, wallet, rail, network, pay_to,
                                     amount_micro_usdc, state, hold_until, created_at)
               VALUES ('generation', ?, 'https://s', x'7b7d', '{}', '0x0', 'x402', 'eip155:8453', '0x2', 320000,
                       'settled', 0, ?)""",
            ((f"filled-{number}", NOW - pause * (number + 1)) for number in range(rows)),
        )


async def measure(rows: int, runs: int) -> float:
    """Return the median milliseconds of one reservation in a ledger of that many payments."""
    with tempfile.TemporaryDirectory(prefix="reservations-") as folder:
        ledger = await SQLiteLedger.open(Path(folder) / "ledger.sqlite3")
        fill(Path(folder) / "ledger.sqlite3", rows)
        times: list[float] = []
        for number in range(runs):
            request = PaidRequest(purpose="generation", idempotency_key=f"{number}", url="https://s/api", body=b"{}")
            began = time.perf_counter()
            async with ledger.lock_budget() as transaction:
                await transaction.find_latest_payment(request.keys)
                await transaction.spend(NOW)
                await transaction.reserve(request, OFFER, wallet="0x0", hold_until=int(NOW) + HOLD_SECONDS, now=NOW)
            times.append((time.perf_counter() - began) * 1000)
        await ledger.close()
    return statistics.median(times)


def main() -> int:
    """Measure and tell; 1 where the ratio is above its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000, 100_000], metavar=("FEW", "MANY"))
    parser.add_argument("--runs", type=int, default=200)
    add_json_option(parser)
    arguments = parser.parse_args()
    few, many = (anyio.run(measure, rows, arguments.runs) for rows in arguments.rows)
    told = {"rows": arguments.rows, "milliseconds": [round(few, 3), round(many, 3)], "ratio": round(many / few, 2)}
    if arguments.json == RAW:
        print(json.dumps(told))
    else:
        print(f"{arguments.rows[0]:>9,} payments: {few:.2f} ms a reservation")
        print(f"{arguments.rows[1]:>9,} payments: {many:.2f} ms a reservation")
        print(f"ratio: {many / few:.2f}")
    return finish((report("reservations.ratio", many / few, f"{few:.2f} ms"),), arguments.json)


if __name__ == "__main__":
    sys.exit(main())
