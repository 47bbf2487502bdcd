"""Other frameworks' MCP adapters, each installed as by its user, without a language model.

Each has a separate environment: two of them use version 2 of this SDK, one still requires version 1. Run with
SEEDANCETEST_HOSTS=1.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from seedance_mcp.server import build_server
from tests.compat.conftest import SERVER, MakeEnviron, install_python, run_driver

pytestmark = pytest.mark.compat

HERE = Path(__file__).parent
ADAPTERS: dict[str, tuple[str, str]] = {
    "langchain-mcp-adapters": ("drive_langchain.py", "2025-11-25"),
    "openai-agents": ("drive_openai_agents.py", "2026-07-28"),
    "pydantic-ai-slim": ("drive_pydantic_ai.py", "2026-07-28"),
}
"""Each adapter's driver, and its protocol revision."""
NAMES = {"animate_image", "get_job", "quote_price", "upload_image", "list_jobs", "wallet_status"}
NULLABLE = {"last_image", "camera_fixed", "generate_audio", "seed", "max_price_usd"}


def find_requirement(name: str) -> str:
    """Return a package's requirement in the group `adapters` of pyproject.toml."""
    groups = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["dependency-groups"]
    return next(line for line in groups["adapters"] if line.startswith(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_gets_tools_quote_video_and_refusal(
    host_environ: MakeEnviron, make_picture: Callable[..., Path], name: str
) -> None:
    driver, revision = ADAPTERS[name]
    python = install_python(find_requirement(name))
    seen = run_driver([str(python), str(HERE / driver), str(make_picture()), *SERVER], host_environ())
    assert seen["protocol"] == revision
    assert seen["tools"].keys() == set(seen["described"]) == NAMES
    assert seen["refused_is_error"]
    assert (
        "request: max_prize_usd: there is no such argument; the nearest is max_price_usd. Nothing was paid."
        in seen["refused"]
    )
    assert seen["price"] == "0.32"
    assert seen["job"]["status"] == "complete"
    assert Path(seen["job"]["file"]).read_bytes()[4:8] == b"ftyp"
    assert seen["again"] == seen["job"]
    assert seen["job"]["file"] in seen["model_read"]
    check_schemas(seen["tools"], seen["strict"])


async def test_optional_argument_may_be_null_in_schema_and_call(
    host_environ: MakeEnviron, make_picture: Callable[..., Path]
) -> None:
    async with Client(build_server(host_environ())) as client:
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        nothing = dict.fromkeys(NULLABLE)
        quote = await client.call_tool("quote_price", {"image": str(make_picture()), "prompt": "x", **nothing})
    for name in ("animate_image", "quote_price"):
        assert find_nullable(tools[name]) == NULLABLE, name
    assert (quote.structured_content or {})["price_usd"] == "0.32"


def check_schemas(plain: Mapping[str, Any], strict: Mapping[str, Any]) -> None:
    """Check that schemas arrive unchanged, and that strict mode requires all arguments but no invented values."""
    assert plain["animate_image"]["properties"]["duration"]["minimum"] == 4
    assert plain["animate_image"]["properties"].keys() == plain["quote_price"]["properties"].keys()
    assert strict.keys() == NAMES
    for name in NAMES:
        schema = strict[name]
        assert schema["additionalProperties"] is False, name
        assert set(schema.get("required", ())) == schema["properties"].keys(), name
    for name in ("animate_image", "quote_price"):
        assert find_nullable(strict[name]) == NULLABLE, name


def find_nullable(schema: Mapping[str, Any]) -> set[str]:
    """Return the arguments that may be null."""
    return {name for name, part in schema["properties"].items() if {"type": "null"} in part.get("anyOf", ())}
