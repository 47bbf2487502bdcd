# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# This program is for another version of the SDK than the installed one.
"""Use the server with the Python SDK 1.x that runs this file, and print the results; not a part of the package.

Usage: drive_python.py PICTURE COMMAND [ARGUMENT...]
   or: drive_python.py PICTURE URL TOKEN
"""

import asyncio
import json
import os
import sys
from datetime import timedelta

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

CALLS_MAX = 10


async def main() -> None:
    picture, command, *arguments = sys.argv[1:]
    if command.startswith("http"):
        connection = streamablehttp_client(command, headers={"authorization": f"Bearer {arguments[0]}"})
    else:
        connection = stdio_client(StdioServerParameters(command=command, args=arguments, env=dict(os.environ)))
    progress: list[float] = []
    questions: list[str] = []

    async def watch(value: float, total: float | None, message: str | None) -> None:
        progress.append(value)

    async def answer(_context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        questions.append(params.message)
        return types.ElicitResult(action="accept", content={"approve": True})

    async with (
        connection as streams,
        ClientSession(streams[0], streams[1], elicitation_callback=answer) as session,
    ):
        hello = await session.initialize()
        tools = (await session.list_tools()).tools

        async def call(tool: str, **values: object) -> types.CallToolResult:
            return await session.call_tool(tool, values, timedelta(seconds=60), progress_callback=watch)

        refused = await call("quote_price", image=picture, prompt="x", max_prize_usd="1")
        quote = await call("quote_price", image=picture, prompt="x")
        job = await call("animate_image", image=picture, prompt="x")
        for _ in range(CALLS_MAX):
            facts = job.structuredContent or {}
            if job.isError or facts.get("file") or facts.get("video_url_expires_at"):
                break
            job = await call("get_job", job_id=(job.structuredContent or {})["job_id"])
        resource = await session.read_resource(f"seedance://jobs/{(job.structuredContent or {})['job_id']}")
        prompts = (await session.list_prompts()).prompts
    sys.stdout.write(
        json.dumps(
            {
                "protocol": hello.protocolVersion,
                "tools": [tool.name for tool in tools],
                "refused": refused.content[0].text,
                "refused_is_error": refused.isError,
                "price": (quote.structuredContent or {})["price_usd"],
                "job": job.structuredContent,
                "content": [part.type for part in job.content],
                "progress": progress,
                "questions": questions,
                "resource": json.loads(resource.contents[0].text),
                "prompts": [prompt.name for prompt in prompts],
            }
        )
    )


asyncio.run(main())
