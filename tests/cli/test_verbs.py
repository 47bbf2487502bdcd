"""Every tool is a verb: it does the same work, says it to people and to scripts, and ends with a code that means it."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from seedance_mcp.cli.exit_codes import MEANINGS, find_exit_code, gravest
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    BudgetExceededError,
    ConfigError,
    PaymentOutcomeUnknownError,
    StudioProtocolError,
    VideoUnsavedError,
)
from tests.cli.conftest import COMMAND_SECONDS, Ended, Person
from tests.cli.terminal import answer
from tests.forks import build_command

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox


def test_a_sandbox_run_needs_nothing_but_the_command(person: Person) -> None:
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
    customer.draw("one.png")
    upload = customer.run("upload", "one.png", "--json")
    assert upload.json["price_usd"] == "0.01"
    quote = customer.run("quote", "one.png", "--prompt", "x", "--duration", "5", "--json").json
    assert (quote["price_usd"], quote["exact"], quote["allowed"]) == ("0.40", True, True)
    video = customer.run("animate", "one.png", "--prompt", "x", "--duration", "5", "--json").json
    assert (video["status"], video["price_usd"]) == ("complete", "0.40")
    again = customer.run("animate", "one.png", "--prompt", "x", "--duration", "5", "--json").json
    assert again["job_id"] == video["job_id"]
    got = customer.run("get", video["job_id"], "--json").json
    assert (got["file"], got["receipt"]) == (video["file"], video["receipt"])
    assert video["job_id"] in [job["job_id"] for job in customer.run("jobs", "--studio", "--json").json]


def test_a_batch_is_one_table_and_runs_again_for_nothing(customer: Person) -> None:
    customer.draw("a.png")
    customer.draw("b.png")
    (customer.folder / "shots.csv").write_text('image,prompt,duration\na.png,"go, now",\n\nb.png,stay,5\n')
    words = ("animate", "--from", "shots.csv")
    first = customer.run(*words, "--json")
    assert first.code == 0, first.err
    assert [(row["row"], row["price_usd"]) for row in first.json] == [
        ("shots.csv line 2", "0.32"), ("shots.csv line 4", "0.40"),
    ]  # fmt: skip
    second = customer.run(*words)
    assert second.code == 0
    assert "2 of 2 videos done, $0.72 in all. Nothing was paid this time." in second.err
    assert [line.split()[3] for line in second.out.splitlines()[1:]] == ["a.png", "b.png"]
    assert len(customer.run("jobs", "--json").json) == 2


def test_the_sum_of_a_batch_is_what_the_ledger_says(customer: Person) -> None:
    customer.draw("a.png")
    rows = "image,prompt\n" + "a.png,x\n" * 3
    (customer.folder / "shots.csv").write_text(rows)
    words = ("animate", "--from", "shots.csv")
    thrice = customer.run(*words)
    assert thrice.code == 0, thrice.err
    assert "At most $0.33, uploads and all;" in thrice.err
    assert "3 of 3 videos done, $0.32 in all. $0.33 was paid for them this time, uploads included." in thrice.err
    assert spent(customer) == 330_000
    assert thrice.err.count("$0.32 was paid") == 1
    file = Path(customer.run("jobs", "--json").json[0]["file"])
    assert [line.split()[4:] for line in thrice.out.splitlines()[1:]] == [
        ["complete", "$0.32", file.name],
        *[["complete", "the", "same", "video", "as", "shots.csv", "line", "2,", "a.png"]] * 2,
    ]
    (customer.folder / "shots.csv").write_text(rows + "a.png,y\n")
    more = customer.run(*words)
    assert "4 of 4 videos done, $0.64 in all. $0.32 was paid for them this time, uploads included." in more.err
    assert spent(customer) == 650_000


def spent(person: Person) -> int:
    return person.run("wallet", "limits", "--json").json["spent_total_micro_usdc"]


def test_a_batch_without_a_sum_that_is_sure_does_not_say_that_nothing_was_paid(
    make_sandbox: Callable[..., "Sandbox"], customer: Person
) -> None:
    customer.draw("a.png")
    customer.draw("b.png")
    studio = make_sandbox(faults=("page_for_payment",)).url
    lost = customer.run("animate", "a.png", "b.png", "--prompt", "x", SEEDANCE_STUDIO_URL=studio)
    assert lost.code == 4, lost.err
    assert "0 of 2 videos done, $0.00 in all." in lost.err
    assert "Nothing was paid this time" not in lost.err


def test_a_prompt_of_json_lines_may_hold_any_separator_of_lines(customer: Person) -> None:
    customer.draw("a.png")
    row = '{"image": "a.png", "prompt": "one\u2028two\u0085three"}\r\n'
    (customer.folder / "shots.jsonl").write_text(row * 2, encoding="utf-8", newline="")
    quoted = customer.run("quote", "--from", "shots.jsonl", "--json")
    assert quoted.code == 0, quoted.err
    assert [one["row"] for one in quoted.json] == ["shots.jsonl line 1", "shots.jsonl line 2"]


def test_json_lines_take_defaults_from_the_options(customer: Person) -> None:
    customer.draw("a.png")
    (customer.folder / "shots.jsonl").write_text('{"image": "a.png"}\n{"image": "a.png", "duration": 6}\n')
    quotes = customer.run("quote", "--from", "shots.jsonl", "--prompt", "x", "--duration", "5", "--json").json
    assert [quote["price_usd"] for quote in quotes] == ["0.40", "0.48"]


BAD_ROWS = {
    "half.csv": ("image,prompt\na.png,x\na.png\n", "half.csv line 3: 1 of 2 columns; the row is not whole."),
    "quote.csv": ('image,prompt\na.png,"x\n', "quote.csv line 2: unexpected end of data."),
    "column.csv": ("image,promt\na.png,x\n", "column.csv line 1: «promt» is not a column that is known."),
    "semicolons.csv": ("image;prompt\na.png;x\na.png\n", "semicolons.csv line 3: 1 of 2 columns"),
    "bars.csv": ("image|prompt\na.png|x\n", "line 1: the columns are separated by bars."),
    "number.csv": ("image,prompt,duration\na.png,x,soon\n", "number.csv line 2: duration «soon»"),
    "range.csv": ("image,prompt,duration\na.png,x,99\n", "range.csv line 2: duration «99»"),
    "missing.csv": ("prompt\nx\n", "missing.csv line 2: No image was named."),
    "gone.csv": ("image,prompt\na.png,x\ngone.png,x\n", "gone.csv line 3: There is no file"),
    "alone.csv": ("image,prompt\ngone.png,x\n", "alone.csv line 2: There is no file"),
    "empty.csv": ("", "has no rows"),
    "half.jsonl": ('{"image": "a.png", "prompt": "x"}\n{"image": "a.p\n', "half.jsonl line 2: this is not JSON"),
    "cap.jsonl": (
        '{"image": "a.png", "prompt": "x", "max_price_usd": " "}\n',
        "cap.jsonl line 1: the price limit is empty.",
    ),
    "list.jsonl": ("[]\n", "list.jsonl line 1: this is not an object"),
    "shots.txt": ("x", "is neither .csv nor .jsonl"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_names_itself_before_anything_is_bought(name: str, customer: Person) -> None:
    text, expected = BAD_ROWS[name]
    customer.draw("a.png")
    (customer.folder / name).write_text(text)
    done = customer.run("animate", "--from", name)
    assert (done.code, done.out) == (2, "")
    assert expected in done.one_line
    assert "Nothing was paid" in done.one_line
    assert customer.run("jobs", "--json").json == []


def test_ctrl_c_loses_nothing(make_sandbox: Callable[..., "Sandbox"], funded_key: str, tmp_path: Path) -> None:
    studio = make_sandbox(job_seconds=12)  # longer than a busy machine needs to notice the third payment
    person = Person(
        folder=tmp_path,
        environ={
            "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": funded_key,
        },
    )  # fmt: skip
    person.draw("a.png")
    person.draw("b.png")
    words = ("animate", "a.png", "b.png", "--prompt", "x")
    broken = person.interrupt(*words, when=lambda: len(studio.chain.settlements()) >= 3)
    assert broken.code == 130
    assert "the same command continues" in broken.one_line
    done = person.run(*words, "--json")
    assert done.code == 0, done.err
    assert len(studio.chain.settlements()) == 4  # two uploads, two videos: nothing twice


def test_limits_and_broken_studios_have_their_own_codes(
    customer: Person, make_sandbox: Callable[..., "Sandbox"]
) -> None:
    customer.draw("a.png")
    refused = customer.run("animate", "a.png", "--prompt", "x", "--json", SEEDANCE_MAX_PRICE_PER_VIDEO="0.10")
    assert refused.code == 3
    assert refused.json["error"]["payment_state"] == "none"
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


def test_a_video_that_is_not_there_comes_with_what_was_paid_and_what_to_do(
    make_sandbox: Callable[..., "Sandbox"], customer: Person
) -> None:
    customer.draw("a.png")
    customer.draw("b.png")
    slow = make_sandbox(job_seconds=60).url
    words = ("animate", "a.png", "--prompt", "x", "--wait-seconds", "3")
    late = customer.run(*words, SEEDANCE_STUDIO_URL=slow)
    assert (late.code, late.out) == (5, "")
    job_id = customer.run("jobs", "--json", SEEDANCE_STUDIO_URL=slow).json[0]["job_id"]
    assert ", $0.32 was paid. Still running. Run seedance-mcp get " + job_id in late.err
    failing = make_sandbox(faults=("crashed_job:4",)).url
    alone = customer.run("animate", "a.png", "--prompt", "x", SEEDANCE_STUDIO_URL=failing)
    assert alone.code == 1
    assert "a.png: failed, $0.32 was paid. The studio says: «" in alone.one_line
    assert alone.one_line.endswith("To pay for another try, raise --take by one.")
    several = customer.run("animate", "a.png", "b.png", "--prompt", "x", SEEDANCE_STUDIO_URL=failing)
    assert several.err.count("To pay for another try, give it alone and raise --take by one.") == 2
    (customer.folder / "shots.csv").write_text("image,prompt\na.png,x\n")
    row = customer.run("animate", "--from", "shots.csv", SEEDANCE_STUDIO_URL=failing)
    assert "To pay for another try, write a higher take into its row." in row.err
    failed_id = customer.run("jobs", "--json", SEEDANCE_STUDIO_URL=failing).json[0]["job_id"]
    got = customer.run("get", failed_id, SEEDANCE_STUDIO_URL=failing).one_line
    assert got.startswith(f"{failed_id}: failed, $0.32 was paid. The studio says: «")
    assert got.endswith("raise --take by one.")


FAILING = [
    ("animate", "--from", "gone.csv"), ("animate", "a.png"), ("quote", "a.png"), ("quote", "gone.png", "--prompt", "x"),
    ("upload", "gone.png"), ("get", "cm"), ("jobs", "--limit", "1"), ("wallet", "limits"), ("wallet", "payments"),
    ("wallet", "create"), ("wallet", "import", "gone.json"), ("wallet", "fund"), ("wallet", "show"),
]  # fmt: skip


@pytest.mark.parametrize("words", FAILING, ids=" ".join)
def test_every_failure_with_json_is_one_object_on_stdout(words: tuple[str, ...], customer: Person) -> None:
    customer.draw("a.png")
    broken = {"SEEDANCE_STUDIO_URL": "much"} if words[0] in ("jobs", "wallet") else {}
    failed = customer.run(*words, "--json", **broken)
    assert failed.code in (1, 2), failed.err
    assert set(failed.json) == {"error"}
    assert failed.json["error"]["what"]
    assert failed.one_line.startswith("seedance-mcp: ")
    assert customer.run(*words, **broken).out == ""


def test_the_word_json_as_a_prompt_asks_for_no_json(customer: Person) -> None:
    assert customer.run("quote", "gone.png", "--prompt", "--json").out == ""


def test_a_fault_of_ours_is_one_line_with_a_code_of_its_own(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def divide(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("seedance_mcp.cli.wallet.keys.list_sources", divide)
    broken = person.run("wallet", "show", "--json")
    assert broken.code == 4
    assert (broken.json["error"]["code"], broken.json["error"]["payment_state"]) == ("internal", "held")
    assert broken.err.count("\n") == 2
    assert broken.one_line.startswith(
        "seedance-mcp: The command failed unexpectedly (ZeroDivisionError). What was paid"
    )
    told = person.run("wallet", "show", SEEDANCE_LOG_LEVEL="DEBUG")
    assert (told.code, told.out) == (4, "")
    assert "Traceback (most recent call last):" in told.err
    assert told.err.splitlines()[-2].startswith("seedance-mcp: The command failed unexpectedly")


@pytest.mark.skipif(os.name != "posix", reason="a pipe that no one reads is told otherwise elsewhere")
def test_a_reader_that_has_gone_changes_neither_the_end_of_a_command_nor_what_it_does(customer: Person) -> None:
    customer.draw("a.png")
    for words, deaf in [
        (("animate", "a.png", "--prompt", "x"), True),
        (("animate", "a.png", "--prompt", "x", "--json"), False),
        (("jobs",), False),
    ]:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            build_command("seedance_mcp", *words), stdin=subprocess.DEVNULL, stdout=writing,
            stderr=writing if deaf else subprocess.PIPE, text=True, cwd=customer.folder,
            env={**os.environ, **customer.environ}, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        os.close(writing)
        assert done.returncode == 0, done.stderr
        assert deaf or ("Traceback" not in done.stderr and "BrokenPipe" not in done.stderr)
    assert [job["status"] for job in customer.run("jobs", "--json").json] == ["complete"]


EXITS: list[tuple[SeedanceError, int]] = [
    (ConfigError("x"), 2), (BudgetExceededError("x"), 3), (PaymentOutcomeUnknownError("x"), 4),
    (StudioProtocolError("x"), 1), (VideoUnsavedError("x"), 5),
    (StudioProtocolError("x"), 1), (SeedanceError("x", payment_state="held"), 4),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code"), EXITS)
def test_money_that_may_still_move_decides_the_exit_code(error: SeedanceError, code: int) -> None:
    assert find_exit_code(error) == code


def test_a_batch_ends_with_its_gravest_code() -> None:
    assert gravest([0, 5, 1, 4, 3]) == 4
    assert gravest([0, 5, 1]) == 1
    assert gravest([]) == 0


def test_reference_shows_every_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/exit-codes.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| `{code}` | {meaning[:1].upper()}{meaning[1:]}. |" in page, json.dumps(meaning)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_ctrl_c_at_the_question_about_a_price_is_a_no(customer: Person) -> None:
    customer.draw("a.png")
    code, shown = answer(customer, "animate", "a.png", "--prompt", "x", typed=None, SEEDANCE_ASK_ABOVE="0.10")
    assert code == 3
    assert "needs a person's yes" in shown
    assert "Traceback" not in shown


def test_a_refusal_of_a_single_picture_is_told_once(customer: Person) -> None:
    customer.draw("a.png")
    words = ("animate", "a.png", "--prompt", "x", "--max-price-usd", "0.10")
    refused = customer.run(*words)
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.count("$0.10") == 1
    assert "At most" not in refused.err, "a sum of nothing"
    as_json = customer.run(*words, "--json")
    assert as_json.json["error"]["code"] == "price_too_high"
    assert as_json.err.count("$0.10") == 1


def test_a_person_reads_options_and_commands_and_a_program_the_words_of_the_tools(customer: Person) -> None:
    customer.draw("a.png")
    words = ("animate", "a.png", "--prompt", "x", "--max-price-usd", "0.10", "--json")
    refused = customer.run(*words)
    assert "that this request allows." in refused.one_line
    assert refused.one_line.endswith("If it is worth more, run it again with a higher --max-price-usd.")
    assert "call again with a higher max_price_usd" in refused.json["error"]["hint"]
    assert "run it again with a higher --max-price-usd" in customer.run("quote", *words[1:-1]).out
    assert customer.run("animate", "a.png", "--prompt", "x", "--max-price-usd", "much").one_line.startswith(
        "seedance-mcp: a.png: --max-price-usd «much»"
    )
    bought = customer.run("animate", "a.png", "--prompt", "x", "--json").json
    told = customer.run("get", bought["job_id"])
    assert told.one_line.endswith(f"complete. Done. It is in {bought['file']}.")
    assert "Show the user" in customer.run("get", bought["job_id"], "--json").json["next_step"]


def test_a_batch_that_does_not_fit_says_so_before_anything_is_bought(customer: Person) -> None:
    for name in ("a.png", "b.png", "c.png"):
        customer.draw(name)
    words = ("animate", "a.png", "b.png", "c.png", "--prompt", "x")
    refused = customer.run(*words, SEEDANCE_MAX_PER_DAY="0.70")
    assert (refused.code, refused.out) == (3, "")
    assert (
        "Up to $0.99 is needed for 3 videos, uploads and all, and $0.70 is left of your budget for 24 hours "
        "(SEEDANCE_MAX_PER_DAY): 2 of them fit. Nothing was paid." in refused.one_line
    )
    assert "--what-fits" in refused.one_line
    in_all = customer.run(*words, "--json", SEEDANCE_MAX_TOTAL="0.20")
    assert (in_all.code, in_all.json["error"]["code"]) == (3, "budget_exceeded")
    assert "total budget (SEEDANCE_MAX_TOTAL): none of them fits." in in_all.one_line
    assert customer.run("jobs", "--json").json == []
    assert customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 0


def test_what_fits_is_bought_in_order_and_the_same_command_goes_on_with_the_rest(customer: Person) -> None:
    for name in ("a.png", "b.png", "c.png"):
        customer.draw(name)
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
    assert "Up to $0.33 is needed for 1 video" in again.err
    whole = customer.run(*words, SEEDANCE_MAX_PER_DAY="0.99")
    assert (whole.code, [one["job_id"] for one in whole.json][:2]) == (0, [one["job_id"] for one in some.json[:2]])
    assert customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 990_000


def test_a_batch_larger_than_the_daily_budget_reaches_every_row(customer: Person) -> None:
    """Three days with room for one video each: the first rows are not bought again, the rest is reached."""
    names = ("a.png", "b.png", "c.png")
    for name in names:
        customer.draw(name)
    words = ("animate", *names, "--prompt", "x", "--what-fits", "--json")
    days: list[Ended] = []
    for _ in range(3):
        days.append(customer.run(*words, SEEDANCE_MAX_PER_DAY="0.40"))
        pass_days(customer, 1.1)
    assert [day.code for day in days] == [3, 3, 0]
    assert all(one["file"] for one in days[-1].json)
    assert customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 990_000
    assert customer.run(*words, SEEDANCE_MAX_PER_DAY="0.40").code == 0
    assert customer.run("wallet", "limits", "--json").json["spent_total_micro_usdc"] == 990_000


def test_a_batch_buys_what_was_never_bought_first(
    make_sandbox: Callable[..., "Sandbox"], funded_key: str, tmp_path: Path
) -> None:
    """A row whose payment was refused before may be refused again: it does not keep the budget from the others."""
    studio = make_sandbox()
    environ = {
        "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": funded_key,
    }  # fmt: skip
    person = Person(folder=tmp_path, environ=environ)
    for name in ("a.png", "b.png"):
        person.draw(name)
        assert person.run("upload", name).code == 0
    httpx.post(f"{studio.url}/_sandbox/faults", json={"faults": ["second_402"]})
    assert person.run("animate", "a.png", "--prompt", "x").code == 4
    httpx.post(f"{studio.url}/_sandbox/faults", json={"faults": []})
    forget_refusals(person)
    ended = person.run(
        "animate", "a.png", "b.png", "--prompt", "x", "--what-fits", "--json", SEEDANCE_MAX_PER_DAY="0.35"
    )
    assert [bool(one.get("file")) for one in ended.json] == [False, True], ended.err


def change_ledger(person: Person, statement: str, *parameters: object) -> None:
    """Write into the ledger's file what another day would have left there."""
    with sqlite3.connect(person.data_dir / "sandbox/ledger.sqlite3") as db:
        db.execute(statement, parameters)


