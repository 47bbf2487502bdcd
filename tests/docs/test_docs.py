"""The documents match the code: tools, commands and settings in README, and blocks that can be pasted."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from seedance_mcp.cli.commands import COMMANDS
from seedance_mcp.server import build_server
from tests.integration.host import Host
from tests.payments.test_hostile_mpp_offers import HOSTILE as HOSTILE_MPP
from tests.payments.test_hostile_offers import HOSTILE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINES_MAX = 250
PYTHON_BACKEND = "eth_keys.backends.NativeECCBackend"
"""How users sign where coincurve has no wheel: in pure Python."""
MOVING_PICTURE = ROOT / "docs" / "images" / "demo.webp"
MOVING_PICTURE_BYTES_MAX = 1_500_000


def section(title: str) -> str:
    """Return the text of one section of README."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_column(text: str) -> list[str]:
    """Return the code words in the first column of a section's tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_readme_fits_its_bounds_and_names_real_commands() -> None:
    shown = {name.split()[1] for name in first_column(section("Command line")) if len(name.split()) > 1}
    assert shown <= set(COMMANDS)
    assert len(README.splitlines()) <= LINES_MAX
    assert MOVING_PICTURE.stat().st_size <= MOVING_PICTURE_BYTES_MAX


def test_contents_of_readme_lead_to_its_sections() -> None:
    contents = README.split("**Contents**:", 1)[1].split("\n\n", 1)[0]
    anchors = [title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", README, re.MULTILINE)]
    assert re.findall(r"\(#([a-z-]+)\)", contents) == anchors


async def test_readme_lists_exactly_the_tools() -> None:
    async with Client(build_server({})) as client:
        tools = (await client.list_tools()).tools
    assert set(first_column(section("Tools"))) == {tool.name for tool in tools}


def test_readme_names_existing_scripts_and_ci_runs_tests() -> None:
    for script in ("scripts/demo", "scripts/test"):
        assert f"```bash\n{script}\n```" in README
        assert (ROOT / script).stat().st_mode & 0o111
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "scripts/test"


def test_block_in_readme_is_the_example_file() -> None:
    block = re.search(r"```json\n(.*?)```", section("Connect your assistant"), re.DOTALL)
    assert block is not None
    assert json.loads(block[1]) == json.loads((ROOT / "mcp.json.example").read_text())


async def test_example_file_works_when_pasted(tmp_path: Path, make_picture: Callable[[], Path]) -> None:
    """It needs no wallet, and no second terminal with a sandbox."""
    picture = make_picture()
    entry = json.loads((ROOT / "mcp.json.example").read_text())["mcpServers"]["seedance"]
    server = StdioServerParameters(
        command=str(Path(sys.executable).parent / entry["command"]),
        args=entry["args"],
        env={
            **entry["env"],
            "HOME": str(tmp_path),
            "PATH": str(Path(sys.executable).parent),
            "ECC_BACKEND_CLASS": PYTHON_BACKEND,
            "SEEDANCETEST_SMALL_VIDEOS": "1",
        },
    )
    async with Client(server) as client:
        host = Host(client)
        quote = await host.call("quote_price", image=str(picture), prompt="x")
        upload = await host.call("upload_image", image=str(picture))
        video = await host.animate_to_the_end(image=str(picture), prompt="x")
    [wallet] = tmp_path.rglob("wallet.json")
    assert not quote.failed
    assert not upload.failed
    assert upload["price_usd"] == "0.01"
    assert video["status"] == "complete"
    assert wallet.parent.name == "sandbox"
    assert wallet.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("mark", "rows"), [("hostile", HOSTILE), ("hostile-mpp", HOSTILE_MPP)])
def test_reference_lists_every_hostile_offer(mark: str, rows: list[Any]) -> None:
    page = (ROOT / "docs/reference/hostile-offers.md").read_text()
    text = page.split(f"<!-- {mark} -->", 1)[1].split(f"<!-- /{mark} -->", 1)[0]
    assert first_column(text) == [row.name for row in rows]


def test_safety_page_names_existing_tests() -> None:
    named = re.findall(r"\[(test_[a-z0-9_]+)\]\(\.\./([a-z0-9_/.]+)\)", (ROOT / "docs/safety.md").read_text())
    assert len(named) > 20
    for test, file in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{test} is not in {file}"


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "CONTRIBUTING.md",
        "benchmarks/README.md",
        *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_links_between_documents_are_valid(path: str) -> None:
    text = (ROOT / path).read_text()
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
        if target.startswith("http"):
            continue
        file = (ROOT / path).parent / target if target else ROOT / path
        assert file.exists(), target
        assert not anchor or anchor in list_anchors(file), f"{target}#{anchor}"


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = (re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}
