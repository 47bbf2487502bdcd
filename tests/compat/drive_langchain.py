# pyright: basic, reportMissingImports=false
# LangChain's adapter is installed in a separate environment.
"""Use the server through LangChain's MCP adapter and print the results; not a part of the package.

Usage: drive_langchain.py PICTURE COMMAND [ARGUMENT...]
"""

import asyncio
import json
import os
import sys

from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

CALLS_MAX = 10


async def main() -> None:
    picture, command, *arguments = sys.argv[1:]
    client = MultiServerMCPClient(
        {"seedance": {"transport": "stdio", "command": command, "args": arguments, "env": dict(os.environ)}}
    )
    async with client.session("seedance", auto_initialize=False) as session:
        hello = await session.initialize()
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name: str, **values: object):
            return await tools[name].ainvoke({"type": "tool_call", "id": "1", "name": name, "args": values})

        refused = await call("quote_price", image=picture, prompt="x", max_prize_usd="1")
        quote = await call("quote_price", image=picture, prompt="x")
        job = await call("animate_image", image=picture, prompt="x")
        for _ in range(CALLS_MAX):
            told = job.artifact["structured_content"]
            if job.status == "error" or told["file"]:
                break
            job = await call("get_job", job_id=told["job_id"])
        again = await call("get_job", job_id=told["job_id"])
    shown = {name: convert_to_openai_tool(tool)["function"] for name, tool in tools.items()}
    strict = {name: convert_to_openai_tool(tool, strict=True)["function"] for name, tool in tools.items()}
    sys.stdout.write(
        json.dumps(
            {
                "protocol": hello.protocolVersion,
                "tools": {name: function["parameters"] for name, function in shown.items()},
                "described": [name for name, function in shown.items() if function["description"]],
                "strict": {name: function["parameters"] for name, function in strict.items()},
                "refused": str(refused.content),
                "refused_is_error": refused.status == "error",
                "price": quote.artifact["structured_content"]["price_usd"],
                "job": told,
                "again": again.artifact["structured_content"],
                "model_read": str(job.content),
            }
        )
    )


asyncio.run(main())
