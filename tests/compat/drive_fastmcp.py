# pyright: basic, reportMissingImports=false
"""Use the server from FastMCP's client, in whose environment this program runs."""

import asyncio

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from journey import build_environ, read_arguments, report, travel


async def main() -> None:
    picture, command, arguments = read_arguments()
    async with Client(StdioTransport(command, arguments, env=build_environ())) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}

        async def call(name: str, values: dict) -> tuple[str, bool]:
            result = await client.call_tool(name, values, raise_on_error=False)
            return "\n".join(part.text for part in result.content if part.type == "text"), bool(result.is_error)

        seen = await travel(call, picture)
    schemas = {name: getattr(tool, "input_schema", None) or tool.inputSchema for name, tool in tools.items()}
    report(schemas, [name for name, tool in tools.items() if tool.description], seen)


asyncio.run(main())
