"""`film`: a story becomes one file, at one price and one yes; the same command goes on and buys nothing twice."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Person
from tests.films import measure_distance, measure_duration, watch

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

STORY = """\
shots:
  - {image: a.png, prompt: The boat leaves}
  - It sails on
"""


def write_story(person: Person, text: str = STORY) -> str:
    person.draw("a.png")
    (person.folder / "story.yaml").write_text(text)
    return "story.yaml"


def test_story_becomes_one_continuous_file(customer: Person) -> None:
    ended = customer.run("film", write_story(customer), "-o", "out/film.mp4")

    assert (ended.code, ended.out) == (0, f"{customer.folder / 'out' / 'film.mp4'}\n"), ended.err
    assert ended.err.splitlines() == [
        "1  The boat leaves  from a.png         $0.33",
        "2  It sails on      from the end of 1  $0.33",
        "At most $0.66 for the whole film, uploads and all.",
        "A price that is not yet known is estimated; the film stops before it costs more than this sum.",
        "2 shots, $0.64 in all.",
    ]
    seen = watch(customer.folder / "out" / "film.mp4")
    assert (round(seen.duration, 2), len(seen.frames)) == (8, 192)
    assert seen.chapters == [(0, "The boat leaves"), (4, "It sails on")]
    gap, way = (measure_distance(seen.frames[95], seen.frames[at]) for at in (96, 0))
    assert gap < 6 < way


def test_one_yes_is_for_all_shots_and_a_second_run_costs_nothing(customer: Person) -> None:
    first = customer.run_at_terminal("film", write_story(customer), "--json", typed="y\n", SEEDANCE_ASK_ABOVE="0.50")

    again = customer.run_at_terminal("film", "story.yaml", "--json", typed="", SEEDANCE_ASK_ABOVE="0.50")

    assert (first.code, first.err.count("?")) == (0, 1), first.err
    assert (first.json["status"], first.json["price_usd"]) == ("complete", "0.64")
    assert (again.code, again.err.count("?")) == (0, 0), again.err
    assert [shot["max_price_micro_usdc"] for shot in again.json["shots"]] == [0, 0]
    assert [shot["job_id"] for shot in again.json["shots"]] == [shot["job_id"] for shot in first.json["shots"]]
    film_id, file = first.json["job_id"], first.json["file"]
    assert customer.run("get", film_id).out.strip() == file
    assert customer.run("get", film_id, "--cancel", "--json").json["file"] == file  # a film that is over stays


def test_quote_shows_each_shot_and_buys_nothing(customer: Person) -> None:
    quoted = customer.run("film", write_story(customer), "--quote", "--json").json

    assert (quoted["status"], quoted["price_usd"], quoted["exact"]) == ("quoted", "0.66", False)
    assert [shot["starts_from"] for shot in quoted["shots"]] == [str(customer.folder / "a.png"), "last frame"]
    assert customer.run("jobs").err.strip() == "No jobs yet."


def test_quote_needs_no_wallet(person: Person, make_sandbox: "Callable[..., Sandbox]") -> None:
    studio = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": make_sandbox().url}
    quoted = person.run("film", write_story(person), "--quote", **studio)

    assert quoted.code == 0, quoted.err
    assert "At most $0.66 for the whole film" in quoted.err
    assert "The sum is compared with no balance." in quoted.err


def test_one_no_at_the_terminal_buys_nothing(customer: Person) -> None:
    ended = customer.run_at_terminal("film", write_story(customer), typed="n\n")

    assert "Buy this film for at most $0.66 of play money (sandbox)?" in ended.err
    assert (ended.code, "You did not agree to the price. Nothing was paid." in ended.err) == (3, True)
    assert customer.run("jobs").err.strip() == "No jobs yet."


def test_failed_shot_is_named_and_a_changed_one_is_bought_alone(
    customer: Person, make_sandbox: "Callable[..., Sandbox]"
) -> None:
    url = make_sandbox(faults=("failed_job:1",)).url
    customer.environ["SEEDANCE_STUDIO_URL"] = url
    story = write_story(customer, STORY + "  - {image: b.png, prompt: Waves, duration: 5}\n")
    customer.draw("b.png")

    failed = customer.run("film", story, "--json", SEEDANCE_MAX_PER_DAY="5")

    shots = failed.json["shots"]
    assert (failed.code, failed.json["status"]) == (1, "stopped")
    broken = next(number for number, shot in enumerate(shots) if shot["error"])
    text = (customer.folder / story).read_text().replace(shots[broken]["prompt"], "Another prompt")
    (customer.folder / story).write_text(text)
    done = customer.run("film", story, "--json", SEEDANCE_MAX_PER_DAY="5").json
    assert done["status"] == "complete"
    assert sum(bool(shot["max_price_micro_usdc"]) for shot in done["shots"]) == (2 if broken == 0 else 1)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("-o", "film.avi"),
            "film.avi does not end with a film's format. Nothing was paid. End it with .mp4, .gif, .webp.",
        ),
        ((), "A cross-fade is made in a file of your own. Nothing was paid. Name it with -o."),
    ],
)
def test_film_that_cannot_be_written_is_refused_first(person: Person, words: tuple[str, ...], line: str) -> None:
    ended = person.run("film", write_story(person, f"crossfade: 1\n{STORY}"), *words)

    assert (ended.code, line in ended.one_line) == (2, True), ended.err


def test_cross_fade_is_in_the_named_file_alone(customer: Person) -> None:
    ended = customer.run("film", write_story(customer, f"crossfade: 0.5\n{STORY}"), "-o", "film.mp4", "--json")

    assert round(measure_duration(customer.folder / "film.mp4"), 2) == 7.5
    assert round(measure_duration(Path(ended.json["file"])), 2) == 8
    assert not [file for file in customer.folder.iterdir() if file.name.startswith(".") or file.suffix == ".part"]
