"""From a picture to a video, as an agent does it: every kind of image, both models, both dialects."""

import itertools
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.integration.host import ON_BOTH_RAILS, Bench, draw

MakeBench = Callable[..., Awaitable[Bench]]

NETWORKS = {"x402": "eip155:402402", "mpp": "eip155:4024217"}


def measure(file: str) -> tuple[float, int, int, bool]:
    """Seconds, width, height and whether there is sound."""
    with av.open(file) as container:
        video = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video))
        return (
            float(frames / Fraction(video.average_rate or 24)),
            video.width,
            video.height,
            bool(container.streams.audio),
        )


@pytest.mark.parametrize(("contract", "rail"), [("current", "x402"), ("classic", "mpp")])
async def test_a_local_picture_becomes_a_saved_video_and_is_paid_once(
    make_bench: MakeBench, picture: Path, contract: str, rail: str
) -> None:
    bench = await make_bench(contract=contract, small_videos=contract == "classic")
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="The bars sway")

    assert video["status"] == "complete"
    seconds, width, height, _ = measure(video["file"])
    assert abs(seconds - 4) <= 0.05
    assert (width, height) == ((854, 480) if contract == "current" else (106, 60))
    price = 320_000 if contract == "current" else 40_000
    assert await bench.paid() == [10_000, price]
    assert video["price_micro_usdc"] == price
    settlement = (await bench.state())["settlements"][1]
    assert video["receipt"]["transaction"] == settlement["transaction"]
    assert video["receipt"]["network"] == NETWORKS[rail]


@pytest.mark.parametrize("contract", ["current", "classic"])
async def test_first_and_last_frame_make_one_video_in_both_dialects(
    make_bench: MakeBench, tmp_path: Path, contract: str
) -> None:
    bench = await make_bench(contract=contract)
    first, last = draw(tmp_path / "first.png"), draw(tmp_path / "last.png", colour=(160, 60, 40))
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=str(first), last_image=str(last), prompt="Day turns to dusk")

    assert video["status"] == "complete"
    job = (await bench.state())["jobs"][0]
    assert len(await bench.paid()) == 3
    sent = job["input"]
    assert (len(sent["urls"]) == 2) if contract == "current" else sent["last_image"] != sent["image"]


@pytest.mark.parametrize("contract", ["current", "classic"])
async def test_the_larger_model_takes_every_argument_its_dialect_has(
    make_bench: MakeBench, tmp_path: Path, contract: str
) -> None:
    bench = await make_bench(contract=contract, keeps_sound=True)
    tall = draw(tmp_path / "tall.jpg", size=(300, 500))
    options: dict[str, object] = (
        {"camera_fixed": True, "generate_audio": True, "seed": 7} if contract == "classic" else {}
    )
    async with bench.host() as host:
        video = await host.animate_to_the_end(
            image=str(tall), prompt="x", model="seedance", duration=5, resolution="720p", **options
        )

    seconds, width, height, sound = measure(video["file"])
    assert abs(seconds - 5) <= 0.05
    assert (width, height) == (90, 160)  # an eighth of the image's own shape, as near as the studio has it
    assert sound
    assert (await bench.paid())[1] == (1_200_000 if contract == "current" else 412_500)
    sent = (await bench.state())["jobs"][0]["input"]
    if contract == "classic":
        assert (sent["camera_fixed"], sent["generate_audio"], sent["seed"]) == (True, True, 7)


async def test_an_uploaded_image_is_reused_by_its_url_and_by_its_bytes(bench: Bench, picture: Path) -> None:
    copy = picture.with_name("copy.png")
    copy.write_bytes(picture.read_bytes())
    async with bench.host() as host:
        first = await host.call("upload_image", image=str(picture))
        second = await host.call("upload_image", image=str(copy))
        video = await host.animate_to_the_end(image=first["image_url"], prompt="x")

    assert first["price_micro_usdc"] == 10_000
    assert (second["price_micro_usdc"], second["image_url"]) == (0, first["image_url"])
    assert video["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000]


@ON_BOTH_RAILS
async def test_a_quote_is_free_and_what_is_signed_equals_it(bench: Bench, picture: Path) -> None:
    arguments = {"image": str(picture), "prompt": "x", "duration": 6}
    async with bench.host() as host:
        guess = await host.call("quote_price", **arguments)
        paid_before = await bench.paid()
        await host.call("upload_image", image=str(picture))
        quote = await host.call("quote_price", **arguments)
        video = await host.animate_to_the_end(**arguments)

    assert (guess["exact"], guess["price_micro_usdc"], guess["upload_price_usd"]) == (False, 480_000, "0.01")
    assert paid_before == []
    assert (quote["exact"], quote["upload_price_usd"], quote["allowed"]) == (True, "0.00", True)
    assert quote["price_micro_usdc"] == video["price_micro_usdc"] == (await bench.paid())[1]


async def test_a_quote_for_a_new_picture_is_exact_once_any_picture_is_hosted(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    other = draw(tmp_path / "other.png", colour=(10, 10, 10))
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))
        quote = await host.call("quote_price", image=str(other), prompt="x")

    assert (quote["exact"], quote["upload_price_usd"]) == (True, "0.01")
    assert await bench.paid() == [10_000]


async def test_the_same_call_again_is_the_same_job_and_another_take_is_another(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        one = await host.animate_to_the_end(image=str(picture), prompt="x")
        same = await host.call("animate_image", image=str(picture), prompt="x")
        other = await host.animate_to_the_end(image=str(picture), prompt="x", take=2)

    assert same["job_id"] == one["job_id"]
    assert other["job_id"] != one["job_id"]
    assert await bench.paid() == [10_000, 320_000, 320_000]


async def test_progress_grows_strictly_and_says_what_happens(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(job_seconds=3)
    async with bench.host() as host:
        await host.animate_to_the_end(image=str(picture), prompt="x")
        values = [value for value, _ in host.progress]

    assert len(values) >= 3
    assert all(earlier < later for earlier, later in itertools.pairwise(values))
    assert any("loading" in (message or "") for _, message in host.progress)


async def test_a_deadline_is_a_normal_answer_and_get_job_goes_on(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(job_seconds=2.5)
    async with bench.host() as host:
        early = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=1)
        again = await host.call("animate_image", image=str(picture), prompt="x", wait_seconds=0)
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert not early.failed
    assert early["status"] in ("pending", "loading")
    assert "get_job" in early["next_step"] or "animate_image again" in early["next_step"]
    assert not again.failed
    assert video["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000]
