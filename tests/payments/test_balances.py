"""What the wallet holds: asked in a moment or not at all, and compared with the whole cost before money moves."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
from mcp import Client

from tests.server.test_server_results import buy, facts, open_host, settlements
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

VIDEOS = 8
SLOW_SECONDS = 0.5
SILENT_SECONDS = 20
"""Longer than any balance is waited for."""
MakeSandbox = Callable[..., "Sandbox"]
Draw = Callable[..., Path]


async def count_requests(sandbox: "Sandbox") -> dict[str, int]:
    """How often each route was called."""
    async with httpx.AsyncClient(base_url=sandbox.url, verify=NO_TLS) as http:
        return (await http.get("/_sandbox/state")).json()["requests"]


async def start(client: Client, picture: Path, **arguments: object) -> str:
    """Buy a video and do not wait for it: the id of its job."""
    job_id = None
    while job_id is None:
        job_id = facts(await buy(client, picture, wait_seconds=1, **arguments))["job_id"]
    return job_id


async def test_a_slow_chain_fails_none_of_eight_videos_at_once(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox(rails=("x402",), faults=(f"slow_chain={SLOW_SECONDS}", "stuck_job"))
    started: list[str] = []
    async with open_host(sandbox, funded_key, tmp_path) as client:
        pictures = [make_picture(f"{number}.png", size=(640, 360 + number)) for number in range(VIDEOS)]

        async def animate(picture: Path) -> None:
            started.append(await start(client, picture))

        async with anyio.create_task_group() as tasks:
            for picture in pictures:
                tasks.start_soon(animate, picture)

    assert len(set(started)) == VIDEOS
    assert len(await settlements(sandbox)) == 2 * VIDEOS


async def test_a_silent_chain_is_asked_once_and_delays_no_later_video(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox(rails=("x402",), faults=(f"slow_chain={SILENT_SECONDS}", "stuck_job"))
    async with open_host(sandbox, funded_key, tmp_path) as client:
        picture, asked = make_picture(), list[int]()
        for take in (1, 2):
            await start(client, picture, take=take)
            asked.append((await count_requests(sandbox))["POST /rpc"])

    assert len(await settlements(sandbox)) == 3
    assert asked == [2, 2], "once for the balance, and once for what a new ledger does not know"
