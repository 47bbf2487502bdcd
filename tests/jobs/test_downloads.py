"""What was paid is delivered: whatever the word, the shape and the file are in which the studio hands it over."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.types import CallToolResult, ResourceLink

from tests.integration.test_videos import measure
from tests.server.test_server_results import MakeSandbox, break_with, buy, facts, open_host, settlements
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

CLIP, UPLOAD = 320_000, 10_000
LIMITS: dict[str, Any] = {"SEEDANCE_MAX_PER_DAY": "50"}
"""Room for the takes of one test."""
Draw = Callable[..., Path]


class Customer:
    """A host that buys one take after the other of one picture, each under faults of its own."""

    def __init__(self, sandbox: "Sandbox", client: Client, picture: Path) -> None:
        self.sandbox, self.client, self._picture = sandbox, client, picture
        self.takes = 0

    async def buy(self, *faults: str, **arguments: object) -> CallToolResult:
        """Buy another take while the sandbox has these faults."""
        await break_with(self.sandbox, *faults)
        self.takes += 1
        return await buy(self.client, self._picture, take=self.takes, **arguments)

    async def paid(self) -> list[int]:
        return [one["amount_micro_usdc"] for one in await settlements(self.sandbox)]

    async def job_ids(self) -> list[str]:
        """The ids of the sandbox's jobs, oldest first."""
        async with httpx.AsyncClient(base_url=self.sandbox.url, verify=NO_TLS) as http:
            return [job["id"] for job in (await http.get("/_sandbox/state")).json()["jobs"]]


OpenCustomer = Callable[..., AbstractAsyncContextManager[Customer]]


