"""Our name on the package index is not ours: nothing that we say or ship may make a machine ask the index for it."""

import base64
import json
import os
import re
import sys
from collections.abc import Generator
from pathlib import Path
from urllib.parse import unquote

import pytest

from seedance_mcp.core.installation import (
    RELEASED_ON_INDEX,
    UNKNOWN_SOURCE,
    build_install_command,
    describe_install,
    find_installer,
)
from tests.cli.conftest import Person

ROOT = Path(__file__).parents[2]
SKIPPED = {
    ".git",
    ".hypothesis",
    ".venv",
    "requirements",
    "node_modules",
    "dist",
    "site",
    "__pycache__",
    ".ruff_cache",
    ".pytest_cache",
}
BYTES_MAX = 2_000_000
NAME = r"seedance[-_.]mcp"
INSTALLER = r"(?:pip3? (?:install|download|wheel)|uv (?:tool|pip|add)|--with|uvx|pipx|poetry add|pdm add|conda install)"
ON_A_LINE = (
    # the bare name behind an installer; a folder, a wheel or a URL has something before or behind the name
    re.compile(rf"\b{INSTALLER}\b[^`\n;&|]*?(?<![-\w./]){NAME}(?:\[[\w,]*\])?(?![-\w./\[])(?! @ )", re.I),
    re.compile(rf"(?<![\w./}}]){NAME}\[[a-z,]+\](?! @ )", re.I),
)
ACROSS_LINES = (
    re.compile(rf'"(?:uvx|pipx)"[^{{}}]{{0,300}}"{NAME}', re.I),
    re.compile(rf'"identifier":\s*"{NAME}"', re.I),
)


WITHOUT_SIWE = """\
import sys
for name in [name for name in sys.modules if name.startswith("seedance_mcp.sandbox")]:
    del sys.modules[name]
sys.modules["siwe"] = None
from seedance_mcp.__main__ import main
main()
"""
"""Our command where a library of the sandbox is not installed."""


