"""The picture picker: a picture that a model cannot name comes over a link, and is bought like any other."""

import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.types import ElicitResult

from seedance_mcp.app.local_sandbox import resolve_sandbox
from seedance_mcp.server import build_server
from tests.cli.conftest import Person
from tests.integration.host import Answer, Bench, draw, run_in_thread
from tests.integration.test_process import HELLO, LEAVE_SECONDS, hear, say, start
from tests.servers import NO_TLS

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
DAY = 24 * 3600


class Visitor:
    """A person whose host shows links, and who answers all alike; gives a picture over each, if there is one."""

    def __init__(self, picture: Path | None, *, action: Any = "accept") -> None:
        self.questions: list[Any] = []
        self._picture = picture
        self._action = action

    async def __call__(self, _context: Any, params: Any) -> ElicitResult:
        self.questions.append(params)
        if self._picture is not None:
            await give(params.url, self._picture.read_bytes())
        return ElicitResult(action=self._action)


async def give(url: str, data: bytes) -> httpx.Response:
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        return await http.put(url, content=data)


@MODES
async def test_link_is_returned_at_once_and_its_picture_is_bought(bench: Bench, picture: Path, mode: str) -> None:
    async with bench.host(mode=mode) as host:
        link = await host.call("upload_image")
        too_early = await host.call("quote_price", image=link["image"], prompt="x")
        given = await give(link["upload_url"], picture.read_bytes())
        quote = await host.call("quote_price", image=link["image"], prompt="x")
        video = await host.animate_to_the_end(image=link["image"], prompt="x")
        again = await host.call("animate_image", image=str(picture), prompt="x")

    assert re.fullmatch("upload:[0-9a-f]{32}", link["image"])
    assert link["upload_url"].startswith("http://127.0.0.1:")
    assert (link["price_micro_usdc"], link["sha256"]) == (0, None)
    assert f"call animate_image with image {link['image']}" in link["next_step"]
    assert too_early.text.startswith(f"image: No picture was given for {link['image']} yet. Nothing was paid.")
    assert given.status_code == 201
    assert (quote["allowed"], quote["cost_usd"]) == (True, "0.33")
    assert video["status"] == "complete"
    assert again["job_id"] == video["job_id"], "the same bytes are the same picture, wherever they come from"
    assert await bench.paid() == [10_000, 320_000]


