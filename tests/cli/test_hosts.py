"""`install` writes our entry and nothing else; `uninstall` takes it out; a broken file of the host stays as it is."""

import json
import os
import tomllib
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from seedance_mcp.cli import main
from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.entry import build_entry
from seedance_mcp.cli.install.hosts import add_entry, has_entry, remove_entry, write_change
from seedance_mcp.cli.install.shapes import find_key, from_host
from seedance_mcp.core.errors import ConfigError
from tests.cli.conftest import Person
from tests.cli.installed import add_host, drop_variables

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


@pytest.fixture(autouse=True)
def _all_hosts(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)
    for name in HOSTS:
        add_host(name)


@pytest.mark.parametrize("name", HOSTS)
def test_every_host_gets_an_entry_and_loses_it_again(name: str, person: Person) -> None:
    host = HOSTS[name]
    file = host.find_file()
    assert file.is_relative_to(os.environ["HOME"])
    done = person.run("install", name, "--sandbox")
    assert done.code == 0, done.err
    assert has_entry(host, file)
    text = file.read_text()
    assert any(f'{written} "sandbox"' in text for written in ('"SEEDANCE_PROFILE":', "PROFILE =", "PROFILE:"))
    assert "already" in person.run("install", name, "--sandbox").err
    assert person.run("uninstall", name).code == 0
    assert has_entry(host, file) is None
    assert not file.exists()


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
        "install", "cursor", SEEDANCE_WALLET_KEY=KEY, SEEDANCE_WALLET_FILE="w.json", SEEDANCE_RPC_URL="https://x/k3y",
        SEEDANCE_DATABASE_URL="postgresql://u:passw0rd@db/x", SEEDANCE_DATABASE_DIRECT_URL="postgresql://u:passw0rd@e/x",
    )  # fmt: skip
    text = HOSTS["cursor"].find_file().read_text()
    assert KEY not in text + done.out + done.err
    assert "passw0rd" not in text + done.out + done.err
    assert "k3y" not in text
    env = json.loads(text)["mcpServers"]["seedance"]["env"]
    assert env["SEEDANCE_WALLET_FILE"] == str(person.folder / "w.json")


def test_comments_and_other_servers_stay_and_are_not_shown(person: Person) -> None:
    file = HOSTS["zed"].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
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
    assert file.read_text() == COMMENTED
    assert file.stat().st_mode & 0o777 == 0o600


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
    file.parent.mkdir(parents=True, exist_ok=True)
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


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_folder_that_cannot_be_written_is_one_line(person: Person, tmp_path: Path) -> None:
    folder = Path("/proc/self") if os.geteuid() == 0 else tmp_path / "closed"  # root may write in any real folder
    folder.mkdir(mode=0o500, exist_ok=True)
    done = person.run("install", "cursor", "--sandbox", "--file", str(folder / "mcp.json"))
    assert done.code == 2
    assert "Nothing was changed" in done.one_line


def test_codex_keeps_its_other_tables(tmp_path: Path) -> None:
    host, file = HOSTS["codex"], tmp_path / "config.toml"
    file.write_text('model = "o"\n\n[mcp_servers.seedance]\ncommand = "old"\n\n[mcp_servers.other]\ncommand = "y"\n')
    entry = build_entry(sandbox=True, environ={})
    write_change(add_entry(host, file, entry))
    document = tomllib.loads(file.read_text())
    assert document["mcp_servers"]["other"] == {"command": "y"}
    assert document["mcp_servers"]["seedance"]["env"] == {"SEEDANCE_PROFILE": "sandbox"}
    write_change(remove_entry(host, file))
    assert tomllib.loads(file.read_text()) == {"model": "o", "mcp_servers": {"other": {"command": "y"}}}


FILES = {
    "comments": '{"mcpServers": {\n  // my servers\n  "a": {} // mine\n}}\n',
    "comment on the brace's line": '{ // mine\n  "mcpServers": { /* these */ // all\n    "a": {}\n  }\n}\n',
    "empty": "",
    "blank": " \n",
    "comment alone": "// mine",
    "no servers": '{"theme": "dark"}',
    "braces": "{}",
    "braces and a line": "{}\n",
    "no servers yet": '{\n  "mcpServers": {}\n}',
    "one line": '{"mcpServers": {"a": {"env": {"GITHUB_TOKEN": "ghp_secret"}}}, "x": [1, 2]}',
    "dense": '{"mcpServers":{"a":1},"x":2}',
    "tabs": '{\n\t"mcpServers": {\n\t\t"a": {\n\t\t\t"command": "x"\n\t\t}\n\t}\n}\n',
    "windows": '{\r\n    "mcpServers": {\r\n        "a": 1,\r\n    },\r\n}\r\n',
    "mostly windows": '{\r\n  "x": 1,\n  "mcpServers": {\r\n    "a": 1}}\r\n',
    "marked": '\ufeff{\r\n  "mcpServers": {"a": 1}\r\n}',
    "mark alone": "\ufeff",
}
TABLES = {
    "comments": '# first\nmodel = "o"  # mine\n\n\n\n# servers\n[mcp_servers.docs]\ncommand = "y"\n# last\n',
    "no newline at the end": "[a]\nx = 1",
    "many newlines": "x = 1\n\n\n",
    "empty": "",
    "windows": "x = 1\r\n\r\n[mcp_servers.a]\r\ncommand = 'c'\r\n",
    "marked": "\ufeffx = 1\n",
    "text": 'notes = """\n[mcp_servers.seedance]\nline of mine\n[other]\n"""\n',
}
WRITTEN = [("cursor", text) for text in FILES.values()] + [("codex", text) for text in TABLES.values()]


