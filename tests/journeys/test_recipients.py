"""Whom the studio is paid at: remembered per studio and network, and changed only by the owner's word."""

from pathlib import Path

from tests.journeys.host import ON_BOTH_RAILS, Bench

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
