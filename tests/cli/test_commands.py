"""The table of commands: each entry loads, and its line fits a terminal of 80 columns."""

import os
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from seedance_mcp.cli.commands import COMMANDS, EXAMPLES, PAYING, SECTIONS
from seedance_mcp.cli.main import app
from tests.cli.conftest import Person

LINE_MAX = 79
LOADED_ALWAYS = ("asked", "main", "command_types", "commands", "exit_codes", "failures", "lazy_commands")
"""Modules of the command line that every command loads."""
LOADED_TO_WORK = (
    "asyncio", "eth_account", "httpx", "mcp", "PIL", "psycopg", "pydantic", "rich", "ruamel", "sqlite3", "tomlkit",
    "seedance_mcp.app.rendering", "seedance_mcp.app.services", "seedance_mcp.cli.batch",
    "seedance_mcp.cli.doctor.checks", "seedance_mcp.cli.setup.money", "seedance_mcp.core.records",
)  # fmt: skip
"""What takes long to load, and is loaded by no command's help and no completion."""
LOADED_BY_LONG_COMMANDS = (
    "eth_account", "httpx", "mcp", "PIL", "rich", "sqlite3", "seedance_mcp.app.services",
    "seedance_mcp.adapters.wallet",
)  # fmt: skip
"""What a command that only reads settings and a ledger, or finds no picture, does not load."""
LISTING = """
import contextlib, io, os, sys
from seedance_mcp.cli.main import run

def start(words, typed=None):
    sys.argv = ["seedance-mcp", *words]
    os.environ.update({"COMP_WORDS": typed or "", "COMP_CWORD": str((typed or "").count(" "))})
    os.environ.pop("_SEEDANCE_MCP_COMPLETE", None)
    if typed is not None:
        os.environ["_SEEDANCE_MCP_COMPLETE"] = "complete_bash"
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        run()
    print(len(out.getvalue()), " ".join(words) or typed, *(name for name in FORBIDDEN if name in sys.modules), sep=",")

"""
"""A program's beginning, whose `start` prints what of `FORBIDDEN` is loaded once a command has ended."""


@pytest.mark.parametrize("name", COMMANDS)
def test_entry_names_a_command_with_a_help_of_its_own(name: str) -> None:
    root: Any = typer.main.get_command(app)
    command = root.commands[name]
    assert command.name == name
    assert command.help


def test_list_shows_every_command_in_one_line() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output.splitlines()
    for name, entry in COMMANDS.items():
        [line] = [one for one in shown if one.startswith(f"  {name}  ")]
        assert line.endswith(entry.summary)
        assert len(line) <= LINE_MAX


def test_each_section_of_the_list_has_an_example() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output.splitlines()
    examples = [line for line in shown if line.startswith("  Example: seedance-mcp ")]
    assert len(examples) == len(SECTIONS)
    assert max(map(len, examples)) <= LINE_MAX


@pytest.mark.parametrize("name", COMMANDS)
def test_example_of_a_command_can_be_typed(name: str) -> None:
    root: Any = typer.main.get_command(app)
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"}).output
    assert f"Example: seedance-mcp {EXAMPLES[name]}\n" in shown
    assert "'" not in EXAMPLES[name]  # which Windows' cmd does not take for quotes
    command, words = root.commands[name], shlex.split(EXAMPLES[name])[1:]
    with command.make_context(name, words) as context:
        if hasattr(command, "commands"):
            nested = command.commands[words[0]]
            nested.make_context(words[0], words[1:], parent=context).close()


def test_table_names_no_command_that_is_not_there() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert {name for name in PAYING if name in COMMANDS} >= {"animate", "demo", "upload"}


@pytest.mark.parametrize("group", ["wallet", "callers", "ledger"])
def test_list_of_a_group_shows_whole_summaries(group: str) -> None:
    shown = CliRunner().invoke(app, [group, "--help"], env={"COLUMNS": "80"}).output
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("typed", "offered"), [("seedance-mcp un", ["unfreeze", "uninstall"]), ("seedance-mcp wallet ex", ["export"])]
)
def test_half_typed_command_is_completed(typed: str, offered: list[str]) -> None:
    environ = {"_SEEDANCE_MCP_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = CliRunner().invoke(app, [], prog_name="seedance-mcp", env=environ)
    assert done.output.split() == offered


def test_completion_of_a_command_loads_none() -> None:
    script = (
        "import sys; sys.argv[0] = 'seedance-mcp'; import seedance_mcp.__main__ as program\n"
        "try: program.main()\n"
        "finally: print(*(name for name in sys.modules if name.startswith('seedance_mcp.cli.')))"
    )
    environ = {"_SEEDANCE_MCP_COMPLETE": "complete_bash", "COMP_WORDS": "seedance-mcp un", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **environ}, capture_output=True, text=True)
    assert done.stdout.split()[:2] == ["unfreeze", "uninstall"]
    assert set(done.stdout.split()[2:]) <= {f"seedance_mcp.cli.{name}" for name in LOADED_ALWAYS}


