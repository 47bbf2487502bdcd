"""References, text alone, 4K and models of the studio: journeys over MCP, paid once, and what is refused before."""

import io
import struct
import wave
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.cli.batch_input import read_shots
from seedance_mcp.sandbox.video import RenderPlan, render_video
from tests.integration.host import Bench, Host, draw, run_in_thread

MakeBench = Callable[..., Awaitable[Bench]]
PROMPT = "The boat of @image1 sails past the lighthouse of @image2"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return draw(tmp_path / "second.png", colour=(160, 60, 40))


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_sound(tmp_path / "waves.wav")


@pytest.fixture
async def video(tmp_path: Path, picture: Path) -> Path:
    plan = RenderPlan(duration_seconds=1, size=(64, 64), audio=False)
    rendered = await run_in_thread(lambda: render_video([picture.read_bytes()], plan))
    file = tmp_path / "boat.mp4"
    file.write_bytes(rendered.video)
    return file


def write_sound(file: Path) -> Path:
    """A tenth of a second of silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(struct.pack("<h", 0) * 800)
    file.write_bytes(buffer.getvalue())
    return file


async def find_input(bench: Bench) -> Mapping[str, Any]:
    """Return the body of the only job."""
    (job,) = (await bench.state())["jobs"]
    return job["input"]


async def refuse(host: Host, bench: Bench, expected: str, **arguments: object) -> None:
    """Check that both tools refuse a request with a text, and that nothing was paid for it."""
    before = await bench.paid()
    for tool in ("quote_price", "animate_image"):
        answer = await host.call(tool, **{"prompt": "x", **arguments})
        text = answer.text if answer.failed else f"{answer['refused_because']} Nothing was paid."
        assert expected in text, (tool, answer.text)
        assert "Nothing was paid." in text
    assert await bench.paid() == before


# ── journeys ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_references_are_uploaded_once_and_make_one_video(
    bench: Bench, picture: Path, second: Path, video: Path, sound: Path
) -> None:
    files = [str(one) for one in (picture, sound, second, video)]
    asked: dict[str, Any] = {"prompt": PROMPT, "references": files}
    async with bench.host() as host:
        quote = await host.call("quote_price", **asked)
        answer = await host.animate_to_the_end(**asked)
        again = await host.call("animate_image", **asked)

    assert (quote["price_usd"], quote["upload_price_usd"], quote["allowed"]) == ("0.32", "0.04", True)
    assert Path(answer["file"]).is_file()
    assert again["job_id"] == answer["job_id"]
    assert await bench.paid() == [10_000] * 4 + [320_000]
    body = await find_input(bench)
    assert (body["mode"], body["urlMediaTypes"], len(body["audioUrls"])) == (
        "reference",
        ["image", "image", "video"],
        1,
    )
    assert body["aspectRatio"] == "16:9"


async def test_text_alone_makes_a_video_if_it_is_asked_for(bench: Bench) -> None:
    async with bench.host() as host:
        answer = await host.animate_to_the_end(prompt="Fog lifts", text_only=True)
        missing = await host.call("animate_image", prompt="x")

    assert "No image was named" in missing.text
    assert "Nothing was paid." in missing.text
    assert Path(answer["file"]).is_file()
    assert await bench.paid() == [320_000]
    assert (await find_input(bench)).keys() == {"prompt", "duration", "aspectRatio", "outputResolution"}


async def test_upscaled_video_costs_twice_and_is_asked_for_in_4k(bench: Bench) -> None:
    await bench.break_with("stuck_job")
    async with bench.host() as host:
        await host.call("animate_image", prompt="Fog lifts", text_only=True, upscale="4K", wait_seconds=2)

    assert await bench.paid() == [640_000]
    assert (await find_input(bench))["upscaleResolution"] == "4k"


async def test_model_without_a_known_price_needs_the_callers_limit(bench: Bench, picture: Path) -> None:
    asked: dict[str, Any] = {"image": str(picture), "model": "seedance-next"}
    async with bench.host() as host:
        await refuse(host, bench, "No price of such a video is known", **asked)
        answer = await host.animate_to_the_end(prompt="x", max_price_usd="0.30", **asked)
        await refuse(host, bench, "duration 21 is not available", **asked, duration=21, max_price_usd="2")
        await refuse(host, bench, "has no model seedance-gone", image=str(picture), model="seedance-gone")

    assert Path(answer["file"]).is_file()
    assert await bench.paid() == [10_000, 240_000]


async def test_length_of_a_declared_model_is_that_of_the_studios_schema(bench: Bench) -> None:
    """Longer and shorter than the models that this version knows."""
    await bench.break_with("stuck_job")
    asked: dict[str, Any] = {"text_only": True, "model": "seedance-next"}
    async with bench.host() as host:
        for seconds, price in ((20, "1.20"), (2, "0.12")):
            await host.order(prompt="x", **asked, duration=seconds, max_price_usd=price)
        await refuse(host, bench, "duration 1 is not available", **asked, duration=1, max_price_usd="2")
        await refuse(host, bench, "allowed are 4 to 15", **{**asked, "model": "seedance"}, duration=20)

    assert await bench.paid() == [1_200_000, 120_000]
    assert [job["input"]["duration"] for job in (await bench.state())["jobs"]] == ["20", "2"]


async def test_studio_that_takes_only_pictures_is_paid_for_no_other_upload(
    bench: Bench, picture: Path, video: Path, sound: Path
) -> None:
    await bench.break_with("only_pictures")
    async with bench.host() as host:
        for file, kind in ((video, "video/mp4"), (sound, "audio/wav")):
            await refuse(host, bench, f"takes no uploads of {kind}", references=[str(picture), str(file)])
        answer = await host.animate_to_the_end(prompt="@image1 waves", references=[str(picture)])

    assert Path(answer["file"]).is_file()
    assert await bench.paid() == [10_000, 320_000]


async def test_unclear_inputs_are_refused_before_any_payment(bench: Bench, picture: Path, sound: Path) -> None:
    image = str(picture)
    matroska = picture.parent / "short.mp4"
    matroska.write_bytes(b"\0\0\0\x18ftypisom" + bytes(12))
    async with bench.host() as host:
        for expected, arguments in (
            ("image: must be a text", {"image": [image, image]}),
            ("Both frames and references", {"image": image, "references": [image]}),
            ("text alone is wanted", {"image": image, "text_only": True}),
            ("references has only sounds", {"references": [str(sound)]}),
            ("references has 13 pictures", {"references": [image] * 13}),
            ("The prompt names @image2", {"references": [image], "prompt": "@image2 waves"}),
            ("is not a whole MP4 video", {"references": [str(matroska)]}),
            ("is plain http", {"references": ["http://example.com/a.mp4"]}),
        ):
            answer = await host.call("animate_image", **{"prompt": "x", **arguments})
            assert answer.failed, expected
            assert expected in answer.text
            assert "Nothing was paid." in answer.text
    assert await bench.paid() == []


async def test_classic_studio_names_what_it_does_not_have(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(contract="classic")
    image = str(picture)
    async with bench.host() as host:
        for arguments in ({"references": [image]}, {"image": image, "upscale": "4k"}, {"text_only": True}):
            answer = await host.call("animate_image", prompt="x", **arguments)
            assert answer.failed
            assert "classic dialect" in answer.text or "no video from text alone" in answer.text
            assert "Nothing was paid." in answer.text
    assert await bench.paid() == []


async def test_lost_ledger_finds_what_references_and_text_bought(bench: Bench, picture: Path, video: Path) -> None:
    """A new data folder, the same wallet: the studio's list says what was bought."""
    asked: list[dict[str, Any]] = [
        {"prompt": "@image1 floats", "references": [str(picture), str(video)]},
        {"prompt": "Fog lifts", "text_only": True},
    ]
    async with bench.host() as host:
        bought = [(await host.animate_to_the_end(**one))["job_id"] for one in asked]
    paid = await bench.paid()
    async with bench.host(SEEDANCE_DATA_DIR=str(bench.folder / "new")) as host:
        found = [(await host.animate_to_the_end(**one))["job_id"] for one in asked]

    assert found == bought
    assert await bench.paid() == paid


async def test_same_files_in_another_order_are_another_video(bench: Bench, picture: Path, second: Path) -> None:
    files = [str(picture), str(second)]
    async with bench.host() as host:
        one = await host.animate_to_the_end(prompt="x", references=files)
        other = await host.animate_to_the_end(prompt="x", references=files[::-1])

    assert one["job_id"] != other["job_id"]
    assert await bench.paid() == [10_000, 10_000, 320_000, 320_000]


def test_batch_rows_list_references_in_one_cell(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,references,text_only\nOne,a.png | https://example.com/b.mp4,\nTwo,,true\n")
    one, two = (shot.request for shot in read_shots(rows, {}))

    assert one.references == (str(tmp_path / "a.png"), "https://example.com/b.mp4")
    assert (one.image, one.text_only, two.references, two.text_only) == (None, False, (), True)
