"""A ledger that is moved, deleted or replaced under a running server: nothing more is signed until it is back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.host import Bench

UPLOAD, CLIP = 10_000, 320_000


def ledger_file(bench: Bench) -> Path:
    return bench.folder / "data" / "sandbox" / "ledger.sqlite3"


def move(file: Path) -> None:
    file.rename(file.with_name("moved.sqlite3"))


def move_the_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("moved"))


def replace(file: Path) -> None:
    copy = shutil.copyfile(file, file.with_name("copy.sqlite3"))
    Path(copy).replace(file)


@pytest.mark.parametrize("change", [move, Path.unlink, move_the_folder, replace], ids=lambda change: change.__name__)
async def test_signs_nothing_without_the_ledger_it_opened(
    bench: Bench, picture: Path, change: Callable[[Path], object]
) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        change(ledger_file(bench))
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.text.startswith("ledger:")
    assert str(ledger_file(bench)) in answer.text
    assert "while this process was using it. Nothing was paid." in answer.text
    assert "Put the file back where it was, or restart" in answer.text
    assert len((await bench.state())["payments_seen"]) == 1
    assert await bench.paid() == [UPLOAD]


async def test_goes_on_once_the_file_is_back(bench: Bench, picture: Path) -> None:
    away = ledger_file(bench).with_name("away.sqlite3")
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        ledger_file(bench).rename(away)
        refused = await host.call("animate_image", image=str(picture), prompt="x")
        away.rename(ledger_file(bench))
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert refused.failed
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_sends_no_credential_again_that_the_new_ledger_does_not_know(bench: Bench, picture: Path) -> None:
    """The first server's payment was lost; a second server buys anew on a new ledger; the first one must not send."""
    async with bench.host() as old:
        await old.call("upload_image", image=str(picture))
        await bench.break_with("error_for_payment")
        lost = await old.call("animate_image", image=str(picture), prompt="x")
        move_the_folder(ledger_file(bench))
        await bench.break_with()
        async with bench.host() as new:
            video = await new.animate_to_the_end(image=str(picture), prompt="x")
        again = await old.call("animate_image", image=str(picture), prompt="x")

    assert lost.text.startswith("payment_outcome_unknown:")
    assert video["status"] == "complete"
    assert again.text.startswith("ledger:")
    assert "held" in again.text
    assert (await bench.paid()).count(CLIP) == 1
