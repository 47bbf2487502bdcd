"""References, text alone, 4K and models of the studio: journeys over MCP, paid once, and what is refused before."""

import io
import struct
import wave
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.sandbox.video import RenderPlan, render_video
from tests.integration.host import ON_BOTH_RAILS, Bench, Host, draw, run_in_thread

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


@ON_BOTH_RAILS
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
    assert (body["mode"], body["urlMediaTypes"], len(body["audioUrls"])) == ("reference", ["image", "image", "video"], 1)
    assert body["aspectRatio"] == "16:9"
