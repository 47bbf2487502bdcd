"""Where money is in the air, on the second rail: a server that is killed there pays for a Tempo charge once as well."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from seedance_mcp.sandbox import Sandbox, SandboxSettings
from tests.kill.test_kill_matrix import CASE_SECONDS, Case, play

FAULTS = {"during_post": "slow_settle=1.5", "after_settlement_before_answer": "slow_answer=1.5"}
POINTS = (
    "after_record",
    "during_post",
    "after_settlement_before_answer",
    "after_answer_before_ledger",
    "after_conclude_before_result",
)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_charge_is_bought_once_and_saved(point: str, tmp_path: Path) -> None:
    faults = (FAULTS[point],) if point in FAULTS else ()
    sandbox = Sandbox(SandboxSettings(rails=("mpp",), job_seconds=0.5, faults=faults))
    await anyio.to_thread.run_sync(sandbox.start)
    try:
        with anyio.fail_after(CASE_SECONDS):
            verdict = await play(Case(point, "generation", repeated=True), sandbox, tmp_path)
    finally:
        await anyio.to_thread.run_sync(sandbox.stop)

    assert verdict.audit.problems == []
    assert verdict.audit.generations == 1
    assert [job.fields["rail"] for job in verdict.jobs] == ["mpp"]
