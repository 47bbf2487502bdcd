"""Bad input: each ends in one clear text that says what failed, whether money moved, and what to do now."""

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.host import Bench, draw

MakeBench = Callable[..., Awaitable[Bench]]


def text_named_png(folder: Path) -> Path:
    path = folder / "text.png"
    path.write_text("not a picture")
    return path


def drawing_in_svg(folder: Path) -> Path:
    path = folder / "drawing.svg"
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return path


def too_large(folder: Path) -> Path:
    path = draw(folder / "large.png")
    os.truncate(path, 64_000_001)
    return path


def nothing(folder: Path) -> Path:
    path = folder / "empty.png"
    path.touch()
    return path


IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing-file": (lambda folder: folder / "nowhere.png", "There is no file"),
    "directory": (lambda folder: folder, "is not a file"),
    "text-renamed": (text_named_png, "is a text, not a picture"),
    "svg": (drawing_in_svg, "is an SVG drawing, not a picture"),
    "too-large": (too_large, "larger than 64 MB"),
    "zero-bytes": (nothing, "is empty"),
    "http-url": (lambda _: "http://example.com/cat.png", "https"),
    "system-file": (lambda _: "/etc/hostname", "hidden or system folder"),
}
NAMELESS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-name": (lambda _: " ", "No image was named"),
    "empty-name": (lambda _: "", "No image was named"),
}
"""Without a picture, `upload_image` gives a link for one."""


@pytest.mark.parametrize("tool", ["upload_image", "animate_image", "quote_price"])
async def test_an_unusable_image_is_named_and_nothing_is_paid(bench: Bench, tmp_path: Path, tool: str) -> None:
    async with bench.host() as host:
        for name, (make, expected) in (IMAGES if tool == "upload_image" else IMAGES | NAMELESS).items():
            arguments = {"image": str(make(tmp_path))} | ({} if tool == "upload_image" else {"prompt": "x"})
            answer = await host.call(tool, **arguments)

            assert answer.failed, name
            assert expected in answer.text, name
            assert "Nothing was paid." in answer.text, name
            assert await bench.paid() == [], name


ARGUMENTS: dict[str, tuple[dict[str, object], str]] = {
    "empty-prompt": ({"prompt": ""}, "prompt"),
    "long-prompt": ({"prompt": "x" * 4001}, "4000 are allowed"),
    "duration-3": ({"duration": 3}, "duration is 3; allowed are 4 to 15 seconds."),
    "duration-16": ({"duration": 16}, "duration is 16; allowed are 4 to 15 seconds."),
    "duration-text": ({"duration": "long"}, "duration"),
    "1080p-on-fast": ({"resolution": "1080p"}, "resolution 1080p is not available for seedance-fast"),
    "unknown-ratio": ({"aspect_ratio": "2:1"}, "aspect_ratio"),
    "unknown-model": ({"model": "sora"}, "model"),
    "unknown-argument": (
        {"max_prize_usd": "1"},
        "max_prize_usd: there is no such argument; the nearest is max_price_usd.",
    ),
    "argument-like-none": ({"x" * 5000: "1"}, "x…»: there is no such argument."),
    "flag-of-a-host-misspelt": ({"waitForPrevious": True}, "waitForPrevious: there is no such argument"),
    "seed-where-there-is-none": ({"seed": 1}, "no seed"),
    "camera-lock-where-there-is-none": ({"camera_fixed": True}, "camera"),
    "price-in-words": ({"max_price_usd": "cheap"}, "max_price_usd"),
    "price-empty": ({"max_price_usd": ""}, "max_price_usd is not an amount"),
    "price-null-as-text": ({"max_price_usd": "null"}, "The value «null» of max_price_usd is not an amount"),
    "price-with-a-separator": ({"max_price_usd": "1,000"}, "max_price_usd is not an amount"),
    "price-negative": ({"max_price_usd": -1}, "max_price_usd is not an amount"),
    "huge-number": ({"duration": 10**5000}, "not a number of thousands of digits"),
}


