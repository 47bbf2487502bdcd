"""The generated pages match the code, and the payment states of errors match every `raise`."""

import ast
import re
import runpy
import sys

import pytest
from mcp import Client

from seedance_mcp.core import errors
from seedance_mcp.server import build_server
from tests.docs.programs import ROOT
from tests.test_architecture import PACKAGE, PACKAGES

REFERENCE = ROOT / "docs" / "reference"


def read_rows(page: str) -> list[list[str]]:
    """Return the rows of a page's tables, as cells."""
    lines = (REFERENCE / page).read_text().splitlines()
    return [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in lines if line.startswith("| ")]


@pytest.mark.parametrize("script", ["write_reference", "draw_design", "write_greeting"])
def test_generated_pages_are_up_to_date(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [script, "--check"])
    monkeypatch.setattr("sys.path", [*sys.path])
    runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")  # which exits with an error if it is not


async def test_tools_page_has_every_argument_and_field() -> None:
    text = (REFERENCE / "tools.md").read_text()
    async with Client(build_server({})) as client:
        tools = (await client.list_tools()).tools
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == [tool.name for tool in tools]
    for tool in tools:
        part = text.split(f"\n## `{tool.name}`\n", 1)[1].split("\n## ", 1)[0]
        shared = re.search(r"Its result is that of \[`(\w+)`\]", part)
        if shared:
            part += text.split(f"\n## `{shared[1]}`\n", 1)[1].split("\n## ", 1)[0]
        for name in [*tool.input_schema["properties"], *(tool.output_schema or {})["properties"]]:
            assert re.search(rf"^\| `{name}` \| .+ \| .+ \|", part, re.MULTILINE), f"{tool.name}: {name}"


def test_errors_page_names_every_charge_that_an_error_is_raised_with() -> None:
    rows = [row for row in read_rows("errors.md") if len(row) == 5]  # the other table names families
    charges = {row[0].strip("`"): set(re.findall(r"`(none|held|settled)`", row[2])) for row in rows}
    found: set[str] = set()
    for path in (ROOT / "seedance_mcp").rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "payment_state=" in text else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")):
                continue
            kind = getattr(errors, node.func.id, None)
            for keyword in node.keywords:
                if keyword.arg == "payment_state" and kind is not None:
                    said = set(re.findall(r"'(none|held|settled)'", ast.unparse(keyword.value)))
                    assert said <= charges[kind.code], f"{path.name}: {kind.code} with {said}"
                    found |= said
    assert found == {"none", "held", "settled"}


def test_design_picture_names_every_package_and_module() -> None:
    picture = (ROOT / "docs" / "design.svg").read_text()
    drawn = set(re.findall(r'class="name[^"]*"[^>]*>([^<]+)<', picture))
    titles = set(re.findall(r'class="title[^"]*"[^>]*>([^<]+)<', picture))
    children = {path for package in PACKAGES - {"sandbox"} for path in (PACKAGE / package).iterdir()}

    assert drawn == {path.stem for path in children if path.suffix == ".py" or (path / "__init__.py").is_file()} - {
        "__init__",
        "__pycache__",
    }
    assert titles >= PACKAGES
