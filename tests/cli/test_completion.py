"""The TAB key: a shell asks how a half-typed command may go on, in the way it really asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import build_command

SECONDS = 30
COMMAND = "import sys; sys.argv[0] = 'seedance-mcp'; from seedance_mcp.__main__ import main; main()"


def complete(folder: Path, shell: str, line: str) -> str:
    """What the command offers a shell for a line with the cursor at its end."""
    program = folder / "seedance_mcp_command.py"
    program.write_text(COMMAND)
    words = line.split(" ")
    asked = {"bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}, "zsh": {"_TYPER_COMPLETE_ARGS": line}}
    environ = {**os.environ, "_SEEDANCE_MCP_COMPLETE": f"complete_{shell}", **asked[shell]}
    told = subprocess.run(
        build_command(str(program)), env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tab_key_completes_commands_and_the_values_of_options(shell: str, tmp_path: Path) -> None:
    offered = complete(tmp_path, shell, "seedance-mcp wal")
    assert "wallet" in offered
    assert "animate" not in offered
    models = complete(tmp_path, shell, "seedance-mcp animate --model ")
    assert "seedance-fast" in models
    assert {"bash": "\nseedance\n", "zsh": '"seedance"'}[shell] in models


def test_a_command_of_a_group_is_completed_as_well(tmp_path: Path) -> None:
    assert complete(tmp_path, "bash", "seedance-mcp wallet li").split() == ["limits"]


@pytest.mark.skipif(os.name != "posix", reason="asks for sh")
def test_a_shell_without_completion_is_told_which_have_one(tmp_path: Path) -> None:
    script = f'"{sys.executable}" -c "{COMMAND}" --show-completion; exit $?'
    done = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no completion for the shell that started this command." in done.stderr
    assert "Run it in bash, zsh, fish or PowerShell." in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="asks for bash")
def test_a_home_that_cannot_be_written_is_a_short_error(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    script = f'"{sys.executable}" -c "{COMMAND}" --install-completion; exit $?'
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "The completion cannot be written: " in done.stderr
    assert "--show-completion" in done.stderr
