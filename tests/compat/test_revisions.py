"""Raw JSON-RPC at every revision, and the SDK in both modes over a pipe."""

import json
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, ElicitResult

from tests.compat.conftest import SERVER, check_journey
from tests.forks import build_command

pytestmark = pytest.mark.compat

HANDSHAKES = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LINES_MAX = 200
SECONDS = 60

Environ = Callable[..., Mapping[str, str]]


class Pipe:
    """One connection with one JSON message per line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._number = 0
        self.progress: list[float] = []

    def tell(self, method: str, params: object = None) -> None:
        self._write({"method": method, **({} if params is None else {"params": params})})

    def ask(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a request and return its answer; count the messages in between."""
        self._number += 1
        self._write({"id": self._number, "method": method, **({} if params is None else {"params": params})})
        assert self._process.stdout is not None
        for _ in range(LINES_MAX):
            message = json.loads(self._process.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            if message.get("method") == "notifications/progress":
                self.progress.append(message["params"]["progress"])
            if message.get("id") == self._number and "method" not in message:
                return message
        raise AssertionError("no answer")

    def call(self, tool: str, arguments: Mapping[str, object], *, token: str | None = None) -> dict[str, Any]:
        meta = {} if token is None else {"_meta": {"progressToken": token}}
        return self.ask("tools/call", {"name": tool, "arguments": arguments, **meta})["result"]

    def _write(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()


@contextmanager
def open_pipe(environ: Mapping[str, str], revision: str) -> Generator[Pipe]:
    command = build_command("seedance_mcp")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environ)) as process:
        pipe = Pipe(process)
        hello = pipe.ask(
            "initialize",
            {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
        )
        assert hello["result"]["protocolVersion"] == revision
        assert hello["result"]["instructions"]
        pipe.tell("notifications/initialized")
        try:
            yield pipe
        finally:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(10) == 0


@pytest.mark.parametrize("revision", HANDSHAKES)
def test_host_of_every_handshake_revision_gets_a_video(
    host_environ: Environ, make_picture: Callable[..., Path], revision: str
) -> None:
    picture = str(make_picture())
    with open_pipe(host_environ(), revision) as pipe:
        tools = pipe.ask("tools/list")["result"]["tools"]
        refused = pipe.call("quote_price", {"image": picture, "prompt": "x", "max_prize_usd": "1"})
        quote = pipe.call("quote_price", {"image": picture, "prompt": "x"}, token="q")
        job = pipe.call("animate_image", {"image": picture, "prompt": "x"}, token="a")
        while not job["structuredContent"]["file"]:
            job = pipe.call("get_job", {"job_id": job["structuredContent"]["job_id"]}, token="g")
        uri = f"seedance://jobs/{job['structuredContent']['job_id']}"
        resource = pipe.ask("resources/read", {"uri": uri})["result"]["contents"][0]
        prompts = pipe.ask("prompts/list")["result"]["prompts"]
        unknown = pipe.ask("tools/sing")
    assert unknown["error"]["code"] == -32601
    assert json.loads(job["content"][0]["text"]) == job["structuredContent"]
    check_journey(
        {
            "tools": [tool["name"] for tool in tools],
            "refused": refused["content"][0]["text"],
            "refused_is_error": refused["isError"],
            "price": quote["structuredContent"]["price_usd"],
            "job": job["structuredContent"],
            "content": [part["type"] for part in job["content"]],
            "progress": pipe.progress,
            "questions": [],
            "resource": json.loads(resource["text"]),
            "prompts": [prompt["name"] for prompt in prompts],
        },
        asked=False,
    )


@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_sdk_works_in_both_modes_over_a_pipe(
    host_environ: Environ, make_picture: Callable[..., Path], mode: Literal["auto", "legacy"], revision: str
) -> None:
    picture, seen_progress, questions = str(make_picture()), list[float](), list[str]()

    async def answer(context: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        return ElicitResult(action="accept", content={"approve": True})

    async def watch(progress: float, total: float | None, message: str | None) -> None:
        seen_progress.append(progress)

    environ = dict(host_environ(SEEDANCE_ASK_ABOVE="0.10"))
    server = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=environ)
    with anyio.fail_after(SECONDS):
        async with Client(server, mode=mode, elicitation_callback=answer) as client:

            async def call(tool: str, **arguments: object) -> CallToolResult:
                return await client.call_tool(tool, arguments, progress_callback=watch)

            assert client.protocol_version == revision
            refused = await call("quote_price", image=picture, prompt="x", max_prize_usd="1")
            quote = await call("quote_price", image=picture, prompt="x")
            job = await call("animate_image", image=picture, prompt="x")
            told: dict[str, Any] = job.structured_content or {}
            while not told["file"]:
                job = await call("get_job", job_id=told["job_id"])
                told = job.structured_content or {}
            resource = (await client.read_resource(f"seedance://jobs/{told['job_id']}")).contents[0]
            price: dict[str, Any] = quote.structured_content or {}
            seen: dict[str, Any] = {
                "tools": [tool.name for tool in (await client.list_tools()).tools],
                "refused": getattr(refused.content[0], "text", ""),
                "refused_is_error": refused.is_error,
                "price": price["price_usd"],
                "job": job.structured_content,
                "content": [part.type for part in job.content],
                "progress": seen_progress,
                "questions": questions,
                "resource": json.loads(getattr(resource, "text", "")),
                "prompts": [prompt.name for prompt in (await client.list_prompts()).prompts],
            }
    check_journey(seen, asked=True)