def list_leaves() -> list[str]:
    """Return the command line of each command, also of those in groups."""
    root: Any = typer.main.get_command(app)

    def walk(command: Any, words: str) -> list[str]:
        nested = getattr(command, "commands", {})
        return [words, *(line for name in nested for line in walk(nested[name], f"{words} {name}"))]

    return [line for name in COMMANDS for line in walk(root.commands[name], name)]


@pytest.mark.parametrize("columns", [40, 51])
@pytest.mark.parametrize("words", [["--help"], ["wallet"], ["freeze", "--help"]])
def test_help_fits_a_narrow_terminal(words: list[str], columns: int) -> None:
    shown = CliRunner().invoke(app, words, env={"COLUMNS": str(columns)}).output
    wide = [line for line in shown.splitlines() if len(line) > columns]
    assert [line for line in wide if not line.startswith("  Example: ")] == []


TYPED = ("seedance-mcp un", "seedance-mcp wallet ex", "seedance-mcp jobs --st", "seedance-mcp animate --re")
SHORT = ("jobs", "wallet limits", "wallet payments", "quote missing.jpg -p x", "upload missing.jpg")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """What is loaded after each of several commands in one process: first those that load least."""
    program = [
        f"FORBIDDEN = ('pydantic',){LISTING}",
        "start(['jobs'])",
        f"FORBIDDEN = {LOADED_BY_LONG_COMMANDS}",
        *(f"start({line.split()})" for line in SHORT),
        "FORBIDDEN = ('pydantic',)",
        "start(['jobs', '--limit', 'many', '--json'])",
    ]
    environ = {**os.environ, "SEEDANCE_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    words = [sys.executable, "-c", "\n".join(program)]
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=True)


def test_help_and_completion_load_only_what_they_show() -> None:
    lines = list_leaves()
    helps = [f"start({[*line.split(), '--help']})" for line in lines]
    completions = [f"start([], {one!r})" for one in TYPED]
    program = "\n".join([f"FORBIDDEN = {LOADED_TO_WORK}{LISTING}", *completions, *helps])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = [line.split(",") for line in done.stdout.splitlines()]
    assert [words for _, words, *_ in found] == [*TYPED, *(f"{line} --help" for line in lines)]
    assert [words for size, words, *_ in found if int(size) == 0] == []
    assert {words: late for _, words, *late in found if late} == {}


def test_short_commands_load_only_what_they_use(loaded: "subprocess.CompletedProcess[str]") -> None:
    found = loaded.stdout.splitlines()[1:-1]
    assert [line.split(",")[1:] for line in found] == [[line] for line in SHORT]
    assert loaded.stderr.count("There is no file") == 2


def test_typed_value_is_checked_and_a_default_is_not(loaded: "subprocess.CompletedProcess[str]") -> None:
    lines = [line.split(",") for line in loaded.stdout.splitlines()]
    first, second = lines[0], lines[-1]
    assert first[1:] == ["jobs"]
    assert second[1:] == ["jobs --limit many --json", "pydantic"]
    assert "Invalid value for '--limit'" in loaded.stderr


def test_wrong_choice_is_told_in_our_words(person: Person) -> None:
    assert (
        "'--by' / '-b': 'year' is not one of 'day', 'month', 'model'."
        in person.run("spending", "--by", "year").one_line
    )


def test_misspelt_command_is_answered_with_the_nearest() -> None:
    done = CliRunner().invoke(app, ["anmate"])
    assert done.exit_code == 2
    assert "Did you mean 'animate'" in done.output


@pytest.mark.parametrize("words", [[], ["animate"], ["wallet"], ["wallet", "fund"], ["callers", "add"]])
def test_every_command_has_the_short_option_for_help(words: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*words, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
