"""Each host gets the entry in its own shape."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from seedance_mcp.cli.install.catalog import HOSTS
from tests.cli.conftest import Person
from tests.cli.installed import add_host, drop_variables

SANDBOX = {"SEEDANCE_PROFILE": "sandbox"}


@pytest.fixture(autouse=True)
def _no_host_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)


def install(person: Person, name: str, file: str) -> dict[str, Any]:
    """Install for a host, and return the document in its file below the home."""
    add_host(name)
    done = person.run("install", name, "--sandbox")
    assert done.code == 0, done.err
    text = (Path.home() / file).read_text()
    return tomllib.loads(text) if file.endswith(".toml") else json.loads(text)


def test_codex_waits_for_the_server(person: Person) -> None:
    entry = install(person, "codex", ".codex/config.toml")["mcp_servers"]["seedance"]
    assert entry["required"] is True
    assert (entry["startup_timeout_sec"], entry["tool_timeout_sec"]) == (30, 120)


def test_an_owners_own_choice_for_codex_survives(person: Person) -> None:
    install(person, "codex", ".codex/config.toml")
    file = Path.home() / ".codex/config.toml"
    file.write_text(file.read_text().replace("required = true", "required = false"))
    assert "already" in person.run("install", "codex", "--sandbox").err
    assert tomllib.loads(file.read_text())["mcp_servers"]["seedance"]["required"] is False


def test_claude_code_loads_the_tools_at_once(person: Person) -> None:
    assert install(person, "claude-code", ".claude.json")["mcpServers"]["seedance"]["alwaysLoad"] is True


@pytest.mark.parametrize(
    ("name", "file"), [("gemini-cli", ".gemini/settings.json"), ("lm-studio", ".lmstudio/mcp.json")]
)
def test_plain_hosts_get_the_plain_entry(name: str, file: str, person: Person) -> None:
    entry = install(person, name, file)["mcpServers"]["seedance"]
    assert set(entry) == {"command", "args", "env"}
    assert entry["env"] == SANDBOX


def test_opencode_gets_one_list_for_the_command(person: Person) -> None:
    entry = install(person, "opencode", "xdg_config_home/opencode/opencode.json")["mcp"]["seedance"]
    command = entry.pop("command")
    assert Path(command[0]).is_absolute()
    assert entry == {"type": "local", "environment": SANDBOX, "enabled": True, "timeout": 30_000}


def test_a_key_in_opencodes_entry_is_left_out_and_reported(person: Person) -> None:
    add_host("opencode")
    file, key = HOSTS["opencode"].find_file(), "0x" + "ab" * 32
    old = {"type": "local", "command": ["old"], "environment": {"SEEDANCE_WALLET_KEY": key}, "enabled": False}
    file.write_text(json.dumps({"mcp": {"seedance": old}}))
    done = person.run("install", "opencode")
    assert "The entry held a private key" in done.err
    assert key not in file.read_text() + done.out + done.err
    assert json.loads(file.read_text())["mcp"]["seedance"]["enabled"] is False


def test_copilot_gets_all_tools(person: Person) -> None:
    entry = install(person, "copilot-cli", ".copilot/mcp-config.json")["mcpServers"]["seedance"]
    assert (entry["type"], entry["tools"], entry["env"]) == ("local", ["*"], SANDBOX)


def test_copilots_folder_is_where_its_variable_says(person: Person, tmp_path: Path) -> None:
    (tmp_path / "pilot").mkdir()
    assert person.run("install", "copilot-cli", "--sandbox", COPILOT_HOME=str(tmp_path / "pilot")).code == 0
    assert (tmp_path / "pilot/mcp-config.json").is_file()


def test_cline_has_a_folder_of_its_own_and_waits_for_the_server(person: Person) -> None:
    entry = install(person, "cline", ".cline/data/settings/cline_mcp_settings.json")["mcpServers"]["seedance"]
    assert (entry["env"], entry["timeout"]) == (SANDBOX, 120)


@pytest.mark.parametrize("code", ["Code", "VSCodium"])
def test_an_earlier_cline_has_its_file_inside_vscode(code: str, person: Person) -> None:
    folder = Path.home() / "xdg_config_home" / code / "User/globalStorage/saoudrizwan.claude-dev"
    folder.mkdir(parents=True)
    assert person.run("install", "cline", "--sandbox").code == 0
    assert "seedance" in (folder / "settings/cline_mcp_settings.json").read_text()


@pytest.mark.parametrize("name", ["copilot-cli", "opencode", "claude-code", "codex"])
def test_the_shown_change_hides_nothing_of_ours(name: str, person: Person) -> None:
    add_host(name)
    assert "(not shown)" not in person.run("install", name, "--sandbox", "--dry-run").out
