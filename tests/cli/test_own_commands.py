"""`install` prefers a host's own command where it is on the path, and completes or replaces what it does."""

import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import Change, add_entry, keep_copy, write_change
from seedance_mcp.core.errors import ConfigError
from tests.cli.conftest import Person
from tests.cli.installed import add_host, drop_variables

ADDS_JSON = """
import json, pathlib, sys
verb, name, entry = sys.argv[1:3], sys.argv[-2], json.loads(sys.argv[-1])
assert verb == ["mcp", "add-json"] and "user" in sys.argv
file = pathlib.Path.home() / ".claude.json"
document = json.loads(file.read_text()) if file.exists() else {}
file.write_text(json.dumps({**document, "seen": True, "mcpServers": {name: entry}}))
"""
ADDS_TOML = """
import os, pathlib, sys
words = sys.argv[sys.argv.index("--") + 1:]
env = dict(word.split("=", 1) for before, word in zip(sys.argv, sys.argv[1:]) if before == "--env")
file = pathlib.Path.home() / ".codex/config.toml"
lines = [f"[mcp_servers.{sys.argv[3]}]", f"command = '{words[0]}'", f"args = {words[1:]!r}"]
lines += [f"[mcp_servers.{sys.argv[3]}.env]", *(f"{name} = '{value}'" for name, value in env.items())]
file.write_text("\\n".join(lines) + "\\n")
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of programs on the path, without the hosts of this machine."""
    drop_variables(monkeypatch)
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def add_program(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{body}")
    file.chmod(0o755)


def test_entry_is_added_with_the_hosts_own_command(person: Person, programs: Path) -> None:
    add_host("claude-code")
    add_program(programs, "claude", ADDS_JSON)
    file = HOSTS["claude-code"].find_file()
    file.write_text('{"theme": "dark"}')
    done = person.run("install", "claude-code", "--sandbox")
    assert done.code == 0, done.err
    assert f"Added with `claude mcp add-json`: {file}." in done.err
    document = json.loads(file.read_text())
    assert (document["seen"], document["theme"]) == (True, "dark")
    assert document["mcpServers"]["seedance"]["alwaysLoad"] is True
    assert file.with_name(".claude.json.before-seedance").read_text() == '{"theme": "dark"}'
    assert person.run("uninstall", "claude-code").code == 0
    assert "seedance" not in file.read_text()


def test_what_the_command_leaves_out_is_completed_in_the_file(person: Person, programs: Path) -> None:
    add_host("codex")
    add_program(programs, "codex", ADDS_TOML)
    done = person.run("install", "codex", "--sandbox")
    assert "Added with `codex mcp add`, and completed (startup_timeout_sec, tool_timeout_sec, required):" in done.err
    entry = tomllib.loads(HOSTS["codex"].find_file().read_text())["mcp_servers"]["seedance"]
    assert entry["required"] is True
    assert entry["env"] == {"SEEDANCE_PROFILE": "sandbox"}


@pytest.mark.parametrize("body", ["raise SystemExit(1)", "raise SystemExit(0)"])
def test_file_is_edited_if_the_command_adds_nothing(body: str, person: Person, programs: Path) -> None:
    add_host("gemini-cli")
    add_program(programs, "gemini", body)
    done = person.run("install", "gemini-cli", "--sandbox")
    assert done.code == 0, done.err
    assert "`gemini mcp add` did not add the entry, so the file was edited." in done.err
    assert "seedance" in json.loads(HOSTS["gemini-cli"].find_file().read_text())["mcpServers"]


def test_existing_entry_and_named_file_are_edited_directly(person: Person, programs: Path, tmp_path: Path) -> None:
    add_host("claude-code")
    add_program(programs, "claude", "raise SystemExit('not for this')")
    file = HOSTS["claude-code"].find_file()
    file.write_text(json.dumps({"mcpServers": {"seedance": {"command": "old", "env": {"TOKEN": "t"}}}}))
    assert f"Written: {file}" in person.run("install", "claude-code", "--sandbox").err
    named = tmp_path / "named.json"
    assert f"Written: {named}" in person.run("install", "claude-code", "--sandbox", "--file", str(named)).err


def test_a_dry_run_starts_no_command(person: Person, programs: Path) -> None:
    add_host("claude-code")
    add_program(programs, "claude", ADDS_JSON)
    done = person.run("install", "claude-code", "--sandbox", "--dry-run")
    assert "Nothing was written (--dry-run). It would be added with `claude mcp add-json`." in done.err
    assert not HOSTS["claude-code"].find_file().exists()


def test_opencodes_other_file_counts_if_it_exists(person: Person, programs: Path) -> None:
    assert shutil.which("opencode") is None
    add_host("opencode")
    file = HOSTS["opencode"].find_file().with_name("opencode.jsonc")
    file.write_text('{\n  // mine\n  "theme": "x"\n}\n')
    assert person.run("install", "opencode", "--sandbox").code == 0
    assert "// mine" in file.read_text()
    assert "seedance" in file.read_text()
    assert HOSTS["opencode"].find_file() == file
    assert not file.with_name("opencode.json").exists()


CHANGES: dict[str, Callable[[Path], object]] = {
    "another text": lambda file: file.write_text('{"theme": "light"}'),
    "no file": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("write", [write_change, keep_copy, partial(write_change, copy=False)])
def test_file_that_another_program_changed_meanwhile_is_left_alone(
    tmp_path: Path, write: Callable[[Change], object], name: str
) -> None:
    file = tmp_path / "claude.json"
    file.write_text('{"theme": "dark"}')
    change = add_entry(HOSTS["claude-code"], file, {"command": "seedance-mcp", "args": []})
    CHANGES[name](file)
    after = file.read_text() if file.exists() else None
    with pytest.raises(ConfigError, match=r"was changed by another program a moment ago.*Run the same command again"):
        write(change)

    assert (file.read_text() if file.exists() else None) == after
    assert [one.name for one in tmp_path.iterdir()] == ([file.name] if after else [])


def test_file_that_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "claude.json"
    change = add_entry(HOSTS["claude-code"], file, {"command": "seedance-mcp", "args": []})
    file.write_text("{}")
    with pytest.raises(ConfigError, match="was changed by another program"):
        write_change(change)
    assert file.read_text() == "{}"


def test_what_the_hosts_own_command_changed_is_not_taken_for_another_program(person: Person, programs: Path) -> None:
    """The command changes the file, and adds nothing of ours: the entry is written into what it left."""
    add_host("claude-code")
    body = "import pathlib; (pathlib.Path.home() / '.claude.json').write_text('{\"theme\": \"light\"}')"
    add_program(programs, "claude", body)
    file = HOSTS["claude-code"].find_file()
    file.write_text('{"theme": "dark"}')
    done = person.run("install", "claude-code", "--sandbox")
    document = json.loads(file.read_text())

    assert "`claude mcp add-json` did not add the entry, so the file was edited." in done.err
    assert document["theme"] == "light"
    assert "seedance" in document["mcpServers"]
    assert file.with_name(".claude.json.before-seedance").read_text() == '{"theme": "dark"}'
