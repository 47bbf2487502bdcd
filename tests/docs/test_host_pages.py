"""Each host that `install` knows has a page, which is linked and shows exactly what `install` writes."""

import re
from pathlib import Path

import pytest

from seedance_mcp.cli.install.catalog import HOSTS, Where
from seedance_mcp.cli.install.entry import build_entry
from seedance_mcp.cli.install.formats import read_servers
from seedance_mcp.cli.install.shapes import from_host
from tests.docs.programs import ROOT, read_blocks

LINES_MAX = 100
SECTIONS = ["Install", "Settings file", "Check", "What it shows", "Limits", "Troubleshooting", "Undo"]


def read_page(name: str) -> str:
    return (ROOT / f"docs/hosts/{name}.md").read_text()


def test_every_host_has_a_page_and_every_page_a_host() -> None:
    assert {page.stem for page in (ROOT / "docs/hosts").glob("*.md")} == HOSTS.keys()


@pytest.mark.parametrize("name", HOSTS)
def test_page_is_short_linked_and_has_its_sections(name: str) -> None:
    page, title = read_page(name), HOSTS[name].title
    assert page.startswith(f"# {title}\n")
    assert len(page.splitlines()) <= LINES_MAX
    sections = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert [section for section in sections if section in SECTIONS] == SECTIONS
    assert f"| [{title}](hosts/{name}.md) | `{name}` |" in (ROOT / "docs/connect.md").read_text()
    assert f"      - {title}: hosts/{name}.md\n" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.parametrize("name", HOSTS)
def test_page_names_the_file_on_each_system(name: str) -> None:
    host, page = HOSTS[name], read_page(name)
    for places in (host.linux, host.mac, host.windows):
        assert any(_read_tail(where) in page for where in places)


def _read_tail(where: Where) -> str:
    """Return a file's path without its first part, which depends on the user."""
    first, _, file = where.file.partition("/")
    folder = where.folder.partition("/")[2] if first == "." else ""
    return f"{folder}/{file}".strip("/")


@pytest.mark.parametrize("name", HOSTS)
def test_page_shows_what_install_writes(name: str) -> None:
    host = HOSTS[name]
    languages = {"codex": "toml", "goose": "yaml"}
    blocks = read_blocks(f"docs/hosts/{name}.md")
    shown = next(block for block in blocks if block.language == languages.get(host.form, "json"))
    entry = from_host(host.form, _read_entry(read_servers(host.form, shown.text, Path(name))))
    assert entry == {**build_entry(sandbox=True, environ={}, extra=host.extra), "command": "seedance-mcp", "args": []}


def _read_entry(servers: dict[str, object]) -> dict[str, object]:
    entry = servers["seedance"]
    assert isinstance(entry, dict)
    return entry  # pyright: ignore[reportUnknownVariableType]  # from a file
