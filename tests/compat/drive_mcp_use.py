# pyright: basic, reportMissingImports=false
"""Use the server through mcp-use and its LangChain adapter, in whose environment this program runs."""

import asyncio
import os

os.environ["MCP_USE_ANONYMIZED_TELEMETRY"] = "false"

from journey import build_environ, read_arguments, report, travel
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp_use import MCPClient
from mcp_use.agents.adapters import LangChainAdapter


async def main() -> None:
    picture, command, arguments = read_arguments()
    client = MCPClient({"mcpServers": {"seedance": {"command": command, "args": arguments, "env": build_environ()}}})
    session = await client.create_session("seedance")
    tools = {tool.name: tool for tool in await LangChainAdapter().create_tools(client)}

    async def call(name: str, values: dict) -> tuple[str, bool]:
        result = await session.call_tool(name, values)
        return "\n".join(part.text for part in result.content if part.type == "text"), bool(result.isError)

    seen = await travel(call, picture)
    await client.close_all_sessions()
    shown = {name: convert_to_openai_tool(tool)["function"] for name, tool in tools.items()}
    report(
        {name: one["parameters"] for name, one in shown.items()},
        [name for name, one in shown.items() if one["description"]],
        seen,
    )


asyncio.run(main())
