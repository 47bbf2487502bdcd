"""The second rail, as an agent meets it: MPP on Tempo alone, beside x402, and with what the wallet holds."""

import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from tests.forks import build_command
from tests.integration.host import Bench, run_in_thread

MakeBench = Callable[..., Awaitable[Bench]]
UPLOAD, CLIP, FEE = 10_000, 320_000, 5_576


async def rails_paid(bench: Bench) -> list[tuple[str, int]]:
    """On which rail what was settled."""
    return [(entry["rail"], entry["amount_micro_usdc"]) for entry in (await bench.state())["settlements"]]


async def test_a_studio_that_takes_only_mpp_is_paid_on_tempo(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(rails=("mpp",), funded_on=("mpp",))
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")
        again = await host.call("animate_image", image=str(picture), prompt="x")

    [offer] = quote["offers"]
    assert quote["allowed"]
    assert (offer["rail"], offer["fee_usd"], offer["refused_because"]) == ("mpp", "0.02", None)
    assert offer["balance_usd"] == "49.984424"
    assert (video["status"], video["rail"]) == ("complete", "mpp")
    assert await anyio.Path(video["file"]).exists()
    assert video["receipt"]["network"] == "eip155:4024217"
    assert again["job_id"] == video["job_id"]
    [upload, generation] = (await bench.state())["settlements"]
    assert generation["transaction"] == video["receipt"]["transaction"]
    assert upload["fee_micro_usdc"] == generation["fee_micro_usdc"] == FEE


@pytest.mark.parametrize(("funded_on", "rail"), [(("mpp",), "mpp"), (("x402",), "x402"), (("x402", "mpp"), "x402")])
async def test_of_both_rails_the_one_is_paid_on_that_the_wallet_can(
    make_bench: MakeBench, picture: Path, funded_on: tuple[str, ...], rail: str
) -> None:
    bench = await make_bench(rails=("x402", "mpp"), funded_on=funded_on)
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert (video["status"], video["rail"]) == ("complete", rail)
    assert await rails_paid(bench) == [(rail, UPLOAD), (rail, CLIP)]


async def test_the_owners_order_comes_first(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(rails=("x402", "mpp"))
    async with bench.host(SEEDANCE_RAILS="mpp,x402") as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["rail"] == "mpp"
    assert await rails_paid(bench) == [("mpp", UPLOAD), ("mpp", CLIP)]


async def test_a_rail_that_the_owner_did_not_allow_is_not_used_whatever_the_wallet_holds(
    make_bench: MakeBench, picture: Path
) -> None:
    bench = await make_bench(rails=("mpp",))
    async with bench.host(SEEDANCE_RAILS="x402") as host:
        answer = await host.call("upload_image", image=str(picture))

    assert answer.failed
    assert "mpp is not among the allowed rails" in answer.text
    assert "Nothing was paid." in answer.text
    assert (await bench.state())["payments_seen"] == []


async def test_an_empty_wallet_is_told_what_is_missing_and_where_before_anything_is_signed(
    make_bench: MakeBench, picture: Path
) -> None:
    bench = await make_bench(rails=("x402", "mpp"), funded=0)
    async with bench.host() as host:
        answer = await host.call("upload_image", image=str(picture))
        bench.sandbox.tempo.mint(bench.address, 1_000_000)
        again = await host.call("upload_image", image=str(picture))

    assert answer.failed
    for part in ("insufficient_balance:", bench.address, "$0.01 is needed", "$0.03 with the network fee",
                 "Sandbox USDC on eip155:402402",
                 "Sandbox dollar on eip155:4024217", "/_sandbox/fund", "Nothing was paid."):  # fmt: skip
        assert part in answer.text
    assert not again.failed, "funding is seen at once"
    assert await rails_paid(bench) == [("mpp", UPLOAD)]


async def test_a_studio_that_pays_the_network_fee_is_paid_the_price_alone(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(rails=("mpp",), sponsors_fees=True, funded=UPLOAD + CLIP)
    async with bench.host(SEEDANCE_MAX_PER_DAY="0.33") as host:
        await host.call("upload_image", image=str(picture))
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")
        status = await host.call("wallet_status")

    [offer] = quote["offers"]
    assert (quote["allowed"], offer["fee_usd"]) == (True, "0.00")
    assert offer["token_name"] == "Sandbox dollar on eip155:4024217"
    assert offer["token_name"] in [balance["token_name"] for balance in status["balances"]]
    assert (video["status"], video["rail"]) == ("complete", "mpp")
    settled = (await bench.state())["settlements"]
    assert [entry["amount_micro_usdc"] for entry in settled] == [UPLOAD, CLIP]
    assert bench.address.lower() not in {entry["fee_payer"].lower() for entry in settled}
    assert video["receipt"]["transaction"] == settled[1]["transaction"]
    assert status["spent_24h_usd"] == "0.33"


async def test_a_lost_answer_of_a_sponsored_charge_ends_with_the_video_and_one_payment(
    make_bench: MakeBench, picture: Path
) -> None:
    bench = await make_bench(rails=("mpp",), sponsors_fees=True)
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        for number, fault in enumerate(("drop_after_settle:1", "settle_then_500:1", "fail_settlement:1"), 1):
            before = len((await bench.state())["payments_seen"])
            await bench.break_with(fault)
            video = await host.animate_to_the_end(image=str(picture), prompt=fault)
            shown = [payment["authorization"]["nonce"] for payment in (await bench.state())["payments_seen"]]

            assert video["status"] == "complete", fault
            assert await rails_paid(bench) == [("mpp", UPLOAD), *[("mpp", CLIP)] * number], fault
            assert len(set(shown[before:])) == 1, "the same bytes, however often they were sent"


async def test_a_tampered_charge_is_refused_before_a_signature(make_bench: MakeBench, picture: Path) -> None:
    kinds = ("price_x100", "ceiling", "other_asset", "other_network", "long_lifetime", "other_realm", "split")
    bench = await make_bench(rails=("mpp",))
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        for kind in kinds:
            await bench.break_with(f"tampered_offer={kind}")
            answer = await host.call("animate_image", image=str(picture), prompt=kind)
            assert answer.failed, kind
            assert "Nothing was paid." in answer.text, kind

    assert [payment["path"] for payment in (await bench.state())["payments_seen"]] == ["/api/upload"]


async def test_the_fee_counts_against_the_days_budget(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(rails=("mpp",))
    async with bench.host(SEEDANCE_MAX_PER_DAY="0.345") as host:
        await host.call("upload_image", image=str(picture))
        refused = await host.call("animate_image", image=str(picture), prompt="x")
    async with bench.host(SEEDANCE_MAX_PER_DAY="0.356") as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert refused.failed
    assert refused.text.startswith("budget_exceeded:")
    assert "$0.34 is more than the $0.329424 left" in refused.text
    assert video["status"] == "complete"


@pytest.mark.slow
async def test_the_demo_ends_on_tempo_as_it_does_on_base(tmp_path: Path) -> None:
    def run() -> "subprocess.CompletedProcess[str]":
        command = build_command("seedance_mcp", "demo", "--rail", "mpp", "--json", "--job-seconds", "0.5")
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    shown = json.loads((await run_in_thread(run)).stdout)
    assert (shown["rail"], shown["price_micro_usdc"]) == ("mpp", CLIP)
    assert shown["receipt"]["network"] == "eip155:4024217"
    assert await anyio.Path(shown["file"]).exists()
