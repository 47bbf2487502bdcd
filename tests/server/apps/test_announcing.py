"""Which hosts get the page: those that announce MCP Apps, and no others."""

from typing import Any, Literal

import pytest
from mcp import Client
from mcp.client.extension import ClientExtension, advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from seedance_mcp.server import build_server
from seedance_mcp.server.ui_page import find_surroundings
from tests.server.apps.conftest import PAGE_URI, Apps

pytestmark = pytest.mark.browser

Mode = Literal["auto", "legacy"]
SILENT: dict[str, list[ClientExtension]] = {
    "no extension": [],
    "another kind of page": [advertise(EXTENSION_ID, {"mimeTypes": ["text/html"]})],
    "another extension": [advertise("com.example/other", {"mimeTypes": [APP_MIME_TYPE]})],
}


async def list_tools(extensions: list[ClientExtension], mode: Mode) -> dict[str, dict[str, Any]]:
    async with Client(build_server({}), mode=mode, extensions=extensions) as client:
        tools = (await client.list_tools()).tools
    return {tool.name: tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_host_with_pages_gets_ours_without_spending_tools(mode: Mode) -> None:
    tools = await list_tools([Apps], mode)
    assert {name: tool.get("_meta", {}).get("ui") for name, tool in tools.items()} == {
        "animate_image": {"resourceUri": PAGE_URI, "visibility": ["model"]},
        "animate_storyboard": {"resourceUri": PAGE_URI, "visibility": ["model"]},
        "get_job": {"resourceUri": PAGE_URI},
        "quote_price": {"resourceUri": PAGE_URI},
        "list_jobs": {"resourceUri": PAGE_URI},
        "upload_image": {"visibility": ["model"]},
        "wallet_status": None,
    }


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("name", SILENT)
async def test_every_other_host_gets_unchanged_lists(name: str, mode: Mode) -> None:
    told = await list_tools([Apps], mode)
    tools = await list_tools(SILENT[name], mode)
    assert [tool for tool in tools.values() if "_meta" in tool] == []
    assert tools == {key: {part: tool[part] for part in tool if part != "_meta"} for key, tool in told.items()}
    async with Client(build_server({}), mode=mode, extensions=SILENT[name]) as client:
        assert (await client.list_resources()).resources == []


ORIGINS: dict[str, tuple[dict[str, str], list[str]]] = {
    "the live studio": ({}, ["https://*.public.blob.vercel-storage.com"]),
    "a broken setting": ({"SEEDANCE_MAX_PER_DAY": "much"}, ["https://*.public.blob.vercel-storage.com"]),
    "the embedded sandbox": ({"SEEDANCE_PROFILE": "sandbox"}, ["http://127.0.0.1:*"]),
    "a persistent sandbox": (
        {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://localhost:4020"},
        ["http://localhost:*"],
    ),
}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("name", ORIGINS)
async def test_page_names_the_origins_of_the_owners_videos(name: str, mode: Mode) -> None:
    settings, origins = ORIGINS[name]
    async with Client(build_server(settings), mode=mode, extensions=[Apps]) as client:
        listed = (await client.list_resources()).resources
        content = (await client.read_resource(PAGE_URI)).contents[0]
    assert [(resource.uri, resource.mime_type) for resource in listed] == [(PAGE_URI, APP_MIME_TYPE)]
    assert content.mime_type == APP_MIME_TYPE == "text/html;profile=mcp-app"
    assert (content.meta or {})["ui"] == {"csp": {"resourceDomains": origins}, "prefersBorder": True}
    page = str(getattr(content, "text", ""))
    assert page.startswith("<!doctype html>")
    for loader in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch(", " src=", "import "):
        assert loader not in page, loader


def test_page_of_a_hosted_server_may_load_the_servers_own_videos() -> None:
    settings = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://127.0.0.1:8402"}
    assert find_surroundings(settings, "https://team.test:8443/seedance").origins == [
        "https://team.test:8443",
        "http://127.0.0.1:*",
    ]
