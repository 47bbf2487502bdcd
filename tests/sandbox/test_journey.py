"""From picture to video in both dialects, paid by the official client SDK."""

import base64
import io
import json
from collections.abc import Callable

import anyio
import av
import pytest

from seedance_mcp.sandbox import Sandbox

from .bodies import SEEDANCE, write_classic, write_current
from .client import FUNDS_MICRO_USDC, SandboxClient, draw_image


@pytest.mark.parametrize(
    ("contract", "price_micro_usdc", "has_sound"), [("classic", 4 * 82_500, False), ("current", 4 * 90_000, True)]
)
async def test_uploaded_picture_becomes_a_paid_video(
    open_sandbox: Callable[..., Sandbox],
    open_client: Callable[..., SandboxClient],
    contract: str,
    price_micro_usdc: int,
    has_sound: bool,
) -> None:
    sandbox = open_sandbox(contract=contract, small_videos=False)
    client = open_client(sandbox)
    with anyio.fail_after(60):
        url = await client.upload(draw_image())
        body = write_classic(url) if contract == "classic" else write_current(url)

        answer = await client.buy(SEEDANCE, body)

        assert answer.status_code == 200, answer.text
        receipt = json.loads(base64.b64decode(answer.headers["payment-response"]))
        made = answer.json()
        assert made["success"] is True
        assert made["status"] == "pending"
        assert made["type"] == "seedance-i2v"
        assert made["jobId"].startswith("cm")
        assert made["pollUrl"] == f"{sandbox.url}/api/jobs/{made['jobId']}"
        assert receipt["payer"] == client.address
        assert sandbox.chain.balance_of(client.address) == FUNDS_MICRO_USDC - 10_000 - price_micro_usdc

        job = await client.wait_for(made["jobId"], "complete", "failed")
        assert job["status"] == "complete", job
        assert job["id"] == job["jobId"] == made["jobId"]
        assert job["input"] == body
        assert job["progress"] == 100
        assert job["error"] is None
        video = await client.http.get(job["result"]["videoUrl"])
        thumbnail = await client.http.get(job["result"]["thumbnailUrl"])
    assert video.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(video.content), "r") as container:
        assert container.streams.video[0].width == 854
        assert bool(container.streams.audio) is has_sound
    assert thumbnail.content.startswith(b"\xff\xd8\xff")
    state = await client.state()
    assert state["settlements"][-1]["transaction"] == receipt["transaction"]
    assert state["settlements"][-1]["path"] == SEEDANCE
    assert [slot["confirmed"] for slot in state["uploads"]] == [True]
    assert state["requests"][f"POST {SEEDANCE}"] == 2


async def test_picture_of_another_host_needs_no_upload(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    elsewhere = open_client(open_sandbox())
    client = open_client(open_sandbox())
    with anyio.fail_after(60):
        url = await elsewhere.upload(draw_image())

        answer = await client.buy(SEEDANCE, write_current(url))

    assert answer.status_code == 200, answer.text


async def test_small_videos_have_an_eighth_of_the_size_and_no_sound(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox(small_videos=True))
    with anyio.fail_after(60):
        made = (await client.buy(SEEDANCE, write_current(await client.upload(draw_image())))).json()
        job = await client.wait_for(made["jobId"], "complete", "failed")
        video = await client.http.get(job["result"]["videoUrl"])

    with av.open(io.BytesIO(video.content), "r") as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (106, 60)
        assert not container.streams.audio
