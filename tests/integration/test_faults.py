"""Each named misbehaviour of the studio, met by the real server: what the agent is told, and what the chain says.

After every journey the sandbox's own chain is asked: the video is paid at most once, whatever happened.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from tests.integration.host import ON_BOTH_RAILS, Bench, draw

MakeBench = Callable[..., Awaitable[Bench]]
UPLOAD, CLIP = 10_000, 320_000


async def test_a_slow_job_is_waited_for_call_by_call(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(job_seconds=0.4)
    await bench.break_with("slow_job")
    async with bench.host() as host:
        first = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=1)
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert first["status"] in ("pending", "loading")
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_the_step_after_a_failure_fits_its_cause_and_names_the_support(bench: Bench, picture: Path) -> None:
    steps = {
        "failed_job": "Change the picture or the prompt before another try",
        "crashed_job": "To pay for another try, raise take by one.",
    }
    async with bench.host() as host:
        for fault, step in steps.items():
            await bench.break_with(fault)
            job = await host.animate_to_the_end(image=str(picture), prompt=fault)

            assert job["status"] == "failed"
            assert step in job["next_step"]
            assert ("raise take" in job["next_step"]) == (fault == "crashed_job")
            assert "No refund is documented" in job["next_step"]
            assert "the studio's support can be asked, with the job id and the transaction" in job["next_step"]


async def test_a_failed_job_is_told_with_its_price_and_not_bought_again(bench: Bench, picture: Path) -> None:
    await bench.break_with("failed_job")
    async with bench.host() as host:
        first = await host.animate_to_the_end(image=str(picture), prompt="x")
        again = await host.call("animate_image", image=str(picture), prompt="x")
        read = await host.call("get_job", job_id=first["job_id"])

    assert first.failed
    assert (first["status"], first["price_micro_usdc"]) == ("failed", CLIP)
    assert first["error"]
    assert "take" in first["next_step"]
    assert again["job_id"] == first["job_id"]
    assert (read.failed, read["status"]) == (True, "failed"), "one rule for everything that tells of it"
    for answer in (first, again, read):
        told = (answer.result.meta or {})["seedance-mcp/error"]
        assert told == {
            "code": "job_failed",
            "payment_state": "settled",
            "charge": "settled",
            "amount_micro_usdc": CLIP,
        }
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_stuck_job_is_still_running_and_never_bought_again(bench: Bench, picture: Path) -> None:
    await bench.break_with("stuck_job")
    async with bench.host() as host:
        first = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=6)
        again = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=1)

    assert first["status"] == again["status"] == "loading"
    assert first["job_id"] == again["job_id"]
    assert await bench.paid() == [UPLOAD, CLIP]


@ON_BOTH_RAILS
async def test_a_lost_answer_ends_with_the_video_and_one_payment(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        for number, fault in enumerate(("drop_after_settle:1", "settle_then_500:1", "fail_settlement:1"), 1):
            await bench.break_with(fault)
            video = await host.animate_to_the_end(image=str(picture), prompt=fault)

            assert video["status"] == "complete", fault
            assert Path(video["file"]).exists(), fault
            assert await bench.paid() == [UPLOAD] + [CLIP] * number, fault


@ON_BOTH_RAILS
async def test_a_lost_upload_is_bought_once_more_and_the_result_says_so(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        for number, fault in enumerate(("drop_after_settle:1", "settle_then_500:1"), 1):
            image = str(draw(picture.with_name(f"{number}.png"), colour=(number, 2, 3)))
            await bench.break_with(fault)
            first = await host.call("upload_image", image=image)
            hosted = first if not first.failed else await host.call("upload_image", image=image)
            again = await host.call("upload_image", image=image)

            assert not hosted.failed, fault
            assert any("bought once more" in note for note in hosted["notes"]), fault
            assert again["price_micro_usdc"] == 0, fault
            assert await bench.paid() == [UPLOAD, UPLOAD] * number, fault


async def test_that_it_was_paid_for_once_more_is_told_to_every_caller_who_asks_for_the_picture(
    bench: Bench, picture: Path
) -> None:
    async with bench.host() as host:
        await bench.break_with("drop_after_settle:1")
        lost = await host.call("upload_image", image=str(picture))
        await bench.break_with("slow_answer=2:1")
        with anyio.move_on_after(1) as left:
            await host.call("upload_image", image=str(picture))
        with anyio.fail_after(60):
            while not any(one["confirmed"] for one in (await bench.state())["uploads"]):
                await anyio.sleep(0.1)
        await anyio.sleep(0.3)  # it is in the ledger now, and no one heard of it
        hosted = await host.call("upload_image", image=str(picture))
        again = await host.call("upload_image", image=str(picture))

    assert lost.failed
    assert left.cancelled_caught
    for answer in (hosted, again):
        assert ["bought once more" in note for note in answer["notes"]] == [True]
    assert await bench.paid() == [UPLOAD, UPLOAD]


@ON_BOTH_RAILS
async def test_a_video_says_that_its_pictures_place_was_paid_for_once_more(bench: Bench, picture: Path) -> None:
    await bench.break_with("drop_after_settle:1")
    async with bench.host() as host:
        first = await host.call("animate_image", image=str(picture), prompt="x")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")
        again = await host.call("animate_image", image=str(picture), prompt="x")

    assert first.failed
    assert "uploaded again, and the result says so" in first.text
    assert ["bought once more" in note for note in video["notes"]] == [True]
    assert again["notes"] == ["This video was bought before; nothing is paid for it again."]
    assert await bench.paid() == [UPLOAD, UPLOAD, CLIP]


@ON_BOTH_RAILS
async def test_a_second_402_is_never_signed_for(bench: Bench, picture: Path, rail: str) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("second_402:1")
        first = await host.call("animate_image", image=str(picture), prompt="x")
        again = await host.call("animate_image", image=str(picture), prompt="x")

    for answer in (first, again):
        assert answer.failed
        assert answer.text.startswith("payment_refused:")
        assert f"Up to ${'0.34' if rail == 'mpp' else '0.32'} is held until" in answer.text
    assert await bench.paid() == [UPLOAD]


async def test_an_overloaded_studio_is_asked_again_after_its_pause(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await bench.break_with("rate_limited:1")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_studio_out_of_order_costs_nothing_and_works_afterwards(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await bench.break_with("server_error")
        first = await host.call("animate_image", image=str(picture), prompt="x")
        await bench.break_with()
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert first.failed
    assert first.text.startswith("studio_unreachable:")
    assert "Nothing was paid." in first.text
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_broken_result_is_fetched_again_until_it_is_whole(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        for fault in ("dead_result_url:1", "truncated_video:1"):
            await bench.break_with(fault)
            video = await host.animate_to_the_end(image=str(picture), prompt=fault)

            assert video["status"] == "complete", fault
            assert Path(video["file"]).stat().st_size > 1000, fault
            assert [path.name for path in Path(video["file"]).parent.iterdir() if path.name.endswith(".part")] == []


async def test_a_tampered_offer_is_refused_before_a_signature(bench: Bench, picture: Path) -> None:
    kinds = (
        "price_x100",
        "ceiling",
        "other_asset",
        "other_network",
        "other_domain_name",
        "permit2",
        "long_lifetime",
    )
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        for kind in kinds:
            await bench.break_with(f"tampered_offer={kind}")
            answer = await host.call("animate_image", image=str(picture), prompt=kind)
            assert answer.failed, kind
            assert "Nothing was paid." in answer.text, kind

    assert await bench.paid() == [UPLOAD]
    signed = [payment["path"] for payment in (await bench.state())["payments_seen"]]
    assert signed == ["/api/upload"]


@ON_BOTH_RAILS
async def test_a_restarted_server_finishes_what_the_last_one_began(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(job_seconds=2)
    async with bench.host(process="forked") as host:
        begun = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=1)
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert begun["job_id"] in (None, video["job_id"])
    assert video["status"] == "complete"
    assert await bench.paid() == [UPLOAD, CLIP]
