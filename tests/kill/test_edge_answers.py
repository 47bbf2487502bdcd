"""A page of whatever stands before the studio, in answer to a paid request, proves nothing about the money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from seedance_mcp.sandbox import EXAMPLE_IMAGE, Sandbox
from seedance_mcp.server import build_server
from seedance_mcp.studio import Studio
from tests.kill.stage import Answer, Stage, call

CALLS_MAX = 3


@pytest.fixture
def break_paid_answer(monkeypatch: pytest.MonkeyPatch, prompt_studio: Sandbox) -> Callable[[str, str], None]:
    """Switch a fault of the studio on for the paid request of one purpose, at the moment when it is sent."""

    def arm(fault: str, purpose: str) -> None:
        send_paid: Callable[..., Awaitable[Any]] = Studio.send_paid
        left = [f"{fault}:1"]

        async def send_paid_into_fault(self: Studio, request: Any, credential: Any) -> Any:
            if left and request.purpose == purpose:
                async with httpx.AsyncClient(base_url=prompt_studio.url, trust_env=False) as control:
                    await control.post("/_sandbox/faults", json={"faults": [left.pop()]})
            return await send_paid(self, request, credential)

        monkeypatch.setattr(Studio, "send_paid", send_paid_into_fault)

    return arm


@pytest.mark.slow
@pytest.mark.parametrize("purpose", ["upload", "generation"])
@pytest.mark.parametrize("fault", ["not_json", "server_error"])
async def test_a_page_instead_of_a_paid_answer_is_not_taken_for_a_purchase(
    prompt_studio: Sandbox,
    tmp_path: Path,
    break_paid_answer: Callable[[str, str], None],
    fault: str,
    purpose: str,
) -> None:
    stage = await Stage.set(prompt_studio, tmp_path)
    break_paid_answer(fault, purpose)
    answers: list[Answer | None] = []
    with anyio.fail_after(60):
        async with Client(build_server(stage.environ)) as client:
            while not answers or (len(answers) < CALLS_MAX and (answers[-1] is None or answers[-1].is_error)):
                answers.append(await call(client, "animate_image", image=str(EXAMPLE_IMAGE), prompt="The boat sails"))
    audit = await stage.audit()
    assert audit.problems == []
    assert (audit.generations, audit.uploads) == (1, 1), answers
    assert audit.ledger_micro_usdc == audit.chain_micro_usdc
