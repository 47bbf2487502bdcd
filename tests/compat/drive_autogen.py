# pyright: basic, reportMissingImports=false
"""Use the server's tools in AutoGen, in whose environment this program runs."""

import asyncio

from autogen_core import CancellationToken
from autogen_ext.tools.mcp import StdioServerParams, mcp_server_tools
from journey import build_environ, read_arguments, report, travel

CALL_SECONDS = 60


async def main() -> None:
    picture, command, arguments = read_arguments()
    params = StdioServerParams(command=command, args=arguments, env=build_environ(), read_timeout_seconds=CALL_SECONDS)
    tools = {tool.name: tool for tool in await mcp_server_tools(params)}

    async def call(name: str, values: dict) -> tuple[str, bool]:
        try:
            result = await tools[name].run_json(values, CancellationToken())
        except Exception as exc:
            return str(exc), True
        return "\n".join(part.text for part in result if part.type == "text"), False

    seen = await travel(call, picture)
    report(
        {name: tool.schema["parameters"] for name, tool in tools.items()},
        [name for name, tool in tools.items() if tool.schema["description"]],
        seen,
    )


asyncio.run(main())
