"""A wallet whose ledger is new, lost or restored from a backup: what it bought before is found and never paid again."""

import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tests.conftest import HttpsServer
from tests.integration.host import ON_BOTH_RAILS, Bench, draw

MakeBench = Callable[..., Awaitable[Bench]]
UPLOAD, CLIP = 10_000, 320_000


def at(bench: Bench, folder: str) -> dict[str, str]:
    """Settings of the same wallet with another data folder."""
    return {"SEEDANCE_DATA_DIR": str(bench.folder / folder)}


def forget_when_it_was_read(folder: Path) -> None:
    """Let the backup be older than a reading is relied on."""
    [file] = folder.rglob("ledger.sqlite3")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE readings SET read_at = read_at - 3600")
        db.execute("UPDATE chain_readings SET read_at = read_at - 3600")


async def test_a_lost_ledger_finds_the_job_of_a_repeated_request(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=str(picture), prompt="x")
    async with bench.host(**at(bench, "new")) as host:
        again = await host.animate_to_the_end(image=str(picture), prompt=" x ")
        wallet = await host.call("wallet_status")
        other = await host.animate_to_the_end(image=str(picture), prompt="another")

    assert again["job_id"] == first["job_id"]
    assert again["price_usd"] is None, "its price is in the lost ledger"
    assert Path(again["file"]).exists()
    assert wallet["spent_24h_usd"] == "0.32", "an estimate by the price table"
    assert other["job_id"] != first["job_id"]
    assert await bench.paid() == [UPLOAD, CLIP, UPLOAD, CLIP]


async def test_takes_of_a_lost_ledger_are_found_in_their_order(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        bought = [await host.animate_to_the_end(image=str(picture), prompt="x", take=take) for take in (1, 2)]
    async with bench.host(**at(bench, "new")) as host:
        found = [await host.animate_to_the_end(image=str(picture), prompt="x", take=take) for take in (2, 1)]
        third = await host.animate_to_the_end(image=str(picture), prompt="x", take=3)

    assert [job["job_id"] for job in found] == [bought[1]["job_id"], bought[0]["job_id"]]
    assert third["job_id"] not in [job["job_id"] for job in bought]
    assert (await bench.paid()).count(CLIP) == 3


async def test_a_restored_older_ledger_finds_what_was_bought_since(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.animate_to_the_end(image=str(picture), prompt="before")
    shutil.copytree(bench.folder / "data", bench.folder / "backup")
    async with bench.host() as host:
        since = await host.animate_to_the_end(image=str(picture), prompt="since")
    forget_when_it_was_read(bench.folder / "backup")
    async with bench.host(**at(bench, "backup")) as host:
        again = await host.animate_to_the_end(image=str(picture), prompt="since")

    assert again["job_id"] == since["job_id"]
    assert await bench.paid() == [UPLOAD, CLIP, CLIP]


@ON_BOTH_RAILS
async def test_a_payment_that_only_the_chain_knows_is_not_made_again(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("no_job:1")
        lost = await host.call("animate_image", image=str(picture), prompt="x")
    [_, payment] = (await bench.state())["settlements"]
    async with bench.host(**at(bench, "new")) as host:
        refused = [await host.call("animate_image", image=str(picture), prompt="x") for _ in range(2)]
        paid = await bench.paid()
        wallet = await host.call("wallet_status")
        cheaper = await host.animate_to_the_end(image=str(picture), prompt="x", duration=8)
        other = await host.animate_to_the_end(image=str(picture), prompt="x", take=2)

    assert "$0.32 was paid" in lost.text
    for answer in refused:
        assert answer.text.startswith("possibly_bought:")
        assert payment["transaction"] in answer.text
        assert "Nothing was paid." in answer.text
        assert "with take 2." in answer.text
    assert paid == [UPLOAD, CLIP], "not even another upload"
    assert wallet["spent_24h_usd"] == "0.33"
    assert cheaper["file"], "another price is another video"
    assert other["file"]


async def test_a_chain_that_lists_nothing_stops_no_purchase(bench: Bench, picture: Path) -> None:
    await bench.break_with("no_logs")
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["file"]


async def test_payments_that_a_ledger_or_a_job_explains_are_not_counted_again(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.animate_to_the_end(image=str(picture), prompt="x")
    shutil.copytree(bench.folder / "data", bench.folder / "backup")
    async with bench.host() as host:
        await host.animate_to_the_end(image=str(picture), prompt="since")
    forget_when_it_was_read(bench.folder / "backup")
    async with bench.host(**at(bench, "backup")) as host:
        await host.animate_to_the_end(image=str(picture), prompt="new")
        wallet = await host.call("wallet_status")

    assert wallet["spent_24h_usd"] == "0.97", "one upload and three videos"
    assert await bench.paid() == [UPLOAD, CLIP, CLIP, CLIP]


async def test_a_request_that_may_have_been_bought_names_the_job(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=str(picture), prompt="x")
    await bench.break_with("gone_upload")
    async with bench.host(**at(bench, "new")) as host:
        refused = [await host.call("animate_image", image=str(picture), prompt="x") for _ in range(2)]
        paid = await bench.paid()
        old = await host.call("get_job", job_id=first["job_id"])
        await bench.break_with()
        new = await host.animate_to_the_end(image=str(picture), prompt="x", take=2)

    for answer in refused:
        assert answer.failed
        assert answer.text.startswith("possibly_bought:")
        assert first["job_id"] in answer.text
        assert "Nothing was paid." in answer.text
        assert "with take 2." in answer.text
    assert paid == [UPLOAD, CLIP], "not even another upload"
    assert old["file"]
    assert new["job_id"] != first["job_id"]


async def test_another_picture_with_the_same_prompt_is_bought(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=str(picture), prompt="x")
    other = draw(bench.folder / "other.png", colour=(200, 30, 30))
    async with bench.host(**at(bench, "new")) as host:
        video = await host.animate_to_the_end(image=str(other), prompt="x")

    assert video["job_id"] != first["job_id"]


async def test_a_new_ledger_waits_for_a_list_that_cannot_be_read(bench: Bench, picture: Path) -> None:
    await bench.break_with("no_list")
    async with bench.host() as host:
        waiting = await host.call("animate_image", image=str(picture), prompt="x")
        paid = await bench.paid()
        await bench.break_with()
        await host.animate_to_the_end(image=str(picture), prompt="x")
        await bench.break_with("no_list")
        known = await host.animate_to_the_end(image=str(picture), prompt="y")

    assert waiting.failed
    assert "This machine's ledger is new" in waiting.text
    assert "Nothing was paid." in waiting.text
    assert paid == []
    assert not known.failed, "a ledger that was read against it goes on"


async def test_a_url_of_a_lost_ledger_is_known_by_its_url(
    bench: Bench, picture: Path, https_server: HttpsServer
) -> None:
    url = https_server.add("/cat.png", picture.read_bytes(), content_type="image/png")
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=url, prompt="x")
    async with bench.host(**at(bench, "new")) as host:
        again = await host.animate_to_the_end(image=url, prompt="x")

    assert again["job_id"] == first["job_id"]
