"""`install goose` edits YAML: our entry comes and goes, and everything else in the file stays byte for byte."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import add_entry, remove_entry, write_change
from seedance_mcp.cli.install.yaml_edit import cut_yaml, parse_yaml, set_yaml
from seedance_mcp.core.errors import ConfigError
from tests.cli.conftest import Person
from tests.cli.installed import add_host, drop_variables

ENTRY = {"command": "/bin/seedance-mcp", "args": ["-m", "x: y"], "env": {"SEEDANCE_THUMBNAILS": "off"}}
FILE = Path("config.yaml")
HAND_WRITTEN = """\
# my goose
GOOSE_MODEL: "gpt"   # the small one
extensions:
  # our own tools
  developer:
    enabled: true
    bundled: true
    name: developer
    type: builtin   # keep

  notes:
    description: |
      Two
      lines
    args: [a,
      b]

  # last word
GOOSE_MODE: 'auto'
"""
OTHERS = {
    "none": "",
    "a comment": "# nothing yet\n",
    "other keys": "GOOSE_MODEL: x\n",
    "no last newline": "GOOSE_MODEL: x",
    "an empty mapping": "extensions: {}\nGOOSE_MODEL: x\n",
    "a null": "extensions:\nGOOSE_MODEL: x\n",
    "a null with a comment": "extensions: # mine\nGOOSE_MODEL: x\n",
    "a written null": "extensions: null # mine\n",
    "by hand": HAND_WRITTEN,
    "deep indentation": "extensions:\n      a:\n            type: builtin\nz: 1\n",
    "CRLF": HAND_WRITTEN.replace("\n", "\r\n"),
    "a document": "---\nextensions:\n  a:\n    type: builtin\n",
}


@pytest.fixture(autouse=True)
def _no_host_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)


def load(text: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(text) or {}  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def test_goose_gets_its_own_shape(person: Person) -> None:
    add_host("goose")
    done = person.run("install", "goose", "--sandbox")
    assert done.code == 0, done.err
    entry = load(HOSTS["goose"].find_file().read_text())["extensions"]["seedance"]
    assert Path(entry.pop("cmd")).is_absolute()
    assert entry.pop("description")
    assert entry == {
        "type": "stdio", "name": "seedance", "enabled": True, "timeout": 120,
        "args": entry["args"], "envs": {"SEEDANCE_PROFILE": "sandbox"},
    }  # fmt: skip
    assert "(not shown)" not in done.out


def test_an_owners_own_choice_for_goose_survives(person: Person) -> None:
    add_host("goose")
    person.run("install", "goose", "--sandbox")
    file = HOSTS["goose"].find_file()
    file.write_text(file.read_text().replace("timeout: 120", "timeout: 600"))
    assert "already" in person.run("install", "goose", "--sandbox").err
    assert load(file.read_text())["extensions"]["seedance"]["timeout"] == 600


@pytest.mark.parametrize("name", OTHERS)
def test_the_rest_of_a_yaml_file_stays_byte_for_byte(name: str, tmp_path: Path) -> None:
    host, file, before = HOSTS["goose"], tmp_path / "config.yaml", OTHERS[name]
    file.write_bytes(before.encode())
    write_change(add_entry(host, file, ENTRY))
    after = file.read_bytes().decode()
    assert load(after)["extensions"]["seedance"]["envs"] == {"SEEDANCE_THUMBNAILS": "off"}
    assert {key: value for key, value in load(after).items() if key != "extensions"} == {
        key: value for key, value in load(before).items() if key != "extensions"
    }
    if name != "an empty mapping":
        kept = iter(after.splitlines())
        assert all(
            line.replace(" null", "") in (word.replace(" null", "") for word in kept) for line in before.splitlines()
        )
    write_change(remove_entry(host, file))
    assert file.read_bytes().decode() == before


def test_an_entry_is_replaced_where_it_stands() -> None:
    once = set_yaml(HAND_WRITTEN, FILE, "extensions", "notes", {"cmd": "new"})
    assert '  notes:\n    cmd: "new"\n\n  # last word\n' in once
    assert once.startswith(HAND_WRITTEN.partition("  notes:")[0])


def test_removing_the_only_entry_leaves_an_empty_mapping() -> None:
    text = "a: 1\nextensions: # mine\n  seedance:\n    cmd: x\nb: 2\n"
    assert cut_yaml(text, FILE, "extensions", "seedance", with_key=False) == "a: 1\nextensions: {} # mine\nb: 2\n"
    assert cut_yaml(text, FILE, "extensions", "seedance", with_key=True) == "a: 1\nb: 2\n"


@pytest.mark.parametrize(
    "text",
    [
        "extensions: {a: {type: builtin}}\n", "{extensions: {}}\n", "extensions: &e\n  seedance: *e\n",
        "- a\n", "a: [\n", "extensions: 3\n", "a: 1\n---\nb: 2\n",
    ],
)  # fmt: skip
def test_a_yaml_file_that_is_not_edited_safely_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        add_entry(HOSTS["goose"], file, ENTRY)


@given(st.text(alphabet="ab:-#{}[]&*!|>'\"\n ", max_size=60))
def test_any_text_is_edited_safely_or_refused(text: str) -> None:
    try:
        before = parse_yaml(text, FILE)
        after = set_yaml(text, FILE, "extensions", "seedance", {"cmd": "x"})
    except ConfigError:
        return
    assert {**before, "extensions": {**(before.get("extensions") or {}), "seedance": {"cmd": "x"}}} == load(after)  # type: ignore[dict-item]  # checked by set_yaml
