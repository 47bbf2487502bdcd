"""What a video costs an agent in calls and tokens, and what the list of tools costs every conversation.

Tokens are those of o200k_base, by the `bpe-openai` package, which brings the vocabulary (`pip install bpe-openai`);
without it they are estimated at four characters each, and the table says so. The journey runs in the sandbox, in this
process, and plays an agent that calls `animate_image` and then `get_job` for as long as `next_step` says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.extension import advertise
from mcp.types import CallToolResult

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # figures are shared by the benchmarks

from benchmarks.figures import RAW, add_json_option, finish, report
from seedance_mcp.app.local_sandbox import resolve_sandbox
from seedance_mcp.sandbox import EXAMPLE_IMAGE
from seedance_mcp.server import INSTRUCTIONS, build_server
from seedance_mcp.server.ui_page import EXTENSION, MIME_TYPE

HAS_TOKENIZER = find_spec("bpe_openai") is not None
PROMPT = "The boat rocks gently while the sun goes down"
ROUNDS_MAX = 30


def count_tokens(text: str) -> int:
    """Tokens of o200k_base."""
    if not HAS_TOKENIZER:
        return len(text) // 4
    import bpe_openai  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]  # optional: it is as large as its vocabulary

    encoding: Any = bpe_openai.get_encoding("o200k_base")
    return len(encoding.encode(text))


def write(document: object) -> str:
    """JSON as it is on the wire."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def list_tools(*, pages: bool = False) -> str:
    """Return the `tools` of a `tools/list` answer, as on the wire.

    Args:
        pages: Whether to a host that shows MCP Apps.
    """

    async def ask() -> str:
        extensions = [advertise(EXTENSION, {"mimeTypes": [MIME_TYPE]})] if pages else []
        async with Client(build_server({}), extensions=extensions) as client:
            tools = (await client.list_tools()).tools
            return write([tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools])

    return anyio.run(ask)


async def journey(job_seconds: float, *, quote_first: bool) -> dict[str, int]:
    """From a picture to a video, as an agent does it: calls, and the tokens that it writes and reads."""
    written = read = calls = 0
    with tempfile.TemporaryDirectory(prefix="agent-cost-") as folder:
        environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": folder}
        async with Client(build_server(environ, resolve_sandbox=lambda s: _resolve(s, job_seconds))) as client:

            async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
                nonlocal written, read, calls
                result: CallToolResult = await client.call_tool(tool, arguments)  # pyright: ignore[reportAssignmentType]
                if result.is_error or result.structured_content is None:
                    raise SystemExit(f"{tool} failed: {result.content}")
                calls += 1
                written += count_tokens(write({"name": tool, "arguments": arguments}))
                read += count_tokens(write(result.structured_content))
                return result.structured_content

            request = {"image": str(EXAMPLE_IMAGE), "prompt": PROMPT}
            if quote_first:
                await call("quote_price", request)
            job = await call("animate_image", request)
            for _ in range(ROUNDS_MAX):
                if job["file"]:
                    break
                job = (
                    await call("get_job", {"job_id": job["job_id"]})
                    if job["job_id"]
                    else await call("animate_image", request)
                )
    return {"calls": calls, "tokens_written": written, "tokens_read": read}


async def _resolve(settings: Any, job_seconds: float) -> Any:
    """Start the embedded sandbox with jobs of this length."""
    if job_seconds <= 0:
        return await resolve_sandbox(settings)
    from seedance_mcp.app.local_sandbox import prepare_wallet, start_sandbox

    address = await anyio.to_thread.run_sync(prepare_wallet, settings.wallet_key, settings.wallet_file)
    return settings.at_studio(start_sandbox(wallet=address, job_seconds=job_seconds).url)


def main() -> int:
    """Measure and show; exits with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job-seconds", type=float, default=70, help="how long the long job takes")
    add_json_option(parser)
    arguments = parser.parse_args()
    listed = json.loads(list_tools())
    figures: dict[str, Any] = {
        "tokenizer": "o200k_base" if HAS_TOKENIZER else "estimate, four characters a token",
        "tools_list": {tool["name"]: count_tokens(write(tool)) for tool in listed},
        "tools_list_total": count_tokens(write(listed)),
        "tools_list_with_page": count_tokens(list_tools(pages=True)),
        "instructions_words": len(INSTRUCTIONS.split()),
        "instructions_tokens": count_tokens(INSTRUCTIONS),
        "short_job": anyio.run(lambda: journey(0, quote_first=False)),
        "long_job_with_quote": anyio.run(lambda: journey(arguments.job_seconds, quote_first=True)),
    }
    if arguments.json == RAW:
        print(json.dumps(figures, indent=2))
    else:
        print(f"tokens by {figures['tokenizer']}")
        for name, tokens in figures["tools_list"].items():
            print(f"  {name:<16}{tokens:>6}")
        print(f"  {'tools/list':<16}{figures['tools_list_total']:>6}")
        print(f"  {'with the page':<16}{figures['tools_list_with_page']:>6}  (to a host that shows pages)")
        print(f"  {'instructions':<16}{figures['instructions_tokens']:>6}  in {figures['instructions_words']} words")
        for name in ("short_job", "long_job_with_quote"):
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures[name].items()))
    reported = (
        report("agent_cost.tools", figures["tools_list_total"], figures["tokenizer"]),
        report("agent_cost.instructions", figures["instructions_words"]),
        report("agent_cost.calls", figures["long_job_with_quote"]["calls"]),
    )
    return finish(reported, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