def pass_days(person: Person, days: float) -> None:
    """Let days pass, as far as the ledger can tell."""
    change_ledger(person, "UPDATE payments SET created_at = created_at - ?", days * 86400)
    change_ledger(person, "UPDATE jobs SET created_at = created_at - ?", days * 86400)


def forget_refusals(person: Person) -> None:
    """Let refused payments be long over, and the chain have said that they never moved."""
    change_ledger(person, "UPDATE payments SET hold_until = 0, chain_checked = 1 WHERE state = 'refused'")


def test_the_same_row_twice_and_a_picture_used_twice_are_counted_as_they_are_paid(customer: Person) -> None:
    customer.draw("a.png")
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
    person.draw("a.png")
    person.draw("b.png")
    assert person.run("upload", "a.png").code == 0
    httpx.post(f"{studio.url}/_sandbox/faults", json={"faults": ["page_for_payment"]})
    lost = person.run("animate", "a.png", "--prompt", "x", SEEDANCE_MAX_PER_DAY="0.40")
    assert lost.code == 4, lost.err
    assert "Run the same command again: it continues this payment" in lost.one_line
    httpx.post(f"{studio.url}/_sandbox/faults", json={"faults": []})
    both = person.run("animate", "a.png", "b.png", "--prompt", "x", "--json", SEEDANCE_MAX_PER_DAY="0.40")
    assert both.code == 3, both.err
    assert [bool(one.get("file")) for one in both.json] == [True, False]


