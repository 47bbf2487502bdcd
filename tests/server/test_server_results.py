"""The result of a finished job: every fact twice, the file as a link, one thumbnail, and never the video itself."""

import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import (
    BlobResourceContents,
    CallToolResult,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from PIL import Image

from seedance_mcp.server import build_server, resources
from tests.servers import ask_sandbox

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

THUMBNAIL_BYTES_MAX = 64 * 1024
SECONDS = 40

Mode = Literal["auto", "legacy"]
MakeSandbox = Callable[..., "Sandbox"]


@asynccontextmanager
async def open_host(
    sandbox: "Sandbox", key: str, folder: Path, *, mode: Mode = "auto", seconds: float = SECONDS, **settings: str
) -> AsyncGenerator[Client]:
    environ = {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": sandbox.url,
        "SEEDANCE_WALLET_KEY": key,
        "SEEDANCE_DATA_DIR": str(folder / "data"),
        **settings,
    }
    with anyio.fail_after(seconds):
        async with Client(build_server(environ), mode=mode) as client:
            yield client


async def buy(client: Client, picture: Path, **arguments: object) -> CallToolResult:
    return await client.call_tool("animate_image", {"image": str(picture), "prompt": "x", **arguments})


def facts(answer: CallToolResult) -> dict[str, Any]:
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    text = answer.content[0]
    assert isinstance(text, TextContent)
    assert json.loads(text.text) == answer.structured_content
    return answer.structured_content


async def break_with(sandbox: "Sandbox", *faults: str) -> None:
    """Switch named faults on."""
    await ask_sandbox(sandbox.url, "/_sandbox/faults", {"faults": faults})


async def settlements(sandbox: "Sandbox") -> list[Any]:
    """Return the transfers on the sandbox's chains."""
    return (await ask_sandbox(sandbox.url, "/_sandbox/state"))["settlements"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_finished_job_has_data_text_link_and_thumbnail(
    studio_server: "Sandbox", funded_key: str, make_picture: Callable[..., Path], tmp_path: Path, mode: Mode
) -> None:
    async with open_host(studio_server, funded_key, tmp_path, mode=mode) as client:
        answer = await buy(client, make_picture())
        again = await client.call_tool("get_job", {"job_id": facts(answer)["job_id"]})

    for one in (answer, again):
        assert [part.type for part in one.content] == ["text", "resource_link", "image"]
        link, picture = one.content[1], one.content[2]
        assert isinstance(link, ResourceLink)
        assert isinstance(picture, ImageContent)
        assert str(link.uri) == f"file://{facts(one)['file']}"
        data = base64.b64decode(picture.data)
        assert len(data) <= THUMBNAIL_BYTES_MAX
        assert Image.open(BytesIO(data)).format == "JPEG"
        assert len(one.model_dump_json()) < 100_000


async def test_thumbnails_can_be_switched_off(
    studio_server: "Sandbox", funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    async with open_host(studio_server, funded_key, tmp_path, SEEDANCE_THUMBNAILS="off") as client:
        answer = await buy(client, make_picture())
    assert [part.type for part in answer.content] == ["text", "resource_link"]


async def test_links_can_be_switched_off_and_the_path_stays(
    studio_server: "Sandbox", funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    async with open_host(studio_server, funded_key, tmp_path, SEEDANCE_RESOURCE_LINKS="off") as client:
        answer = await buy(client, make_picture())
        again = await client.call_tool("get_job", {"job_id": facts(answer)["job_id"]})
    for one in (answer, again):
        assert [part.type for part in one.content] == ["text", "image"]
        assert Path(facts(one)["file"]).is_file()


async def test_jobs_of_a_lost_ledger_are_found_at_the_studio(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path / "lost") as client:
        bought = facts(await buy(client, make_picture(), take=2))
    async with open_host(sandbox, funded_key, tmp_path / "new") as client:
        other = facts(await buy(client, make_picture("other.png", size=(300, 300))))
        listed = facts(await client.call_tool("list_jobs", {}))
        one = facts(await client.call_tool("list_jobs", {"limit": 1}))
        foreign = facts(await client.call_tool("get_job", {"job_id": bought["job_id"]}))

    assert [job["job_id"] for job in listed["jobs"]] == [other["job_id"], bought["job_id"]]
    ours, theirs = listed["jobs"]
    assert (ours["price_usd"], ours["status"], ours["file"]) == ("0.32", "complete", other["file"])
    assert (theirs["price_usd"], theirs["status"], theirs["file"]) == (None, "complete", None)
    assert ours["prompt"] == theirs["prompt"] == "«x»"
    assert ours["created_at"].endswith("Z")
    assert [job["job_id"] for job in one["jobs"]] == [other["job_id"]]
    assert Path(foreign["file"]).read_bytes()[4:8] == b"ftyp"
    assert foreign["next_step"].startswith("Done.")


async def test_job_of_a_lost_ledger_is_awaited_and_saved_once(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=4)
    async with open_host(sandbox, funded_key, tmp_path / "lost") as client:
        job_id = None
        while job_id is None:
            job_id = facts(await buy(client, make_picture(), wait_seconds=1))["job_id"]
    async with open_host(sandbox, funded_key, tmp_path / "new") as client:
        early = facts(await client.call_tool("get_job", {"job_id": job_id, "wait_seconds": 0}))
        done = facts(await client.call_tool("get_job", {"job_id": job_id}))
        saved_at = Path(done["file"]).stat().st_mtime_ns
        again = facts(await client.call_tool("get_job", {"job_id": job_id}))
        [listed] = facts(await client.call_tool("list_jobs", {}))["jobs"]

    assert (early["status"] in ("pending", "loading"), early["file"]) == (True, None)
    assert (done["status"], done["price_usd"], done["rail"]) == ("complete", None, None)
    assert again["file"] == listed["file"] == done["file"]
    assert Path(done["file"]).stat().st_mtime_ns == saved_at


async def test_relative_data_folder_starts_at_the_working_folder(
    studio_server: "Sandbox",
    funded_key: str,
    make_picture: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = make_picture()
    monkeypatch.chdir(tmp_path)
    async with open_host(studio_server, funded_key, Path("here")) as client:
        answer = await buy(client, picture)
    [link] = [part for part in answer.content if isinstance(part, ResourceLink)]
    file = facts(answer)["file"]
    assert (tmp_path / file).is_relative_to(tmp_path / "here")
    assert url2pathname(urlsplit(str(link.uri)).path) == str(tmp_path / file)


async def test_saved_video_link_reads_back_as_its_path(
    studio_server: "Sandbox", funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    async with open_host(studio_server, funded_key, tmp_path / "Application Support #1 50%41 ü") as client:
        answer = await buy(client, make_picture())
    [link] = [part for part in answer.content if isinstance(part, ResourceLink)]
    assert url2pathname(urlsplit(str(link.uri)).path) == facts(answer)["file"]
    assert link.name == Path(facts(answer)["file"]).name


async def test_list_works_while_the_studio_is_down(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path) as client:
        bought = facts(await buy(client, make_picture()))
        await break_with(sandbox, "server_error")
        listed = facts(await client.call_tool("list_jobs", {}))

    assert [job["job_id"] for job in listed["jobs"]] == [bought["job_id"]]
    assert "own list could not be had" in listed["notes"][0]


async def test_wallet_status_has_balances_and_spending(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path, SEEDANCE_RAILS="x402") as client:
        before = facts(await client.call_tool("wallet_status", {}))
        await buy(client, make_picture())
        after = facts(await client.call_tool("wallet_status", {}))

    def held(told: dict[str, Any]) -> int:
        return next(one["balance_micro_usdc"] for one in told["balances"] if one["rail"] == "x402")

    assert held(before) - held(after) == 330_000
    assert (after["spent_24h_usd"], after["spent_total_usd"], after["left_today_usd"]) == ("0.33", "0.33", "4.67")
    assert after["unfinished_payments"] == []


async def test_silent_chain_leaves_a_balance_unknown_within_seconds(
    funded_key: str, tmp_path: Path, make_sandbox: MakeSandbox
) -> None:
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path) as client:
        await client.call_tool("wallet_status", {})
        await anyio.to_thread.run_sync(sandbox.stop)
        with anyio.fail_after(60):
            told = facts(await client.call_tool("wallet_status", {}))
    assert {balance["balance_usd"] for balance in told["balances"]} == {None}


async def test_job_resource_is_json_with_change_notifications(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=1.5)
    async with open_host(sandbox, funded_key, tmp_path) as client:
        job_id = ""
        while not job_id:
            job_id = facts(await buy(client, make_picture(), wait_seconds=1))["job_id"] or ""
        uri = f"seedance://jobs/{job_id}"
        async with client.listen(resource_subscriptions=[uri]) as events:
            async for event in events:
                assert str(getattr(event, "uri", "")) == uri
                break
        done = facts(await client.call_tool("get_job", {"job_id": job_id}))
        content = (await client.read_resource(uri)).contents[0]

    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    assert json.loads(content.text) == done


async def test_saved_video_is_a_blob_up_to_a_size(
    studio_server: "Sandbox",
    funded_key: str,
    make_picture: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_host(studio_server, funded_key, tmp_path) as client:
        job = facts(await buy(client, make_picture()))
        uri = f"seedance://videos/{job['job_id']}"
        content = (await client.read_resource(uri)).contents[0]
        monkeypatch.setattr(resources, "VIDEO_BYTES_MAX", 100)
        with pytest.raises(MCPError, match="Open the file itself"):
            await client.read_resource(uri)

    assert isinstance(content, BlobResourceContents)
    assert content.mime_type == "video/mp4"
    assert base64.b64decode(content.blob) == await anyio.Path(job["file"]).read_bytes()
