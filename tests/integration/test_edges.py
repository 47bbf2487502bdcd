"""A price that stands elsewhere, and what stands before the studio: paid where that is safe, else told in words."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.integration.host import Answer, Bench, draw

MakeBench = Callable[..., Awaitable[Bench]]
UPLOAD, CLIP, CLASSIC_CLIP = 10_000, 320_000, 40_000


async def shown(bench: Bench) -> int:
    """How many signed payments the studio was ever shown."""
    return len((await bench.state())["payments_seen"])


async def test_pays_a_price_whose_terms_stand_in_another_place(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        for number, shape in enumerate(("resource_in_body", "error_in_body", "whole_in_body"), 1):
            image = str(draw(picture.with_name(f"{shape}.png"), colour=(number, 2, 3)))
            await bench.break_with(f"challenge_shape={shape}")
            video = await host.animate_to_the_end(image=image, prompt="x")

            assert video["status"] == "complete", video.text
            assert await bench.paid() == [UPLOAD, CLIP] * number, shape


async def test_refuses_in_true_words_what_it_cannot_sign(bench: Bench, picture: Path) -> None:
    shapes = {
        "other_resource_in_body": "names something else in its body: «http://127.0.0.1",
        "version_1": "speaks x402 version «1», not 2",
    }
    for shape, words in shapes.items():
        await bench.break_with(f"challenge_shape={shape}")
        async with bench.host() as host:
            answer = await host.call("animate_image", image=str(picture), prompt="x")
        await check_refused(bench, answer, words)


async def check_refused(bench: Bench, answer: Answer, words: str) -> None:
    assert answer.failed
    assert words in answer.text
    assert "Nothing was paid." in answer.text
    assert await shown(bench) == 0


async def test_a_price_in_answer_to_a_payment_is_not_signed_whatever_words_come_with_it(
    bench: Bench, picture: Path
) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("second_402:1", "challenge_shape=error_in_body")
        answers = [await host.call("animate_image", image=str(picture), prompt="x") for _ in range(2)]

    assert [answer.text.partition(":")[0] for answer in answers] == ["payment_refused"] * 2
    assert await shown(bench) == 2
    assert await bench.paid() == [UPLOAD]


async def test_a_bot_check_is_named_and_is_not_the_callers_fault(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.animate_to_the_end(image=str(picture), prompt="before")
        await bench.break_with("bot_check")
        answers = [
            await host.call("animate_image", image=str(picture), prompt="x"),
            await host.call("get_job", job_id="cmdoesnotexist"),
        ]

    for answer in answers:
        assert answer.text.startswith("studio_unreachable:")
        assert "a bot check answered, not the studio" in answer.text
        assert "The request is not at fault" in answer.text
        assert "Nothing was paid." in answer.text
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_a_bot_check_in_answer_to_a_payment_ends_with_one_payment(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        await bench.break_with("bot_check_for_payment:1")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["status"] == "complete", video.text
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_buys_in_the_last_known_dialect_while_discovery_is_blocked(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(contract="classic")
    async with bench.host() as host:
        await host.call("quote_price", image=str(picture), prompt="x")
    for number, status in enumerate((403, 503), 1):
        await bench.break_with(f"no_openapi={status}")
        async with bench.host() as host:  # a new server: what the first one read is in the ledger
            video = await host.animate_to_the_end(image=str(picture), prompt=f"{status}")

        assert video["status"] == "complete", video.text
        assert await bench.paid() == [UPLOAD, *[CLASSIC_CLIP] * number]


async def test_buys_at_the_known_price_from_a_studio_that_never_told_its_dialect(bench: Bench, picture: Path) -> None:
    await bench.break_with("no_openapi=403")
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["status"] == "complete", video.text
    assert await bench.paid() == [UPLOAD, CLIP]


async def test_signs_no_unknown_price_of_a_studio_that_never_told_its_dialect(
    make_bench: MakeBench, picture: Path
) -> None:
    bench = await make_bench(contract="classic")
    await bench.break_with("no_openapi=403")
    async with bench.host() as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.text.startswith("studio_protocol:")
    assert "openapi.json cannot be read" in answer.text
    assert await bench.paid() == [UPLOAD]
    assert await shown(bench) == 1


async def test_reads_the_contract_again_before_a_price_that_is_not_the_tables(bench: Bench, picture: Path) -> None:
    """The classic ceiling of 0.12 dollars is a price to anyone who believes in the current dialect."""
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        await bench.break_with("other_dialect")
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert quote["price_micro_usdc"] == CLIP
    assert video["status"] == "complete", video.text
    assert await bench.paid() == [UPLOAD, CLASSIC_CLIP]
