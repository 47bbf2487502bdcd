"""The demo's video is one of the sandbox's: in the list of jobs and in the gallery; the throwaway money is not real."""

import os
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.app.local_sandbox import start_sandbox
from seedance_mcp.core.errors import ConfigError
from tests.cli.conftest import Ended, Person
from tests.cli.conversation import converse
from tests.forks import write_commands
from tests.launch import PYTHON_VARIABLE


@pytest.fixture(autouse=True)
def _forked_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Fork each demo's server; tests/integration has a demo with one that a new Python starts."""
    commands = tmp_path / "commands"
    write_commands(commands)
    if os.name == "posix":
        monkeypatch.setattr("sys.executable", str(commands / "python"))
        monkeypatch.setenv(PYTHON_VARIABLE, str(commands / "python"))


def run_demo(*words: str, **environ: str) -> Ended:
    """Run it in this process, its server in another; tests/integration has one in a process of its own."""
    return Person(Path.cwd(), {}).run("demo", "--json", "--job-seconds", "0.2", *words, **environ)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_demos_offer_their_video_and_are_in_the_list_and_in_the_gallery(person: Person, tmp_path: Path) -> None:
    """At a terminal the link is in the terminal's own form; what opens a file is a program of the machine."""
    opener = person.folder / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$1" > {person.folder}/opened\n')
    opener.chmod(0o755)
    path = os.pathsep.join((str(opener.parent), os.environ["PATH"]))
    words = ("demo", "--job-seconds", "0.2")
    code, shown = converse(person, *words, answers=[("Open it now? [Y/n]:", "")], DISPLAY=":99", PATH=path)
    assert code == 0, shown
    [link] = [line for line in shown.splitlines() if "\x1b]8;" in line]
    assert "file://" in link
    assert "seedance-mcp gallery --sandbox" in shown
    first = (person.folder / "opened").read_text().strip()

    second = run_demo(SEEDANCE_MAX_PER_DAY="0.01").json
    jobs = person.run("jobs", "--sandbox", "--json").json
    person.run("gallery", "--sandbox", "--export", str(tmp_path / "page"))
    pages = "".join(path.read_text(errors="replace") for path in (tmp_path / "page").rglob("*") if path.is_file())

    assert [job["file"] for job in jobs] == [second["file"], first]
    assert jobs[0]["job_id"] == second["job_id"]
    assert Path(first).read_bytes()[4:8] == b"ftyp"
    assert all(job["job_id"] in pages for job in jobs)


def test_unknown_model_is_described_in_our_words(person: Person) -> None:
    failed = person.run("demo", "--model", "turbo")
    assert failed.code == 2
    assert "a Seedance model is needed" in failed.err
    assert "Input should" not in failed.err


def test_a_demo_that_fails_leaves_no_job(person: Person, tmp_path: Path) -> None:
    (tmp_path / "no-picture.png").write_text("no picture")

    failed = run_demo(str(tmp_path / "no-picture.png"))

    assert failed.code == 2
    assert set(failed.json) == {"error"}
    assert "picture" in failed.one_line
    assert failed.one_line.startswith("seedance-mcp: ")
    assert "Nothing was paid." in failed.one_line
    assert person.run("jobs", "--sandbox", "--json").json == []


def test_the_demo_ends_like_every_other_verb_where_the_fault_is_ones_own(person: Person) -> None:
    ended = person.run("demo", "--resolution", "1080p")
    assert ended.code == 2, ended.err
    assert "Nothing was paid." in ended.one_line


def test_a_demo_where_nothing_can_be_written_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sandbox").write_text("")  # a file, where the folder should be

    failed = run_demo(SEEDANCE_DATA_DIR=str(tmp_path))

    assert failed.code == 2
    assert failed.err.startswith("seedance-mcp: ")
    assert str(tmp_path / "sandbox") in failed.one_line


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rails": ("paypal",)}, "there is no rail 'paypal'; choose from: x402, mpp"),
        ({"faults": ("bad_luck",)}, "unknown fault 'bad_luck'; choose from: "),
    ],
)
def test_an_option_that_no_sandbox_knows_is_told_as_an_option(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        start_sandbox(wallet="0x" + "1" * 40, **options)
    assert caught.value.what.startswith(f"The sandbox cannot be started: {text}")
    assert str(caught.value.next_step) == "Correct that option."
