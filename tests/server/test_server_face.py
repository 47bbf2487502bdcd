"""The interface before any call: the list of tools, the instructions, prompts, completions, templates."""

import json
from typing import Any, ClassVar, Literal

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference
from opentelemetry import trace

from seedance_mcp.app.results import JobResult
from seedance_mcp.core.next_steps import NextStep
from seedance_mcp.server import INSTRUCTIONS, build_server
from seedance_mcp.server.tool import ERROR_KEY
from seedance_mcp.server.tools import mark_span

TOOLS = {"animate_image", "animate_storyboard", "get_job", "quote_price", "upload_image", "list_jobs", "wallet_status"}
TOKENS_MAX = 2700
CHARACTERS_MAX = 10_200
"""About `TOKENS_MAX` in characters, for a machine without the tokenizer; `benchmarks/agent_cost.py` counts tokens."""
WORDS_MAX = 150

Mode = Literal["auto", "legacy"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tool_list_is_short(mode: Mode) -> None:
    async with Client(build_server({}), mode=mode) as client:
        tools = (await client.list_tools()).tools

    assert {tool.name for tool in tools} == TOOLS
    plain = [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools]
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    assert len(text) <= CHARACTERS_MAX


def test_tool_list_is_short_in_tokens() -> None:
    pytest.importorskip("bpe_openai", reason="the tokenizer is not installed")
    from benchmarks.agent_cost import count_tokens, list_tools

    assert count_tokens(list_tools()) < TOKENS_MAX


def test_instructions_are_short_and_name_only_existing_tools() -> None:
    assert len(INSTRUCTIONS.split()) < WORDS_MAX
    assert {word.strip("(.,;`") for word in INSTRUCTIONS.replace("(", " ").split()} & TOOLS >= {
        "animate_image", "get_job", "quote_price", "list_jobs", "wallet_status",
    }  # fmt: skip


async def test_every_tool_is_strict_titled_and_correctly_annotated() -> None:
    async with Client(build_server({})) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    for tool in tools.values():
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
        assert tool.title
        assert tool.annotations is not None
        assert tool.annotations.open_world_hint is True
    spends = {name for name, tool in tools.items() if tool.annotations and not tool.annotations.read_only_hint}
    assert spends == {"animate_image", "animate_storyboard", "upload_image"}
    animate = tools["animate_image"].annotations
    assert animate is not None
    assert (animate.destructive_hint, animate.idempotent_hint) == (True, True)


async def test_quote_takes_the_arguments_of_a_purchase() -> None:
    async with Client(build_server({})) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    animate, quote = tools["animate_image"].input_schema, tools["quote_price"].input_schema
    assert {*animate["properties"], "shots"} == quote["properties"].keys()
    assert animate["required"] == ["prompt"]


WRONG: dict[str, tuple[str, dict[str, object], str]] = {
    "an unknown argument": (
        "get_job",
        {"job_id": "x", "jobid": "y"},
        "jobid: there is no such argument; the nearest is job_id.",
    ),
    "a missing argument": ("get_job", {}, "job_id: is missing"),
    "a wrong type": ("list_jobs", {"limit": "many"}, "limit: must be a whole number, not «many»"),
    "an argument where there is none": ("wallet_status", {"rail": "x402"}, "rail: there is no such argument"),
}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("name", WRONG)
async def test_wrong_argument_is_named_in_text_and_meta(name: str, mode: Mode) -> None:
    tool, arguments, expected = WRONG[name]
    async with Client(build_server({}), mode=mode) as client:
        answer = await client.call_tool(tool, arguments)

    assert answer.is_error
    assert answer.structured_content is None
    text = str(getattr(answer.content[0], "text", ""))
    assert text.startswith("request: ")
    assert expected in text
    assert text.endswith("Nothing was paid.")
    assert (answer.meta or {})[ERROR_KEY] == {"code": "request", "payment_state": "none", "charge": "none"}


async def test_unknown_tool_is_an_error() -> None:
    async with Client(build_server({})) as client:
        answer = await client.call_tool("sing", {})
    assert answer.is_error


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_prompts_quote_first_and_complete_their_arguments(mode: Mode) -> None:
    async with Client(build_server({}), mode=mode) as client:
        names = {prompt.name for prompt in (await client.list_prompts()).prompts}
        one = await client.get_prompt("animate", {"image": "/a.png", "duration": "6"})
        many = await client.get_prompt("storyboard", {"images": "/a.png, /b.png", "story": "A day passes"})

        async def complete(prompt: str, argument: str, beginning: str) -> list[str]:
            ref = PromptReference(name=prompt)
            found = await client.complete(ref=ref, argument={"name": argument, "value": beginning})
            return found.completion.values

        completed = [
            await complete("animate", "model", "seedance-"),
            await complete("animate", "resolution", ""),
            await complete("animate", "duration", "1"),
            await complete("storyboard", "shots", ""),
            await complete("storyboard", "story", "A"),
        ]

    assert names == {"animate", "storyboard"}
    for prompt in (one, many):
        assert "quote_price" in str(getattr(prompt.messages[0].content, "text", ""))
    assert completed[0] == ["seedance-fast"]
    assert completed[1] == ["480p", "720p", "1080p"]
    assert completed[2] == ["10", "11", "12", "13", "14", "15"]
    assert completed[3] == ["2", "3", "4", "6"]
    assert completed[4] == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_templates_are_listed_and_unknown_job_is_not_found(mode: Mode) -> None:
    settings = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://127.0.0.1:9"}
    async with Client(build_server({**settings, "SEEDANCE_WALLET_KEY": "11" * 32}), mode=mode) as client:
        templates = (await client.list_resource_templates()).resource_templates
        assert {template.uri_template for template in templates} == {
            "seedance://jobs/{job_id}", "seedance://pictures/{job_id}", "seedance://videos/{job_id}",
        }  # fmt: skip
        for uri in ("seedance://jobs/nope", "seedance://pictures/nope", "seedance://videos/nope"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.error.code == -32602
        ref = ResourceTemplateReference(uri="seedance://jobs/{job_id}")
        found = await client.complete(ref=ref, argument={"name": "job_id", "value": ""})
        assert found.completion.values == []


async def test_missing_wallet_is_explained_with_the_limits(tmp_path: Any) -> None:
    environ = {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": "http://127.0.0.1:9",
        "SEEDANCE_WALLET_KEY": "${WALLET_KEY}",
        "SEEDANCE_DATA_DIR": str(tmp_path),
        "SEEDANCE_MAX_PER_DAY": "2",
    }
    async with Client(build_server(environ)) as client:
        answer = await client.call_tool("wallet_status", {})
        refused = await client.call_tool("list_jobs", {})

    told: dict[str, Any] = answer.structured_content or {}
    assert not answer.is_error
    assert (told["address"], told["balances"], told["left_today_usd"]) == (None, [], "2.00")
    assert "SEEDANCE_WALLET_KEY" in told["next_step"]
    assert (refused.meta or {})[ERROR_KEY]["code"] == "config"


def test_trace_span_has_job_and_cost() -> None:
    class Recorder(trace.NonRecordingSpan):
        told: ClassVar[dict[str, object]] = {}

        def is_recording(self) -> bool:
            return True

        def set_attribute(self, key: str, value: object) -> None:
            self.told[key] = value

    job = JobResult(
        job_id="cm1", status="complete", progress=100, video_url=None, video_url_expires_at=None,
        video_url_age_seconds=None, thumbnail_url=None,
        file=None, price_usd="0.32", price_micro_usdc=320_000,
        rail="x402", receipt=None, error=None, notes=[], next_step=NextStep(""),
    )  # fmt: skip
    mark_span(job)  # without a tracer nothing happens
    with trace.use_span(Recorder(trace.INVALID_SPAN_CONTEXT)):
        mark_span(job)
    assert Recorder.told == {
        "seedance.job_id": "cm1",
        "seedance.status": "complete",
        "seedance.rail": "x402",
        "seedance.price_micro_usdc": 320_000,
    }
