# pyright: basic, reportMissingImports=false
"""Use the server's tools in LlamaIndex, in whose environment this program runs."""

import asyncio

from journey import build_environ, read_arguments, report, travel
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

CALL_SECONDS = 60


async def main() -> None:
    picture, command, arguments = read_arguments()
    client = BasicMCPClient(command, args=arguments, env=build_environ(), timeout=CALL_SECONDS)
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}

    async def call(name: str, values: dict) -> tuple[str, bool]:
        try:
            output = await tools[name].acall(**values)
        except Exception as exc:
            return str(exc), True
        result = output.raw_output
        return "\n".join(part.text for part in result.content if part.type == "text"), bool(
            getattr(result, "is_error", None) or getattr(result, "isError", None)
        )

    seen = await travel(call, picture)
    shown = {name: tool.metadata.to_openai_tool()["function"] for name, tool in tools.items()}
    report(
        {name: one["parameters"] for name, one in shown.items()},
        [name for name, one in shown.items() if one["description"]],
        seen,
    )


asyncio.run(main())