CTRL_C = pytest.param(None, 0, marks=pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal"))


@pytest.mark.parametrize(("typed", "bought"), [("y\n", 1), ("n\n", 0), CTRL_C])
def test_a_person_decides_whether_what_fits_is_bought(customer: Person, typed: str | None, bought: int) -> None:
    customer.draw("a.png")
    customer.draw("b.png")
    words = ("animate", "a.png", "b.png", "--prompt", "x")
    if typed is None:
        code, shown = answer(customer, *words, typed=None, SEEDANCE_MAX_PER_DAY="0.40")
    else:
        ended = customer.run_on_screen(*words, typed=typed, SEEDANCE_MAX_PER_DAY="0.40")
        code, shown = ended.code, ended.out + ended.err
    assert code == 3
    assert "1 of them fits. Buy what fits now" in shown
    assert "Traceback" not in shown
    assert len(customer.run("jobs", "--json").json) == bought


def show_at(columns: int, person: Person, *words: str) -> list[str]:
    """The lines that a command shows at a terminal of so many columns."""
    ended = person.run_on_screen(*words, columns=columns)
    assert ended.code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", ended.out).splitlines()


def test_the_jobs_can_be_read_at_every_width(customer: Person) -> None:
    prompt = "The boat drifts out of the harbour while water glitters in the evening light and gulls circle"
    (customer.folder / "shots.csv").write_text("image,prompt\n" + f"a.png,{prompt}\n" + "a.png,gulls\n")
    customer.draw("a.png")
    assert customer.run("animate", "--from", "shots.csv").code == 0
    found = customer.run("jobs", "--json").json
    for columns in (60, 80):
        lines = [line.rstrip() for line in show_at(columns, customer, "jobs")]
        assert len(lines) == 3 * len(found)
        for number, job in enumerate(found):
            head, said, file = lines[3 * number : 3 * number + 3]
            assert head.startswith(job["job_id"])
            assert head.endswith("complete $0.32")
            assert said.strip() == ("gulls" if job["prompt"] == "gulls" else f"{prompt[:39]}…")
            assert file.strip() == Path(job["file"]).name
        assert max(map(len, lines)) <= columns
    for columns in (160, 200):
        lines = show_at(columns, customer, "jobs")
        assert len(lines) == 1 + len(found)
        assert max(map(len, lines)) <= columns
        assert all(Path(job["file"]).name in line for job, line in zip(found, lines[1:], strict=True))
    piped = customer.run("jobs").out.splitlines()
    assert len(piped) == 1 + len(found)
