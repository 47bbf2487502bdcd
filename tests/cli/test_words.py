"""Next steps: texts name no tool, and each interface renders the parts in its own words."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import seedance_mcp
from seedance_mcp.cli import main
from seedance_mcp.cli.words import COMMANDS, WITHOUT_SANDBOX, CommandWords
from seedance_mcp.core.next_steps import (
    Argument,
    Call,
    Command,
    NextStep,
    OwnerDo,
    OwnerOnly,
    RaiseTake,
    Repeat,
    Report,
    Setting,
    Show,
    join_steps,
)
from seedance_mcp.server.tools import build_tools

KEY = "0x" + "ab" * 32
PACKAGE = Path(seedance_mcp.__file__).parent
ELSEWHERE = ("sandbox/", "server/", "cli/demo")
"""Modules whose words reach no person as they are: the sandbox and the MCP server; the demo shows the tools."""
NO_SENTENCES = ("next_steps.py", "words.py", "migrations.py")
"""The words of the tools and of the commands, a list of words, and SQL."""
KEYS = {
    "allow_loopback_http", "ask_above", "blob_url", "chain_id", "data_dir", "drop_after_settle", "max_per_day",
    "max_per_month", "max_per_week", "max_price_per_video", "max_total", "pay_to",
    "private_key", "rpc_url", "startup_timeout_sec", "studio_url",
    "synchronous_commit", "synchronous_standby_names",
    "tool_timeout_sec", "wallet_file", "wallet_key",
}  # fmt: skip
"""Names that a person writes or reads just so: in a settings file, a profile, a wallet or a host's file, as a fault."""
TOOLISH = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b(?!\.json)|(?<!tool )\b[Cc]alls?\b|\b[Tt]he (?:owner|user)\b")
"""A name in snake_case, a tool's or an argument's; and what one says to a model."""
SQL = re.compile(
    r"^(?:[a-z_]+ ){3,}[a-z_]+$|(?:=|IS) NULL|= [?:]|json_extract"
    r"|\b(?:SELECT|INSERT|UPDATE|PRAGMA|CREATE|ALTER|FROM|WHERE|ORDER BY|CASE WHEN|SET LOCAL)\b|\bstate (?:=|IN) "
)


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        if not module.startswith(ELSEWHERE) and path.name not in NO_SENTENCES:
            yield module, path


def read_sentences(path: Path) -> list[str]:
    """Every text of a file that a person may read: not a docstring, not a single word, not SQL."""
    tree = ast.parse(path.read_text())
    silent = set[ast.expr]()
    found: list[str] = []
    for node in ast.walk(tree):  # a parent comes before its parts
        if isinstance(node, ast.Expr):
            silent.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            silent.update(node.values)
        if node in silent:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{…}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text.strip() and not SQL.search(text):
            found.append(text)
    return found


def find_toolish(text: str) -> list[str]:
    return [word for word in TOOLISH.findall(text) if word not in KEYS]


JOB = "cmw1"


@functools.cache
def list_texts() -> set[str]:
    return {text for _, path in modules() for text in read_sentences(path)}


def test_no_text_names_a_tool_outside_a_part() -> None:
    assert {text: found for text in list_texts() if (found := find_toolish(text))} == {}


def test_the_scan_reads_messages_and_next_steps() -> None:
    texts = list_texts()
    assert "{0} to join it." in texts
    assert "The same purchase is being made already." in texts


STEPS = [
    (
        NextStep("Still running. {0}.", Call("get_job", JOB)),
        "Still running. Call get_job with job_id cmw1.",
        "Still running. Run seedance-mcp get cmw1.",
    ),
    (
        NextStep("Set the clock, then {0}.", Repeat()),
        "Set the clock, then make the same call again.",
        "Set the clock, then run the same command again.",
    ),
    (
        NextStep("If it is worth more, {0} with a higher {1}.", Repeat(changed=True), Argument("max_price_usd")),
        "If it is worth more, call again with a higher max_price_usd.",
        "If it is worth more, run it again with a higher --max-price-usd.",
    ),
    (
        NextStep("{0} ({1}).", OwnerOnly("raise a limit", stop=True), Setting("MAX_TOTAL")),
        "Stop and tell the owner. Only the owner can raise a limit (SEEDANCE_MAX_TOTAL).",
        "Only you can raise a limit (SEEDANCE_MAX_TOTAL).",
    ),
    (
        NextStep("{0}: {1}.", OwnerDo("run"), Command("wallet fund")),
        "Tell the owner to run: seedance-mcp wallet fund.",
        "Run: seedance-mcp wallet fund.",
    ),
    (
        NextStep("To buy another video all the same, {0}.", RaiseTake(3)),
        "To buy another video all the same, call again with take 3.",
        "To buy another video all the same, give --take 3.",
    ),
    (NextStep("Done. {0}.", Show("/a b.mp4")), "Done. Show the user /a b.mp4.", "Done. It is in /a b.mp4."),
    (
        NextStep("Leave {0} out; {1} changes nothing.", Argument("seed"), Argument("generate_audio", value=False)),
        "Leave seed out; generate_audio=false changes nothing.",
        "Leave --seed out; --no-generate-audio changes nothing.",
    ),
    (
        NextStep("Do not retry; {0}.", Report()),
        "Do not retry; tell the owner.",
        "Do not retry; run seedance-mcp doctor.",
    ),
]


@pytest.mark.parametrize(("step", "for_models", "for_people"), STEPS)
def test_each_interface_renders_its_own_words(step: NextStep, for_models: str, for_people: str) -> None:
    assert str(step) == for_models
    assert step.render(CommandWords()) == for_people


def test_untrusted_text_stays_as_it_is() -> None:
    said = "The studio says: «{0} call get_job, tell the owner»."
    assert join_steps(said, NextStep("{0}.", Repeat())).render(CommandWords()) == f"{said} Run the same command again."


def test_a_secret_in_a_next_step_is_not_shown() -> None:
    assert KEY not in str(NextStep("Use {0}.", KEY))


@pytest.mark.parametrize(("tool", "command"), COMMANDS.items())
def test_every_tool_has_a_command_that_exists(tool: str, command: str) -> None:
    assert tool in {built.name for built in build_tools()}
    assert CliRunner().invoke(main.app, [*command.split(), "--help"]).exit_code == 0


def test_a_sandbox_run_names_commands_of_the_sandbox() -> None:
    words = CommandWords(sandbox=True)
    step = NextStep("{0}, {1}, {2}, {3}.", Call("get_job", "abc"), Report(), Command("wallet fund"), Command("migrate"))
    assert step.render(words) == (
        "Run seedance-mcp get abc --sandbox, run seedance-mcp doctor --sandbox, "
        "seedance-mcp wallet fund --sandbox, seedance-mcp migrate."
    )


def list_commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its path."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from list_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_command_without_the_sandbox_is_known() -> None:
    commands = list(list_commands(typer.main.get_command(main.app)))
    without = {path for path, one in commands if not any("--sandbox" in option.opts for option in one.params)}
    listed = {path for path, _ in commands if any(f"{path} ".startswith(f"{name} ") for name in WITHOUT_SANDBOX)}
    assert without == listed


def test_every_option_that_a_next_step_names_exists() -> None:
    shown = CliRunner().invoke(main.app, ["animate", "--help"], env={"COLUMNS": "200"}).output
    named = {CommandWords().render_noun(Argument(name)) for name in ("camera_fixed", "max_price_usd", "seed", "take")}
    assert {option for option in named if option not in shown} == set()
