# pyright: basic, reportMissingImports=false
# Pydantic AI is installed in a separate environment.
"""Use the server from a Pydantic AI agent whose model is a function of ours; not a part of the package.

Usage: drive_pydantic_ai.py PICTURE COMMAND [ARGUMENT...]
"""

import asyncio
import json
import os
import sys
from typing import Any

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.profiles.openai import OpenAIJsonSchemaTransformer


async def main() -> None:
    picture, command, *arguments = sys.argv[1:]
    read: list[ToolReturnPart] = []
    seen: dict[str, Any] = {}

    def play(messages, info) -> ModelResponse:
        """Act as the model: make one call per turn, based on the latest result."""
        read.extend(part for part in messages[-1].parts if isinstance(part, ToolReturnPart))
        values = {"image": picture, "prompt": "x"}
        if not read:
            seen["tools"] = {tool.name: tool.parameters_json_schema for tool in info.function_tools}
            seen["described"] = [tool.name for tool in info.function_tools if tool.description]
            return ModelResponse(parts=[ToolCallPart("quote_price", {**values, "max_prize_usd": "1"})])
        if len(read) == 1:
            return ModelResponse(parts=[ToolCallPart("quote_price", values)])
        if len(read) == 2:
            return ModelResponse(parts=[ToolCallPart("animate_image", values)])
        if len(read) == 3:
            return ModelResponse(parts=[ToolCallPart("get_job", {"job_id": find(read[2])["job_id"]})])
        return ModelResponse(parts=[TextPart("done")])

    def find(part) -> dict:
        """Return the facts of a result, from data or text."""
        content = part.content
        parts = content if isinstance(content, list) else [content]
        return next(piece if isinstance(piece, dict) else json.loads(piece) for piece in parts)

    toolset = MCPToolset(StdioTransport(command=command, args=arguments, env=dict(os.environ)))
    agent = Agent(FunctionModel(play), toolsets=[toolset])
    async with agent:
        seen["protocol"] = toolset.client.protocol_version
        await agent.run("Animate it.")
    refused, quote, job, again = read

    def harden(schema: dict) -> dict:
        return OpenAIJsonSchemaTransformer(schema, strict=True).walk()

    sys.stdout.write(
        json.dumps(
            {
                **seen,
                "strict": {name: harden(schema) for name, schema in seen["tools"].items()},
                "refused": str(refused.content),
                "refused_is_error": refused.outcome == "retried",
                "price": find(quote)["price_usd"],
                "job": find(job),
                "again": find(again),
                "model_read": str(job.content),
            }
        )
    )


asyncio.run(main())
