"""A page of whatever stands before the studio, in answer to a paid request, proves nothing about the money."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client

from seedance_mcp.sandbox import EXAMPLE_IMAGE, Sandbox
from seedance_mcp.server import build_server
from tests.crash.scenario import Answer, Stage, call
from tests.servers import NO_TLS

pytestmark = pytest.mark.chaos

CALLS_MAX = 3


@pytest.mark.slow
@pytest.mark.parametrize("purpose", ["upload", "generation"])
@pytest.mark.parametrize("fault", ["page_for_payment", "error_for_payment"])
async def test_a_page_instead_of_a_paid_answer_is_not_taken_for_a_purchase(
    prompt_studio: Sandbox, tmp_path: Path, fault: str, purpose: str
) -> None:
    stage = await Stage.set(prompt_studio, tmp_path)
    answers: list[Answer | None] = []
    with anyio.fail_after(60):
        async with Client(build_server(stage.environ)) as client:
            if purpose == "generation":
                await call(client, "upload_image", image=str(EXAMPLE_IMAGE))
            async with httpx.AsyncClient(base_url=prompt_studio.url, trust_env=False, verify=NO_TLS) as control:
                await control.post("/_sandbox/faults", json={"faults": [f"{fault}:1"]})
            while not answers or (len(answers) < CALLS_MAX and (answers[-1] is None or answers[-1].is_error)):
                answers.append(await call(client, "animate_image", image=str(EXAMPLE_IMAGE), prompt="The boat sails"))
    audit = await stage.audit()
    assert audit.problems == []
    assert (audit.generations, audit.uploads) == (1, 1), answers
    assert audit.ledger_micro_usdc == audit.chain_micro_usdc
