"""Other frameworks' MCP adapters, each installed as by its user, without a language model.

Each has a separate environment: some use version 2 of this SDK, others still require version 1. Run with
SEEDANCETEST_HOSTS=1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from seedance_mcp.server import build_server
from tests.compat.clients import HERE, SDK_1, SERVER, TOOLS, check_report, find_requirement, run_driver
from tests.compat.conftest import MakeEnviron, install_python

pytestmark = pytest.mark.compat


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter's driver, and how the adapter differs.

    Attributes:
        revision: The protocol revision, if the adapter shows it.
        beside: What its user has to install in addition.
        settings: Settings of the server that it needs.
        is_strict: True if it converts schemas to strict mode.
        drops_unknown: True if it drops an unknown argument itself.
    """

    driver: str
    revision: str | None = None
    beside: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    is_strict: bool = False
    drops_unknown: bool = False


ADAPTERS = {
    "autogen-ext": Adapter(driver="drive_autogen.py", beside=(SDK_1,), drops_unknown=True),  # version 2 breaks it
    "dspy": Adapter(driver="drive_dspy.py", revision="2025-11-25"),
    "langchain-mcp-adapters": Adapter(driver="drive_langchain.py", revision="2025-11-25", is_strict=True),
    "mcp-use": Adapter(driver="drive_mcp_use.py"),
    "openai-agents": Adapter(driver="drive_openai_agents.py", revision="2026-07-28", is_strict=True),
    "pydantic-ai-slim": Adapter(driver="drive_pydantic_ai.py", revision="2026-07-28", is_strict=True),
    "semantic-kernel": Adapter(
        driver="drive_semantic_kernel.py", settings={"SEEDANCE_RESOURCE_LINKS": "off"}, drops_unknown=True
    ),
}
NULLABLE = {"image", "last_image", "upscale", "camera_fixed", "generate_audio", "seed", "max_price_usd"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_gets_tools_quote_video_and_refusal(
    host_environ: MakeEnviron, make_picture: Callable[..., Path], name: str
) -> None:
    adapter = ADAPTERS[name]
    python = install_python(find_requirement(name), *adapter.beside)
    command = [str(python), str(HERE / adapter.driver), str(make_picture()), *SERVER]
    seen = run_driver(command, host_environ(**adapter.settings))
    assert seen["protocol"] == adapter.revision
    check_report(seen, drops_unknown=adapter.drops_unknown)
    bought, quoted = (seen["tools"][name]["properties"].keys() for name in ("animate_image", "quote_price"))
    assert quoted == bought | {"shots"}
    if adapter.is_strict:
        check_schemas(seen["tools"], seen["strict"])


async def test_optional_argument_may_be_null_in_schema_and_call(
    host_environ: MakeEnviron, make_picture: Callable[..., Path]
) -> None:
    async with Client(build_server(host_environ())) as client:
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        nothing = dict.fromkeys(NULLABLE)
        quote = await client.call_tool("quote_price", {**nothing, "image": str(make_picture()), "prompt": "x"})
    for name in ("animate_image", "quote_price"):
        assert find_nullable(tools[name]) == NULLABLE | ({"prompt", "shots"} if name == "quote_price" else set()), name
    assert (quote.structured_content or {})["price_usd"] == "0.32"


def check_schemas(plain: Mapping[str, Any], strict: Mapping[str, Any]) -> None:
    """Check that schemas arrive unchanged, and that strict mode requires all arguments but no invented values."""
    assert plain["animate_image"]["properties"]["duration"]["default"] == 4
    assert strict.keys() == TOOLS
    for name in TOOLS:
        schema = strict[name]
        assert schema["additionalProperties"] is False, name
        assert set(schema.get("required", ())) == schema["properties"].keys(), name
    for name in ("animate_image", "quote_price"):
        assert find_nullable(strict[name]) == NULLABLE | ({"prompt", "shots"} if name == "quote_price" else set()), name


def find_nullable(schema: Mapping[str, Any]) -> set[str]:
    """Return the arguments that may be null."""
    return {name for name, part in schema["properties"].items() if {"type": "null"} in part.get("anyOf", ())}
