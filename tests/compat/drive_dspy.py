# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""Use the server's tools in DSPy, in whose environment this program runs."""

import asyncio

import dspy
from journey import build_environ, read_arguments, report, travel
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    picture, command, arguments = read_arguments()
    params = StdioServerParameters(command=command, args=arguments, env=build_environ())
    async with stdio_client(params) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        tools = {tool.name: dspy.Tool.from_mcp_tool(session, tool) for tool in (await session.list_tools()).tools}

        async def call(name: str, values: dict) -> tuple[str, bool]:
            try:
                result = await tools[name].acall(**values)
            except Exception as exc:
                return str(exc), True
            return str(result), False

        seen = await travel(call, picture)
    shown = {name: tool.format_as_litellm_function_call()["function"] for name, tool in tools.items()}
    report(
        {name: one["parameters"] for name, one in shown.items()},
        [name for name, one in shown.items() if one["description"]],
        seen,
        protocol=getattr(hello, "protocol_version", None) or hello.protocolVersion,
    )


asyncio.run(main())
