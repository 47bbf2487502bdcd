"""Calls of tools as JSON-RPC messages, for tests that change what a client would send."""

import base64
import json
from pathlib import Path
from typing import Any

from tests.hosting import Server, build_modern_call, open_http


def draw_uri(picture: Path) -> str:
    """Return a picture as a `data:` URI."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


async def post(server: Server, token: str, tool: str, arguments: dict[str, Any], **params: Any) -> dict[str, Any]:
    """Call a tool at the latest revision; returns the JSON-RPC answer."""
    headers, message = build_modern_call(tool, arguments, **params)
    async with open_http(token) as http:
        answer = await http.post(f"{server.url}/mcp", json=message, headers=headers)
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = [line for line in text.splitlines() if line.startswith("data: ")][-1].removeprefix("data: ")
    return json.loads(text)
