"""Clients of a deployment: the SDK's own over HTTP with a token, in both protocol eras."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from seedance_mcp.server.tool import ERROR_KEY
from tests.servers import NO_TLS

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")
CALL_SECONDS = 20
"""After which a client gives up on a call; a frozen replica does not answer."""
PICTURE_SIZE = (480, 320)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got of one call.

    Attributes:
        fields: The structured content; empty for an error.
        code: Of an error; `transport` where no answer came.
        text: The error's text.
    """

    fields: dict[str, Any]
    code: str | None = None
    text: str = ""


@dataclass
class Caller:
    """One client of a caller: it connects for each call that follows a failure.

    Attributes:
        url: The deployment's address.
        token: The caller's, or what returns the one that is valid now.
        era: Of the protocol.
    """

    url: str
    token: str | Callable[[], str]
    era: Era

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Client]:
        """Connect; yields the SDK's client."""
        token = self.token if isinstance(self.token, str) else self.token()
        http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, timeout=CALL_SECONDS, trust_env=False, verify=NO_TLS
        )
        transport = streamable_http_client(self.url, http_client=http, terminate_on_close=False)
        async with http, Client(transport, mode=self.era, read_timeout_seconds=CALL_SECONDS) as client:
            yield client

    async def call(self, tool: str, **arguments: object) -> Answer:
        """Call a tool on a new connection; whatever goes wrong on the way is an answer too."""
        try:
            with anyio.fail_after(CALL_SECONDS):
                async with self.connect() as client:
                    result = await client.call_tool(tool, arguments)
        except Exception as exc:  # of the transport: the SDK has many names for it
            return Answer({}, "transport", _describe(exc))
        text = " ".join(getattr(part, "text", "") for part in result.content)
        if not result.is_error:
            return Answer(dict(result.structured_content or {}))
        facts: dict[str, Any] = (result.meta or {}).get(ERROR_KEY, {})
        return Answer({}, str(facts.get("code", "unnamed")), text)


def _describe(exc: BaseException) -> str:
    if isinstance(exc, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", exc).exceptions
        return "; ".join(map(_describe, inner))
    return f"{type(exc).__name__}: {exc}"


def draw_picture(number: int) -> str:
    """Draw a picture of its own for each number; returns it as a `data:` URI."""
    image = Image.new("RGB", PICTURE_SIZE, (number * 37 % 256, number * 91 % 256, 128))
    content = io.BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
