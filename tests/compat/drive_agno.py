# pyright: basic, reportMissingImports=false
"""Use the server's tools in Agno, in whose environment this program runs."""

import asyncio

from agno.tools.function import FunctionCall
from agno.tools.mcp import MCPTools
from journey import build_environ, read_arguments, report, travel
from mcp import StdioServerParameters

CALL_SECONDS = 60


async def main() -> None:
    picture, command, arguments = read_arguments()
    params = StdioServerParameters(command=command, args=arguments, env=build_environ())
    async with MCPTools(server_params=params, transport="stdio", timeout_seconds=CALL_SECONDS) as toolkit:
        functions = toolkit.functions

        async def call(name: str, values: dict) -> tuple[str, bool]:
            done = await FunctionCall(function=functions[name], arguments=values).aexecute()
            text = str(getattr(done.result, "content", None) or done.result or done.error)
            return text, done.status != "success" or text.startswith("Error")

        seen = await travel(call, picture)
        shown = {name: function.to_dict() for name, function in functions.items()}
    report(
        {name: one["parameters"] for name, one in shown.items()},
        [name for name, one in shown.items() if one["description"]],
        seen,
    )


asyncio.run(main())
