"""The owner's stop: every process on a ledger honours it at once, and what was paid is still finished."""

import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from tests.cli.conftest import COMMAND_SECONDS, Ended, Person
from tests.forks import build_command
from tests.integration.host import Answer, Bench, run_in_thread

MakeBench = Callable[..., Awaitable[Bench]]
UPLOAD, CLIP = 10_000, 320_000
BEGUN_SECONDS = 30


def owner_of(bench: Bench) -> Person:
    """The owner of a bench's wallet, at a shell without a terminal."""
    return Person(folder=bench.folder, environ=bench.environ)


async def command(bench: Bench, *words: str) -> Ended:
    return await run_in_thread(lambda: owner_of(bench).run(*words))


def start_batch(owner: Person, *pictures: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        build_command("seedance_mcp", "animate", *pictures, "--prompt", "x", "--json"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=owner.folder,
        env={**os.environ, **owner.environ},
    )


def refused_as_frozen(answer: Answer) -> bool:
    told = (answer.result.meta or {}).get("seedance-mcp/error", {})
    return answer.failed and (told.get("code"), told.get("payment_state")) == ("spending_frozen", "none")


async def test_every_running_server_honours_a_freeze_at_once(bench: Bench, picture: Path) -> None:
    async with bench.host() as one, bench.host(process="forked") as two:
        await one.call("wallet_status")
        await two.call("wallet_status")
        frozen = await command(bench, "freeze", "lost laptop", "--json")
        refused = [
            await one.call("animate_image", image=str(picture), prompt="x"),
            await two.call("animate_image", image=str(picture), prompt="y"),
            await two.call("upload_image", image=str(picture)),
        ]
        paid_while_frozen = await bench.paid()
        await command(bench, "unfreeze", "--sandbox")
        video = await two.animate_to_the_end(image=str(picture), prompt="y")

    assert frozen.json["frozen"]
    assert all(map(refused_as_frozen, refused))
    assert f"Spending is frozen since {frozen.json['frozen_since']}: «lost laptop»." in refused[0].text
    assert "Nothing was paid." in refused[0].text
    assert "Only the owner can end it with seedance-mcp unfreeze" in refused[0].text
    assert paid_while_frozen == []
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_frozen_wallet_says_so_and_how_it_ends(bench: Bench, picture: Path) -> None:
    await command(bench, "freeze", "lost laptop")
    async with bench.host() as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        wallet = await host.call("wallet_status")
    doctor = await command(bench, "doctor", "--json")
    limits = await command(bench, "wallet", "limits", "--json")

    assert not quote["allowed"]
    assert quote["refused_because"].startswith(f"Spending is frozen since {wallet['frozen_since']}: «lost laptop».")
    assert "Only the owner can end it: seedance-mcp unfreeze --sandbox" in wallet["next_step"]
    finding = next(one for one in doctor.json["findings"] if one["topic"] == "freeze")
    assert finding["health"] == "note"
    assert finding["text"] == f"Spending is frozen since {wallet['frozen_since']}: «lost laptop»."
    assert finding["advice"] == "To buy again, run: seedance-mcp unfreeze --sandbox"
    assert limits.json["frozen_since"] == wallet["frozen_since"]


async def test_what_was_paid_before_a_freeze_is_finished_and_saved(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(job_seconds=3)
    async with bench.host() as host:
        begun = await host.order(image=str(picture), prompt="x")
        await command(bench, "freeze")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["job_id"] == begun["job_id"]
    assert Path(video["file"]).exists()


async def test_a_credential_that_was_perhaps_never_sent_is_not_sent_while_frozen(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("error_for_payment")
        lost = await host.call("animate_image", image=str(picture), prompt="x")
        await command(bench, "freeze")
        await bench.break_with()
        frozen = await host.call("animate_image", image=str(picture), prompt="x")
        paid_while_frozen = await bench.paid()
        await command(bench, "unfreeze")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert lost.failed
    assert frozen.text.startswith("payment_outcome_unknown:")
    assert "held" in frozen.text
    assert paid_while_frozen == [UPLOAD]
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_freeze_stops_the_rows_of_a_batch_that_have_not_begun(make_bench: MakeBench) -> None:
    bench = await make_bench(job_seconds=6)
    owner = owner_of(bench)
    names = [owner.draw(f"{letter}.png").name for letter in "abcdef"]
    process = await run_in_thread(lambda: start_batch(owner, *names))
    deadline = time.monotonic() + BEGUN_SECONDS
    while (await bench.paid()).count(CLIP) < 4 and process.poll() is None:
        assert time.monotonic() < deadline
        await anyio.sleep(0.05)
    frozen = await command(bench, "freeze")
    out, err = await run_in_thread(lambda: process.communicate(timeout=COMMAND_SECONDS))

    assert frozen.code == 0
    assert process.returncode == 3, err
    assert "Ctrl-C ends it; seedance-mcp freeze --sandbox from elsewhere stops what has not begun." in err
    ends = [row["error"]["code"] if "status" not in row else row["status"] for row in json.loads(out)["results"]]
    assert sorted(ends) == ["complete"] * 4 + ["spending_frozen"] * 2
    assert sorted(await bench.paid()) == [UPLOAD] * 4 + [CLIP] * 4


async def test_a_second_freeze_keeps_the_moment_of_the_first(bench: Bench) -> None:
    first = await command(bench, "freeze", "one", "--json")
    again = await command(bench, "freeze", "--json")
    other = await command(bench, "freeze", "x" * 500, "--json")
    ended = [(await command(bench, "unfreeze", "--json")).json for _ in range(2)]

    assert again.json == first.json
    assert other.json == {**first.json, "reason": "x" * 200}
    assert [one["was_frozen"] for one in ended] == [True, False]


@pytest.mark.parametrize("at_terminal", [False, True])
def test_real_money_is_unfrozen_only_at_a_terminal(tmp_path: Path, at_terminal: bool) -> None:
    person = Person(folder=tmp_path, environ={})
    person.run("freeze")
    ended = person.run_at_terminal("unfreeze", typed="") if at_terminal else person.run("unfreeze")

    assert ended.code == (0 if at_terminal else 2)
    assert (person.run("wallet", "limits", "--json").json["frozen_since"] is None) == at_terminal
