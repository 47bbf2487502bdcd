"""Films that cannot be made: a clear error, nothing bought that is not wanted, and nothing lost that was bought."""

import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from PIL import Image

from seedance_mcp.adapters.media.films import film_support
from tests.adapters.test_films import limit_file_bytes
from tests.films import watch
from tests.integration.host import Bench, Host, MakeBench, draw, make_film

pytestmark = pytest.mark.skipif(not film_support(), reason="the extra `film` is not installed")

ROOM_BYTES = 600_000
"""More than the ledger or one shot of a noisy picture needs, and less than a film of three."""


async def check_nothing_is_held(host: Host) -> None:
    wallet = await host.call("wallet_status")
    assert (wallet["held_usd"], wallet["caps"]) == ("0.00", [])


async def test_a_film_above_a_limit_is_refused_as_a_whole(bench: Bench, picture: Path) -> None:
    limits: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
        ({"SEEDANCE_MAX_PER_DAY": "0.98"}, {}, "budget_exceeded", "SEEDANCE_MAX_PER_DAY"),
        ({"SEEDANCE_MAX_PER_FILM": "0.98"}, {}, "price_too_high", "SEEDANCE_MAX_PER_FILM"),
        ({"SEEDANCE_MAX_PRICE_PER_VIDEO": "0.31"}, {}, "price_too_high", "Shot 1: "),
        ({}, {"max_price_usd": "0.98"}, "price_too_high", "max_price_usd"),
    ]
    shots = [{"prompt": "one", "image": str(picture)}, {"prompt": "two"}, {"prompt": "three"}]
    for settings, arguments, code, says in limits:
        async with bench.host(**settings) as host:
            quote = await host.call("quote_price", shots=shots, **arguments)
            answer = await make_film(host, shots=shots, **arguments)
            await check_nothing_is_held(host)

        assert answer.failed, says
        assert answer.text.startswith(f"{code}: "), answer.text
        assert says in answer.text
        assert "Nothing was paid." in answer.text
        assert (quote.failed or not quote["allowed"], says in quote.text) == (True, True), quote.text
        assert await bench.paid() == []


async def test_pictures_of_different_shapes_need_one_aspect_ratio(bench: Bench, picture: Path) -> None:
    upright = draw(picture.with_name("upright.png"), size=(360, 640))
    shots = [{"prompt": "one", "image": str(picture)}, {"prompt": "two"}, {"prompt": "x", "image": str(upright)}]
    async with bench.host() as host:
        answer = await make_film(host, shots=shots)
        quote = await host.call("quote_price", shots=shots, aspect_ratio="16:9")

    assert answer.failed
    assert "different shapes (shot 1: 16:9, shot 2: 16:9, shot 3: 9:16)" in answer.text
    assert "Choose one aspect_ratio" in answer.text
    assert quote["allowed"], quote.text
    assert await bench.paid() == []


async def test_missing_library_refuses_a_film_with_the_install_command(
    bench: Bench, picture: Path, tmp_path: Path
) -> None:
    """The server's Python has every library but PyAV; single videos can be made without it."""
    shots = [{"prompt": "one", "image": str(picture)}, {"prompt": "two"}]
    server = StdioServerParameters(
        command=sys.executable,
        args=["-S", "-m", "seedance_mcp"],
        env={**bench.environ, "PYTHONPATH": os.pathsep.join(_link_libraries(tmp_path / "libraries", without="av"))},
    )
    async with Client(server) as client:
        host = Host(client)
        quote, film = await host.call("quote_price", shots=shots), await make_film(host, shots=shots)
        video = await host.animate_to_the_end(image=str(picture), prompt="one")

    for answer in (quote, film):
        assert answer.failed
        assert answer.text.startswith("config: Films need the extra `film`, which is not installed."), answer.text
        assert "[film]" in answer.text
    assert video["status"] == "complete"
    assert await bench.paid() == [10_000, 320_000], "the video alone"


def _link_libraries(folder: Path, *, without: str) -> list[str]:
    """Return a search path with all installed libraries but one, whatever site-packages has."""
    folder.mkdir()
    for place in (Path(one) for one in sys.path if one.endswith("-packages")):
        for library in place.iterdir():
            if library.name.partition(".")[0].partition("-")[0] != without and not (folder / library.name).exists():
                (folder / library.name).symlink_to(library)
    return [str(Path(__file__).parents[2]), str(folder)]


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE stands in for a full disk")
async def test_full_disk_while_joining_keeps_the_shots_and_buys_nothing_again(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    bench: Bench = await make_bench(job_seconds=0.2)
    noise = tmp_path / "noise.png"
    Image.frombytes("RGB", (640, 360), random.Random(1).randbytes(640 * 360 * 3)).save(noise)  # noqa: S311 - a picture
    shots = [{"prompt": prompt, "image": str(noise)} for prompt in ("one", "two", "three")]
    options, price = {"resolution": "720p", "duration": 8}, 1_344_000
    async with bench.host(
        SEEDANCE_MAX_PRICE_PER_VIDEO="3", SEEDANCE_MAX_PER_FILM="9", SEEDANCE_MAX_PER_DAY="9"
    ) as host:
        with limit_file_bytes(ROOM_BYTES):
            full = await make_film(host, shots=shots, **options)
            await check_nothing_is_held(host)
            paid = await bench.paid()
            still_full = await make_film(host, shots=shots, **options)
        joined = await make_film(host, shots=shots, **options)

    for answer in (full, still_full):
        assert "All shots are made, and cannot be joined." in answer.text, answer.text
        assert "Make room there" in answer.text
        assert [shot["error"] for shot in answer["shots"]] == [None, None, None]
    assert sorted(paid) == [10_000, price, price, price]
    assert joined["status"] == "complete", joined.text
    assert len(watch(Path(joined["file"])).chapters) == 3
    assert await bench.paid() == paid
    assert {file.suffix for file in Path(joined["file"]).parent.iterdir()} <= {".mp4", ".jpg", ""}, "no part is left"


async def test_wrong_mode_of_one_shot_is_named_before_any_shot_is_bought(bench: Bench, picture: Path) -> None:
    image = str(picture)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"text_only": True, "image": image}, "Shot 2: "),
        ({"references": [image], "image": image}, "Shot 2: Both frames and references"),
        ({"references": [image], "prompt": "@image2 waves"}, "Shot 2: The prompt names @image2"),
        ({"references": ["/nowhere.png"]}, "Shot 2: "),
        ({"pictures": [image]}, "pictures"),
    ]
    async with bench.host() as host:
        for shot, says in wrong:
            shots = [{"prompt": "one", "text_only": True}, {"prompt": "two", **shot}]
            for tool in ("quote_price", "animate_storyboard"):
                answer = await host.call(tool, shots=shots)
                assert answer.failed, shot
                assert says in answer.text, answer.text
                assert "Nothing was paid." in answer.text

    assert await bench.paid() == []
