"""Lines of a host that the SDK would drop: each request whose id can be read is answered, and the server goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.server.lines import find_refusal
from tests.integration.test_process import HELLO, LEAVE_SECONDS, hear, running, say, start

CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
LIST = {"jsonrpc": "2.0", "id": 8, "method": "tools/list"}
HALF = "\ud83d"


def ask(*messages: object) -> tuple[dict[object, dict[str, Any]], str]:
    """What a server answers by id, and what it logs."""
    answers: dict[object, dict[str, Any]] = {}
    with running(forked=True) as process:
        say(process, *messages, LIST)
        wanted: set[object] = {8}
        for message in messages:
            wanted |= {message["id"]} if isinstance(message, dict) else set()
        while not wanted <= set(answers):
            answer: dict[str, Any] = hear(process)
            answers[answer.get("id")] = answer
        _, logged = process.communicate(timeout=LEAVE_SECONDS)
    return answers, logged.decode()


def test_a_call_with_half_a_surrogate_is_answered_and_logged() -> None:
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "argument": (
            {"name": "quote_price", "arguments": {"image": "/a.png", "prompt": f"x{HALF}"}},
            "arguments.prompt",
        ),
        "name": ({"name": f"quote{HALF}", "arguments": {}}, "name"),
        "argument-name": ({"name": "quote_price", "arguments": {f"pro{HALF}": "x"}}, "arguments.pro"),
        "inside": ({"name": "quote_price", "arguments": {"image": [{"deep": HALF}]}}, "arguments.image[0].deep"),
    }
    answers, logged = ask(*({**CALL, "id": name, "params": params} for name, (params, _) in wrong.items()))

    for name, (_, place) in wrong.items():
        error = answers[name]["error"]
        assert (name, error["code"]) == (name, -32602)
        assert f"«params.{place}»" in error["message"]
        assert "Nothing was done or paid." in error["message"]
    assert logged.count("half a surrogate pair") == len(wrong)
    assert "Traceback" not in logged
    assert answers[8]["result"]["tools"]


def test_a_call_that_is_no_message_is_answered_and_others_still_are() -> None:
    answers, logged = ask(
        {**CALL, "id": "a", "params": ["quote_price"]},
        {**CALL, "id": 2, "jsonrpc": "1.0"},
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id": true, "method": 1}',
        b'{"jsonrpc": "2.0", "method": "notifications/\\ud800"}',
    )

    assert [answers[one]["error"]["code"] for one in ("a", 2)] == [-32600, -32600]
    assert None not in answers
    assert logged.count("is not served") == 7
    assert "Traceback" not in logged


def test_a_byte_order_mark_before_the_first_message_is_accepted() -> None:
    process = start(forked=True)
    say(process, b"\xef\xbb\xbf" + json.dumps(HELLO).encode())
    answer: dict[str, Any] = hear(process)
    process.communicate(timeout=LEAVE_SECONDS)

    assert answer["id"] == 1
    assert answer["result"]["serverInfo"]["name"] == "seedance"


DISCOVER = {
    "jsonrpc": "2.0",
    "id": "probe",
    "method": "server/discover",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}
CANCELLED = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "probe"}}


UNHURRIED = """
from seedance_mcp.server.greeter import start_greeter
greeter = start_greeter()
from seedance_mcp.server import lines
from seedance_mcp.server.stdio import serve
lines.STALE_SECONDS = 60
serve(greeter)
"""
"""A server that reads what is in the pipe, however busy the machine is."""


@pytest.mark.parametrize("between", [[], [CANCELLED]], ids=["at once", "cancelled"])
def test_discovery_that_was_given_up_does_not_lose_the_handshake(tmp_path: Path, between: list[dict[str, Any]]) -> None:
    program = tmp_path / "unhurried.py"
    program.write_text(UNHURRIED)
    with start(str(program), forked=True) as process:
        say(process, DISCOVER, *between, HELLO)
        answer: dict[str, Any] = hear(process)
        process.communicate(timeout=LEAVE_SECONDS)
    assert answer["id"] == HELLO["id"]
    assert answer["result"]["serverInfo"]["name"] == "seedance"


def test_discovery_that_is_awaited_is_answered() -> None:
    with start(forked=True) as process:
        say(process, DISCOVER)
        answer: dict[str, Any] = hear(process)
        say(process, {**LIST, "params": DISCOVER["params"]})
        listed: dict[str, Any] = hear(process)
        process.communicate(timeout=LEAVE_SECONDS)
    assert (answer["id"], listed["id"]) == ("probe", LIST["id"])
    assert listed["result"]["tools"]


def test_a_prompt_with_wrong_arguments_is_refused_by_name() -> None:
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "missing": ({"name": "animate"}, "needs image"),
        "two": ({"name": "storyboard", "arguments": {"shots": "2"}}, "needs images, story"),
        "unknown": ({"name": "animate", "arguments": {"image": "a", "colour": "b"}}, "takes no argument «colour»"),
        "number": ({"name": "animate", "arguments": {"image": "a", "duration": 4}}, "duration of the prompt animate"),
        "prompt": ({"name": "paint", "arguments": {}}, "There is no prompt «paint»"),
        "none": ({}, "There is no prompt"),
    }
    right = {"name": "animate", "arguments": {"image": "a.png", "motion": "x"}}
    messages = [
        {"jsonrpc": "2.0", "id": name, "method": "prompts/get", "params": params}
        for name, params in {**{name: params for name, (params, _) in wrong.items()}, "right": right}.items()
    ]
    answers, logged = ask(*messages)

    for name, (_, words) in wrong.items():
        assert (name, answers[name]["error"]["code"]) == (name, -32602)
        assert words in answers[name]["error"]["message"]
    assert answers["right"]["result"]["messages"]
    assert "Traceback" not in logged


@given(
    st.recursive(
        st.none() | st.integers() | st.text(st.characters()) | st.just(HALF),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "method", "params", HALF, "x"]), inner)
        ),
    )
    | st.text()
)
def test_any_line_is_a_message_or_a_refusal_that_can_be_sent(document: object) -> None:
    refusal = find_refusal(document if isinstance(document, str) else json.dumps(document))
    if refusal is not None:
        assert json.dumps([refusal.message, refusal.request_id], ensure_ascii=False).encode()