async def test_an_argument_out_of_range_is_named_and_nothing_is_paid(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        for name, (wrong, expected) in ARGUMENTS.items():
            answer = await host.call("animate_image", **{"image": str(picture), "prompt": "x", **wrong})

            assert answer.failed, name
            assert expected in answer.text, name
            assert "Nothing was paid." in answer.text, name
            assert await bench.paid() == [], name


async def test_thirteen_seconds_are_refused_where_the_dialect_stops_at_twelve(
    make_bench: MakeBench, picture: Path
) -> None:
    bench = await make_bench(contract="classic")
    async with bench.host() as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x", duration=13)

    assert "duration 13 is not available" in answer.text
    assert await bench.paid() == []


async def test_an_unset_wallet_names_the_setting_and_quotes_still_work(bench: Bench, picture: Path) -> None:
    async with bench.host(SEEDANCE_WALLET_FILE="", SEEDANCE_WALLET_KEY="${WALLET_KEY}") as host:
        tools = (await host.client.list_tools()).tools
        answer = await host.call("animate_image", image=str(picture), prompt="x")
        quote = await host.call("quote_price", image=str(picture), prompt="x")

    assert len(tools) >= 4
    assert answer.text.startswith("config: No wallet is set. Nothing was paid.")
    assert "SEEDANCE_WALLET_KEY" in answer.text
    assert quote["price_usd"] == "0.32"


async def test_an_empty_wallet_is_told_so_and_nothing_is_paid(make_bench: MakeBench, picture: Path) -> None:
    bench = await make_bench(funded=0)
    async with bench.host() as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.failed
    assert "insufficient" in answer.text
    assert await bench.paid() == []


async def test_a_price_above_the_callers_own_word_is_refused_with_both_figures(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x", max_price_usd="0.10")

    assert answer.text.startswith("price_too_high:")
    assert "$0.32" in answer.text
    assert "$0.10" in answer.text
    assert await bench.paid() == []  # not even the upload


async def test_a_price_above_the_owners_cap_is_refused_and_no_argument_lifts_it(bench: Bench, picture: Path) -> None:
    async with bench.host(SEEDANCE_MAX_PRICE_PER_VIDEO="0.30") as host:
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        answer = await host.call("animate_image", image=str(picture), prompt="x", max_price_usd="5")

    assert (quote["allowed"], "0.30" in quote["refused_because"]) == (False, True)
    assert answer.text.startswith("price_too_high:")
    assert "SEEDANCE_MAX_PRICE_PER_VIDEO" in answer.text
    assert await bench.paid() == []


async def test_a_spent_day_is_refused_with_what_is_left(bench: Bench, picture: Path) -> None:
    async with bench.host(SEEDANCE_MAX_PER_DAY="0.60") as host:
        await host.animate_to_the_end(image=str(picture), prompt="x")
        quote = await host.call("quote_price", image=str(picture), prompt="y")
        answer = await host.call("animate_image", image=str(picture), prompt="y")

    assert (quote["allowed"], quote["left_today_usd"]) == (False, "0.27")
    assert answer.text.startswith("budget_exceeded:")
    assert "$0.27" in answer.text
    assert await bench.paid() == [10_000, 320_000]


async def test_a_studio_that_is_down_costs_nothing(bench: Bench, picture: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with bench.host(SEEDANCE_STUDIO_URL=f"http://127.0.0.1:{port}") as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.text.startswith("studio_unreachable:")
    assert "Nothing was paid." in answer.text


async def test_a_studio_that_does_not_speak_json_costs_nothing(bench: Bench, picture: Path) -> None:
    async with bench.host() as host:
        await bench.break_with("not_json")
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.failed
    assert "Nothing was paid." in answer.text
    assert await bench.paid() == []


async def test_an_unknown_job_is_told_so(bench: Bench) -> None:
    async with bench.host() as host:
        answer = await host.call("get_job", job_id="cmdoesnotexist")

    assert answer.text.startswith("job_not_found:")


SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "profile": ({"SEEDANCE_PROFILE": "prod"}, "Allowed are: live, sandbox, custom"),
    "amount": ({"SEEDANCE_MAX_PER_DAY": "much"}, "SEEDANCE_MAX_PER_DAY (environment) is wrong"),
    "rails": ({"SEEDANCE_RAILS": "visa"}, "SEEDANCE_RAILS"),
    "studio-url": ({"SEEDANCE_STUDIO_URL": "http://example.com"}, "not https"),
    "key": ({"SEEDANCE_WALLET_KEY": "hunter2hunter2"}, "64 hexadecimal digits"),
}


async def test_a_wrong_setting_still_lists_the_tools_and_names_itself_on_the_first_call(
    bench: Bench, picture: Path
) -> None:
    for name, (wrong, expected) in SETTINGS.items():
        async with bench.host(**wrong) as host:
            tools = (await host.client.list_tools()).tools
            answer = await host.call("animate_image", image=str(picture), prompt="x")

        assert len(tools) >= 4, name
        assert answer.text.startswith("config:"), name
        assert expected in answer.text, name
        assert "hunter2" not in answer.text, name


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
async def test_a_wallet_file_that_others_can_read_is_refused_with_the_command_that_fixes_it(
    bench: Bench, picture: Path
) -> None:
    bench.wallet_file.chmod(0o644)
    async with bench.host() as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert f"chmod 600 {bench.wallet_file}" in answer.text


async def test_an_owner_who_opened_one_folder_opened_no_other(bench: Bench, picture: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    link = inside / "link.png"
    link.symlink_to(picture)
    draw(inside / "mine.png")
    async with bench.host(SEEDANCE_IMAGE_DIRS=str(inside)) as host:
        outside: Any = await host.call("upload_image", image=str(picture))
        dotted = await host.call("upload_image", image=f"{inside}/../picture.png")
        linked = await host.call("upload_image", image=str(link))
        own = await host.call("upload_image", image=str(inside / "mine.png"))

    for answer in (outside, dotted, linked):
        assert "outside the allowed folders" in answer.text
    assert not own.failed
