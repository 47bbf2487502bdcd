"""Settings that are not understood: the server starts, lists and quotes, and signs nothing until they are corrected."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.types import CallToolResult

from seedance_mcp.config.names import SETTINGS_FILE
from seedance_mcp.server import build_server
from tests.cli.conftest import Person

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

SECONDS = 40
NOT_UNDERSTOOD = {
    "unknown": ("SEEDANCE_MAXPERDAY", "1", "Did you mean SEEDANCE_MAX_PER_DAY?"),
    "lower-case": ("seedance_max_per_day", "1", "Did you mean SEEDANCE_MAX_PER_DAY?"),
    "empty-limit": ("SEEDANCE_MAX_TOTAL", "", "SEEDANCE_MAX_TOTAL (environment) is empty."),
    "empty-list": ("SEEDANCE_RECIPIENTS", " ", "SEEDANCE_RECIPIENTS (environment) is empty."),
    "wrong": ("SEEDANCE_MAX_PER_DAY", "5 dollars", "SEEDANCE_MAX_PER_DAY (environment) is wrong"),
}


@asynccontextmanager
async def open_host(sandbox: "Sandbox", key: str, folder: Path, **settings: str) -> AsyncGenerator[Client]:
    environ = {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": sandbox.url,
        "SEEDANCE_WALLET_KEY": key,
        "SEEDANCE_DATA_DIR": str(folder / "data"),
        **settings,
    }
    with anyio.fail_after(SECONDS):
        async with Client(build_server(environ)) as client:
            yield client


def facts(answer: CallToolResult) -> dict[str, Any]:
    assert not answer.is_error, answer.content
    return answer.structured_content or {}


def said(answer: CallToolResult) -> str:
    assert answer.is_error
    return str(getattr(answer.content[0], "text", ""))


async def count_payments(sandbox: "Sandbox") -> int:
    async with httpx.AsyncClient(base_url=sandbox.url) as http:
        return len((await http.get("/_sandbox/state")).json()["settlements"])


@pytest.mark.parametrize(("name", "value", "says"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
async def test_settings_not_understood_still_quote_and_sign_nothing(
    name: str,
    value: str,
    says: str,
    studio_server: "Sandbox",
    funded_key: str,
    make_picture: Callable[..., Path],
    tmp_path: Path,
) -> None:
    before = await count_payments(studio_server)
    video = {"image": str(make_picture()), "prompt": "x"}
    async with open_host(studio_server, funded_key, tmp_path, **{name: value}) as client:
        assert len((await client.list_tools()).tools) == 7
        quote = facts(await client.call_tool("quote_price", video))
        status = facts(await client.call_tool("wallet_status", {}))
        bought = said(await client.call_tool("animate_image", video))
        uploaded = said(await client.call_tool("upload_image", {"image": video["image"]}))

    assert quote["allowed"] is False
    assert quote["price_usd"] == "0.32"
    for text in (quote["refused_because"], status["next_step"], bought, uploaded):
        assert says in text
    assert bought.startswith("config: ")
    assert uploaded.startswith("config: ")
    assert "Nothing was paid." in bought
    assert await count_payments(studio_server) == before


async def test_misspelt_limit_does_not_lose_a_paid_video(
    make_sandbox: Callable[..., "Sandbox"], funded_key: str, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    """A job that was paid before the settings were broken is waited for and saved."""
    sandbox = make_sandbox(job_seconds=2)
    video = {"image": str(make_picture()), "prompt": "x", "wait_seconds": 0}
    async with open_host(sandbox, funded_key, tmp_path) as client:
        job_id = None
        while job_id is None:
            job_id = facts(await client.call_tool("animate_image", video))["job_id"]
    async with open_host(sandbox, funded_key, tmp_path, SEEDANCE_MAXTOTAL="1") as client:
        job = facts(await client.call_tool("get_job", {"job_id": job_id}))
        again = facts(await client.call_tool("animate_image", video))

    assert (job["status"], again["file"]) == ("complete", job["file"])
    assert Path(job["file"]).is_file()


async def test_wallet_status_names_what_is_unlimited(studio_server: "Sandbox", funded_key: str, tmp_path: Path) -> None:
    async with open_host(studio_server, funded_key, tmp_path) as client:
        unset = facts(await client.call_tool("wallet_status", {}))["unlimited"]
    budgets = {"SEEDANCE_MAX_PER_WEEK": "7", "SEEDANCE_MAX_PER_MONTH": "8", "SEEDANCE_MAX_TOTAL": "9"}
    limits = {**budgets, "SEEDANCE_ASK_ABOVE": "1", "SEEDANCE_MODELS": "seedance-fast"}
    async with open_host(studio_server, funded_key, tmp_path, **limits) as client:
        status = facts(await client.call_tool("wallet_status", {}))

    assert unset == [*budgets, "SEEDANCE_ASK_ABOVE", "SEEDANCE_RECIPIENTS", "SEEDANCE_MODELS"]
    assert status["unlimited"] == ["SEEDANCE_RECIPIENTS"]
    assert (status["max_per_week_usd"], status["max_per_month_usd"]) == ("7.00", "8.00")
    assert (status["spent_7d_usd"], status["spent_30d_usd"], status["left_today_usd"]) == ("0.00", "0.00", "5.00")


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("folder", ["live", "sandbox", "custom", "custom/studio.example"])
def test_settings_file_that_is_not_read_is_reported(person: Person, folder: str) -> None:
    unread = person.data_dir / folder / SETTINGS_FILE
    unread.parent.mkdir(parents=True)
    unread.write_text("max_per_day = 1")

    for command in (("wallet", "limits"), ("jobs",), ("install", "zed", "--dry-run")):
        assert f"{unread} is not read" in person.run(*command).err
    found = [
        finding
        for finding in person.run("doctor", "--sandbox", "--json").json["findings"]
        if finding["topic"] == "settings file"
    ]
    assert [finding["health"] for finding in found] == ["ok", "wrong"]
    assert found[0]["text"].startswith(str(person.data_dir / SETTINGS_FILE))
    assert f"{unread} is not read" in found[1]["text"]


def test_doctor_names_the_settings_file_and_every_problem(person: Person) -> None:
    person.data_dir.mkdir()
    (person.data_dir / SETTINGS_FILE).write_text("max_per_days = 1")
    ended = person.run("doctor", "--sandbox", "--json", SEEDANCE_MODELS="")

    assert ended.code == 2
    told = {finding["topic"]: finding["text"] for finding in ended.json["findings"] if finding["health"] == "wrong"}
    assert "unknown key 'max_per_days'" in told["settings"]
    assert "SEEDANCE_MODELS (environment) is empty" in told["settings"]
    assert f"{person.data_dir / SETTINGS_FILE} is read" in ended.out


def test_command_with_a_misspelt_limit_quotes_and_buys_nothing(customer: Person) -> None:
    customer.draw("a.png")
    words = ("a.png", "--prompt", "misspelt", "--json")
    quote = customer.run("quote", *words, seedance_max_per_day="0.10")
    bought = customer.run("animate", *words, seedance_max_per_day="0.10")

    assert quote.code == bought.code == 2
    assert quote.json["allowed"] is False
    assert "seedance_max_per_day" in quote.json["refused_because"]
    assert bought.code == 2
    assert bought.json["error"]["code"] == "config"
    assert customer.run("jobs", "--json").json == []


def test_freeze_works_whatever_the_settings_say(person: Person) -> None:
    """A stop must not fail because a limit is misspelt."""
    assert person.run("freeze", "--sandbox", SEEDANCE_MAXPERDAY="1").code == 0
