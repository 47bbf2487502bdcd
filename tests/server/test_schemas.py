"""The tools' schemas, which every framework must be able to read, one tool at a time."""

from collections.abc import Generator
from typing import Any, cast

import pytest

from seedance_mcp.config.profiles import LIVE, SANDBOX_TOKEN, sandbox_profile
from seedance_mcp.server.tools import build_tools

TOOLS = {tool.name: tool for tool in build_tools()}
ARGUMENTS: list[tuple[str, str, dict[str, Any]]] = [
    (tool.name, name, part)
    for tool in TOOLS.values()
    for name, part in tool.parameters["properties"].items()
    if tool.name != "animate_storyboard" or name in ("shots", "wait_seconds")
]
"""Each argument of each tool, with its schema; the options of a film are described in `animate_image` alone."""


def walk(value: object) -> Generator[dict[str, Any]]:
    """Yield every object within a schema."""
    if isinstance(value, dict):
        yield cast("dict[str, Any]", value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        yield from walk(inner)  # pyright: ignore[reportUnknownArgumentType]  # any JSON


@pytest.mark.parametrize("name", TOOLS)
def test_no_schema_has_a_list_of_types(name: str) -> None:
    tool = TOOLS[name]
    types = [
        part["type"] for schema in (tool.parameters, tool.output_schema) for part in walk(schema) if "type" in part
    ]
    assert types
    assert all(isinstance(one, str | dict) for one in types)


@pytest.mark.parametrize(("tool", "name", "part"), ARGUMENTS, ids=[f"{tool}.{name}" for tool, name, _ in ARGUMENTS])
def test_description_repeats_range_and_default(tool: str, name: str, part: dict[str, Any]) -> None:
    told = part["description"]
    rules = [part[key] for key in ("default",) if key in part]
    missing = [rule for rule in rules if str(rule).lower() not in told.lower()]
    assert missing == []


def test_argument_is_described_alike_in_every_tool() -> None:
    described: dict[str, dict[str, Any]] = {}
    for tool, name, part in ARGUMENTS:
        told = {key: part[key] for key in ("description", "default") if key in part}  # one tool does without an image
        assert described.setdefault(name, told) == told, tool


def test_token_and_network_have_the_names_people_use() -> None:
    assert LIVE.token is not None
    assert LIVE.charges is not None
    pins, sandbox = LIVE.pins, sandbox_profile("http://127.0.0.1:1").pins

    assert pins.find_token_name(LIVE.token.network, LIVE.token.asset) == "USDC on Base"
    assert pins.find_token_name(LIVE.charges.network, LIVE.charges.currencies[0]) == "USDC.e on Tempo"
    assert pins.find_token_name(LIVE.token.network, "0x" + "11" * 20) is None
    assert sandbox.find_token_name(SANDBOX_TOKEN.network, SANDBOX_TOKEN.asset) == "Sandbox USDC on eip155:402402"
