"""`install` finds the file that a host really reads, and says so where there is none."""

import json
from pathlib import Path

import pytest

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import CONFIG_BYTES_MAX, add_entry, has_entry, remove_entry, write_change
from tests.cli.conftest import Person
from tests.cli.installed import add_host, drop_variables

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _no_host_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)


def find_on(platform: str, home: Path, name: str, **environ: str) -> Path:
    """Return a host's file on another system whose home is `home`."""
    return HOSTS[name].find_file(platform, {"HOME": str(home), "USERPROFILE": str(home), **environ})


def test_claude_desktop_of_the_store_package_has_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "AppData/Roaming/Claude").mkdir(parents=True)
    assert find_on("win32", tmp_path, "claude-desktop") == (
        tmp_path / "AppData/Roaming/Claude/claude_desktop_config.json"
    )
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    package.mkdir(parents=True)
    assert find_on("win32", tmp_path, "claude-desktop") == package / "claude_desktop_config.json"


def test_local_app_data_may_be_elsewhere(tmp_path: Path) -> None:
    package = tmp_path / "D/Packages/Claude_x/LocalCache/Roaming/Claude"
    package.mkdir(parents=True)
    found = find_on("win32", tmp_path, "claude-desktop", LOCALAPPDATA=str(tmp_path / "D"))
    assert found == package / "claude_desktop_config.json"


def test_another_package_is_not_claude(tmp_path: Path) -> None:
    (tmp_path / "AppData/Local/Packages/Other_x/LocalCache/Roaming/Claude").mkdir(parents=True)
    assert find_on("win32", tmp_path, "claude-desktop").parent == tmp_path / "AppData/Roaming/Claude"


def test_claude_codes_folder_is_where_its_variable_says(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "claude config"
    folder.mkdir()
    done = person.run("install", "claude-code", "--sandbox", CLAUDE_CONFIG_DIR=str(folder))
    assert done.code == 0, done.err
    assert json.loads((folder / ".claude.json").read_text())["mcpServers"]["seedance"]["alwaysLoad"] is True
    assert not HOSTS["claude-code"].find_file().exists()


def test_claude_code_without_its_variable_uses_the_home(person: Person) -> None:
    add_host("claude-code")
    assert person.run("install", "claude-code", "--sandbox").code == 0
    assert HOSTS["claude-code"].find_file() == Path.home() / ".claude.json"
    assert HOSTS["claude-code"].find_file().is_file()


VARIANTS = {
    "linux": [
        "xdg_config_home/Code - Insiders/User/mcp.json",
        "xdg_config_home/VSCodium/User/mcp.json",
        ".var/app/com.visualstudio.code/config/Code/User/mcp.json",
        ".var/app/com.vscodium.codium/config/VSCodium/User/mcp.json",
    ],
    "darwin": [
        "Library/Application Support/Code - Insiders/User/mcp.json",
        "Library/Application Support/VSCodium/User/mcp.json",
    ],
    "win32": ["AppData/Roaming/Code - Insiders/User/mcp.json", "AppData/Roaming/VSCodium/User/mcp.json"],
}
EACH = [(platform, place) for platform, places in VARIANTS.items() for place in places]


@pytest.mark.parametrize(("platform", "place"), EACH)
def test_the_variant_of_vscode_that_is_there_gets_the_entry(platform: str, place: str, tmp_path: Path) -> None:
    (tmp_path / place).parents[1].mkdir(parents=True)
    config = str(tmp_path / "xdg_config_home")
    assert find_on(platform, tmp_path, "vscode", XDG_CONFIG_HOME=config) == tmp_path / place


def test_vscode_itself_comes_before_its_variants(tmp_path: Path) -> None:
    for name in ("Code - Insiders", "Code"):
        (tmp_path / ".config" / name).mkdir(parents=True)
    assert find_on("linux", tmp_path, "vscode") == tmp_path / ".config/Code/User/mcp.json"


def test_only_insiders_is_installed(person: Person) -> None:
    insiders = Path.home() / "xdg_config_home/Code - Insiders"
    insiders.mkdir(parents=True)
    done = person.run("install", "vscode", "--sandbox")
    assert done.code == 0, done.err
    assert json.loads((insiders / "User/mcp.json").read_text())["servers"]["seedance"]["type"] == "stdio"


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_that_is_not_there_is_one_line_and_nothing_is_written(name: str, person: Person) -> None:
    before = sorted(Path.home().rglob("*"))
    for words in (("install", name, "--sandbox"), ("install", name, "--sandbox", "--dry-run")):
        done = person.run(*words)
        assert (done.code, done.out) == (2, "")
        assert f"{HOSTS[name].title} does not seem to be installed" in done.one_line
        assert "Nothing was written" in done.one_line
    assert sorted(Path.home().rglob("*")) == before


def test_a_named_file_needs_no_installed_host(person: Person, tmp_path: Path) -> None:
    assert person.run("install", "cursor", "--sandbox", "--file", str(tmp_path / "mine.json")).code == 0
    assert "seedance" in (tmp_path / "mine.json").read_text()


def test_a_byte_order_mark_is_removed_and_reported(person: Person) -> None:
    add_host("claude-desktop")
    file = HOSTS["claude-desktop"].find_file()
    file.write_bytes('\ufeff{"mcpServers": {"a": {"command": "x"}}}'.encode())
    done = person.run("install", "claude-desktop", "--sandbox")
    assert "begins with a byte order mark" in done.err
    assert set(json.loads(file.read_bytes())["mcpServers"]) == {"a", "seedance"}
    file.write_bytes("\ufeff".encode() + file.read_bytes())
    again = person.run("install", "claude-desktop", "--sandbox")
    assert "begins with a byte order mark" in again.err
    assert file.read_bytes().startswith(b"{")


@pytest.mark.parametrize("text", ['{"mcpServers": null}', '{\n  "a": 1,\n  "mcpServers": null // none\n}\n'])
def test_servers_that_are_null_are_none(text: str, person: Person) -> None:
    add_host("cursor")
    file = HOSTS["cursor"].find_file()
    file.write_text(text)
    done = person.run("install", "cursor", "--sandbox")
    assert done.code == 0, done.err
    assert has_entry(HOSTS["cursor"], file)
    assert person.run("uninstall", "cursor").code == 0
    assert file.read_text() == text


def test_a_file_of_twelve_megabytes_gets_the_entry(tmp_path: Path) -> None:
    file, host = tmp_path / ".claude.json", HOSTS["claude-code"]
    history = {f"/project/{number}": {"history": ["x" * 1000] * 64} for number in range(200)}
    text = json.dumps({"numStartups": 7, "projects": history, "mcpServers": {}}, indent=2)
    assert len(text) > 12 * MIB
    file.write_text(text)
    write_change(add_entry(host, file, {"command": "c"}))
    assert has_entry(host, file)
    write_change(remove_entry(host, file))
    assert file.read_text() == text


def test_a_file_beyond_the_bound_is_one_line(person: Person, tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as opened:
        opened.truncate(CONFIG_BYTES_MAX + 1)  # a hole: it takes no room on the disk
    done = person.run("install", "cursor", "--sandbox", "--file", str(file))
    assert done.code == 2
    assert "is larger than" in done.one_line