@pytest.mark.parametrize(("name", "text"), WRITTEN, ids=[*FILES, *(f"codex {name}" for name in TABLES)])
def test_uninstall_gives_back_the_very_bytes_that_install_found(name: str, text: str, person: Person) -> None:
    file = HOSTS[name].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    assert person.run("uninstall", name).err.startswith(f"{HOSTS[name].title} has no entry of ours")
    assert list(file.parent.iterdir()) == [file]
    assert person.run("install", name, "--sandbox").code == 0
    written = file.read_bytes().decode()
    assert not written.startswith("\ufeff")
    assert written.count("\n") - written.count("\r\n") == text.count("\n") - text.count("\r\n") or "\r\n" not in text
    again = person.run("install", name, "--sandbox")
    assert (again.out, "already has this entry" in again.err) == ("", True)
    assert person.run("install", name).code == 0  # renewed where it stands
    assert person.run("uninstall", name).code == 0
    assert file.read_bytes() == text.removeprefix("\ufeff").encode()  # hosts refuse a file with a mark
    copy = file.with_name(f"{file.name}.before-seedance")
    assert copy.read_bytes() == text.encode()
    assert {path.name for path in file.parent.iterdir()} == {
        file.name, copy.name, f"{copy.name}-1", f"{copy.name}-2"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_a_file_that_install_made_goes_with_uninstall(name: str, person: Person) -> None:
    file = HOSTS[name].find_file()
    assert person.run("install", name, "--sandbox").code == 0
    dry = person.run("uninstall", name, "--dry-run")
    assert "contains nothing else: the file is removed." in dry.err
    assert file.exists()
    assert person.run("uninstall", name).code == 0
    assert not file.exists()


def test_what_a_person_changed_after_install_stays_and_our_empty_list_goes(person: Person) -> None:
    file = HOSTS["cursor"].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{\n  "theme": "dark"\n}\n')
    assert person.run("install", "cursor", "--sandbox").code == 0
    file.write_text(file.read_text().replace("dark", "light"))
    assert person.run("uninstall", "cursor").code == 0
    assert file.read_text() == '{\n  "theme": "light"\n}\n'


def test_an_empty_list_that_was_there_before_stays(person: Person) -> None:
    file = HOSTS["cursor"].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{\n  "theme": "dark",\n  "mcpServers": {\n  }\n}\n')
    assert person.run("install", "cursor", "--sandbox").code == 0
    file.write_text(file.read_text().replace("dark", "light"))
    assert person.run("uninstall", "cursor").code == 0
    assert file.read_text() == '{\n  "theme": "light",\n  "mcpServers": {\n  }\n}\n'


def test_the_comment_above_the_next_table_of_codex_stays(person: Person) -> None:
    file = HOSTS["codex"].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    assert person.run("install", "codex", "--sandbox").code == 0
    more = '\n# my important note\n[mcp_servers.docs]\ncommand = "y"\n'
    file.write_text(file.read_text() + more)
    assert person.run("uninstall", "codex").code == 0
    assert file.read_text() == more.lstrip("\n")


def test_an_entry_of_codex_in_one_line_is_named_and_left_alone(person: Person) -> None:
    file = HOSTS["codex"].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('mcp_servers.seedance = { command = "x" }\n')
    for words in (("install", "codex", "--sandbox"), ("uninstall", "codex")):
        done = person.run(*words)
        assert done.code == 2
        assert "in a form that is not edited here" in done.one_line
        assert "Remove it by hand" in done.one_line
    assert list(file.parent.iterdir()) == [file]


def read_env(name: str = "cursor") -> dict[str, str]:
    text = HOSTS[name].find_file().read_text()
    document = tomllib.loads(text) if name == "codex" else json.loads(text)
    entry = document[find_key(HOSTS[name].form)]["seedance"]
    return cast("dict[str, str]", from_host(HOSTS[name].form, entry).get("env", {}))


@pytest.mark.parametrize("name", ["cursor", "codex", "vscode", "opencode"])
def test_the_owners_limits_survive_a_reinstall(name: str, person: Person) -> None:
    limits = {"SEEDANCE_MAX_PER_DAY": "2.00", "SEEDANCE_ASK_ABOVE": "0.50"}
    assert person.run("install", name, **limits).code == 0
    again = person.run("install", name)
    assert "already has this entry" in again.err
    assert person.run("install", name, SEEDANCE_ASK_ABOVE="0.25").code == 0
    assert read_env(name).items() >= {"SEEDANCE_MAX_PER_DAY": "2.00", "SEEDANCE_ASK_ABOVE": "0.25"}.items()
    sandbox = person.run("install", name, "--sandbox")
    assert "was for the live profile, and is for the sandbox profile now" in sandbox.err
    assert read_env(name)["SEEDANCE_PROFILE"] == "sandbox"
    live = person.run("install", name)
    assert "was for the sandbox profile, and is for the live profile now" in live.err
    assert "SEEDANCE_PROFILE" not in read_env(name)
    assert read_env(name)["SEEDANCE_MAX_PER_DAY"] == "2.00"


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_an_entry_that_is_right_stays_as_a_person_laid_it_out(name: str, person: Person) -> None:
    file = HOSTS[name].find_file()
    assert person.run("install", name, "--sandbox").code == 0
    laid_out = file.read_text().replace("[]", "[ ]").replace('"env": {', '"env": { // mine')
    file.write_text(laid_out)
    assert "already has this entry" in person.run("install", name, "--sandbox").err
    assert file.read_text() == laid_out


def test_what_belongs_to_another_profile_is_dropped_by_name(person: Person) -> None:
    recipient = "0x" + "cd" * 20
    assert person.run("install", "cursor", SEEDANCE_RECIPIENTS=recipient, SEEDANCE_WALLET_FILE="w.json").code == 0
    assert person.run("install", "cursor").code == 0
    assert read_env()["SEEDANCE_RECIPIENTS"] == recipient
    done = person.run("install", "cursor", "--sandbox")
    assert "No longer in the entry: SEEDANCE_RECIPIENTS, SEEDANCE_WALLET_FILE." in done.err
    assert "SEEDANCE_RECIPIENTS" not in read_env()


def write_old(**entry: object) -> Path:
    file = HOSTS["cursor"].find_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    others = {"gh": {"command": "gh", "env": {"GITHUB_TOKEN": "ghp_other"}}}
    file.write_text(json.dumps({"mcpServers": {**others, "seedance": entry}}))
    return file


def test_a_custom_profile_and_what_a_host_added_survive_a_reinstall(person: Person) -> None:
    profile = person.folder / "p.toml"
    profile.write_text(
        'studio_url = "https://studio.example"\nblob_url = "https://blob.example/"\n[x402]\nnetwork = "eip155:8453"\n'
        f'asset = "0x{"ab" * 20}"\nname = "USD Coin"\nversion = "2"\n'
    )
    env = {"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": str(profile), "HTTPS_PROXY": "http://p:1"}
    file = write_old(command="old", args=[], env=env, disabledTools=["animate_image"])
    done = person.run("install", "cursor")
    assert done.code == 0, done.err
    assert read_env().items() >= env.items()
    assert json.loads(file.read_text())["mcpServers"]["seedance"]["disabledTools"] == ["animate_image"]


def test_an_old_setting_that_is_wrong_is_named_with_its_file(person: Person) -> None:
    file = write_old(command="old", args=[], env={"SEEDANCE_MAX_PER_DAY": "lots"})
    before = file.read_bytes()
    done = person.run("install", "cursor", "--sandbox")
    assert done.code == 2
    assert f"The entry in {file} would not start: SEEDANCE_MAX_PER_DAY" in done.one_line
    assert file.read_bytes() == before


SHOWN_TO_NO_ONE = {
    "env": {
        "SEEDANCE_WALLET_KEY": KEY,
        "SEEDANCE_RPC_URL": "https://rpc.example/pr0vider",
        "SEEDANCE_LOG_LEVEL": "INFO",
        "MY_PRIVATE_KEY": "s3cret1",
        "WALLET_KEY": "s3cret2",
        "GITHUB_TOKEN": "ghp_s3cret3",
    },
    "args": ["--from", "seedance-mcp", "-e", f"SEEDANCE_WALLET_KEY={KEY}", "ghp_s3cret4"],
    "headers": {"Authorization": "Bearer s3cret5"},
    "url": "https://u:s3cret6@x.example",
}


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_no_secret_of_the_file_is_shown(verb: str, person: Person) -> None:
    write_old(command="X=s3cret7 seedance-mcp", **SHOWN_TO_NO_ONE)
    done = person.run(verb, "cursor", "--dry-run")
    assert done.code == 0, done.err
    for secret in (KEY, "s3cret", "pr0vider", "ghp_"):
        assert secret not in done.out + done.err
    assert '"SEEDANCE_LOG_LEVEL": "INFO"' in done.out
    assert '-        "SEEDANCE_WALLET_KEY": "(not shown)"' in done.out


def test_an_old_key_is_left_out_kept_in_the_copy_and_told_of(person: Person) -> None:
    file = write_old(
        command="old", args=[], env={"SEEDANCE_WALLET_KEY": KEY, "SEEDANCE_RPC_URL": "https://x.example/k"}
    )
    dry = person.run("install", "cursor", "--dry-run")
    assert f"The entry in {file} holds a private key" in dry.err
    done = person.run("install", "cursor")
    copy = file.with_name("mcp.json.before-seedance")
    assert KEY in copy.read_text()
    assert copy.stat().st_mode & 0o077 == 0
    assert KEY not in file.read_text()
    assert f"is only in the copy now: {copy}" in done.err
    assert "seedance-mcp wallet import -" in done.err
    assert read_env() == {"SEEDANCE_RPC_URL": "https://x.example/k", "SEEDANCE_DATA_DIR": str(person.data_dir)}


def test_uninstall_tells_of_a_key_too(person: Person) -> None:
    file = write_old(command="old", args=[], env={"SEEDANCE_WALLET_KEY": KEY, "SEEDANCE_PROFILE": "sandbox"})
    done = person.run("uninstall", "cursor")
    assert "wallet import - --sandbox" in done.err
    assert KEY in file.with_name("mcp.json.before-seedance").read_text()
    assert json.loads(file.read_text()) == {
        "mcpServers": {"gh": {"command": "gh", "env": {"GITHUB_TOKEN": "ghp_other"}}}
    }


def test_a_reference_to_a_key_is_no_key_and_stays(person: Person) -> None:
    write_old(command="old", args=[], env={"SEEDANCE_WALLET_KEY": "${input:key}"})
    done = person.run("install", "cursor")
    assert "private key" not in done.err
    assert read_env()["SEEDANCE_WALLET_KEY"] == "${input:key}"


def test_folders_of_pictures_do_not_depend_on_the_hosts_folder(person: Person) -> None:
    dirs = os.pathsep.join(["pics", "~/more", "/abs"])
    assert person.run("install", "cursor", SEEDANCE_IMAGE_DIRS=dirs).code == 0
    home = Path(os.environ["HOME"])
    assert read_env()["SEEDANCE_IMAGE_DIRS"].split(os.pathsep) == [
        str(person.folder / "pics"), str(home / "more"), "/abs"
    ]  # fmt: skip


def test_a_path_beyond_the_basic_plane_goes_into_toml(person: Person) -> None:
    assert person.run("install", "codex", SEEDANCE_IMAGE_DIRS="/🎬/b").code == 0
    assert read_env("codex")["SEEDANCE_IMAGE_DIRS"] == "/🎬/b"


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_a_path_that_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    entry = build_entry(sandbox=False, environ={"SEEDANCE_WALLET_FILE": "/w\udcff"})
    with pytest.raises(ConfigError, match="not UTF-8"):
        add_entry(HOSTS[name], tmp_path / "file", entry)


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_the_shell_completes_hosts(verb: str) -> None:
    environ = {"_SEEDANCE_MCP_COMPLETE": "complete_bash", "COMP_WORDS": f"seedance-mcp {verb} cla", "COMP_CWORD": "2"}
    done = CliRunner().invoke(main.app, [], prog_name="seedance-mcp", env=environ)
    assert done.stdout.split() == ["claude-desktop", "claude-code"]


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


@given(documents, st.sampled_from([None, 2, "\t"]))
def test_whatever_else_is_in_the_file_survives_both_ways(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object], indent: int | str | None
) -> None:
    host, file = HOSTS["cursor"], tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(document, indent=indent))
    file.write_text(add_entry(host, file, {"command": "c"}).after or "")
    added = json.loads(file.read_text())
    assert added["mcpServers"].pop("seedance") == {"command": "c"}
    file.write_text(remove_entry(host, file).after or "{}")
    removed = json.loads(file.read_text())
    assert removed == added
    servers = {**cast("dict[str, object]", document.get("mcpServers") or {})}
    servers.pop("seedance", None)
    expected: dict[str, object] = {**document, "mcpServers": servers}
    assert removed == expected


@given(st.text(max_size=200))
def test_hostile_files_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile.json"
    file.write_bytes(text.encode("utf-8", "replace"))
    for name in ("cursor", "codex", "goose"):
        try:
            add_entry(HOSTS[name], file, build_entry(sandbox=True, environ={}))
            remove_entry(HOSTS[name], file)
        except ConfigError:
            pass
