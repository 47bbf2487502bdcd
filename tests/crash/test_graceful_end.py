"""A host that closes the pipe in the middle of a purchase: what was sent is answered, and what is answered is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from seedance_mcp.sandbox import EXAMPLE_IMAGE, Sandbox, SandboxSettings
from tests.crash.scenario import Stage, call
from tests.servers import NO_TLS

pytestmark = pytest.mark.chaos

END_SECONDS = 20
ANSWER_SECONDS = 0.7
"""The studio answers so long after the settlement. (Hosts give a server about two seconds to end.)"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(faults=(f"slow_answer={ANSWER_SECONDS}",))) as sandbox:
        yield sandbox


@pytest.mark.slow
async def test_a_host_that_leaves_during_a_purchase_does_not_lose_the_answer(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", END_SECONDS)  # a host with patience
    stage = await Stage.set(sandbox, tmp_path)
    with anyio.fail_after(END_SECONDS):
        async with stage.server() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: call(client, "upload_image", image=str(EXAMPLE_IMAGE)))
            await _wait_until_settled(stage)
            tasks.cancel_scope.cancel()
    assert stage.is_over()
    assert (await stage.audit()).lost_uploads == 0
    async with stage.server() as client:
        again = await call(client, "upload_image", image=str(EXAMPLE_IMAGE))
    assert again is not None
    audit = await stage.audit()
    assert (audit.uploads, audit.problems) == (1, []), again.text


async def _wait_until_settled(stage: Stage) -> None:
    async with httpx.AsyncClient(base_url=stage.sandbox.url, trust_env=False, verify=NO_TLS) as studio:
        settled: list[Any] = []
        while not any(one["from"].lower() == stage.address.lower() for one in settled):
            settled = (await studio.get("/_sandbox/state")).json()["settlements"]
            await anyio.sleep(0.02)