def list_texts() -> Generator[tuple[Path, str]]:
    """Every text that is shipped or read, with what links in it encode."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - SKIPPED)
        for path in (Path(folder, name) for name in sorted(set(files) - SKIPPED)):
            if path == Path(__file__) or not path.is_file():
                continue
            data = path.read_bytes()[:BYTES_MAX]
            if b"\0" not in data and b"seedance" in data.lower():
                yield path, decode(data.decode(errors="replace"))


def decode(text: str) -> str:
    """A text, and after it what its links hold."""
    plain = unquote(text)
    hidden = [
        base64.b64decode(found + "=" * (-len(found) % 4)).decode(errors="replace")
        for found in re.findall(r"config=([A-Za-z0-9+/]{20,})", plain)
    ]
    return "\n".join([plain, *hidden])


def find_by_index(text: str) -> list[str]:
    lines = "\n".join(line for line in text.splitlines() if "seedance" in line.lower())
    searched = [*((pattern, lines) for pattern in ON_A_LINE), *((pattern, text) for pattern in ACROSS_LINES)]
    return [found[0] for pattern, where in searched for found in pattern.finditer(where)]


@pytest.mark.skipif(RELEASED_ON_INDEX, reason="the name on the index is ours")
def test_no_file_resolves_our_name_by_index() -> None:
    texts = list(list_texts())
    found = {str(path.relative_to(ROOT)): hits for path, text in texts if (hits := find_by_index(text))}
    if (ROOT / "docs" / "reference").is_dir():
        assert any(path.name == "connect.md" for path, _ in texts)
    found.pop("seedance_mcp/core/installation.py", None)  # it writes the name only once it is released, or with its URL
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install seedance-mcp",
        "pip install 'seedance-mcp[tempo]'",
        "Run: python -m pip install --upgrade seedance-mcp",
        "uvx seedance-mcp",
        "uvx --from seedance-mcp[sandbox] seedance-mcp",
        "uv tool install seedance-mcp",
        "pipx run seedance-mcp",
        "pipx install seedance_mcp",
        '"command": "uvx", "args": ["--from", "seedance-mcp[sandbox]", "seedance-mcp"]',
        '"command": "uvx", "args": ["seedance-mcp"]',
        '"identifier": "seedance-mcp"',
        "vscode:mcp/install?%22command%22%3A%20%22uvx%22%2C%20%22args%22%3A%20%5B%22seedance-mcp%22%5D",
    ],
)
def test_walk_finds_each_way_to_ask_the_index(text: str) -> None:
    assert find_by_index(decode(text))


@pytest.mark.parametrize(
    "text",
    [
        "pip install '.[sandbox]'",
        "pip install '/home/ann/seedance-mcp[tempo]'",
        "pip install 'seedance-mcp[tempo] @ git+https://example.org/seedance-mcp@abc'",
        "pip install ./dist/seedance_mcp-0.1.0-py3-none-any.whl",
        '"command": "seedance-mcp", "args": []',
        "uv run --directory x --extra sandbox python -m seedance_mcp",
    ],
)
def test_walk_lets_folders_wheels_and_urls_pass(text: str) -> None:
    assert find_by_index(decode(text)) == []


def test_server_json_names_no_package_before_a_release() -> None:
    server = json.loads((ROOT / "server.json").read_text())
    assert bool(server.get("packages")) == RELEASED_ON_INDEX


def test_hint_names_the_source_of_this_copy(tmp_path: Path) -> None:
    folder, wheel = tmp_path / "a clone", tmp_path / "seedance_mcp-0.1.0-py3-none-any.whl"
    folder.mkdir()
    wheel.touch()
    git = {"url": "https://me:hunter2@example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}
    cases: dict[str, object] = {
        f"pip install '{folder}[tempo]'": {"url": folder.as_uri(), "dir_info": {}},
        f"pip install -e '{folder}[tempo]'": {"url": folder.as_uri(), "dir_info": {"editable": True}},
        f"pip install '{wheel}[tempo]'": {"url": wheel.as_uri(), "archive_info": {}},
        "pip install 'seedance-mcp[tempo] @ git+https://example.org/x.git@abc123'": git,
        "pip install 'seedance-mcp[tempo] @ https://example.org/x.whl'": {"url": "https://example.org/x.whl"},
    }
    for command, direct_url in cases.items():
        assert build_install_command(json.dumps(direct_url), "tempo") == command


@pytest.mark.parametrize(
    ("file", "installer"),
    [("uv-receipt.toml", "uv tool install --force"), ("pipx_metadata.json", "pipx install --force")],
)
def test_hint_names_the_tool_that_installed_this_copy_and_keeps_its_extras(
    file: str, installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    hint = describe_install("keychain")

    assert hint.startswith(f"Run: {installer} ")
    assert "keychain,sandbox" in hint  # the development environment has the sandbox


def test_hint_does_not_name_the_pip_of_another_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    installer, replaces = find_installer()
    assert installer in (f"{sys.executable} -m pip install", f"uv pip install --python {sys.executable}")
    assert not replaces


@pytest.mark.parametrize(
    "direct_url",
    [None, "", "[]", "{}", '{"url": 7}', '{"url": "file:///gone/for/good.whl"}', '{"url": "https://x/\'; rm -rf ~"}'],
)
def test_unknown_source_is_not_guessed(direct_url: str | None) -> None:
    assert build_install_command(direct_url, "tempo") is None


def test_missing_sandbox_names_the_source_of_this_copy(person: Person) -> None:
    """As a person sees it: the library of an extra is not there."""
    program = person.folder / "without_siwe.py"
    program.write_text(WITHOUT_SIWE)
    person.draw("a.png")
    ended = person.run_apart("quote", "a.png", "--prompt", "x", "--sandbox", program=str(program))

    assert ended.code == 2
    assert "The sandbox studio is not installed (siwe is missing)." in ended.one_line
    assert re.search(r"pip install (-e )?'[^']+\[sandbox\]'", ended.one_line) or UNKNOWN_SOURCE in ended.one_line
    assert find_by_index(ended.one_line) == []


def test_start_reads_no_installed_metadata() -> None:
    source = (ROOT / "seedance_mcp" / "core" / "installation.py").read_text()
    assert not re.search(r"^(import|from) (?!__future__)", source, re.M), "what a hint needs loads when it is made"
