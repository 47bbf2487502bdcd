"""The site builds in strict mode, its links are valid, and it loads nothing from other hosts."""

import py_compile
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.programs import ROOT

BUILD_SECONDS = 120
LOADED = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src", "video": "src"}
"""Elements that a browser loads by itself, with their attribute."""
BROKEN = ("[a](nowhere.md)", "[a](safety.md#nowhere)", "[a](../tests/nowhere.py)", "![a](nowhere.svg)")
"""Links that lead nowhere."""


class Page(HTMLParser):
    """The links, the loaded files and the anchors of one built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if given.get(LOADED.get(tag, "")):
            self.loaded.append(given[LOADED[tag]])


def build(root: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)


def copy_docs(folder: Path) -> None:
    """Copy all files that a build of the site reads."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "mkdocs.yml", folder / "mkdocs.yml")
    for name in ("tests", "seedance_mcp"):
        (folder / name).symlink_to(ROOT / name)


def add_to_index(folder: Path, *lines: str) -> None:
    page = folder / "docs" / "index.md"
    page.write_text("\n\n".join([page.read_text(), *lines, ""]))


@dataclass(frozen=True)
class Built:
    """A build that has ended, and its site."""

    site: Path
    code: int
    said: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the site once, of documents with two more links that end no build, and four that do."""
    folder = tmp_path_factory.mktemp("site")
    copy_docs(folder)
    add_to_index(folder, "[a](safety.md#limits) and [b](../tests/conftest.py)", *BROKEN)
    py_compile.compile(str(folder / "docs" / "hooks.py"))  # as the first build leaves it for the second
    assert list((folder / "docs" / "__pycache__").iterdir())
    done = build(folder, folder / "site")
    return Built(folder / "site", done.returncode, done.stderr)


@pytest.fixture(scope="module")
def site(built: Built) -> Path:
    return built.site


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert documents == {path.relative_to(site) for path in site.rglob("*.html")} - {Path("404.html")}


def test_every_link_and_anchor_of_the_site_leads_somewhere(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":  # served from anywhere, so its links are absolute
            continue
        for link in page.links + page.loaded:
            if "nowhere" in link:  # of `BROKEN`
                continue
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https", f"{path.name}: {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.name}: {link}"


def test_nothing_of_the_tools_that_build_it_is_in_the_site(site: Path) -> None:
    assert [path for path in site.rglob("*") if {".py", "__pycache__"} & {path.suffix, path.name}] == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.loaded
        assert all(not urlsplit(address).netloc for address in page.loaded), path
    for path in [*site.rglob("*.css"), *site.rglob("*.js"), *site.rglob("*.svg")]:
        fetched = re.findall(r"(?:url\(|@import|fetch\(|importScripts\()\s*['\"]?(\S*//[^'\")\s]+)", path.read_text())
        assert not fetched, f"{path.name}: {fetched}"


def test_search_index_knows_the_errors(site: Path) -> None:
    assert "budget_exceeded" in (site / "search" / "search_index.json").read_text()


def test_every_broken_link_is_named_and_nothing_else_ends_the_build(built: Built) -> None:
    named = ("nowhere.md", "#nowhere", "nowhere.py", "nowhere.svg")
    warnings = [line for line in built.said.splitlines() if line.startswith("WARNING")]
    assert built.code != 0
    assert [sum(name in line for line in warnings) for name in named] == [1] * len(named), built.said
    assert len(warnings) == len(named), built.said
