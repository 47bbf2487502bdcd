"""The clients that `scripts/test_compat` drives before a release: its outcomes, its table and its scripted model."""

import json
import types
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

import httpx
import pytest

from tests.compat.clients import HERE, ROOT
from tests.compat.coding_agents import AGENTS
from tests.compat.scripted_model import ScriptedModel

PICTURE = "/home/ada/cat.png"
TOOL = {"type": "object", "properties": {"image": {"type": "string"}}}
QUOTE, JOB = '{"price_usd": "0.32"}', '{"job_id": "cm1", "file": null}'
SAVED = 'Wall time: 1 s\nOutput:\n{"job_id": "cm1", "file": "/v.mp4"}'
CALLS = ["quote_price", "animate_image", "get_job", "get_job", None]
"""What the model calls after no result, and after each of the results."""
RESULTS = [QUOTE, JOB, JOB, SAVED]


@pytest.fixture(scope="module")
def script() -> types.ModuleType:
    loader = SourceFileLoader("test_compat", str(ROOT / "scripts/test_compat"))
    spec = spec_from_loader("test_compat", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_table_of_the_page_is_written_from_the_last_run(script: types.ModuleType) -> None:
    page = (ROOT / "docs/mcp.md").read_text()
    assert f"{script.BEGIN}\n{script.draw_table(script.read_outcomes())}{script.END}" in page


def test_every_client_was_run_with_its_pinned_version(script: types.ModuleType) -> None:
    outcomes = script.read_outcomes()
    assert list(outcomes) == list(script.list_clients())
    versions = {name: script.find_version(framework) for name, framework in script.FRAMEWORKS.items()}
    versions |= {name: agent.package.rpartition("@")[2] for name, agent in AGENTS.items()}
    assert {name: outcomes[name]["version"] for name in versions} == versions
    assert all((HERE / framework.driver).is_file() for framework in script.FRAMEWORKS.values())


def ask_anthropic(http: httpx.Client, results: list[str]) -> str | None:
    messages: list[Any] = [{"role": "user", "content": "Animate."}]
    messages += [{"role": "user", "content": [{"type": "tool_result", "content": result}]} for result in results]
    tools = [{"name": f"mcp__seedance__{name}", "input_schema": TOOL} for name in set(CALLS) if name]
    answer = http.post("/v1/messages", json={"messages": messages, "tools": tools}).json()
    return answer["content"][0].get("name")


def ask_chat(http: httpx.Client, results: list[str]) -> str | None:
    tools = [{"type": "function", "function": {"name": name, "parameters": TOOL}} for name in set(CALLS) if name]
    messages = [{"role": "tool", "content": result} for result in results]
    first = next(read_events(http.post("/v1/chat/completions", json={"messages": messages, "tools": tools})))
    calls = first["choices"][0]["delta"].get("tool_calls")
    return calls and calls[0]["function"]["name"]


def ask_responses(http: httpx.Client, results: list[str]) -> str | None:
    inner = [{"type": "function", "name": name, "parameters": TOOL} for name in set(CALLS) if name]
    tools = [{"type": "namespace", "name": "mcp__seedance", "tools": inner}]
    items = [{"type": "function_call_output", "output": result} for result in results]
    events = list(read_events(http.post("/v1/responses", json={"input": items, "tools": tools})))
    item = next(event["item"] for event in events if event["type"] == "response.output_item.done")
    assert item["type"] == "message" or item["namespace"] == "mcp__seedance"
    return item.get("name")


def ask_gemini(http: httpx.Client, results: list[str]) -> str | None:
    declared = [{"name": f"mcp_seedance_{name}", "parametersJsonSchema": TOOL} for name in set(CALLS) if name]
    parts = [{"functionResponse": {"name": "x", "response": {"output": result}}} for result in results]
    body = {"contents": [{"role": "user", "parts": parts}], "tools": [{"functionDeclarations": declared}]}
    answer = next(read_events(http.post("/v1beta/models/x:streamGenerateContent?alt=sse", json=body)))
    return answer["candidates"][0]["content"]["parts"][0].get("functionCall", {}).get("name")


def read_events(answer: httpx.Response) -> Iterator[Any]:
    for line in answer.text.splitlines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("ask", [ask_anthropic, ask_chat, ask_responses, ask_gemini])
def test_scripted_model_quotes_buys_and_reads_in_every_api(
    ask: Callable[[httpx.Client, list[str]], str | None],
) -> None:
    with ScriptedModel(PICTURE) as model, httpx.Client(base_url=model.url, trust_env=False) as http:
        called = [ask(http, RESULTS[:count]) for count in range(len(CALLS))]
    for name, wanted in zip(called, CALLS, strict=True):
        assert (name or "").endswith(wanted) if wanted else name is None
    assert model.script.results == tuple(RESULTS)
    assert set(model.script.tools) == {name for name in CALLS if name}
