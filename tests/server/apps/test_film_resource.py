"""A joined film as a resource, which the page plays where the host lets it load nothing."""

import base64
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from seedance_mcp.server import build_server
from tests.server.apps.conftest import MakeEnviron
from tests.server.apps.test_page import FILM


async def test_film_is_read_by_its_id(app_environ: MakeEnviron) -> None:
    async with Client(build_server(app_environ())) as client:
        result = await client.call_tool("animate_storyboard", {**FILM, "wait_seconds": 60})
        told: dict[str, Any] = result.structured_content or {}
        content = (await client.read_resource(f"seedance://videos/{told['job_id']}")).contents[0]
        with pytest.raises(MCPError, match="is saved here"):
            await client.read_resource("seedance://videos/film_unknown")
    assert content.mime_type == "video/mp4"
    assert base64.b64decode(getattr(content, "blob", "")) == Path(told["file"]).read_bytes()
