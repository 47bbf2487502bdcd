"""`install` without a host offers those that are found here."""

import sys
from pathlib import Path

import pytest

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import has_entry
from tests.cli.conftest import Person
from tests.cli.installed import add_host, drop_variables


@pytest.fixture(autouse=True)
def _no_host_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)


def is_installed(name: str) -> bool:
    return bool(has_entry(HOSTS[name], HOSTS[name].find_file()))


def test_lists_the_hosts_that_are_here_where_no_terminal_is(person: Person) -> None:
    add_host("cursor")
    add_host("gemini-cli")
    done = person.run("install", "--sandbox")
    assert done.code == 2
    assert done.out.splitlines() == [
        f"seedance-mcp install cursor --sandbox  # Cursor: {HOSTS['cursor'].find_file()}",
        f"seedance-mcp install gemini-cli --sandbox  # Gemini CLI: {HOSTS['gemini-cli'].find_file()}",
    ]
    assert "No host was named" in done.one_line
    assert not is_installed("cursor")


def test_asks_at_a_terminal_for_each_host(person: Person) -> None:
    for name in ("cursor", "opencode", "gemini-cli"):
        add_host(name)
    done = person.run_at_terminal("install", "--sandbox", typed="y\nn\ny\n")
    assert done.code == 0, done.err
    assert [is_installed(name) for name in ("cursor", "gemini-cli", "opencode")] == [True, False, True]
    again = person.run_at_terminal("install", "--sandbox", typed="n\n")
    assert again.code == 0, again.err
    assert "Cursor already has this entry" in again.err
    assert "Install for Cursor?" not in again.err


def test_a_dry_run_at_a_terminal_writes_nothing(person: Person) -> None:
    add_host("cursor")
    done = person.run_at_terminal("install", "--sandbox", "--dry-run", typed="y\n")
    assert (done.code, is_installed("cursor")) == (0, False)
    assert "SEEDANCE_PROFILE" in done.out


def test_a_broken_file_of_one_host_does_not_stop_the_others(person: Person) -> None:
    for name in ("cursor", "gemini-cli"):
        add_host(name)
    HOSTS["cursor"].find_file().write_text("[")
    done = person.run_at_terminal("install", "--sandbox", typed="y\ny\n")
    assert done.code == 2
    assert "mcp.json is not JSON" in done.err
    assert "Correct it first" in done.err
    assert "Not installed for Cursor" in done.one_line
    assert is_installed("gemini-cli")


def test_says_so_where_no_host_is_found(person: Person) -> None:
    done = person.run_at_terminal("install", "--sandbox", typed="")
    assert (done.code, done.out) == (2, "")
    assert "None of the known hosts was found here. Nothing was written." in done.one_line


def test_a_file_needs_a_host(person: Person, tmp_path: Path) -> None:
    done = person.run("install", "--file", str(tmp_path / "x.json"))
    assert done.code == 2
    assert "--file needs a host" in done.one_line


def test_an_invalid_setting_is_named_before_any_question(person: Person) -> None:
    add_host("cursor")
    done = person.run_at_terminal("install", typed="y\n", SEEDANCE_MAX_PER_DAY="lots")
    assert done.code == 2
    assert "SEEDANCE_MAX_PER_DAY" in done.one_line


def test_the_sandbox_needs_its_extra(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person sees it: a library of the extra is not there."""
    add_host("cursor")
    monkeypatch.setitem(sys.modules, "av", None)
    done = person.run("install", "cursor", "--sandbox")
    assert (done.code, done.out) == (2, "")
    assert "The sandbox studio is not installed (av missing)" in done.one_line
    assert "[sandbox]" in done.one_line
    assert not is_installed("cursor")
