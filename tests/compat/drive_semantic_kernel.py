# pyright: basic, reportMissingImports=false
"""Use the server as a plugin of Semantic Kernel, in whose environment this program runs."""

import asyncio

from journey import build_environ, read_arguments, report, travel
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_calling_utils import kernel_function_metadata_to_function_call_format
from semantic_kernel.connectors.mcp import MCPStdioPlugin
from semantic_kernel.functions import KernelArguments

CALL_SECONDS = 60
PROMPTS = {"animate", "storyboard"}
"""A server's prompts are functions of the plugin, too."""


async def main() -> None:
    picture, command, arguments = read_arguments()
    plugin = MCPStdioPlugin(
        name="seedance", command=command, args=arguments, env=build_environ(), request_timeout=CALL_SECONDS
    )
    async with plugin:
        kernel = Kernel()
        kernel.add_plugin(plugin)
        listed = [one for one in kernel.get_full_list_of_function_metadata() if one.name not in PROMPTS]
        shown = [kernel_function_metadata_to_function_call_format(one)["function"] for one in listed]

        async def call(name: str, values: dict) -> tuple[str, bool]:
            try:
                result = await kernel.invoke(
                    plugin_name="seedance", function_name=name, arguments=KernelArguments(**values)
                )
            except Exception as exc:
                return str(exc), True
            return "\n".join(str(part) for part in result.value), False

        seen = await travel(call, picture)
    tools = {one["name"].removeprefix("seedance-"): one for one in shown}
    report(
        {name: one["parameters"] for name, one in tools.items()},
        [name for name, one in tools.items() if one["description"]],
        seen,
    )


asyncio.run(main())
