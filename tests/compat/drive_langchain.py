# pyright: basic, reportMissingImports=false
# LangChain's adapter is installed in a separate environment.
"""Use the server through LangChain's MCP adapter and print the results; not a part of the package.

Usage: drive_langchain.py PICTURE COMMAND [ARGUMENT...]
"""

import asyncio

from journey import build_environ, read_arguments, report, travel
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


async def main() -> None:
    picture, command, arguments = read_arguments()
    client = MultiServerMCPClient(
        {"seedance": {"transport": "stdio", "command": command, "args": arguments, "env": build_environ()}}
    )
    async with client.session("seedance", auto_initialize=False) as session:
        hello = await session.initialize()
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name: str, values: dict) -> tuple[str, bool]:
            message = await tools[name].ainvoke({"type": "tool_call", "id": "1", "name": name, "args": values})
            parts = [message.content] if isinstance(message.content, str) else message.content
            text = "\n".join(part if isinstance(part, str) else part.get("text", "") for part in parts)
            return text, message.status == "error"

        seen = await travel(call, picture)
    shown = {name: convert_to_openai_tool(tool)["function"] for name, tool in tools.items()}
    strict = {name: convert_to_openai_tool(tool, strict=True)["function"] for name, tool in tools.items()}
    report(
        {name: function["parameters"] for name, function in shown.items()},
        [name for name, function in shown.items() if function["description"]],
        {**seen, "strict": {name: function["parameters"] for name, function in strict.items()}},
        protocol=hello.protocolVersion,
    )


asyncio.run(main())
