"""Every tool is a verb: it does the same work, says it to people and to scripts, and ends with a code that means it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from seedance_mcp.commands.exits import MEANINGS, find_exit_code, gravest
from seedance_mcp.errors import (
    BudgetExceededError,
    ConfigError,
    PaymentOutcomeUnknownError,
    SeedanceError,
    StudioProtocolError,
    VideoUnsavedError,
)
from tests.people.conftest import Person

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox


def test_a_rehearsal_needs_nothing_but_the_command(person: Person) -> None:
    person.draw("boat.png")
    done = person.run_apart("animate", "boat.png", "--prompt", "It sails", "--sandbox", SEEDANCE_WALLET_KEY="not a key")
    assert done.code == 0, done.err
    assert Path(done.out.strip()).read_bytes()[4:8] == b"ftyp"
    assert not (person.data_dir / "live").exists()
    listed = person.run("jobs", "--sandbox", "--json").json
    assert [(job["status"], job["prompt"], job["file"]) for job in listed] == [
        ("complete", "It sails", done.out.strip())
    ]


def test_the_verbs_are_the_tools_as_json(customer: Person) -> None:
    customer.draw("one.png", 11)
    upload = customer.run("upload", "one.png", "--json")
    assert upload.json["price_usd"] == "0.01"
    quote = customer.run("quote", "one.png", "--prompt", "x", "--duration", "5", "--json").json
    assert (quote["price_usd"], quote["exact"], quote["allowed"]) == ("0.40", True, True)
    clip = customer.run("animate", "one.png", "--prompt", "x", "--duration", "5", "--json").json
    assert (clip["status"], clip["price_usd"]) == ("complete", "0.40")
    again = customer.run("animate", "one.png", "--prompt", "x", "--duration", "5", "--json").json
    assert again["job_id"] == clip["job_id"]
    got = customer.run("get", clip["job_id"], "--json").json
    assert (got["file"], got["receipt"]) == (clip["file"], clip["receipt"])
    assert clip["job_id"] in [job["job_id"] for job in customer.run("jobs", "--studio", "--json").json]


def test_a_batch_is_one_table_and_runs_again_for_nothing(customer: Person) -> None:
    customer.draw("a.png", 21)
    customer.draw("b.png", 22)
    (customer.folder / "shots.csv").write_text('image,prompt,duration\na.png,"go, now",\n\nb.png,stay,5\n')
    words = ("animate", "--from", "shots.csv")
    first = customer.run(*words, "--json")
    assert first.code == 0, first.err
    assert [(row["row"], row["price_usd"]) for row in first.json] == [
        ("shots.csv line 2", "0.32"), ("shots.csv line 4", "0.40"),
    ]  # fmt: skip
    second = customer.run(*words)
    assert second.code == 0
    assert "2 of 2 clips done" in second.err
    assert [line.split()[3] for line in second.out.splitlines()[1:]] == ["a.png", "b.png"]
    assert len(customer.run("jobs", "--json").json) == 2


def test_json_lines_take_defaults_from_the_options(customer: Person) -> None:
    customer.draw("a.png", 31)
    (customer.folder / "shots.jsonl").write_text('{"image": "a.png"}\n{"image": "a.png", "duration": 6}\n')
    quotes = customer.run("quote", "--from", "shots.jsonl", "--prompt", "x", "--duration", "5", "--json").json
    assert [quote["price_usd"] for quote in quotes] == ["0.40", "0.48"]


BAD_ROWS = {
    "half.csv": ("image,prompt\na.png,x\na.png\n", "half.csv line 3: 1 of 2 columns; the row is not whole."),
    "quote.csv": ('image,prompt\na.png,"x\n', "quote.csv line 2: unexpected end of data."),
    "column.csv": ("image,promt\na.png,x\n", "column.csv line 1: the header has no column «promt»."),
    "number.csv": ("image,prompt,duration\na.png,x,soon\n", "number.csv line 2: duration «soon»"),
    "range.csv": ("image,prompt,duration\na.png,x,99\n", "range.csv line 2: duration «99»"),
    "missing.csv": ("prompt\nx\n", "missing.csv line 2: image is missing."),
    "gone.csv": ("image,prompt\na.png,x\ngone.png,x\n", "gone.csv line 3: There is no file"),
    "empty.csv": ("", "has no rows"),
    "half.jsonl": ('{"image": "a.png", "prompt": "x"}\n{"image": "a.p\n', "half.jsonl line 2: this is not JSON"),
    "list.jsonl": ("[]\n", "list.jsonl line 1: this is not an object"),
    "shots.txt": ("x", "is neither .csv nor .jsonl"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_names_itself_before_anything_is_bought(name: str, customer: Person) -> None:
    text, expected = BAD_ROWS[name]
    customer.draw("a.png", 41)
    (customer.folder / name).write_text(text)
    done = customer.run("animate", "--from", name)
    assert (done.code, done.out) == (2, "")
    assert expected in done.one_line
    assert "Nothing was paid" in done.one_line
    assert customer.run("jobs", "--json").json == []


def settled(studio: "Sandbox") -> list[object]:
    return httpx.get(f"{studio.url}/_sandbox/state").json()["settlements"]


def test_ctrl_c_loses_nothing(make_sandbox: Callable[..., "Sandbox"], funded_key: str, tmp_path: Path) -> None:
    studio = make_sandbox(job_seconds=12)  # longer than a busy machine needs to notice the third payment
    person = Person(
        folder=tmp_path,
        environ={
            "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": funded_key,
        },
    )  # fmt: skip
    person.draw("a.png")
    person.draw("b.png", 120)
    words = ("animate", "a.png", "b.png", "--prompt", "x")
    broken = person.interrupt(*words, when=lambda: len(settled(studio)) >= 3)
    assert broken.code == 130
    assert "the same command goes on" in broken.one_line
    done = person.run(*words, "--json")
    assert done.code == 0, done.err
    assert len(settled(studio)) == 4  # two uploads, two clips: nothing twice


def test_limits_and_broken_studios_have_their_own_codes(
    customer: Person, make_sandbox: Callable[..., "Sandbox"]
) -> None:
    customer.draw("a.png", 51)
    refused = customer.run("animate", "a.png", "--prompt", "x", "--json", SEEDANCE_MAX_PRICE_PER_VIDEO="0.10")
    assert refused.code == 3
    assert refused.json["error"]["charge"] == "none"
    asked = customer.run("animate", "a.png", "--prompt", "x", SEEDANCE_ASK_ABOVE="0.10")
    assert asked.code == 3
    assert "SEEDANCE_ASK_ABOVE" in asked.one_line
    away = customer.run("quote", "a.png", "--prompt", "x", SEEDANCE_STUDIO_URL="http://127.0.0.1:9")
    assert away.code == 1
    failing = make_sandbox(faults=("failed_job",)).url
    failed = customer.run("animate", "a.png", "--prompt", "x", "--json", SEEDANCE_STUDIO_URL=failing)
    assert (failed.code, failed.json["status"]) == (1, "failed")
    slow = make_sandbox(job_seconds=60).url
    waiting = customer.run(
        "animate", "a.png", "--prompt", "x", "--wait-seconds", "4", "--json", SEEDANCE_STUDIO_URL=slow
    )
    assert (waiting.code, waiting.json["file"]) == (5, None)


@pytest.mark.parametrize(
    "words", [("animate",), ("animate", "a.png"), ("quote", "a.png", "--from", "x.csv"), ("get",), ("animate", "--fro")]
)
def test_a_command_that_is_not_whole_is_a_short_error(words: tuple[str, ...], person: Person) -> None:
    done = person.run(*words)
    assert done.code == 2
    assert "Traceback" not in done.err


EXITS: list[tuple[SeedanceError, int]] = [
    (ConfigError("x"), 2), (BudgetExceededError("x"), 3), (PaymentOutcomeUnknownError("x"), 4),
    (StudioProtocolError("x"), 1), (VideoUnsavedError("x"), 5),
    (StudioProtocolError("x"), 1), (SeedanceError("x", charge="held"), 4),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code"), EXITS)
def test_money_that_may_still_move_decides_the_exit_code(error: SeedanceError, code: int) -> None:
    assert find_exit_code(error) == code


def test_a_batch_ends_with_its_gravest_code() -> None:
    assert gravest([0, 5, 1, 4, 3]) == 4
    assert gravest([0, 5, 1]) == 1
    assert gravest([]) == 0


def test_readme_shows_every_exit_code() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| `{code}` | {meaning} |" in readme, json.dumps(meaning)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_ctrl_c_at_the_question_about_a_price_is_a_no(customer: Person) -> None:
    import pty

    picture = customer.draw("a.png", shade=91)
    ours, theirs = pty.openpty()
    environ = {**os.environ, **customer.environ, "SEEDANCE_ASK_ABOVE": "0.10", "TERM": "xterm", "COLUMNS": "200"}
    words = [sys.executable, "-m", "seedance_mcp", "animate", str(picture), "--prompt", "x"]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True) as it:
        os.close(theirs)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        it.send_signal(signal.SIGINT)
        assert it.wait(20) == 3
        shown += os.read(ours, 65_536)
    os.close(ours)
    assert b"needs a person's yes" in shown
    assert b"Traceback" not in shown
