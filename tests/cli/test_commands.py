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

LINE_MAX = 79
LOADED_ALWAYS = ("main", "commands", "exit_codes", "failures")
"""Modules of the command line that every command loads."""


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


def test_misspelt_command_is_answered_with_the_nearest() -> None:
    done = CliRunner().invoke(app, ["anmate"])
    assert done.exit_code == 2
    assert "Did you mean 'animate'" in done.output


@pytest.mark.parametrize("words", [[], ["animate"], ["wallet"], ["wallet", "fund"], ["callers", "add"]])
def test_every_command_has_the_short_option_for_help(words: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*words, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
