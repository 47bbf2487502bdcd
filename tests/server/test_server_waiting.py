"""Waiting: every call ends in time with any slow party; cancelling a call stops the waiting but not the job."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.types import CallToolResult

from seedance_mcp.server import call_context
from seedance_mcp.server.tool import ERROR_KEY
from tests.server.test_server_results import MakeSandbox, buy, facts, open_host, settlements
from tests.servers import Asked, build_answer, serve_raw

if TYPE_CHECKING:
    from mcp import Client

SLACK_SECONDS = 20  # a busy machine is no failure; without the deadline the call would never end
"""Delay that a busy machine may add to a deadline."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Reduce the ten seconds for a picture or a price to one."""
    monkeypatch.setattr(call_context, "ANSWER_SECONDS_MIN", 1)


async def silence(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Read a request and never answer."""
    del asked, writer
    await asyncio.sleep(3600)


async def ask(client: "Client", tool: str, **arguments: object) -> tuple[CallToolResult, float]:
    began_at = time.monotonic()
    answer = await client.call_tool(tool, arguments)
    return answer, time.monotonic() - began_at


async def test_silent_image_host_delays_no_call_and_costs_nothing(
    make_sandbox: MakeSandbox, funded_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedance_mcp.server.tools.WAIT_SECONDS_MAX", 1)  # the time for an upload
    sandbox = make_sandbox()
    async with serve_raw(silence) as host, open_host(sandbox, funded_key, tmp_path) as client:
        image = f"{host.url}/slow.png"
        quote, quoted = await ask(client, "quote_price", image=image, prompt="x", wait_seconds=1)
        bought, waited = await ask(client, "animate_image", image=image, prompt="x", wait_seconds=1)
        hosted, hosting = await ask(client, "upload_image", image=image)

    assert max(quoted, waited, hosting) < 1 + SLACK_SECONDS
    for answer in (quote, hosted):
        assert (answer.meta or {})[ERROR_KEY] == {
            "code": "studio_unreachable", "payment_state": "none", "charge": "none",
            "amount_micro_usdc": 0, "payment_id": None,
        }  # fmt: skip
    job = facts(bought)
    assert (job["job_id"], job["status"]) == (None, "pending")
    assert job["next_step"].startswith("Nothing is bought yet")
    assert await settlements(sandbox) == []


async def test_late_picture_serves_the_next_call(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    picture = make_picture().read_bytes()

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        await asyncio.sleep(2)
        writer.write(build_answer(200, picture, content_type="image/png"))

    sandbox = make_sandbox()
    async with serve_raw(slow) as host, open_host(sandbox, funded_key, tmp_path) as client:
        image = f"{host.url}/slow.png"
        first, _ = await ask(client, "quote_price", image=image, prompt="x", wait_seconds=1)
        await anyio.sleep(2)
        second, _ = await ask(client, "quote_price", image=image, prompt="x", wait_seconds=20)

    assert first.is_error
    assert facts(second)["price_usd"] == "0.32"
    ours = [asked for asked in host.asked if asked.headers["user-agent"].startswith("seedance-mcp")]
    assert len(ours) == 1  # the studio downloads it, too


async def test_silent_studio_delays_no_call_beyond_its_deadline(
    funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    async with serve_raw(silence) as studio:
        stand_in: Any = studio
        async with open_host(stand_in, funded_key, tmp_path) as client:
            image = str(make_picture())
            answers = [
                await ask(client, "quote_price", image=image, prompt="x", wait_seconds=1),
                await ask(client, "animate_image", image=image, prompt="x", wait_seconds=1),
                await ask(client, "get_job", job_id="cmunknown", wait_seconds=1),
            ]
    assert max(seconds for _, seconds in answers) < 1 + SLACK_SECONDS
    assert [(answer.meta or {}).get(ERROR_KEY, {}).get("code") for answer, _ in answers] == [
        "studio_unreachable", None, "studio_unreachable",
    ]  # fmt: skip


async def test_cancelled_call_leaves_its_job_for_the_next_call(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=1.5)
    async with open_host(sandbox, funded_key, tmp_path) as client:
        image = make_picture()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: buy(client, image))
            settled: list[Any] = []
            while len(settled) < 2:
                settled = await settlements(sandbox)
            tasks.cancel_scope.cancel()
        answer = facts(await buy(client, image))
        while answer["file"] is None:
            answer = facts(await client.call_tool("get_job", {"job_id": answer["job_id"]}))

    assert answer["status"] == "complete"
    assert len(await settlements(sandbox)) == 2


async def test_get_job_deadline_is_a_normal_answer(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("stuck_job",))
    async with open_host(sandbox, funded_key, tmp_path) as client:
        job_id = None
        while job_id is None:
            job_id = facts(await buy(client, make_picture(), wait_seconds=1))["job_id"]
        for wait_seconds in (0, 1, 2):
            answer, waited = await ask(client, "get_job", job_id=job_id, wait_seconds=wait_seconds)
            assert facts(answer)["next_step"] == f"Still running. Call get_job with job_id {job_id}."
            assert waited < wait_seconds + SLACK_SECONDS


async def test_purchase_continues_after_the_callers_deadline(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("slow_answer=2",))
    async with open_host(sandbox, funded_key, tmp_path) as client:
        image = make_picture()
        await ask(
            client, "quote_price", image=str(image), prompt="x"
        )  # everything is opened now, also on a busy machine
        early, waited = await ask(client, "animate_image", image=str(image), prompt="x", wait_seconds=1)
        answer = facts(early)
        while answer["file"] is None:
            answer = facts(await buy(client, image))

    assert waited < 1 + SLACK_SECONDS
    assert facts(early)["next_step"].startswith("Still being bought.")
    assert len(await settlements(sandbox)) == 2


async def test_progress_is_sent_while_the_price_is_requested(
    funded_key: str, make_picture: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_context, "PROGRESS_SECONDS", 0.4)
    values: list[float] = []

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        values.append(progress)

    async with serve_raw(silence) as studio:
        stand_in: Any = studio
        async with open_host(stand_in, funded_key, tmp_path, SEEDANCE_ASK_ABOVE="0.10") as client:
            arguments = {"image": str(make_picture()), "prompt": "x", "wait_seconds": 2}
            answer = await client.call_tool("animate_image", arguments, progress_callback=watch)

    assert answer.is_error
    assert len(values) >= 4
    assert all(earlier < later for earlier, later in pairwise(values))


@pytest.mark.slow
async def test_progress_is_sent_at_least_every_five_seconds(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox(faults=("stuck_job",))
    moments: list[float] = []
    values: list[float] = []

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        assert total == 100
        assert message
        moments.append(time.monotonic())
        values.append(progress)

    async with open_host(sandbox, funded_key, tmp_path) as client:
        arguments = {"image": str(make_picture()), "prompt": "x", "wait_seconds": 12}
        await client.call_tool("animate_image", arguments, progress_callback=watch)
        moments.append(time.monotonic())

    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert max(gaps) < 5
    assert all(earlier < later for earlier, later in pairwise(values))
