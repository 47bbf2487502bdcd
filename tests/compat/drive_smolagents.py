# pyright: basic, reportMissingImports=false
"""Use the server's tools in smolagents, in whose environment this program runs."""

import asyncio

from journey import build_environ, read_arguments, report, travel
from mcp import StdioServerParameters
from smolagents import MCPClient
from smolagents.models import get_tool_json_schema


def main() -> None:
    picture, command, arguments = read_arguments()
    params = StdioServerParameters(command=command, args=arguments, env=build_environ())
    with MCPClient(params, structured_output=False) as listed:
        tools = {tool.name: tool for tool in listed}

        async def call(name: str, values: dict) -> tuple[str, bool]:
            try:
                return str(await asyncio.to_thread(tools[name], **values)), False
            except Exception as exc:
                return str(exc), True

        seen = asyncio.run(travel(call, picture))
        shown = {name: get_tool_json_schema(tool)["function"] for name, tool in tools.items()}
    report(
        {name: one["parameters"] for name, one in shown.items()},
        [name for name, one in shown.items() if one["description"]],
        seen,
    )


main()