@MODES
async def test_host_that_shows_links_gets_the_picture_in_one_call(bench: Bench, picture: Path, mode: str) -> None:
    person = Visitor(picture)
    async with bench.host(mode=mode, elicitation=person) as host:
        given = await host.call("upload_image")
        video = await host.animate_to_the_end(image=given["image"], prompt="x")
    [question] = person.questions

    assert question.mode == "url"
    assert question.url.startswith("http://127.0.0.1:")
    assert "Nothing is paid" in question.message
    assert (given["upload_url"], given["curl"], given["expires_at"]) == (None, None, None)
    assert given["notes"] == ["The picture has 640 x 360 pixels."]
    assert given["next_step"] == f"Call animate_image with image {given['image']}."
    assert (given["media_type"], given["image_url"], given["price_micro_usdc"]) == ("image/png", None, 0)
    assert video["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000]


@MODES
async def test_call_waits_for_a_picture_that_comes_after_the_answer(bench: Bench, picture: Path, mode: str) -> None:
    person = Visitor(None)
    async with bench.host(mode=mode, elicitation=person) as host, anyio.create_task_group() as tasks:

        async def come_late() -> None:
            while not any(message == "Waiting for the picture" for _, message in host.progress):
                await anyio.sleep(0.02)
            await give(person.questions[0].url, picture.read_bytes())

        tasks.start_soon(come_late)
        assert (await host.call("upload_image"))["sha256"] is not None


@MODES
async def test_person_who_declines_gives_no_picture(bench: Bench, picture: Path, mode: str) -> None:
    person = Visitor(None, action="decline")
    async with bench.host(mode=mode, elicitation=person) as host:
        answer = await host.call("upload_image")
        other = await host.call("quote_price", image=str(picture), prompt="x")

    assert answer.failed
    assert answer.text == (
        "image: The person at the host did not want to open the page for a picture. Nothing was paid. "
        "Ask the user for the picture's path or https URL."
    )
    assert not other.failed
    assert len(person.questions) == 1


@MODES
async def test_question_without_an_answer_leaves_the_link(bench: Bench, picture: Path, mode: str) -> None:
    person = Visitor(None, action="cancel")
    async with bench.host(mode=mode, elicitation=person) as host:
        link = await host.call("upload_image")
        given = await give(link["upload_url"], picture.read_bytes())
        quote = await host.call("quote_price", image=link["image"], prompt="x")

    assert link["upload_url"] == person.questions[0].url
    assert given.status_code == 201
    assert not quote.failed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@MODES
async def test_command_line_of_the_result_gives_a_file_to_a_server_process(
    bench: Bench, picture: Path, mode: str
) -> None:
    async with bench.host(mode=mode, process="forked") as host:
        link = await host.call("upload_image", image="")
        command = shlex.split(link["curl"].replace("PICTURE_FILE", str(picture)))
        done = await run_in_thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
        hosted = await host.call("upload_image", image=link["image"])

    assert f'"image":"{link["image"]}"' in done.stdout
    assert hosted["image_url"].startswith(bench.sandbox.url)
    assert await bench.paid() == [10_000]


async def test_picture_outlives_its_server_and_is_bought_once(bench: Bench, picture: Path) -> None:
    last = draw(picture.with_name("last.png"), colour=(90, 20, 20))
    async with bench.host() as host:
        links = [await host.call("upload_image") for _ in range(2)]
        for link, file in zip(links, (picture, last), strict=True):
            await give(link["upload_url"], file.read_bytes())
    request = {"image": links[0]["image"], "last_image": links[1]["image"], "prompt": "x"}
    async with bench.host() as host:
        video = await host.animate_to_the_end(**request)
    async with bench.host() as host:
        again = await host.call("animate_image", **request)

    assert video["status"] == "complete"
    assert again["job_id"] == video["job_id"]
    assert await bench.paid() == [10_000, 10_000, 320_000]


async def age_pictures(bench: Bench, days: float) -> list[Path]:
    """Make every received picture older than it is; returns their files."""
    files = [file async for file in anyio.Path(bench.folder / "data").rglob("pictures/*")]
    for file in files:
        changed_at = time.time() - days * DAY
        os.utime(file, (changed_at, changed_at))
    return [Path(file) for file in files]


async def test_picture_that_nothing_was_bought_with_expires_after_a_day(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        link = await host.call("upload_image")
        await give(link["upload_url"], picture.read_bytes())
        await host.call("quote_price", image=link["image"], prompt="x")
        [file] = await age_pictures(bench, 1.01)
        expired = await host.call("animate_image", image=link["image"], prompt="x")
        await host.call("upload_image")

    assert expired.text.startswith(f"image: The picture {link['image']} has expired. Nothing was paid.")
    assert "upload_image without image" in expired.text
    assert not file.exists(), "the next link tidies up"
    assert await bench.paid() == []


async def test_picture_of_a_video_is_kept(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        link = await host.call("upload_image")
        await give(link["upload_url"], picture.read_bytes())
        video = await host.animate_to_the_end(image=link["image"], prompt="x")
        [file] = await age_pictures(bench, 400)
        again = await host.call("animate_image", image=link["image"], prompt="x")
        await host.call("upload_image")

    assert again["job_id"] == video["job_id"]
    assert file.exists()
    assert await bench.paid() == [10_000, 320_000]


async def test_unknown_id_is_refused_with_the_way_to_a_link(bench: Bench) -> None:
    names = ("upload:", "upload:cat.png", "upload:../../ledger", "upload:" + "0" * 32)
    answers: list[Answer] = []
    async with bench.host() as host:
        for name in names:
            answers.append(await host.call("quote_price", image=name, prompt="x"))
            answers.append(await host.call("upload_image", image=name))

    for answer in answers:
        assert answer.text.startswith("image: There is no picture ")
        assert "Nothing was paid. Call upload_image without image" in answer.text


async def test_id_is_understood_as_models_write_it(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        link = await host.call("upload_image")
        await give(link["upload_url"], picture.read_bytes())
        spellings = (f" {link['image']} ", f'"{link["image"]}"', link["image"].upper())
        quotes = [await host.call("quote_price", image=spelling, prompt="x") for spelling in spellings]

    assert [quote.failed for quote in quotes] == [False] * 3


async def test_file_that_was_changed_on_disk_is_refused(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        link = await host.call("upload_image")
        await give(link["upload_url"], picture.read_bytes())
        [file] = await age_pictures(bench, 0)
        file.write_bytes(draw(picture.with_name("other.png"), colour=(9, 9, 9)).read_bytes())
        answer = await host.call("animate_image", image=link["image"], prompt="x")

    assert "was changed on disk. Nothing was paid." in answer.text
    assert await bench.paid() == []


async def test_chat_picture_error_names_the_picker(bench: Bench) -> None:
    async with bench.host() as host:
        answer = await host.call("quote_price", image="attachment://cat.png", prompt="x")

    assert "or call upload_image without image for a link" in answer.text


async def test_embedded_sandbox_takes_a_picture_too(tmp_path: Path, picture: Path) -> None:
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path / "data")}
    async with Client(build_server(environ, resolve_sandbox=resolve_sandbox)) as client:
        link: Any = await client.call_tool("upload_image", {})
        page = await give(link.structured_content["upload_url"], picture.read_bytes())
        quote = await client.call_tool("quote_price", {"image": link.structured_content["image"], "prompt": "x"})

    assert page.status_code == 201
    assert not quote.is_error


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("version", "elicitation"), [("2025-06-18", {}), ("2025-06-18", {"url": {}}), ("2025-11-25", {"form": {}})]
)
def test_host_without_links_gets_one_at_once_and_a_signal_still_ends_the_server(
    version: str, elicitation: dict[str, object], picture: Path
) -> None:
    params = {"protocolVersion": version, "capabilities": {"elicitation": elicitation}}
    hello: Any = {**HELLO, "params": {**params, "clientInfo": {"name": "test", "version": "1"}}}
    call: Any = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "upload_image", "arguments": {}}}
    with start(forked=True) as process:
        try:
            say(process, hello, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call)
            hear(process)
            answer: Any = hear(process)
            link = answer["result"]["structuredContent"]
            given = httpx.put(link["upload_url"], content=picture.read_bytes())
            process.send_signal(signal.SIGTERM)
            assert process.wait(LEAVE_SECONDS) == 0
        finally:
            process.kill()

    assert given.status_code == 201
    with pytest.raises(httpx.ConnectError):
        httpx.get(link["upload_url"])


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_declined_link_that_has_ended_is_declined_again(tmp_path: Path) -> None:
    """A host may send the same answer twice; the first one has ended the link."""
    meta: Any = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
    }
    params: Any = {"name": "upload_image", "arguments": {}, "_meta": meta}
    answers: list[Any] = []
    with start(forked=True, SEEDANCE_PROFILE="sandbox", SEEDANCE_DATA_DIR=str(tmp_path)) as process:
        try:
            say(process, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            asked: Any = hear(process)
            state = asked["result"]["requestState"]
            for number, action in enumerate(("decline", "decline", "cancel")):
                again = {**params, "requestState": state, "inputResponses": {"picture": {"action": action}}}
                say(process, {"jsonrpc": "2.0", "id": number + 2, "method": "tools/call", "params": again})
                answers.append(hear(process)["result"])
        finally:
            process.kill()

    for declined in answers[:2]:
        assert declined["isError"]
        assert "did not want to open the page for a picture. Nothing was paid." in declined["content"][0]["text"]
    first = asked["result"]["inputRequests"]["picture"]["params"]["url"]
    assert answers[2]["structuredContent"]["upload_url"] not in (None, first), "a link that has ended is replaced"


async def test_commands_take_a_picture_by_its_id(bench: Bench, picture: Path) -> None:
    owner = Person(folder=bench.folder, environ=bench.environ)
    async with bench.host() as host:
        link = await host.call("upload_image")
        await give(link["upload_url"], picture.read_bytes())
    (bench.folder / "list.csv").write_text(f"image,prompt\n{link['image']},x\n")
    commands = (
        ("quote", link["image"], "--prompt", "x", "--json"),
        ("upload", link["image"], "--json"),
        ("quote", "--from", str(bench.folder / "list.csv"), "--json"),
    )
    for words in commands:
        done = await run_in_thread(functools.partial(owner.run, *words))
        assert done.code == 0, done.err

    assert await bench.paid() == [10_000]