@pytest.fixture
def open_customer(make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path) -> OpenCustomer:
    """Open a host on a sandbox of its own."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncGenerator[Customer]:
        sandbox = make_sandbox(**settings)
        async with open_host(sandbox, funded_key, tmp_path, **LIMITS) as client:
            yield Customer(sandbox, client, make_picture())

    return opened


def read_all(answer: CallToolResult) -> dict[str, Any]:
    """The facts of an answer, also of one that failed."""
    assert answer.structured_content is not None, answer.content
    return answer.structured_content


def read_saved(answer: CallToolResult) -> bytes:
    """The bytes of the video that an answer names."""
    told = facts(answer)
    assert (told["status"], told["progress"]) == ("complete", 100), told
    return Path(told["file"]).read_bytes()


async def test_saves_a_video_whatever_the_status_word_and_its_field(
    open_customer: OpenCustomer,
) -> None:
    words = ("done", "complete", "dreamt", None)
    shapes = ("video_object", "list", "string", "top_level")
    async with open_customer() as customer:
        for word, shape in zip(words, shapes, strict=True):
            faults = [f"result_shape={shape}", *([] if word is None else [f"status_word={word}"])]
            assert read_saved(await customer.buy(*faults))[4:8] == b"ftyp", faults
        assert await customer.paid() == [UPLOAD] + [CLIP] * len(words)


async def test_a_final_word_with_an_error_ends_as_failed(open_customer: OpenCustomer) -> None:
    words = ("expired", "failure", "moderated")
    async with open_customer() as customer:
        for word in words:
            with anyio.fail_after(60):
                answer = await customer.buy("failed_job", f"status_word={word}")
            told = read_all(answer)
            assert (answer.is_error, told["status"]) == (True, "failed"), word
            assert f"{word.capitalize()}: Generation failed" in told["error"]
            assert told["error"].startswith("«")
        assert await customer.paid() == [UPLOAD] + [CLIP] * len(words)


async def test_an_unknown_word_ends_as_failed_across_restarts(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    await break_with(sandbox, "failed_job", "status_word=moderated")
    picture, status, error = make_picture(), "loading", ""
    with anyio.fail_after(60):
        while status in ("pending", "loading"):
            async with open_host(sandbox, funded_key, tmp_path) as client:
                told = read_all(await buy(client, picture, wait_seconds=1))
                status, error = told["status"], str(told["error"])
    assert (status, "Moderated:" in error) == ("failed", True)


async def test_an_unknown_word_without_an_error_never_ends_as_failed(open_customer: OpenCustomer) -> None:
    async with open_customer() as customer:
        answer = await customer.buy("status_word=dreamt", "result_shape=nothing", wait_seconds=6)
        assert facts(answer)["status"] == "loading"
        await break_with(customer.sandbox, "status_word=dreamt")
        done = await customer.client.call_tool("get_job", {"job_id": facts(answer)["job_id"]})
    assert read_saved(done)


async def test_another_shape_or_a_numeric_id_answers_our_question(
    open_customer: OpenCustomer,
) -> None:
    async with open_customer() as customer:
        for shape in ("no_id", "data"):
            assert read_saved(await customer.buy(f"answer_shape={shape}"))
        answer = await customer.buy("numeric_job_id")
        assert facts(answer)["job_id"].isdigit()
        assert read_saved(answer)
        assert await customer.paid() == [UPLOAD] + [CLIP] * 3


async def test_another_jobs_answer_is_not_delivered_as_ours(open_customer: OpenCustomer) -> None:
    async with open_customer() as customer:
        first = facts(await customer.buy())
        await customer.buy("answer_shape=other_job", wait_seconds=3)
        await break_with(customer.sandbox)
        job_ids = await customer.job_ids()
        second = facts(await customer.client.call_tool("get_job", {"job_id": job_ids[1]}))
        assert await customer.paid() == [UPLOAD, CLIP, CLIP]
    assert [first["job_id"], second["job_id"]] == job_ids
    assert first["job_id"] in str(first["video_url"])
    assert second["job_id"] in str(second["video_url"])


async def test_a_list_of_jobs_is_read_or_said_to_be_unreadable(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=60)
    picture, job_id = make_picture(), None
    async with open_host(sandbox, funded_key, tmp_path / "lost") as client:
        while job_id is None:
            job_id = facts(await buy(client, picture, wait_seconds=1))["job_id"]
    for shape in ("bare", "data", "results", "jobs", "nested", "unreadable"):
        async with open_host(sandbox, funded_key, tmp_path / shape) as client:
            await break_with(sandbox, f"list_shape={shape}")
            listed = facts(await client.call_tool("list_jobs", {}))
        if shape != "unreadable":
            assert [job["job_id"] for job in listed["jobs"]] == [job_id], shape
            assert listed["notes"] == [], shape
        else:
            assert "cannot be read" in listed["notes"][0]
            assert "Nothing is running." not in listed["next_step"]


async def test_jobs_are_polled_one_by_one_where_the_list_cannot_be_read(open_customer: OpenCustomer) -> None:
    async with open_customer(job_seconds=6) as customer:
        for _ in range(2):
            await customer.buy("list_shape=unreadable", wait_seconds=2)
        for job_id in await customer.job_ids():
            assert read_saved(await customer.client.call_tool("get_job", {"job_id": job_id}))


async def test_saves_a_video_whatever_encoding_it_is_sent_in(open_customer: OpenCustomer) -> None:
    async with open_customer() as customer:
        plain = read_saved(await customer.buy())
        for encoding in ("gzip", "aws_chunked", "none", "empty"):
            saved = read_saved(await customer.buy(f"video_encoding={encoding}"))
            assert saved[:32] == plain[:32]


async def test_saves_what_plays_under_its_real_extension(open_customer: OpenCustomer) -> None:
    kinds = {
        "trailing": (".mp4", "5 bytes follow", "video/mp4"),
        "styp": (".mp4", "styp", "video/mp4"),
        "webm": (".webm", "WebM", "video/webm"),
        "matroska": (".mkv", "Matroska", "video/x-matroska"),
    }
    async with open_customer() as customer:
        for kind, (suffix, note, media_type) in kinds.items():
            answer = await customer.buy(f"video_body={kind}")
            told = facts(answer)
            assert Path(told["file"]).suffix == suffix
            assert [note in one for one in told["notes"]] == [True]
            assert measure(told["file"])[1] > 0
            [link] = [part for part in answer.content if isinstance(part, ResourceLink)]
            [content] = (await customer.client.read_resource(f"seedance://videos/{told['job_id']}")).contents
            assert (link.mime_type, content.mime_type) == (media_type, media_type)
            again = facts(await customer.client.call_tool("get_job", {"job_id": told["job_id"]}))
            assert (again["file"], again["notes"]) == (told["file"], told["notes"])


async def test_what_is_no_video_is_not_saved_as_one(open_customer: OpenCustomer) -> None:
    says = {"blank": "is empty", "json": "a JSON document", "xml": "an XML document", "html": "a web page"}
    async with open_customer() as customer:
        for kind, word in says.items():
            answer = await customer.buy(f"video_body={kind}")
            assert answer.is_error, kind
            assert word in str(answer.content)
        await break_with(customer.sandbox)
        job_ids = await customer.job_ids()
        assert len(job_ids) == len(says)
        for job_id in job_ids:
            answer = await customer.client.call_tool("get_job", {"job_id": job_id})
            if answer.is_error:  # an attempt that began before the fault was over ended in it; the next one is good
                answer = await customer.client.call_tool("get_job", {"job_id": job_id})
            assert read_saved(answer)


ERROR = "seedance-mcp/error"
RESULT_SECONDS = 20 * 60


def let_pass(folder: Path, seconds: float) -> None:
    """Let everything in a ledger have happened earlier; no process may have it open."""
    [file] = folder.rglob("ledger.sqlite3")
    with sqlite3.connect(file) as db:
        for column in ("created_at", "ended_at", "url_seen_at", "expired_at"):
            db.execute(f"UPDATE jobs SET {column} = {column} - ?", (seconds,))  # noqa: S608 - our own words
    db.close()


async def test_a_video_that_cannot_be_saved_is_told_with_its_url_and_age(open_customer: OpenCustomer) -> None:
    async with open_customer() as customer:
        bought = await customer.buy("expired_result")
        [job_id] = await customer.job_ids()
        early = facts(await customer.client.call_tool("get_job", {"job_id": job_id, "wait_seconds": 0}))
        asked = await customer.client.call_tool("get_job", {"job_id": job_id})
    for answer in (bought, asked):
        assert answer.is_error
        told = (answer.meta or {})[ERROR]
        assert (told["code"], told["payment_state"], told["amount_micro_usdc"]) == ("video_unsaved", "settled", CLIP)
        assert (told["job_id"], job_id in told["video_url"]) == (job_id, True)
        assert 0 <= told["video_url_age_seconds"] < 60
        assert f"«{told['video_url']}»" in str(answer.content)
        assert "first seen less than a minute ago" in str(answer.content)
    assert (early["status"], early["file"]) == ("complete", None)
    assert job_id in early["video_url"]
    assert 0 <= early["video_url_age_seconds"] < 60


async def test_a_result_that_expired_is_a_claim_and_not_bought_again(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox, picture = make_sandbox(), make_picture()
    await break_with(sandbox, "expired_result")
    async with open_host(sandbox, funded_key, tmp_path) as client:
        job_id = (await buy(client, picture)).meta[ERROR]["job_id"]  # type: ignore[index]  # it failed
    let_pass(tmp_path, RESULT_SECONDS + 60)
    async with open_host(sandbox, funded_key, tmp_path) as client:
        ended = await client.call_tool("get_job", {"job_id": job_id})
        again = await buy(client, picture)
        once_more = await client.call_tool("get_job", {"job_id": job_id})
        [line] = facts(await client.call_tool("list_jobs", {}))["jobs"]
        await break_with(sandbox)
        revived = facts(await client.call_tool("get_job", {"job_id": job_id}))
    transaction = str((await settlements(sandbox))[1]["transaction"])
    for answer in (ended, again, once_more):
        told = read_all(answer)
        assert answer.is_error
        assert (told["job_id"], told["status"], told["price_micro_usdc"]) == (job_id, "failed", CLIP)
        assert told["error"].startswith("Paid, result expired. The result at «")
        assert told["next_step"].startswith("Stop polling.")
        [claim] = [note for note in told["notes"] if note.startswith("Claim")]
        assert all(part in claim for part in (f"{job_id}", transaction, "paid $0.32", "eip155:402402"))
        assert (answer.meta or {})[ERROR] == {
            "code": "result_expired", "payment_state": "settled", "charge": "settled", "amount_micro_usdc": CLIP,
        }  # fmt: skip
    assert (line["status"], line["file"]) == ("failed", None)
    assert (revived["status"], revived["error"], Path(revived["file"]).exists()) == ("complete", None, True)
    assert [one["amount_micro_usdc"] for one in await settlements(sandbox)] == [UPLOAD, CLIP]


async def test_a_disk_that_says_no_never_makes_a_result_expire(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox, picture = make_sandbox(), make_picture()
    async with open_host(sandbox, funded_key, tmp_path) as client:
        first = facts(await buy(client, picture))
        folder = Path(first["file"]).parent
        folder.rename(folder.with_name("away"))
        folder.write_text("")
        answer = await buy(client, picture, take=2)
        assert answer.is_error, answer.content
        job_id = (answer.meta or {})[ERROR]["job_id"]
    let_pass(tmp_path, 2 * RESULT_SECONDS)
    async with open_host(sandbox, funded_key, tmp_path) as client:
        told = (await client.call_tool("get_job", {"job_id": job_id})).meta or {}
        assert (told[ERROR]["code"], told[ERROR]["payment_state"]) == ("video_unsaved", "settled")
        folder.unlink()
        assert read_saved(await client.call_tool("get_job", {"job_id": job_id}))


async def test_a_deleted_video_is_reported_and_fetched_again(open_customer: OpenCustomer) -> None:
    async with open_customer() as customer:
        bought = facts(await customer.buy())
        file, uri = Path(bought["file"]), f"seedance://jobs/{bought['job_id']}"
        file.unlink()
        [line] = facts(await customer.client.call_tool("list_jobs", {}))["jobs"]
        [content] = (await customer.client.read_resource(uri)).contents
        fetched = facts(await customer.client.call_tool("get_job", {"job_id": bought["job_id"]}))
        assert (line["file"], f"The saved file {file} is missing." in str(content)) == (None, True)
        assert (fetched["file"], file.exists()) == (str(file), True)
        file.unlink()
        customer.takes -= 1  # the same request as before
        assert read_saved(await customer.buy())
        assert await customer.paid() == [UPLOAD, CLIP]


async def test_a_deleted_video_that_the_studio_has_no_more_is_said_to_be_gone(open_customer: OpenCustomer) -> None:
    async with open_customer() as customer:
        bought = facts(await customer.buy())
        Path(bought["file"]).unlink()
        await break_with(customer.sandbox, "expired_result")
        asked = await customer.client.call_tool("get_job", {"job_id": bought["job_id"]})
        customer.takes -= 1  # the same request as before
        again = await customer.buy("expired_result")
        for answer in (asked, again):
            assert answer.is_error
            assert (answer.meta or {})[ERROR]["code"] == "video_gone"
            assert f"The saved file {bought['file']} is missing." in str(answer.content)
            assert "$0.32 was paid" in str(answer.content)
        assert await customer.paid() == [UPLOAD, CLIP]


async def test_a_result_without_one_video_is_told_in_the_studios_words(open_customer: OpenCustomer) -> None:
    said = {
        "two": "&cut=1», «",
        "text": "«Your video is in the dashboard»",
        "still": "thumbnail",
        "nothing": "names no video",
    }
    async with open_customer() as customer:
        for shape, says in said.items():
            answer = await customer.buy(f"result_shape={shape}")
            assert answer.is_error, shape
            assert says in getattr(answer.content[0], "text", "")
            await break_with(customer.sandbox)
            job_id = (await customer.job_ids())[-1]
            assert read_saved(await customer.client.call_tool("get_job", {"job_id": job_id}))


async def test_an_untracked_video_that_cannot_be_saved_has_its_url_or_an_end(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: Draw, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    async with open_host(sandbox, funded_key, tmp_path / "lost") as client:
        job_id = facts(await buy(client, make_picture()))["job_id"]
    await break_with(sandbox, "expired_result")
    async with open_host(sandbox, funded_key, tmp_path / "new") as client:
        answer = await client.call_tool("get_job", {"job_id": job_id})
    told = (answer.meta or {})[ERROR]
    assert (told["code"], job_id in told["video_url"]) == ("video_unsaved", True)
    assert 0 <= told["video_url_age_seconds"] < 60
