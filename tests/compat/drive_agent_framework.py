# pyright: basic, reportMissingImports=false
"""Use the server's tools in Microsoft Agent Framework, in whose environment this program runs."""

import asyncio

from agent_framework import MCPStdioTool
from journey import build_environ, read_arguments, report, travel

CALL_SECONDS = 60


async def main() -> None:
    picture, command, arguments = read_arguments()
    tool = MCPStdioTool(
        name="seedance",
        command=command,
        args=arguments,
        env=build_environ(),
        request_timeout=CALL_SECONDS,
        load_prompts=False,  # they would be functions, too
    )
    async with tool:
        functions = {function.name: function for function in tool.functions}

        async def call(name: str, values: dict) -> tuple[str, bool]:
            try:
                result = await functions[name].invoke(arguments=values)
            except Exception as exc:
                return str(exc), True
            parts = result if isinstance(result, list) else [result]
            return "\n".join(str(getattr(part, "text", None) or part) for part in parts), False

        seen = await travel(call, picture)
        shown = {name: function.to_json_schema_spec()["function"] for name, function in functions.items()}
    report(
        {name: one["parameters"] for name, one in shown.items()},
        [name for name, one in shown.items() if one["description"]],
        seen,
    )


asyncio.run(main())
