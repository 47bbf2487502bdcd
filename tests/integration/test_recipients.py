"""Whom the studio is paid at: remembered per studio and network, and changed only with the owner's consent."""

from itertools import product
from pathlib import Path

import pytest

from tests.integration.host import ON_BOTH_RAILS, Bench, draw
from tests.integration.person import Person

KNOWN = "0x1b4d22336de7d544309c3316e7966b33aceed1c1"
OTHER = "0x57a4632600000000000000000000000000000bad"


@ON_BOTH_RAILS
async def test_a_changed_recipient_is_not_paid_without_the_owners_word(bench: Bench, picture: Path) -> None:
    request = {"image": str(picture), "prompt": "x"}
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("tampered_offer=other_recipient")
        quote = await host.call("quote_price", **request)
        refused = await host.call("animate_image", **request)
    paid_to_known = await bench.paid()
    async with bench.host(SEEDANCE_RECIPIENTS=f"{KNOWN},{OTHER}") as host:
        video = await host.animate_to_the_end(**request)
    async with bench.host() as host:  # what the owner allowed once is known from now on
        again = await host.animate_to_the_end(**request, take=2)

    assert (quote["allowed"], OTHER in quote["refused_because"].lower()) == (False, True)
    assert refused.failed
    assert refused.text.startswith("recipient_changed: ")
    assert "Nothing was paid." in refused.text
    assert KNOWN in refused.text
    assert f"SEEDANCE_RECIPIENTS={KNOWN},{OTHER}" in refused.text
    assert paid_to_known == [10_000]
    assert video["file"]
    assert again["file"]
    assert [entry["to"].lower() for entry in (await bench.state())["settlements"]] == [KNOWN, OTHER, OTHER]


async def test_a_changed_recipient_is_noticed_by_a_later_process(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
    await bench.break_with("tampered_offer=other_recipient")
    async with bench.host() as host:
        refused = await host.call("animate_image", image=str(picture), prompt="x")

    assert refused.text.startswith("recipient_changed: ")
    assert await bench.paid() == [10_000]


async def list_paid(bench: Bench) -> list[str]:
    return [entry["to"].lower() for entry in (await bench.state())["settlements"]]


@pytest.mark.parametrize(("mode", "rail"), [("auto", "x402"), ("legacy", "mpp")])
async def test_a_yes_to_both_addresses_pays_the_new_recipient(bench: Bench, picture: Path, mode: str) -> None:
    person = Person("accept", approve=True)
    async with bench.host() as host:
        await host.call("upload_image", image=str(draw(picture.with_name("first.png"), colour=(1, 2, 3))))
    await bench.break_with("tampered_offer=other_recipient")
    async with bench.host(mode=mode, elicitation=person) as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")
        again = await host.animate_to_the_end(image=str(picture), prompt="x", take=2)

    assert (quote["allowed"], quote["needs_approval"]) == (True, True)
    [question] = person.questions
    lines = question.splitlines()
    assert lines[0] == "WARNING: the studio's recipient has changed. This can be an attack."
    assert lines[2].startswith("Play money (sandbox): ")
    assert lines[3].startswith("Price: 1 video $0.32, 1 image upload $0.01, ")
    assert f"Old recipient: {KNOWN}" in lines
    assert f"New recipient: {OTHER}" in lines
    assert lines[-1].endswith(" to the new recipient?")
    assert video["file"]
    assert again["file"], "what settled after a yes is known from now on"
    assert await list_paid(bench) == [KNOWN, OTHER, OTHER, OTHER]


async def test_without_a_yes_the_new_recipient_gets_nothing(bench: Bench, picture: Path) -> None:
    answers = (
        (Person("accept", approve=False), f"said no to the new recipient {OTHER}."),
        (Person("decline"), f"said no to the new recipient {OTHER}."),
        (Person("cancel"), f"may be paid to the new recipient {OTHER}."),
    )
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
    await bench.break_with("tampered_offer=other_recipient")
    for mode, (person, said) in product(("auto", "legacy"), answers):
        asked = len(person.questions)
        async with bench.host(mode=mode, elicitation=person) as host:
            refused = await host.call("animate_image", image=str(picture), prompt=f"{mode} {said}")

        assert len(person.questions) == asked + 1
        assert refused.text.startswith("recipient_changed: "), (mode, said)
        assert said in refused.text, mode
        assert "Nothing was paid." in refused.text
        assert await list_paid(bench) == [KNOWN]


async def test_a_yes_whose_payment_was_refused_is_asked_again(bench: Bench, picture: Path) -> None:
    person = Person("accept", approve=True)
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
    await bench.break_with("tampered_offer=other_recipient", "second_402")
    async with bench.host(elicitation=person) as host:
        refused = await host.call("animate_image", image=str(picture), prompt="x")
        await host.call("animate_image", image=str(picture), prompt="y")

    assert refused.text.startswith("payment_refused: ")
    assert len(person.questions) == 2
    assert await list_paid(bench) == [KNOWN]


async def test_a_yes_to_a_recipient_lifts_no_limit(bench: Bench, picture: Path) -> None:
    person = Person("accept", approve=True)
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
    await bench.break_with("tampered_offer=other_recipient")
    async with bench.host(elicitation=person, SEEDANCE_MAX_PRICE_PER_VIDEO="0.10") as host:
        refused = await host.call("animate_image", image=str(picture), prompt="x")

    assert refused.text.startswith("price_too_high: ")
    assert await list_paid(bench) == [KNOWN]


async def test_no_question_overrides_the_owners_list(bench: Bench, picture: Path) -> None:
    person = Person("accept", approve=True)
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
    await bench.break_with("tampered_offer=other_recipient")
    async with bench.host(elicitation=person, SEEDANCE_RECIPIENTS=KNOWN, SEEDANCE_ASK_ABOVE="0.10") as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        refused = await host.call("animate_image", image=str(picture), prompt="x")

    assert not quote["allowed"]
    assert "is not among the allowed ones" in refused.text
    assert person.questions == []
    assert await list_paid(bench) == [KNOWN]
