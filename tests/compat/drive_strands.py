# pyright: basic, reportMissingImports=false
"""Use the server's tools in Strands Agents, in whose environment this program runs."""

import asyncio

from journey import build_environ, read_arguments, report, travel
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from strands.tools.mcp import MCPClient


def main() -> None:
    picture, command, arguments = read_arguments()
    params = StdioServerParameters(command=command, args=arguments, env=build_environ())
    with MCPClient(lambda: stdio_client(params)) as client:
        tools = {tool.tool_name: tool for tool in client.list_tools_sync()}

        async def call(name: str, values: dict) -> tuple[str, bool]:
            result = await asyncio.to_thread(client.call_tool_sync, "1", name, values)
            text = "\n".join(part["text"] for part in result["content"] if "text" in part)
            return text, result["status"] == "error"

        seen = asyncio.run(travel(call, picture))
    report(
        {name: tool.tool_spec["inputSchema"]["json"] for name, tool in tools.items()},
        [name for name, tool in tools.items() if tool.tool_spec["description"]],
        seen,
    )


main()
