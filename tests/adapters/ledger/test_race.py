"""Many servers, one budget: real processes on one ledger."""

import subprocess
from pathlib import Path

import pytest

from tests.adapters.ledger.rows import NOW
from tests.forks import build_command
from tests.ledgers import Store, work_at

AMOUNT = 7_001
CAP = 40 * AMOUNT + 3_000

RACER = """
import asyncio, sys, time
from pathlib import Path
from seedance_mcp.core.errors import BudgetExceededError
from tests.adapters.ledger.rows import reserve
from tests.ledgers import open_at

address, start, amount, cap, name = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
print("ready", flush=True)
while not start.exists():
    time.sleep(0.002)
run = asyncio.Runner().run
ledger = run(open_at(address))  # SQLite's file is made in the race, too
granted = 0
for number in range(100):
    try:
        run(reserve(ledger, amount, cap=cap, idempotency_key=f"{name}-{number}"))
        granted += 1
    except BudgetExceededError:
        break
run(ledger.close())
print(granted)
"""


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize(("store", "processes"), [("sqlite", 8), ("postgres", 16)], indirect=["store"])
def test_processes_together_reserve_the_cap_and_not_one_micro_usdc_more(
    store: Store, processes: int, tmp_path: Path
) -> None:
    start, program = tmp_path / "start", tmp_path / "racer.py"
    program.write_text(RACER)
    racers = [
        subprocess.Popen(
            build_command(str(program), store.address, str(start), str(AMOUNT), str(CAP), str(number)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    start.touch()
    said = [racer.communicate(timeout=120) for racer in racers]
    assert [errors for _, errors in said if errors] == []
    spent = work_at(store.address, lambda ledger: ledger.spend(NOW)).total_micro_usdc
    assert spent == AMOUNT * sum(int(granted) for granted, _ in said)
    assert CAP - AMOUNT < spent <= CAP
