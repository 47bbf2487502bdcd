"""Pictures as people have them, from the tool to the studio: what is done to them is said, and risks cost nothing."""

import asyncio
import base64
import io
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from tests.integration.host import Bench, draw
from tests.servers import Asked, build_answer, serve_raw

pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType]  # writes HEIC


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    file = tmp_path / "IMG_0001.HEIC"
    Image.new("RGB", (640, 480), "teal").save(file, "HEIF")
    return file


async def test_a_phone_photo_is_animated_and_the_result_says_what_was_done(bench: Bench, heic: Path) -> None:
    async with bench.host() as host:
        quote = await host.call("quote_price", image=str(heic), prompt="x")
        video = await host.animate_to_the_end(image=str(heic), prompt="x")
        again = await host.call("animate_image", image=str(heic), prompt="x")

    assert video["status"] == "complete"
    assert any("converted from HEIC" in note for note in quote["notes"])
    assert again["job_id"] == video["job_id"]
    [upload] = (await bench.state())["uploads"]
    assert upload["pathname"].endswith(".jpg")
    assert await bench.paid() == [10_000, 320_000]


@pytest.mark.parametrize(("size", "why"), [((200, 150), "a side under 300 pixels"), ((1500, 310), "2.5 times")])
async def test_a_picture_that_seedance_refuses_costs_nothing_until_the_caller_insists(
    bench: Bench, tmp_path: Path, size: tuple[int, int], why: str
) -> None:
    arguments = {"image": str(draw(tmp_path / "small.png", size=size)), "prompt": "x"}
    async with bench.host() as host:
        quote = await host.call("quote_price", **arguments)
        refused = await host.call("animate_image", **arguments)
        paid_before = await bench.paid()
        insisted = await host.animate_to_the_end(**arguments, accept_risk=True)
        repeated = await host.call("animate_image", **arguments)

    assert not quote["allowed"]
    assert why in quote["warning"]
    assert refused.failed
    assert why in refused.text
    assert "call again with accept_risk=true" in refused.text
    assert paid_before == []
    assert insisted["status"] == "complete"
    assert repeated["job_id"] == insisted["job_id"], "what was bought is found without insisting again"


async def test_a_ratio_that_crops_or_pads_is_noted(bench: Bench, tmp_path: Path) -> None:
    picture = draw(tmp_path / "photo.png", size=(1536, 1024))
    async with bench.host() as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
    assert "The picture is 1536x1024 (3:2) and the video is 4:3: the studio crops or pads it." in quote["notes"]


async def test_a_data_uri_is_a_picture_and_is_never_repeated(bench: Bench, picture: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    async with bench.host() as host:
        video = await host.animate_to_the_end(image=uri, prompt="x")
        same = await host.call("animate_image", image=str(picture), prompt="x")
        broken = await host.call("animate_image", image=uri[:-9] + "*", prompt="x")
    assert video["status"] == "complete"
    assert same["job_id"] == video["job_id"], "the same bytes are the same picture"
    assert broken.failed
    assert len(broken.text) < 400


async def test_a_picture_inside_the_chat_is_explained_in_one_sentence(bench: Bench) -> None:
    async with bench.host() as host:
        answer = await host.call("animate_image", image="sandbox:/mnt/data/cat.png", prompt="x")
    assert answer.failed
    assert "inside the chat, not on this machine" in answer.text


async def check_uploaded_from_url(bench: Bench, data: bytes, *, said: str) -> None:
    """Quote and animate a URL whose file the studio cannot use as it is."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(build_answer(200, data))

    async with serve_raw(answer) as web:
        arguments = {"image": f"{web.url}/IMG_0001", "prompt": "x"}
        async with bench.host() as host:
            quote = await host.call("quote_price", **arguments)
            video = await host.animate_to_the_end(**arguments)
    assert quote["upload_price_usd"] == "0.01"
    assert any("a prepared copy is uploaded, once ($0.01)" in note for note in quote["notes"])
    assert any(said in note for note in quote["notes"])
    assert video["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000]


async def test_a_url_whose_picture_the_studio_cannot_use_is_uploaded_and_announced(bench: Bench, heic: Path) -> None:
    await check_uploaded_from_url(bench, heic.read_bytes(), said="converted from HEIC")


async def test_a_url_of_a_picture_that_is_too_large_is_reduced_and_uploaded(bench: Bench) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2560, 1920), "teal").save(buffer, "JPEG")
    data = buffer.getvalue() + bytes(10_000_000)
    await check_uploaded_from_url(bench, data, said="reduced from 2560x1920 to 2048x1536")


async def test_upload_of_a_url_that_the_studio_cannot_read_is_announced_and_noted(bench: Bench, picture: Path) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        from_studio = asked.headers.get("accept") == "image/*"
        writer.write(build_answer(403) if from_studio else build_answer(200, picture.read_bytes()))

    async with serve_raw(answer) as web:
        arguments = {"image": f"{web.url}/presigned?signature=1", "prompt": "x"}
        async with bench.host() as host:
            quote = await host.call("quote_price", **arguments)
            video = await host.call("animate_image", **arguments)
    note = "The studio does not read the picture from its URL, so a copy is uploaded, once ($0.01)."
    assert quote["upload_price_usd"] == "0.01"
    assert quote["notes"].count(note) == video["notes"].count(note) == 1
    assert await bench.paid() == [10_000, 320_000]


def test_the_pictures_of_the_tests_are_not_risky(picture: Path) -> None:
    with Image.open(io.BytesIO(picture.read_bytes())) as opened:
        assert min(opened.size) >= 300
