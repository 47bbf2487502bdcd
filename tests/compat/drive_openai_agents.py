# pyright: basic, reportMissingImports=false
# The OpenAI Agents SDK is installed in a separate environment.
"""Use the server from an agent of the OpenAI Agents SDK with a scripted model; not a part of the package.

The schemas are converted to strict mode, in which a model must give every argument: the script gives them all.

Usage: drive_openai_agents.py PICTURE COMMAND [ARGUMENT...]
"""

import asyncio
import json
import os
import sys

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

CALL_SECONDS = 60
GIVEN = {"duration": 4, "resolution": "480p", "aspect_ratio": "auto", "take": 1, "wait_seconds": 30}
"""Arguments that a strict model gives; all that may be null are null."""


async def main() -> None:
    set_tracing_disabled(True)
    picture, command, *arguments = sys.argv[1:]
    values = {"image": picture, "prompt": "x", "model": "seedance-fast"}
    outputs: list[str] = []
    described: list[str] = []
    strict: dict[str, dict] = {}

    def read(call) -> None:
        outputs.clear()
        for item in call.input if isinstance(call.input, list) else ():
            if item.get("type") == "function_call_output":
                text = item["output"]
                outputs.append(text if isinstance(text, str) else text[0]["text"])

    def every(name: str, **given: object) -> str:
        return json.dumps({key: GIVEN.get(key) for key in strict[name]["properties"]} | given)

    def first(call):
        described.extend(tool.name for tool in call.tools if tool.description)
        strict.update({tool.name: tool.params_json_schema for tool in call.tools if tool.strict_json_schema})
        return [function_call("quote_price", every("quote_price", **values, max_prize_usd="1"), call_id="1")]

    def second(call):
        return [function_call("quote_price", every("quote_price", **values), call_id="2")]

    def third(call):
        return [function_call("animate_image", every("animate_image", **values), call_id="3")]

    def fourth(call):
        read(call)
        job_id = json.loads(outputs[-1])["job_id"]
        return [function_call("get_job", every("get_job", job_id=job_id), call_id="4")]

    def last(call):
        read(call)
        return [assistant_message("done")]

    model = ScriptedModel([ModelStep.respond(turn) for turn in (first, second, third, fourth, last)])
    params = {"command": command, "args": arguments, "env": dict(os.environ)}
    async with MCPServerStdio(params, client_session_timeout_seconds=CALL_SECONDS) as server:
        revision = server.session.protocol_version
        plain = {tool.name: tool.input_schema for tool in await server.list_tools()}
        agent = Agent(
            name="director", model=model, mcp_servers=[server], mcp_config={"convert_schemas_to_strict": True}
        )
        await Runner.run(agent, "Animate it.")
    model.assert_complete()
    refused, quote, job, again = outputs
    sys.stdout.write(
        json.dumps(
            {
                "protocol": revision,
                "tools": plain,
                "described": described,
                "strict": strict,
                "refused": refused,
                "refused_is_error": refused.startswith("request: "),
                "price": json.loads(quote)["price_usd"],
                "job": json.loads(job),
                "again": json.loads(again),
                "model_read": job,
            }
        )
    )


asyncio.run(main())
