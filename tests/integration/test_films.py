"""Films as a host orders them: one question about the sum, shots that go on, and a budget that is never passed."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from seedance_mcp.adapters.media.films import film_support
from seedance_mcp.sandbox import EXAMPLE_IMAGE
from tests.films import Seen, measure_distance, watch
from tests.integration.host import CALL_SECONDS, Answer, Bench, Host, MakeBench, finish_film, make_film
from tests.integration.person import Person

pytestmark = pytest.mark.skipif(not film_support(), reason="the extra `film` is not installed")

VIDEO, UPLOAD = 320_000, 10_000
SHOT_SECONDS = 4


async def read_caps(host: Host) -> tuple[str, list[Any]]:
    """What is held now, and the sums that are reserved."""
    wallet = await host.call("wallet_status")
    return wallet["held_usd"], wallet["caps"]


async def test_a_person_is_asked_once_about_the_sum_of_what_is_not_bought(bench: Bench, picture: Path) -> None:
    person = Person("accept", approve=True)
    one, end = {"prompt": "one", "image": str(picture)}, {"prompt": "end"}
    async with bench.host(elicitation=person, SEEDANCE_ASK_ABOVE="0.40") as host:
        film = await make_film(host, shots=[one, {"prompt": "two"}, end])
        paid = await bench.paid()
        changed = await make_film(host, shots=[one, {"prompt": "another two"}, end])
        held = await read_caps(host)

    assert (film["status"], changed["status"]) == ("complete", "complete"), changed.text
    assert sorted(paid) == [UPLOAD] * 3 + [VIDEO] * 3
    assert sorted((await bench.paid())[len(paid) :]) == [UPLOAD, VIDEO, VIDEO], "the shot and the one behind it"
    kept = [before["job_id"] == after["job_id"] for before, after in zip(film["shots"], changed["shots"], strict=True)]
    assert kept == [True, False, False]
    assert held == ("0.00", [])
    assert [question.splitlines()[-1] for question in person.questions] == ["Pay $0.99?", "Pay $0.66?"]
    assert person.questions[0].splitlines()[0] == (
        "Play money (sandbox): $0.99 for a film of 3 shots, image uploads and network fees included."
    )


async def test_a_no_to_the_sum_buys_no_shot(bench: Bench, picture: Path) -> None:
    person = Person("accept", approve=False)
    async with bench.host(elicitation=person, SEEDANCE_ASK_ABOVE="0.40") as host:
        film = await make_film(host, shots=[{"prompt": "one", "image": str(picture)}, {"prompt": "two"}])
        held = await read_caps(host)

    assert "The person at the host said no to the price." in film.text
    assert len(person.questions) == 1
    assert (held, await bench.paid()) == (("0.00", []), [])


async def test_every_shot_of_a_film_goes_on_where_the_one_before_ended(make_bench: MakeBench) -> None:
    """A studio that changes its encoder changes size, rate and sound between shots; the film is whole all the same."""
    bench: Bench = await make_bench(job_seconds=0.2, faults=("varied_videos",), keeps_sound=True)
    shots = [{"prompt": "one", "image": str(EXAMPLE_IMAGE)}, *({"prompt": f"then {number}"} for number in (1, 2, 3))]
    starts = [SHOT_SECONDS * number for number in range(4)]
    async with bench.host(
        SEEDANCE_MAX_PRICE_PER_VIDEO="3", SEEDANCE_MAX_PER_FILM="9", SEEDANCE_MAX_PER_DAY="9"
    ) as host:
        film = await make_film(host, shots=shots, aspect_ratio="1:1", model="seedance", resolution="1080p")

    assert film["status"] == "complete", film.text
    seen = await anyio.to_thread.run_sync(watch, Path(film["file"]))
    check_shots(seen, shots)
    sounds = [seen.sounding[10 * start + 5 : 10 * start + 35] for start in starts]
    assert [any(sound) for sound in sounds] == [True, True, True, False], "the fourth encoding has no sound"
    for start, end in pairwise([*starts, 4 * SHOT_SECONDS]):
        first, last = find_frame(seen, start + 0.01), find_frame(seen, end - 0.01)
        assert measure_distance(first, last) > 15, "each shot moves"
        if end < len(shots) * SHOT_SECONDS:
            assert measure_distance(last, find_frame(seen, end + 0.01)) < 8, f"no jump at {end} s"


def check_shots(seen: Seen, shots: list[dict[str, Any]]) -> None:
    """Check that a film has all its shots, each in a chapter of its own."""
    assert abs(seen.duration - len(shots) * SHOT_SECONDS) < 0.1
    assert [round(start) for start, _ in seen.chapters] == [SHOT_SECONDS * number for number in range(len(shots))]
    assert [title for _, title in seen.chapters] == [shot["prompt"] for shot in shots]


def find_frame(seen: Seen, second: float) -> Image.Image:
    """Return the frame that is shown at a time."""
    return seen.frames[max(at for at, time in enumerate(seen.seconds) if time <= second)]


@pytest.mark.chaos
async def test_processes_near_the_days_budget_make_whole_films_only(make_bench: MakeBench, picture: Path) -> None:
    """Eight servers with one ledger order different films at once; three of these fit into the day."""
    bench: Bench = await make_bench(job_seconds=0.2)
    day, film_cost = 2_100_000, 2 * VIDEO + UPLOAD  # after the upload that all share, and a frame for each film
    answers: list[Answer] = []
    async with bench.host() as host:
        await host.call("upload_image", image=str(picture))

    async def order(number: int) -> None:
        async with bench.host(process="forked", SEEDANCE_MAX_PER_DAY="2.10") as host:
            shots = [{"prompt": f"film {number}", "image": str(picture)}, {"prompt": "goes on"}]
            answers.append(await make_film(host, shots=shots))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(order, number)
    async with bench.host(SEEDANCE_MAX_PER_DAY="2.10") as host:
        held = await read_caps(host)

    made, refused = ([one for one in answers if one.failed == failed] for failed in (False, True))
    paid = await bench.paid()
    assert sum(paid) <= day
    assert [film["status"] for film in made] == ["complete"] * (day // film_cost), [one.text for one in answers]
    assert sorted(paid) == [UPLOAD] * 4 + [VIDEO] * 6, "no shot of a film that was refused"
    assert len({shot["job_id"] for film in made for shot in film["shots"]}) == 6
    for film in refused:
        assert film.text.startswith("budget_exceeded: "), film.text
        assert "Nothing was paid." in film.text
    assert held == ("0.00", [])


@pytest.mark.parametrize("risen", ["price_x2", "video_price_x2"])
async def test_price_that_rose_after_a_film_was_left_stops_it_with_the_reason(
    make_bench: MakeBench, picture: Path, risen: str
) -> None:
    """The next server goes on at the prices that were agreed to; the same call asks for the new ones."""
    bench: Bench = await make_bench(job_seconds=0.3, faults=("slow_job:1",))
    shots = [{"prompt": "one", "image": str(picture)}, {"prompt": "two"}]
    async with bench.host() as host:
        left = await host.call("animate_storyboard", shots=shots, wait_seconds=0)
        with anyio.fail_after(CALL_SECONDS):
            while len(await bench.paid()) < 2:  # an upload and the first shot
                await anyio.sleep(0.05)
    await bench.break_with(f"tampered_offer={risen}")
    async with bench.host() as host:
        stopped = await finish_film(host, left)
        held = await read_caps(host)
        paid = await bench.paid()
    await bench.break_with()
    async with bench.host() as host:
        film = await make_film(host, shots=shots)

    assert "costs more by now" in stopped.text, stopped.text
    assert held == ("0.00", [])
    assert VIDEO * 2 not in paid
    assert film["status"] == "complete", film.text
    assert sorted(await bench.paid()) == [UPLOAD] * 2 + [VIDEO] * 2


async def test_film_begins_with_a_text_and_has_a_shot_of_references(bench: Bench, picture: Path) -> None:
    shots: list[dict[str, Any]] = [
        {"prompt": "Fog over the harbour", "text_only": True},
        {"prompt": "The fog lifts"},
        {"prompt": "@image1 sails away", "references": [str(picture)]},
    ]
    async with bench.host() as host:
        quote = await host.call("quote_price", shots=shots)
        film = await make_film(host, shots=shots)
        again = await make_film(host, shots=shots)

    assert film["status"] == "complete", film.text
    assert again["job_id"] == film["job_id"]
    paid = await bench.paid()
    assert sorted(paid) == [UPLOAD] * 2 + [VIDEO] * 3, "a frame and a reference are uploaded"
    assert sum(paid) <= quote["price_micro_usdc"]
    inputs = [job["input"] for job in (await bench.state())["jobs"]]
    assert sorted(one.get("mode", "text") for one in inputs) == ["keyframe", "reference", "text"]
    seen = await anyio.to_thread.run_sync(watch, Path(film["file"]))
    check_shots(seen, shots)
    before, after = (find_frame(seen, SHOT_SECONDS + offset) for offset in (-0.01, 0.01))
    assert measure_distance(before, after) < 8, "the second shot goes on where the first ended"
