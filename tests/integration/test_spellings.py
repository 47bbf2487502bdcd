"""Spellings of models and hosts: one meaning in quotes, questions and purchases, and never a second payment."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.host import Bench
from tests.integration.person import Person

ODD: dict[str, Any] = {
    "last_image": "", "model": "Seedance-Fast", "resolution": "720P", "aspect_ratio": "16x9", "camera_fixed": None,
    "generate_audio": "", "seed": -1, "take": None, "max_price_usd": "$5", "wait_for_previous": True,
}  # fmt: skip
PLAIN: dict[str, Any] = {"resolution": "720p", "aspect_ratio": "16:9"}


async def test_two_spellings_are_one_purchase(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=str(picture), prompt="x", **PLAIN)
    assert first["status"] == "complete"
    for mode in ("auto", "legacy"):
        async with bench.host(mode=mode) as host:
            quote = await host.call("quote_price", image=str(picture), prompt="x", **ODD)
            again = await host.call("animate_image", image=str(picture), prompt="x", **ODD)

        assert quote["job_id"] == again["job_id"] == first["job_id"], mode
        assert len(await bench.paid()) == 2, "one upload and one video"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_question_and_purchase_read_the_same_arguments(bench: Bench, picture: Path, mode: str) -> None:
    person = Person("accept", approve=True)
    async with bench.host(mode=mode, elicitation=person, SEEDANCE_ASK_ABOVE="0.10") as host:
        refused = await host.call(
            "animate_image", image=str(picture), prompt="x", max_price_usd=0.25, resolution="720P"
        )
        bought = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=300, **ODD)

    assert refused.text.startswith("price_too_high:")
    assert "$0.25" in refused.text
    assert not bought.failed
    assert len(person.questions) == 1
    assert "4 s 720p video by seedance-fast" in person.questions[0]
    assert bought["notes"][0] == "wait_seconds: 45 was used, the most that is possible."
    assert len(await bench.paid()) == 2


async def test_note_on_a_clamped_value_is_in_both_halves_of_a_result(bench: Bench) -> None:
    async with bench.host() as host:
        jobs = await host.call("list_jobs", limit=1000)

    assert jobs["notes"] == ["limit: 50 was used, the most that is possible."]
    assert jobs["notes"][0] in jobs.text


async def test_flag_of_a_host_is_ignored_on_every_tool(bench: Bench, picture: Path) -> None:
    given: dict[str, dict[str, str]] = {
        "upload_image": {"image": str(picture)},
        "quote_price": {"image": str(picture), "prompt": "x"},
        "animate_image": {"image": str(picture), "prompt": "x"},
        "list_jobs": {},
        "wallet_status": {},
    }
    async with bench.host() as host:
        answers = [await host.call(tool, **arguments, wait_for_previous=False) for tool, arguments in given.items()]
        answers.append(await host.call("get_job", job_id=answers[2]["job_id"], wait_for_previous=True))

    assert [answer.text for answer in answers if answer.failed] == []
