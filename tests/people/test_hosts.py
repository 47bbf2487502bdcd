"""`install` writes our entry and nothing else; `uninstall` takes it out; a broken file of the host stays as it is."""

import json
import os
import tomllib
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedance_mcp.errors import ConfigError
from seedance_mcp.hosts import HOSTS, add_entry, build_entry, has_entry, remove_entry, write_change
from tests.people.conftest import Person

KEY = "0x" + "ab" * 32
COMMENTED = """// settings of Zed
{
  "theme": "One", // the light one
  /* servers */
  "context_servers": {
    "other": { "command": "x", "env": { "TOKEN": "s3cret" } }, // keep
  },
}
"""
SURE = {"Claude/claude_desktop_config.json": "linux", "Library/Application Support": "darwin", "Roaming": "win32"}


@pytest.mark.parametrize("name", HOSTS)
def test_every_host_gets_an_entry_and_loses_it_again(name: str, person: Person) -> None:
    host = HOSTS[name]
    file = host.find_file()
    assert file.is_relative_to(os.environ["HOME"])
    done = person.run("install", name, "--sandbox")
    assert done.code == 0, done.err
    assert has_entry(host, file)
    text = file.read_text()
    assert '"SEEDANCE_PROFILE": "sandbox"' in text or 'SEEDANCE_PROFILE = "sandbox"' in text
    assert "already" in person.run("install", name, "--sandbox").err
    assert person.run("uninstall", name).code == 0
    assert has_entry(host, file) is False


@pytest.mark.parametrize(("place", "platform"), SURE.items())
def test_claude_desktops_file_is_where_each_system_has_it(place: str, platform: str) -> None:
    file = HOSTS["claude-desktop"].find_file(platform, {"HOME": "/h", "USERPROFILE": "/h"})
    assert place in file.as_posix()


def test_a_dry_run_shows_the_change_and_writes_nothing(person: Person) -> None:
    done = person.run("install", "claude-desktop", "--dry-run", "--sandbox")
    assert done.code == 0
    assert '+      "env": {' in done.out
    assert not HOSTS["claude-desktop"].find_file().exists()


def test_a_key_is_never_written_and_paths_do_not_depend_on_the_folder(person: Person) -> None:
    done = person.run(
        "install", "cursor", SEEDANCE_WALLET_KEY=KEY, SEEDANCE_WALLET_FILE="w.json", SEEDANCE_RPC_URL="https://x/k3y"
    )
    text = HOSTS["cursor"].find_file().read_text()
    assert KEY not in text + done.out + done.err
    assert "k3y" not in text
    env = json.loads(text)["mcpServers"]["seedance"]["env"]
    assert env["SEEDANCE_WALLET_FILE"] == str(person.folder / "w.json")


def test_comments_and_other_servers_stay_and_are_not_shown(person: Person) -> None:
    file = HOSTS["zed"].find_file()
    file.parent.mkdir(parents=True)
    file.write_text(COMMENTED)
    file.chmod(0o600)
    done = person.run("install", "zed", "--sandbox")
    assert done.code == 0, done.err
    assert "s3cret" not in done.out
    for part in ("// settings of Zed", "// the light one", "/* servers */", "// keep", "s3cret"):
        assert part in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.with_name("settings.json.before-seedance").read_text() == COMMENTED
    assert person.run("uninstall", "zed").code == 0
    assert "seedance" not in file.read_text()
    assert "s3cret" in file.read_text()


BROKEN = {
    "claude-desktop": '{"mcpServers": {"a": ',
    "cursor": "[1, 2]",
    "windsurf": '{"mcpServers": []}',
    "codex": "[mcp_servers.a\ncommand = ",
    "vscode": "\xff",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_of_the_host_is_one_line_and_stays_as_it_is(name: str, person: Person) -> None:
    file = HOSTS[name].find_file()
    file.parent.mkdir(parents=True)
    content = BROKEN[name].encode("latin-1")
    file.write_bytes(content)
    for words in (("install", name, "--sandbox"), ("uninstall", name)):
        done = person.run(*words)
        assert (done.code, done.out) == (2, "")
        assert str(file) in done.one_line
    assert file.read_bytes() == content
    assert list(file.parent.iterdir()) == [file]


def test_an_unknown_host_is_one_line(person: Person) -> None:
    done = person.run("install", "emacs")
    assert done.code == 2
    assert "Known are: claude-desktop" in done.one_line


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    done = person.run("install", "cursor", "--sandbox", "--file", str(folder / "mcp.json"))
    assert done.code == 2
    assert "Nothing was changed" in done.one_line


def test_codex_keeps_its_other_tables(tmp_path: Path) -> None:
    host, file = HOSTS["codex"], tmp_path / "config.toml"
    file.write_text('model = "o"\n\n[mcp_servers.seedance]\ncommand = "old"\n\n[mcp_servers.other]\ncommand = "y"\n')
    entry = build_entry(host.form, sandbox=True, environ={})
    write_change(add_entry(host, file, entry))
    document = tomllib.loads(file.read_text())
    assert document["mcp_servers"]["other"] == {"command": "y"}
    assert document["mcp_servers"]["seedance"]["env"] == {"SEEDANCE_PROFILE": "sandbox"}
    write_change(remove_entry(host, file))
    assert tomllib.loads(file.read_text()) == {"model": "o", "mcp_servers": {"other": {"command": "y"}}}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def build_document(rest: dict[str, object], servers: dict[str, object] | None) -> dict[str, object]:
    return {**rest, **({} if servers is None else {"mcpServers": servers})}


documents = st.builds(
    build_document,
    st.dictionaries(st.text(max_size=6), values, max_size=4),
    st.none() | st.dictionaries(st.sampled_from(["seedance", "a", 'b"}', "//c"]), values, max_size=4),
)


@settings(deadline=None)  # it writes files
@given(documents, st.sampled_from([None, 2, "\t"]))
def test_whatever_else_is_in_the_file_survives_both_ways(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object], indent: int | str | None
) -> None:
    host, file = HOSTS["cursor"], tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(document, indent=indent))
    file.write_text(add_entry(host, file, {"command": "c"}).after)
    added = json.loads(file.read_text())
    assert added["mcpServers"].pop("seedance") == {"command": "c"}
    file.write_text(remove_entry(host, file).after)
    removed = json.loads(file.read_text())
    assert removed == added
    servers = {**cast("dict[str, object]", document.get("mcpServers") or {})}
    servers.pop("seedance", None)
    expected: dict[str, object] = {**document, "mcpServers": servers}
    assert removed == expected


@settings(deadline=None)  # it writes files
@given(st.text(max_size=200))
def test_hostile_files_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile.json"
    file.write_bytes(text.encode("utf-8", "replace"))
    for name in ("cursor", "codex"):
        try:
            add_entry(HOSTS[name], file, build_entry(HOSTS[name].form, sandbox=True, environ={}))
            remove_entry(HOSTS[name], file)
        except ConfigError:
            pass
