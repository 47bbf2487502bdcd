"""Many servers, one budget: real processes on one file."""

import subprocess
from pathlib import Path

import pytest

from tests.adapters.ledger.rows import NOW
from tests.forks import build_command
from tests.ledgers import work_on

PROCESSES = 16
AMOUNT = 7_001
CAP = 40 * AMOUNT + 3_000

RACER = """
import asyncio, sys, time
from pathlib import Path
from seedance_mcp.core.errors import BudgetExceededError
from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from tests.adapters.ledger.rows import reserve

file, start, amount, cap, name = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
print("ready", flush=True)
while not start.exists():
    time.sleep(0.002)
run = asyncio.Runner().run
ledger = run(SQLiteLedger.open(file))  # the file is made in the race, too
granted = 0
for number in range(100):
    try:
        run(reserve(ledger, amount, cap=cap, idempotency_key=f"{name}-{number}"))
        granted += 1
    except BudgetExceededError:
        break
print(granted)
"""


@pytest.mark.slow
def test_sixteen_processes_together_reserve_all_of_the_cap_and_not_one_micro_usdc_more(tmp_path: Path) -> None:
    file, start, program = tmp_path / "ledger.sqlite3", tmp_path / "start", tmp_path / "racer.py"
    program.write_text(RACER)
    racers = [
        subprocess.Popen(
            build_command(str(program), str(file), str(start), str(AMOUNT), str(CAP), str(number)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    start.touch()
    said = [racer.communicate(timeout=60) for racer in racers]
    assert [errors for _, errors in said if errors] == []
    spent = work_on(file, lambda ledger: ledger.spend(NOW)).total_micro_usdc
    assert spent == AMOUNT * sum(int(granted) for granted, _ in said)
    assert CAP - AMOUNT < spent <= CAP
