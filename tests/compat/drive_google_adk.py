# pyright: basic, reportMissingImports=false
"""Use the server from an agent of Google's ADK, in whose environment this program runs; its model is scripted."""

import asyncio
import json

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
from google.genai import types
from journey import build_environ, read_arguments, report, travel
from mcp import StdioServerParameters

CALL_SECONDS = 60


class Scripted(BaseLlm):
    """A model that makes the calls it is handed, and hands out the results."""

    async def generate_content_async(self, llm_request, stream=False):
        last = llm_request.contents[-1].parts[-1].function_response
        if last is not None:
            await results.put(json.dumps(last.response, default=str))
        declared.update(
            {one.name: one for tool in llm_request.config.tools or () for one in tool.function_declarations or ()}
        )
        name, values = await wanted.get()
        part = types.Part(text="done") if name is None else types.Part.from_function_call(name=name, args=values)
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


wanted: asyncio.Queue = asyncio.Queue()
results: asyncio.Queue = asyncio.Queue()
declared: dict = {}


async def call(name: str, values: dict) -> tuple[str, bool]:
    await wanted.put((name, values))
    answer = json.loads(await results.get())
    parts = answer.get("content") or [{"text": json.dumps(answer)}]
    text = "\n".join(part["text"] for part in parts if part.get("text"))
    return text, bool(answer.get("isError") or "error" in answer)


async def main() -> None:
    picture, command, arguments = read_arguments()
    params = StdioServerParameters(command=command, args=arguments, env=build_environ())
    toolset = McpToolset(connection_params=StdioConnectionParams(server_params=params, timeout=CALL_SECONDS))
    agent = LlmAgent(name="director", model=Scripted(model="scripted"), tools=[toolset])
    runner = InMemoryRunner(agent=agent)
    session = await runner.session_service.create_session(app_name=runner.app_name, user_id="1")
    message = types.Content(role="user", parts=[types.Part(text="Animate it.")])

    async def run() -> None:
        async for _ in runner.run_async(user_id="1", session_id=session.id, new_message=message):
            pass

    running = asyncio.create_task(run())
    seen = await travel(call, picture)
    await wanted.put((None, None))
    await running
    await toolset.close()
    shown = {
        name: one.parameters_json_schema or one.parameters.model_dump(mode="json", exclude_none=True)
        for name, one in declared.items()
    }
    report(shown, [name for name, one in declared.items() if one.description], seen)


asyncio.run(main())
