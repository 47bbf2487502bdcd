"""`export`: a saved video becomes an animation, named by its file or its job."""

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Person
from tests.films import write_video


def test_video_of_a_job_becomes_an_animation(owner_of_a_video: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = owner_of_a_video
    [bought] = customer.run("jobs", "--json").json
    monkeypatch.chdir(customer.folder)

    ended = customer.run("export", bought["job_id"], "--webp", "--width", "64")

    name = Path(bought["file"]).with_suffix(".webp").name
    assert (ended.code, ended.out.strip()) == (0, str(customer.folder / name))
    assert ended.err.startswith("64x36, ")
    with Image.open(name) as picture:
        assert (picture.format, picture.size) == ("WEBP", (64, 36))


def test_output_names_format_and_place(person: Person) -> None:
    video, target = write_video(person.folder / "a b.mp4", colours="r"), person.folder / "new" / "x.GIF"

    assert person.run("export", str(video), "-o", str(target), "--json").json == {
        "file": str(target),
        "width": 64,
        "height": 36,
        "frames": 12,
        "size_bytes": target.stat().st_size,
    }


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (
            ("a.mp4",),
            2,
            "No format was named. Give --gif, --webp, or -o with a name.",
        ),
        (("a.mp4", "-o", "a.png"), 2, "does not end with the format. End it with .gif or .webp."),
        (("a.mp4", "--gif", "-o", "a.webp"), 2, "End it with .gif."),
        (("no-such", "--gif"), 1, "no-such is neither a file nor a job of this ledger."),
    ],
)
def test_what_cannot_be_written_is_one_line(person: Person, words: tuple[str, ...], code: int, line: str) -> None:
    ended = person.run("export", *words)

    assert (ended.code, line in ended.one_line) == (code, True), ended.err


def test_missing_file_of_a_job_names_the_command_that_fetches_it(owner_of_a_video: Person) -> None:
    [bought] = owner_of_a_video.run("jobs", "--json").json
    away = Path(bought["file"]).rename(owner_of_a_video.folder / "away.mp4")

    ended = owner_of_a_video.run("export", bought["job_id"], "--gif")
    away.rename(bought["file"])

    assert f"run seedance-mcp get {bought['job_id']} first" in ended.one_line.lower()
