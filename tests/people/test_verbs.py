"""Every tool is a verb: it does the same work, says it to people and to scripts, and ends with a code that means it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import select
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

THINKING_SECONDS = 1
PRESS_AGAIN_SECONDS = 15


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


def answer(person: Person, *words: str, typed: str | None, **settings: str) -> tuple[int, str]:
    """Run a command at a terminal, and type at its question, or press Ctrl-C; its exit code, and all that it showed."""
    import pty

    ours, theirs = pty.openpty()
    environ = {**os.environ, **person.environ, **settings, "TERM": "xterm", "COLUMNS": "200"}
    command, shown = [sys.executable, "-m", "seedance_mcp", *words], b""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=person.folder, start_new_session=True
    ) as it:
        os.close(theirs)
        while b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        if typed is not None:
            os.write(ours, typed.encode())
        patience = THINKING_SECONDS
        with suppress(OSError):  # the other end was closed: it has ended
            while it.poll() is None or select([ours], [], [], 0)[0]:
                if select([ours], [], [], patience)[0]:
                    shown += os.read(ours, 4096)
                elif typed is None:  # again, as a person does: a signal just before the line is read goes unheard
                    it.send_signal(signal.SIGINT)
                    patience = PRESS_AGAIN_SECONDS
        code = it.wait(20)
    os.close(ours)
    return code, shown.decode()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_ctrl_c_at_the_question_about_a_price_is_a_no(customer: Person) -> None:
    customer.draw("a.png", shade=91)
    code, shown = answer(customer, "animate", "a.png", "--prompt", "x", typed=None, SEEDANCE_ASK_ABOVE="0.10")
    assert code == 3
    assert "needs a person's yes" in shown
    assert "Traceback" not in shown


def test_a_refusal_of_a_single_picture_is_told_once(customer: Person) -> None:
    customer.draw("a.png", 61)
    words = ("animate", "a.png", "--prompt", "x", "--max-price-usd", "0.10")
    refused = customer.run(*words)
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.count("$0.10") == 1
    as_json = customer.run(*words, "--json")
    assert as_json.json["error"]["code"] == "price_too_high"
    assert as_json.err.count("$0.10") == 1


def test_a_person_reads_options_and_commands_and_a_program_the_words_of_the_tools(customer: Person) -> None:
    customer.draw("a.png", 62)
    words = ("animate", "a.png", "--prompt", "x", "--max-price-usd", "0.10", "--json")
    refused = customer.run(*words)
    assert "that this command allows (--max-price-usd)" in refused.one_line
    assert "call again with a higher max_price_usd" in refused.json["error"]["hint"]
    assert "that this command allows (--max-price-usd)" in customer.run("quote", *words[1:-1]).out
    assert customer.run("animate", "a.png", "--prompt", "x", "--max-price-usd", "much").one_line.startswith(
        "seedance-mcp: a.png: --max-price-usd «much»"
    )
    bought = customer.run("animate", "a.png", "--prompt", "x", "--json").json
    told = customer.run("get", bought["job_id"])
    assert told.one_line.endswith(f"complete. Done. It is in {bought['file']}")
    assert "Show the user" in customer.run("get", bought["job_id"], "--json").json["next_step"]


def test_a_batch_that_does_not_fit_says_so_before_anything_is_bought(customer: Person) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        customer.draw(name, 71 + number)
    words = ("animate", "a.png", "b.png", "c.png", "--prompt", "x")
    refused = customer.run(*words, SEEDANCE_MAX_PER_DAY="0.70")
    assert (refused.code, refused.out) == (3, "")
    assert (
        "Up to $0.99 is needed for 3 clips, uploads and all, and $0.70 is left of your budget for 24 hours "
        "(SEEDANCE_MAX_PER_DAY): 2 of them fit. Nothing was paid." in refused.one_line
    )
    assert "--what-fits" in refused.one_line
    in_all = customer.run(*words, "--json", SEEDANCE_MAX_TOTAL="0.20")
    assert (in_all.code, in_all.json["error"]["code"]) == (3, "budget_exceeded")
    assert "total budget (SEEDANCE_MAX_TOTAL): none of them fits." in in_all.one_line
    assert customer.run("jobs", "--json").json == []
    assert customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 0


def test_what_fits_is_bought_in_order_and_the_same_command_goes_on_with_the_rest(customer: Person) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        customer.draw(name, 81 + number)
    words = ("animate", "a.png", "b.png", "c.png", "--prompt", "x", "--json")
    some = customer.run(*words, "--what-fits", SEEDANCE_MAX_PER_DAY="0.70")
    assert some.code == 3
    assert [one.get("price_usd") or one["error"]["code"] for one in some.json] == ["0.32", "0.32", "budget_exceeded"]
    assert (
        customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 660_000
    )  # no upload of the third
    again = customer.run(*words, SEEDANCE_MAX_PER_DAY="0.70")
    assert again.code == 3
    assert [bool(one.get("file")) for one in again.json] == [True, True, False]  # collected, whatever the budget says
    assert "Up to $0.33 is needed for 1 clip" in again.err
    whole = customer.run(*words, SEEDANCE_MAX_PER_DAY="0.99")
    assert (whole.code, [one["job_id"] for one in whole.json][:2]) == (0, [one["job_id"] for one in some.json[:2]])
    assert customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 990_000


def test_the_same_row_twice_and_a_picture_used_twice_are_counted_as_they_are_paid(customer: Person) -> None:
    customer.draw("a.png", 95)
    (customer.folder / "shots.csv").write_text("image,prompt\na.png,x\na.png,x\na.png,y\n")
    bought = customer.run("animate", "--from", "shots.csv", "--json", SEEDANCE_MAX_PER_DAY="0.65")
    assert bought.code == 0, bought.err
    assert len({one["job_id"] for one in bought.json}) == 2


def test_a_payment_that_is_not_over_is_taken_up_though_the_budget_is_full(
    make_sandbox: Callable[..., "Sandbox"], funded_key: str, tmp_path: Path
) -> None:
    studio = make_sandbox()
    environ = {
        "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": funded_key,
    }  # fmt: skip
    person = Person(folder=tmp_path, environ=environ)
    person.draw("a.png", 96)
    person.draw("b.png", 97)
    assert person.run("upload", "a.png").code == 0
    httpx.post(f"{studio.url}/_sandbox/faults", json={"faults": ["page_for_payment"]})
    lost = person.run("animate", "a.png", "--prompt", "x", SEEDANCE_MAX_PER_DAY="0.40")
    assert lost.code == 4, lost.err
    assert "Run the same command again: it takes up this payment" in lost.one_line
    httpx.post(f"{studio.url}/_sandbox/faults", json={"faults": []})
    both = person.run("animate", "a.png", "b.png", "--prompt", "x", "--json", SEEDANCE_MAX_PER_DAY="0.40")
    assert both.code == 3, both.err
    assert [bool(one.get("file")) for one in both.json] == [True, False]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("typed", "bought"), [("y\n", 1), ("n\n", 0), (None, 0)])
def test_a_person_decides_whether_what_fits_is_bought(customer: Person, typed: str | None, bought: int) -> None:
    customer.draw("a.png", 101)
    customer.draw("b.png", 102)
    code, shown = answer(
        customer, "animate", "a.png", "b.png", "--prompt", "x", typed=typed, SEEDANCE_MAX_PER_DAY="0.40"
    )
    assert code == 3
    assert "1 of them fits. Buy what fits now" in shown
    assert "Traceback" not in shown
    assert len(customer.run("jobs", "--json").json) == bought


@pytest.mark.parametrize(
    "words", [("nothing.png",), ("--duration", "99"), ("--resolution", "1080p")], ids=["picture", "argument", "dialect"]
)
def test_the_demo_ends_like_every_other_verb_where_the_fault_is_ones_own(
    words: tuple[str, ...], person: Person
) -> None:
    (person.folder / "nothing.png").write_text("no picture")
    ended = person.run_apart("demo", *words)
    assert ended.code == 2, ended.err
    assert "Nothing was paid." in ended.one_line
