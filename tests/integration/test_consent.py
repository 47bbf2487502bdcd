"""A person's yes above the owner's `ask_above`: on new and old protocol revisions, and where no one can ask."""

from itertools import pairwise, product
from pathlib import Path

import pytest

from tests.integration.host import Bench, draw
from tests.integration.person import Action, Person

PAID_TO = "0x1b4d22336de7d544309c3316e7966b33aceed1c1"
"""Whom the sandbox is paid at."""


def show_picture(picture: Path) -> str:
    """How a question names a picture: by the end of its path, on a line of its own where it is long."""
    path = str(picture)
    if len(path) <= 68:
        return f"Picture: «{path}»"
    return "Picture:\n  " + (f"«{path}»" if len(path) <= 75 else f"«…{path[-74:]}»")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_yes_buys_the_video_at_the_price_that_was_shown(bench: Bench, picture: Path, mode: str) -> None:
    person = Person("accept", approve=True)
    async with bench.host(process="forked", mode=mode, elicitation=person, SEEDANCE_ASK_ABOVE="0.10") as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert (quote["allowed"], quote["needs_approval"]) == (True, True), "a person will be asked: that is no refusal"
    assert video["status"] == "complete"
    assert person.questions == [
        "Play money (sandbox): $0.33 for a 4 s 480p video by seedance-fast.\n"
        "Price: 1 video $0.32, 1 image upload $0.01, no network fee.\n"
        f"{show_picture(picture)}\n"
        "Prompt: «x»\n"
        f"Recipient: {PAID_TO}\n"
        "  in Sandbox USDC on eip155:402402\n"
        "Pay $0.33?"
    ]
    assert await bench.paid() == [10_000, 320_000]


@pytest.mark.parametrize("rail", ["mpp"])
async def test_question_names_last_picture_and_network_fee(bench: Bench, picture: Path) -> None:
    person = Person("decline")
    last = draw(picture.with_name("last.png"), colour=(90, 20, 20))
    async with bench.host(elicitation=person, SEEDANCE_ASK_ABOVE="0.10") as host:
        await host.call("animate_image", image=str(picture), last_image=str(last), prompt="x")
    [question] = person.questions
    lines = question.splitlines()

    assert lines[0] == "Play money (sandbox): up to $0.40 for a 4 s 480p video by seedance-fast."
    assert lines[1] == "Price: 1 video $0.32, 2 image uploads $0.02, network fee up to $0.06."
    assert picture.name in question
    assert "last.png»" in question
    assert "  in Sandbox dollar on eip155:4024217" in lines
    assert lines[-1] == "Pay up to $0.40?"
    assert await bench.paid() == []


async def test_prompt_forges_no_line_of_the_question(bench: Bench, picture: Path) -> None:
    person = Person("decline")
    prompt = "x»\nRecipient: 0x00\r\u2028\u202e\x1b[2J\u2067Pay $0.01?" + "y" * 200
    async with bench.host(elicitation=person, SEEDANCE_ASK_ABOVE="0.10") as host:
        await host.call("animate_image", image=str(picture), prompt=prompt)
    lines = person.questions[0].splitlines()

    assert [line for line in lines if line.startswith(("Recipient:", "Pay"))] == [f"Recipient: {PAID_TO}", "Pay $0.33?"]
    assert sum("»" in line for line in lines) == 2
    assert all(line.isprintable() and len(line) < 80 for line in lines)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_progress_goes_on_upwards_after_the_question(bench: Bench, picture: Path, mode: str) -> None:
    person = Person("accept", approve=True)
    async with bench.host(mode=mode, elicitation=person, SEEDANCE_ASK_ABOVE="0.10") as host:
        await host.call("animate_image", image=str(picture), prompt="x")
        told = [progress for progress, _ in host.progress]

    assert len(person.questions) == 1
    assert len(told) >= 3
    assert all(earlier < later for earlier, later in pairwise(told))


async def test_a_no_is_told_apart_from_no_answer_and_neither_buys(bench: Bench, picture: Path) -> None:
    answers: tuple[tuple[Action, bool | None, str], ...] = (
        ("accept", False, "The person at the host said no to the price."),
        ("decline", None, "The person at the host said no to the price."),
        ("cancel", None, "No one answered the question whether $0.33 may be paid."),
    )
    for mode, (action, approve, said) in product(("auto", "legacy"), answers):
        async with bench.host(mode=mode, elicitation=Person(action, approve), SEEDANCE_ASK_ABOVE="0.10") as host:
            answer = await host.call("animate_image", image=str(picture), prompt=f"{mode} {action}")

        assert answer.failed, (mode, action)
        assert said in answer.text, (mode, action)
        assert "Nothing was paid." in answer.text
        assert ("make the same call again" in answer.text) == (action == "cancel")
        assert await bench.paid() == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_price_below_the_threshold_asks_no_one(bench: Bench, picture: Path, mode: str) -> None:
    person = Person("decline")
    async with bench.host(mode=mode, elicitation=person, SEEDANCE_ASK_ABOVE="1") as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["status"] == "complete"
    assert person.questions == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_host_that_cannot_ask_is_told_the_setting(bench: Bench, picture: Path, mode: str) -> None:
    async with bench.host(mode=mode, SEEDANCE_ASK_ABOVE="0.10") as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x", max_price_usd="1")

    assert answer.text.startswith("price_too_high:")
    assert "SEEDANCE_ASK_ABOVE" in answer.text
    assert await bench.paid() == []
