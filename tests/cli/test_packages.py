"""What is published says the same everywhere, and no link or bundle has a key in it."""

import base64
import hashlib
import json
import re
import runpy
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import cast
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest

from seedance_mcp import __version__
from seedance_mcp.config.settings import SETTINGS, read_settings
from seedance_mcp.core.limits import Limits

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


SCHEMA = Path(__file__).with_name("server.schema.json")
SCHEMA_SHA256 = "3fba09590c99f61735d234822279f4223fab9e300c0a81e81c91ab62a4114de0"
"""The MCP Registry's schema of 2025-12-11, verbatim, as the PyPI package `skillsaw` carries it (MIT)."""


def load_script(name: str) -> ModuleType:
    loader = SourceFileLoader(name, str(ROOT / "scripts" / name))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_registry_file_fits_the_package() -> None:
    server = json.loads((ROOT / "server.json").read_text())
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() == SCHEMA_SHA256
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(server)  # pyright: ignore[reportUnknownMemberType]  # has no types
    assert server["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", server["name"])
    assert len(server["description"]) <= 100
    assert server["version"] == PROJECT["version"] == __version__
    assert f"<!-- mcp-name: {server['name']} -->" in (ROOT / "README.md").read_text()


def test_generated_parts_of_pages_are_up_to_date() -> None:
    script = load_script("draw_links")
    for page in script.PAGES:
        assert script.update(page.read_text(), page) == page.read_text(), page
    for name, words in script.BUTTONS.items():
        assert (script.IMAGES / f"{name}.svg").read_text() == script.draw_button(words)


@pytest.mark.parametrize("page", ["README.md", "docs/connect.md"])
def test_one_click_links_start_the_installed_command_without_a_key(page: str) -> None:
    cursor, code = cast(
        "list[str]",
        re.findall(r"\((https://(?:cursor\.com|vscode\.dev)/[^)]+)\)", (ROOT / page).read_text()),
    )
    config = json.loads(base64.b64decode(parse_qs(urlsplit(cursor).query)["config"][0]))
    assert config == json.loads(parse_qs(urlsplit(code).query)["config"][0])
    assert config == {"command": "seedance-mcp", "args": [], "env": {"SEEDANCE_PROFILE": "sandbox"}}


def test_a_release_puts_the_name_into_the_install_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("draw_links")
    assert 'uv tool install ".[sandbox]"' in script.draw_install()
    monkeypatch.setattr(script, "RELEASED_ON_INDEX", True)
    assert f'pipx install "{script.NAME}[sandbox]"' in script.draw_install()
    assert "latest release" in script.draw_bundle()


def test_the_bundle_has_the_sources_and_asks_for_the_key_as_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    script = ROOT / "scripts" / "build_bundle"
    monkeypatch.setattr("sys.argv", [str(script), "--stage-only", str(folder)])
    monkeypatch.setattr("sys.path", [*sys.path])
    runpy.run_path(str(script), run_name="__main__")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"]) == (PROJECT["name"], PROJECT["version"])
    assert manifest["user_config"]["wallet_key"]["sensitive"] is True
    assert {"animate_image", "get_job"} <= {tool["name"] for tool in manifest["tools"]}
    env = manifest["server"]["mcp_config"]["env"]
    assert {name.removeprefix("SEEDANCE_") for name in env} <= set(SETTINGS)
    asked = {value[len("${user_config.") : -1] for value in env.values()}
    assert asked == set(manifest["user_config"])
    assert (folder / manifest["icon"]).is_file()
    assert (folder / manifest["server"]["entry_point"]).is_file()
    assert (folder / "seedance_mcp" / "app" / "web" / "gallery" / "page.html").is_file()
    assert not list(folder.rglob("*.pyc"))
    asked = manifest["user_config"]
    for unset in ("", "${user_config.x}"):  # how hosts pass on what was left empty
        filled = {
            name: str(asked[field]["default"]) if asked[field].get("required") else unset
            for name, value in env.items()
            for field in [value[len("${user_config.") : -1]]
        }
        found = read_settings({**filled, "SEEDANCE_DATA_DIR": str(tmp_path / "data")})
        assert (found.wallet_key, found.image_dirs, found.limits) == (None, (), Limits())
