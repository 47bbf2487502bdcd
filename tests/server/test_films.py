"""Films over MCP with the real sandbox: one price, one file, and nothing bought twice."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from eth_account import Account
from mcp import Client
from mcp.types import CallToolResult

from seedance_mcp.adapters.media.films import film_support
from seedance_mcp.core.films import FILM_PREFIX
from tests.server.test_server_results import break_with, open_host
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

pytestmark = pytest.mark.skipif(not film_support(), reason="the extra `film` is not installed")
MakeSandbox = Callable[..., "Sandbox"]
MakePicture = Callable[..., Path]
SECONDS = 200
"""Bound of a test: films are encoded by processes of their own, and other tests run beside them."""


async def call(client: Client, name: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool(name, arguments)


async def finish(client: Client, answer: CallToolResult) -> dict[str, Any]:
    """Wait for the film of an order."""
    facts = answer.structured_content
    assert facts is not None, answer.content
    while facts["status"] in ("pending", "loading"):
        facts = (await call(client, "get_job", job_id=facts["job_id"], wait_seconds=20)).structured_content
        assert facts is not None
    return facts


async def list_settled(sandbox: "Sandbox") -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=sandbox.url, verify=NO_TLS) as http:
        return (await http.get("/_sandbox/state")).json()["settlements"]


async def test_a_film_is_quoted_bought_once_and_changed_shot_by_shot(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    shots: list[dict[str, Any]] = [
        {"prompt": "one", "image": str(make_picture())}, {"prompt": "two"},
        {"prompt": "three", "image": str(make_picture())},
    ]  # fmt: skip
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS) as client:
        quote = (await call(client, "quote_price", shots=shots)).structured_content
        assert quote is not None
        assert quote["allowed"], quote

        film = await finish(client, await call(client, "animate_storyboard", shots=shots))
        assert film["job_id"].startswith(FILM_PREFIX)
        assert film["status"] == "complete", film
        assert Path(film["file"]).is_file()
        settled = await list_settled(sandbox)
        assert len([one for one in settled if "i2v" in one["path"]]) == 3
        assert sum(one["amount_micro_usdc"] for one in settled) <= quote["price_micro_usdc"]

        again = await finish(client, await call(client, "animate_storyboard", shots=shots))
        assert again["job_id"] == film["job_id"]
        assert await list_settled(sandbox) == settled

        changed = [shots[0], {"prompt": "another two"}, *shots[2:]]
        other = await finish(client, await call(client, "animate_storyboard", shots=changed))
        assert other["status"] == "complete", other
        assert other["job_id"] != film["job_id"]
        bought = (await list_settled(sandbox))[len(settled) :]
        assert len([one for one in bought if "i2v" in one["path"]]) == 1, "the changed shot alone"

        listed = (await call(client, "list_jobs")).structured_content
        assert listed is not None
        assert {other["job_id"], film["job_id"]} == {one["job_id"] for one in listed["jobs"]}
        wallet = (await call(client, "wallet_status")).structured_content
        assert wallet is not None
        assert wallet["held_usd"] == "0.00"


@pytest.mark.parametrize(
    ("shots", "options", "says"),
    [
        ([], {}, "1 to 20 shots"),
        ([{"prompt": "x"}] * 21, {}, "1 to 20 shots"),
        ([{"prompt": "x"}], {}, "first shot has no picture"),
        ([{"prompt": "x", "image": "PICTURE"}] * 6 + [{"prompt": "x", "image": "/nowhere.png"}], {}, "nowhere.png"),
        ([{"prompt": "x", "image": "PICTURE"}] * 2 + [{"prompt": "y"}], {"max_price_usd": "0.10"}, "this request"),
    ],
)
async def test_a_film_that_cannot_be_made_buys_nothing(
    make_sandbox: MakeSandbox,
    funded_key: str,
    make_picture: MakePicture,
    tmp_path: Path,
    shots: Any,
    options: Any,
    says: str,
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    named = [{**shot, "image": str(make_picture())} if shot.get("image") == "PICTURE" else shot for shot in shots]
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS) as client:
        answer = await call(client, "animate_storyboard", shots=named, **options)

    assert answer.is_error
    assert says in str(answer.content)
    assert await list_settled(sandbox) == []


async def test_a_sum_above_the_owners_limit_for_films_is_refused(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    shots = [{"prompt": "x", "image": str(make_picture())}, {"prompt": "y"}]
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS, SEEDANCE_MAX_PER_FILM="0.40") as client:
        quote = (await call(client, "quote_price", shots=shots)).structured_content
        answer = await call(client, "animate_storyboard", shots=shots)

    assert quote is not None
    assert not quote["allowed"]
    assert "SEEDANCE_MAX_PER_FILM" in str(answer.content)
    assert await list_settled(sandbox) == []


async def test_a_film_beyond_the_wallets_balance_is_refused_before_any_money(
    make_sandbox: MakeSandbox, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    account = Account.create()
    sandbox.chain.mint(account.address, 700_000)
    shots = [{"prompt": "x", "image": str(make_picture())}, {"prompt": "y"}, {"prompt": "z"}]
    async with open_host(sandbox, account.key.to_0x_hex(), tmp_path, seconds=SECONDS) as client:
        quote = (await call(client, "quote_price", shots=shots)).structured_content
        answer = await call(client, "animate_storyboard", shots=shots)
        other = (await call(client, "quote_price", shots=shots[:2])).structured_content

    assert quote is not None
    assert not quote["allowed"]
    assert "$0.99 is needed for the film and $0.70 of " in str(answer.content)
    assert "$0.29 is missing" in str(answer.content)
    assert await list_settled(sandbox) == []
    assert other is not None
    assert other["allowed"], "two shots are paid for"


async def test_a_cancelled_film_buys_no_further_shot_and_releases_its_sum(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    shots = [{"prompt": "x", "image": str(make_picture())}, {"prompt": "y"}, {"prompt": "z"}]
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS) as client:
        film = (await call(client, "animate_storyboard", shots=shots, wait_seconds=0)).structured_content
        assert film is not None
        running = (await call(client, "wallet_status")).structured_content
        ended = await call(client, "get_job", job_id=film["job_id"], cancel=True)
        wallet = (await call(client, "wallet_status")).structured_content
        bought = len([one for one in await list_settled(sandbox) if "i2v" in one["path"]])
        again = await finish(client, await call(client, "animate_storyboard", shots=shots))

    assert running is not None
    assert film["job_id"] in str(running["caps"])
    assert wallet is not None
    assert wallet["caps"] == []
    assert ended.is_error
    assert bought < 3
    assert again["status"] == "complete", "what was cancelled can be ordered again"


async def test_a_failed_shot_stops_those_behind_it_and_keeps_the_others(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    shots = [{"prompt": "x", "image": str(make_picture())}, {"prompt": "y"}]
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS) as client:
        await break_with(sandbox, "failed_job")
        film = await finish(client, await call(client, "animate_storyboard", shots=shots))

    assert film["status"] == "failed"
    assert "Stopped at shot 1" in film["error"]
    assert film["shots"][0]["error"]
    assert film["shots"][1]["job_id"] is None
    assert len([one for one in await list_settled(sandbox) if "i2v" in one["path"]]) == 1


async def test_shots_of_text_and_references_are_continued_like_any_other(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    shots = [
        {"prompt": "fog", "text_only": True}, {"prompt": "it lifts"},
        {"prompt": "@image1 passes", "references": [str(make_picture())]}, {"prompt": "it is gone"},
    ]  # fmt: skip
    both = [{"prompt": "fog", "text_only": True, "image": str(make_picture())}]
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS) as client:
        quote = (await call(client, "quote_price", shots=shots)).structured_content
        refused = await call(client, "quote_price", shots=both)
        film = await finish(client, await call(client, "animate_storyboard", shots=shots))
        settled = await list_settled(sandbox)
        again = await finish(client, await call(client, "animate_storyboard", shots=shots))
    async with httpx.AsyncClient(base_url=sandbox.url, verify=NO_TLS) as http:
        inputs = [job["input"] for job in (await http.get("/_sandbox/state")).json()["jobs"]]

    assert quote is not None
    assert quote["allowed"], quote
    assert "Shot 1: A video from text alone is wanted" in str(refused.content)
    assert film["status"] == "complete", film
    assert sum(one["amount_micro_usdc"] for one in settled) <= quote["price_micro_usdc"]
    modes = {one["prompt"]: (one.get("mode"), len(one.get("urls", ()))) for one in inputs}
    assert modes == {
        "fog": (None, 0), "it lifts": ("keyframe", 1),
        "@image1 passes": ("reference", 1), "it is gone": ("keyframe", 1),
    }  # fmt: skip
    assert again["job_id"] == film["job_id"]
    assert await list_settled(sandbox) == settled


async def test_a_film_goes_on_by_itself_once_a_payments_outcome_is_known(
    make_sandbox: MakeSandbox, funded_key: str, make_picture: MakePicture, tmp_path: Path
) -> None:
    sandbox = make_sandbox(job_seconds=0.2)
    shots = [{"prompt": "x", "image": str(make_picture())}, {"prompt": "y"}]
    async with open_host(sandbox, funded_key, tmp_path, seconds=SECONDS) as client:
        await break_with(sandbox, "error_for_payment:3")
        film = (await call(client, "animate_storyboard", shots=shots, wait_seconds=0)).structured_content
        notes: list[str] = []
        while film is not None and film["status"] in ("pending", "loading"):
            notes += film["notes"]
            film = (await call(client, "get_job", job_id=film["job_id"], wait_seconds=1)).structured_content

    assert film is not None
    assert film["status"] == "complete", film
    assert any("Shot 1 waits and is tried again by itself" in note for note in notes)
    assert len([one for one in await list_settled(sandbox) if "i2v" in one["path"]]) == 2
