"""Quotes through MCP: what was bought costs nothing, a yes that cannot be asked is said, no wallet compares nothing."""

from pathlib import Path

import pytest

from tests.integration.host import Bench, MakeBench
from tests.integration.test_consent import Person
from tests.integration.test_custom_profile import write_profile

NO_WALLET = {"SEEDANCE_WALLET_FILE": "", "SEEDANCE_WALLET_KEY": ""}


async def test_a_quote_of_a_running_or_finished_video_is_zero_and_names_its_job(
    make_bench: MakeBench, picture: Path
) -> None:
    bench: Bench = await make_bench(job_seconds=8)
    request = {"image": str(picture), "prompt": "x"}
    async with bench.host(SEEDANCE_MAX_PER_DAY="0.33", SEEDANCE_ASK_ABOVE="0.33") as host:
        started = await host.call("animate_image", **request, wait_seconds=2)
        while not started["job_id"]:
            started = await host.call("animate_image", **request, wait_seconds=2)
        running = await host.call("quote_price", **request)
        video = await host.animate_to_the_end(**request)
        finished = await host.call("quote_price", **request)
        other = await host.call("quote_price", **request, take=2)

    for quote in (running, finished):
        assert quote["job_id"] == started["job_id"] == video["job_id"]
        assert (quote["price_micro_usdc"], quote["cost_usd"], quote["upload_price_usd"]) == (0, "0.00", "0.00")
        assert (quote["allowed"], quote["needs_approval"]) == (True, False)
        assert video["job_id"] in quote["next_step"]
    assert "(complete) answers it, and it costs nothing." in finished["notes"][0]
    assert (other["job_id"], other["price_micro_usdc"], other["allowed"]) == (None, 320_000, False)
    assert await bench.paid() == [10_000, 320_000]


async def test_a_quote_of_a_payment_that_is_not_over_is_zero(bench: Bench, picture: Path) -> None:
    request = {"image": str(picture), "prompt": "x"}
    async with bench.host(SEEDANCE_MAX_PER_DAY="0.33") as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("page_for_payment")
        lost = await host.call("animate_image", **request)
        quote = await host.call("quote_price", **request)

    assert lost.failed
    assert (quote["job_id"], quote["cost_usd"], quote["allowed"]) == (None, "0.00", True)
    assert quote["notes"] == ["A payment for this video is not finished. It is continued, and nothing is paid twice."]


@pytest.mark.parametrize(("can_ask", "allowed"), [(False, False), (True, True)])
async def test_a_quote_that_needs_a_yes_is_allowed_only_where_it_can_be_asked(
    bench: Bench, picture: Path, can_ask: bool, allowed: bool
) -> None:
    person = Person("accept", approve=True) if can_ask else None
    async with bench.host(elicitation=person, SEEDANCE_ASK_ABOVE="0.10") as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")

    assert (quote["needs_approval"], quote["allowed"]) == (True, allowed)
    assert ("no person can be asked here" in (quote["refused_because"] or "")) is not allowed


@pytest.mark.parametrize("rail", ["x402", "mpp"])
async def test_a_quote_without_a_wallet_compares_no_balance(bench: Bench, picture: Path) -> None:
    async with bench.host(**NO_WALLET) as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        wallet = await host.call("wallet_status")

    assert quote["refused_because"].startswith("No wallet is set.")
    assert "too little" not in quote.text
    assert quote["notes"] == ["No wallet is set. The cost is compared with no balance."]
    assert (quote["allowed"], quote["price_usd"], quote["upload_price_usd"]) == (False, "0.32", "0.01")
    assert [offer["balance_usd"] for offer in quote["offers"]] == []
    assert wallet["balances"] == []


async def test_a_custom_profile_without_a_wallet_names_its_offers_without_a_balance(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    async with bench.host(**write_profile(bench, tmp_path), **NO_WALLET) as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        dear = await host.call("quote_price", image=str(picture), prompt="x", max_price_usd="0.10")

    assert quote["refused_because"].startswith("No wallet is set.")
    assert "too little" not in quote.text + dear.text
    assert "max_price_usd" in dear["refused_because"]


async def test_a_studio_paid_in_advance_is_quoted_without_a_wallet(make_bench: MakeBench, picture: Path) -> None:
    bench: Bench = await make_bench(rails=("mpp",), takes_pushed=True)
    async with bench.host(**NO_WALLET, SEEDANCE_ALLOW_PUSH="on") as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")

    assert quote["refused_because"].startswith("No wallet is set.")
