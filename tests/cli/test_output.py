"""What commands print: failures on two lines, JSON for programs, texts for each terminal, and copies of videos."""

import csv
import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seedance_mcp.cli.batch import describe_status
from seedance_mcp.cli.console import put
from seedance_mcp.cli.messages import Messages
from seedance_mcp.cli.streams import wrap_words
from seedance_mcp.core.texts import describe_pace
from tests.cli.conftest import PROMPT, Person

UNKNOWN_WORD = ("jobs", "--limit", "many")


def test_failure_is_a_message_and_a_hint_on_lines_of_their_own(customer: Person) -> None:
    failed = customer.run("animate", "gone.png", "--prompt", "x")
    message, hint = failed.err.splitlines()[-2:]
    assert message.startswith("seedance-mcp: There is no file")
    assert message.endswith("Nothing was paid.")
    assert hint == "Choose another picture, or convert this one." or "picture" in hint


@pytest.mark.parametrize("words", [("wallet", "show"), ("get", "unknown"), ("quote", "gone.png", "--prompt", "x")])
def test_command_that_cannot_pay_says_nothing_of_payments(customer: Person, words: tuple[str, ...]) -> None:
    failed = customer.run(
        *words, SEEDANCE_WALLET_KEY="" if words[0] == "wallet" else customer.environ["SEEDANCE_WALLET_KEY"]
    )
    assert failed.code != 0
    assert "Nothing was paid" not in failed.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("get",), "Missing argument 'JOB_ID'."),
        (("sandbox", "--port", "99999"), "Invalid value for '--port': must be at most 65535."),
        (("animate", "--take", "0"), "Invalid value for '--take': must be at least 1."),
        (("animate", "-d", "long"), "Invalid value for '--duration' / '-d': must be a whole number."),
        (("sandbox", "--rail", "x402,btc"), "there is no rail 'btc'; choose from: x402, mpp."),
    ],
)
def test_wrong_value_is_described_in_our_words(person: Person, words: tuple[str, ...], text: str) -> None:
    failed = person.run(*words)
    assert failed.code == 2
    assert text in failed.err
    assert "Input should" not in failed.err


