"""Images by https URL: used as they are where the studio can read them, and never an open door."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.conftest import HttpsServer
from tests.integration.host import Bench, draw

MakeBench = Callable[..., Awaitable[Bench]]


async def test_an_https_image_needs_no_upload(https_server: HttpsServer, bench: Bench, picture: Path) -> None:
    url = https_server.add("/cat.png", picture.read_bytes(), content_type="image/png")
    async with bench.host() as host:
        quote = await host.call("quote_price", image=url, prompt="x")
        video = await host.animate_to_the_end(image=url, prompt="x")

    assert (quote["exact"], quote["upload_price_usd"]) == (True, "0.00")
    assert video["status"] == "complete"
    assert (await bench.state())["jobs"][0]["input"]["urls"] == [url]
    assert await bench.paid() == [320_000]


async def test_the_same_picture_by_url_and_by_path_is_one_purchase(
    https_server: HttpsServer, bench: Bench, picture: Path
) -> None:
    url = https_server.add("/cat.png", picture.read_bytes(), content_type="image/png")
    async with bench.host() as host:
        by_url = await host.animate_to_the_end(image=url, prompt="x")
        by_path = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert by_path["job_id"] == by_url["job_id"]
    assert await bench.paid() == [320_000]


async def test_a_url_whose_picture_changes_is_bought_once_for_the_same_call_and_again_for_another_take(
    https_server: HttpsServer, bench: Bench, tmp_path: Path
) -> None:
    jobs: list[str] = []
    async with bench.host() as host:
        for shade, take in ((10, 1), (20, 1), (30, 1), (40, 2)):
            shown = draw(tmp_path / f"{shade}.png", colour=(shade, shade, 160))
            url = https_server.add("/webcam.png", shown.read_bytes(), content_type="image/png")
            video = await host.animate_to_the_end(image=url, prompt="x", take=take)
            jobs.append(video["job_id"])

    assert jobs[0] == jobs[1] == jobs[2] != jobs[3]
    assert await bench.paid() == [320_000, 320_000]


async def test_an_https_page_that_is_no_picture_is_refused(https_server: HttpsServer, bench: Bench) -> None:
    url = https_server.add("/page.png", b"<html>not a picture</html>", content_type="image/png")
    async with bench.host() as host:
        answer = await host.call("animate_image", image=url, prompt="x")

    assert answer.text.startswith("image:")
    assert await bench.paid() == []


async def test_an_https_image_that_is_not_there_is_refused(https_server: HttpsServer, bench: Bench) -> None:
    async with bench.host() as host:
        for status in (403, 404):
            url = https_server.add(f"/gone{status}.png", status=status)
            answer = await host.call("animate_image", image=url, prompt="x")

            assert answer.text.startswith("image:")
            assert f" {status}" in answer.text.replace(url, ""), answer.text
    assert await bench.paid() == []