class ClosedPipe(io.TextIOWrapper):
    """A pipe whose reader has gone, as Windows reports it: source, CPython's `subprocess.Popen._stdin_write`."""

    def write(self, text: str) -> int:
        """Fail as the system does."""
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize("style", [None, "red"])
def test_command_goes_on_if_windows_reports_that_its_reader_has_gone(
    style: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ClosedPipe((tmp_path / "pipe").open("wb"), encoding="utf-8") as gone:
        monkeypatch.setattr("sys.stderr", gone)
        monkeypatch.setattr("sys.stdout", gone)
        monkeypatch.setenv("FORCE_COLOR", "1")
        Messages(stderr=True).print("A payment is pending.", style=style)
        put("{}")


def test_question_without_an_answer_ends_as_interrupted(person: Person) -> None:
    ended = person.run_at_terminal("wallet", "limits", "set", "max_per_day", "3", typed="")
    assert ended.code == 130
    assert "Interrupted. Run the same command again to go on." in ended.one_line
    assert not (person.data_dir / "settings.toml").exists()


def test_usage_names_arguments_in_capitals(person: Person) -> None:
    assert person.run("get", "--help").out.startswith("Usage: seedance-mcp get JOB_ID [OPTIONS]\n")
    shown = person.run("animate", "-h").out
    assert shown.startswith("Usage: seedance-mcp animate [IMAGES...] [OPTIONS]\n")
    assert "--duration <int> " in shown


@pytest.mark.parametrize("words", [UNKNOWN_WORD, ("get",), ("nothing",), ("wallet", "nothing")])
def test_usage_error_is_json_for_programs(person: Person, words: tuple[str, ...]) -> None:
    failed = person.run(*words, "--json")
    plain = person.run(*words)
    assert failed.code == plain.code == 2
    assert (failed.json["error"]["code"], failed.json["error"]["payment_state"]) == ("usage", "none")
    assert failed.json["error"]["what"] in plain.err
    assert plain.out == ""
    assert plain.err.splitlines()[-1].startswith("Run seedance-mcp")


def test_commands_with_several_results_print_one_object(customer: Person) -> None:
    customer.draw("a.png")
    rows = ["image;prompt;duration", "a.png;The fog lifts;4", "a.png;The fog lifts;5"]
    (customer.folder / "shots.csv").write_text("\n".join(rows))
    quoted = json.loads(customer.run("quote", "-f", "shots.csv", "-j").out)
    bought = json.loads(customer.run("animate", "-f", "shots.csv", "-j", "-o", "videos").out)
    listed = json.loads(customer.run("jobs", "-j").out)

    assert [set(one) for one in (quoted, bought, listed)] == [{"results"}, {"results"}, {"results", "totals"}]
    assert {Path(one["output"]).parent.name for one in bought["results"]} == {"videos"}
    for one in bought["results"]:
        assert (customer.folder / one["output"]).read_bytes() == Path(one["file"]).read_bytes()
    assert listed["totals"] == {
        "jobs": 2, "running": 0, "complete": 2, "failed": 0, "price_usd": "0.72", "price_micro_usdc": 720_000,
    }  # fmt: skip
    assert json.loads(customer.run("wallet", "payments", "-j").out) == {"results": []}


def test_jobs_are_found_by_status_date_and_text(owner_of_a_video: Person) -> None:
    customer = owner_of_a_video
    [job] = customer.run("jobs", "-j").json
    for words in (("--search", "GULLS"), ("--status", "complete"), ("--since", "1h"), ("--search", job["job_id"])):
        assert [one["job_id"] for one in customer.run("jobs", "-j", *words).json] == [job["job_id"]]
    for words in (("--search", "fog"), ("-s", "failed"), ("--since", "2100-01-01")):
        assert customer.run("jobs", "-j", *words).json == []
    assert "1 job: 1 complete; $0.32 for the videos." in customer.run("jobs").err
    assert "No job matches." in customer.run("jobs", "-s", "running").err
    assert "--since is not a date" in customer.run("jobs", "--since", "soon").one_line


def test_spending_is_added_up_by_day_month_and_model(owner_of_a_video: Person) -> None:
    customer = owner_of_a_video
    models = {one["model"]: one for one in customer.run("spending", "--by", "model", "-j").json}
    [day], [month] = customer.run("spending", "-j").json, customer.run("spending", "-b", "month", "-j").json
    table = list(csv.DictReader(customer.run("spending", "--csv").out.splitlines()))

    assert (models["seedance-fast"]["spent_usd"], models["seedance-fast"]["videos"]) == ("0.32", 1)
    assert (models["image uploads"]["spent_usd"], models["image uploads"]["uploads"]) == ("0.01", 1)
    assert day["day"].startswith(month["month"])
    assert day["spent_micro_usdc"] == month["spent_micro_usdc"] == 330_000
    assert [(row["day"], row["spent_usd"]) for row in table] == [(day["day"], "0.33")]
    assert "$0.33 for 1 video and 1 image upload." in customer.run("spending").err
    assert customer.run("spending", "--since", "2100-01-01", "-j").json == []


def test_balance_is_what_the_tool_tells(customer: Person, person: Person) -> None:
    told = customer.run("balance", "--json").json
    shown = customer.run("balance")
    assert {"address", "balances", "left_today_usd", "spent_7d_usd", "unfinished_payments"} <= set(told)
    assert f"${told['balances'][0]['balance_usd']}" in shown.out
    assert "may be spent now" in shown.err
    assert customer.run("balance", "--json", SEEDANCE_WALLET_KEY="").json["address"] is None


def test_video_is_copied_to_the_file_that_is_named(owner_of_a_video: Person) -> None:
    customer = owner_of_a_video
    bought = customer.run("animate", "a.png", "-p", PROMPT, "-o", "snow.mp4")
    again = customer.run("animate", "a.png", "-p", PROMPT, "-o", "gone/folder/", "--json")
    [job] = customer.run("jobs", "-j").json
    got = customer.run("get", job["job_id"], "-o", str(customer.folder))

    assert bought.out.strip() == "snow.mp4"
    assert (customer.folder / "snow.mp4").read_bytes() == Path(job["file"]).read_bytes()
    assert Path(again.json["output"]).parts[:2] == ("gone", "folder")
    assert Path(got.out.strip()) == customer.folder / Path(job["file"]).name


def test_place_that_cannot_be_written_is_refused_before_a_purchase(customer: Person) -> None:
    customer.draw("e.png")
    (customer.folder / "file").write_text("")
    refused = customer.run("animate", "e.png", "-p", "Wind", "-o", "file/video.mp4")
    several = customer.run("animate", "e.png", str(customer.draw("f.png")), "-p", "Wind", "-o", "file")
    assert (refused.code, several.code) == (2, 2)
    assert "cannot be written" in refused.one_line
    assert "2 videos cannot be one file" in several.one_line
    assert customer.run("jobs", "-j").json == []


@pytest.mark.skipif(os.name != "posix", reason="a program of this test opens the video")
def test_open_starts_the_program_of_this_machine(owner_of_a_video: Person) -> None:
    customer = owner_of_a_video
    programs = customer.folder / "programs"
    programs.mkdir()
    opened = customer.folder / "opened"
    opener = programs / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > {opened}.partial\nmv {opened}.partial {opened}\necho x >&2\nexit 3\n')
    opener.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    bought = customer.run("animate", "a.png", "-p", PROMPT, "-o", "dawn.mp4", "--open", PATH=path)

    assert bought.code == 0
    assert opened.read_text().strip() == "dawn.mp4"
    assert "No program here opens" in bought.err
    assert "x" not in bought.err.splitlines()


def test_every_bad_row_is_named_at_once(customer: Person) -> None:
    customer.draw("a.png")
    rows = ["image,prompt,duration", "a.png,x,soon", "a.png,x,4", "a.png,x", "a.png,x,99"]
    (customer.folder / "shots.csv").write_text("\n".join(rows))
    failed = customer.run("animate", "--from", "shots.csv", "--json")
    assert failed.code == 2
    lines = failed.json["error"]["what"].splitlines()
    assert lines[0] == "3 rows cannot be used:"
    assert lines[1:4] == [
        "- shots.csv line 2: duration «soon»: must be a whole number.",
        "- shots.csv line 4: 2 of 3 columns; the row is not whole.",
        "- shots.csv line 5: duration «99»: must be at most 60.",
    ]
    (customer.folder / "shots.csv").write_text("\n".join([*rows[:2], "gone.png,x,4"]))
    both = customer.run("quote", "--from", "shots.csv")
    assert "- shots.csv line 3: there is no file «" in both.err
    assert "\n\n" not in both.err
    gone = ["image,prompt", "gone.png,x", "a.png,x", "away.png,x"]
    (customer.folder / "shots.csv").write_text("\n".join(gone))
    missing = customer.run("quote", "--from", "shots.csv", "--json").json["error"]["what"]
    assert [line.split(":")[0] for line in missing.splitlines()[1:]] == ["- shots.csv line 2", "- shots.csv line 4"]


@pytest.mark.parametrize("environ", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C"}])
def test_what_a_terminal_cannot_show_is_replaced(customer: Person, environ: dict[str, str]) -> None:
    ended = customer.run_apart("quote", "图.png", "-p", "波浪", "--json", afresh=True, **environ)
    assert ended.code == 2
    assert "There is no file" in ended.one_line
    assert "图.png" in ended.json["error"]["what"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("- one two three", ["- one", "  two", "  three"]),
        ("a/very/long/path stays", ["a/very/long/path", "stays"]),
        ("图图 图图 x", ["图图", "图图 x"]),
        ("first\n\nthird", ["first", "", "third"]),
        ("  two spaces", ["  two", "  spaces"]),
    ],
)
def test_lines_are_broken_between_words(text: str, lines: list[str]) -> None:
    assert wrap_words(text, 8).split("\n") == lines
    assert wrap_words(text, None) == text


def test_limit_is_set_by_a_person_at_a_terminal(person: Person) -> None:
    words = ("wallet", "limits", "set", "max-per-week", "$12.50")
    file = person.data_dir / "settings.toml"
    refused = person.run(*words, typed="y\n")
    no = person.run_at_terminal(*words, typed="n\n")
    assert (refused.code, no.code, file.exists()) == (2, 2, False)
    assert "Only a person at a terminal can set a limit." in refused.one_line

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("# mine\nmax_per_day = 3\n")
    yes = person.run_at_terminal(*words, typed="y\n")

    assert yes.code == 0
    assert "max_per_week: none becomes $12.50" in yes.err
    assert file.read_text() == '# mine\nmax_per_day = 3\nmax_per_week = "12.50"\n'
    shown = person.run("wallet", "limits", "--json").json
    assert (shown["max_per_day_micro_usdc"], shown["max_per_week_micro_usdc"]) == (3_000_000, 12_500_000)
    assert shown["spent_last_week_micro_usdc"] == 0


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (("models", "1"), {}, "models is not a limit that this command sets."),
        (("max_per_day", "much"), {}, "Write US dollars"),
        (("max_per_day", "1"), {"SEEDANCE_MAX_PER_DAY": "2"}, "is set in the environment"),
    ],
)
def test_limit_that_would_not_hold_is_not_set(
    person: Person, words: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    done = person.run_at_terminal("wallet", "limits", "set", *words, typed="y\n", **environ)
    assert done.code == 2
    assert said in done.one_line
    assert not (person.data_dir / "settings.toml").exists()


@pytest.mark.parametrize(
    ("age", "said"),
    [(10, "such videos take about 90 s"), (90, "such videos take about 90 s"), (130.4, "130 s so far")],
)
def test_expected_time_says_when_it_has_passed(age: float, said: str) -> None:
    assert said in describe_pace(age, 90)


@pytest.mark.parametrize(
    ("status", "said"), [("pending", "pending; usually 90 s"), ("complete", "complete"), ("failed", "failed")]
)
def test_bar_names_the_usual_time_until_the_end(status: str, said: str) -> None:
    assert describe_status(status, 90.4) == said


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_name_alone_at_a_terminal_says_what_it_waits_for(person: Person) -> None:
    ours, theirs = pty.openpty()
    with person.start(stdin=theirs) as server:
        os.close(theirs)
        assert server.stderr is not None
        said = [server.stderr.readline() for _ in range(3)]
        server.send_signal(signal.SIGINT)
        _, rest = server.communicate(timeout=60)
    os.close(ours)
    assert "it waits for a host's messages on standard input" in said[0]
    assert "seedance-mcp --help" in said[2]
    assert "Traceback" not in rest


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
@pytest.mark.parametrize(("words", "loaded"), [((), "pydantic_core"), (("--help",), "typer.models")])
def test_ctrl_c_while_it_loads_shows_no_traceback(person: Person, words: tuple[str, ...], loaded: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "seedance_mcp", *words]
    environ = {**os.environ, **person.environ}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as program:
        assert program.stderr is not None
        assert any(loaded in line for line in program.stderr)
        program.send_signal(signal.SIGINT)
        printed, rest = program.communicate(timeout=60)
    assert (program.returncode, printed) == (130, "")
    assert "Traceback" not in rest


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
@pytest.mark.parametrize("command", ["gallery --no-open", "jobs"])
def test_ctrl_c_while_an_event_loop_is_made_shows_no_traceback(person: Person, command: str) -> None:
    early = (
        "import asyncio, signal, sys\n"
        "asyncio.BaseEventLoop.__init__ = lambda _: signal.raise_signal(signal.SIGINT)\n"
        "from seedance_mcp.__main__ import main\n"
        "main()"
    )
    file = person.folder / "early.py"
    file.write_text(early)
    ended = person.run_apart(*command.split(), program=str(file), SEEDANCE_PROFILE="sandbox")
    assert ended.code == 130
    assert "\nInterrupted. " in ended.err
    assert not re.search("Traceback|Warning|ignored", ended.err)
