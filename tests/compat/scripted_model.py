"""A scripted model on loopback: it answers as OpenAI, Anthropic and Gemini do, with fixed tool calls.

Whatever it is asked, it quotes a video of one picture, buys it, and reads its job until the video is saved. It needs no
key and no network. It keeps what a model sees: the tools with their schemas, and the results of its calls.

Source: the public references of OpenAI (Chat Completions, Responses), Anthropic (Messages) and Gemini
(generateContent), as far as the four clients use them.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.compat.journey import find_facts

CALLS_MAX = 10
REQUEST_BYTES_MAX = 16 * 1024 * 1024
MODEL = "scripted"
USAGE_TOKENS = 1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call: the name as the client wrote it, its namespace if it has one, and the arguments."""

    id: str
    name: str
    namespace: str | None
    arguments: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request, whatever its API: the tools by name with their schemas, and the results of earlier calls."""

    tools: Mapping[str, Json]
    namespaces: Mapping[str, str]
    results: tuple[str, ...]


@dataclass(slots=True)
class Script:
    """What the model does, and what it has seen.

    Attributes:
        picture: The path of the picture.
        tools: Our tools as the client offered them, by their own names, with their schemas.
        results: The results of our tools, in order.
        calls: The names of the called tools, in order.
    """

    picture: str
    tools: dict[str, Json] = field(default_factory=dict[str, Json])
    results: tuple[str, ...] = ()
    calls: list[str] = field(default_factory=list[str])

    def decide(self, turn: Turn) -> ToolCall | None:
        """Return the next call, or None if there is nothing to do: then the model says that it is done."""
        names = {_find_own_name(name): name for name in turn.tools if _find_own_name(name)}
        if "animate_image" not in names:
            return None  # a side request, such as for a title
        self.tools = {own: turn.tools[name] for own, name in names.items()}
        self.results = turn.results
        step = self._find_step(turn.results)
        if step is None or len(self.calls) >= CALLS_MAX:
            return None
        own, arguments = step
        self.calls.append(own)
        name = names[own]
        return ToolCall(
            id=f"call_{len(self.calls)}", name=name, namespace=turn.namespaces.get(name), arguments=arguments
        )

    def _find_step(self, results: tuple[str, ...]) -> tuple[str, Json] | None:
        request: Json = {"image": self.picture, "prompt": "x"}
        if len(results) < 2:
            return (("quote_price", "animate_image")[len(results)], request)
        try:
            job = find_facts(results[-1])
        except ValueError:
            return None
        if len(results) > 2 and job.get("file"):
            return None
        return ("get_job", {"job_id": job.get("job_id")})


_OWN = (
    "animate_image", "animate_storyboard", "get_job", "quote_price", "upload_image", "list_jobs", "wallet_status",
)  # fmt: skip


def _find_own_name(name: str) -> str:
    """Return our tool's name without the client's prefix, or an empty text."""
    return next((own for own in _OWN if name.endswith(own)), "")


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_anthropic(body: Json) -> Turn:
    """Read a request to the Messages API."""
    parts = [part for message in body["messages"] for part in _list_parts(message["content"])]
    return Turn(
        tools={tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools", ())},
        namespaces={},
        results=tuple(_read_text(part["content"]) for part in parts if part.get("type") == "tool_result"),
    )


def read_chat(body: Json) -> Turn:
    """Read a request to the Chat Completions API."""
    functions = [tool["function"] for tool in body.get("tools", ())]
    return Turn(
        tools={function["name"]: function.get("parameters", {}) for function in functions},
        namespaces={},
        results=tuple(_read_text(one["content"]) for one in body["messages"] if one["role"] == "tool"),
    )


def read_responses(body: Json) -> Turn:
    """Read a request to the Responses API; a client may group the tools of a server in a namespace."""
    tools: dict[str, Json] = {}
    namespaces: dict[str, str] = {}
    for tool in body.get("tools", ()):
        for function in tool.get("tools", (tool,)):
            if function.get("type") == "function":
                tools[function["name"]] = function.get("parameters", {})
                if function is not tool:
                    namespaces[function["name"]] = tool["name"]
    items = _list_parts(body["input"])
    outputs: list[Any] = [item["output"] for item in items if item.get("type") == "function_call_output"]
    return Turn(tools=tools, namespaces=namespaces, results=tuple(map(_read_text, outputs)))


def read_gemini(body: Json) -> Turn:
    """Read a request to the Gemini API."""
    declared = [one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
    parts = [part for content in body.get("contents", ()) for part in content.get("parts", ())]
    answers = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    return Turn(
        tools={one["name"]: one.get("parametersJsonSchema") or one.get("parameters", {}) for one in declared},
        namespaces={},
        results=tuple(_read_text(answer.get("output", answer)) for answer in answers),
    )


def _list_parts(content: object) -> list[Json]:
    return cast("list[Json]", content) if isinstance(content, list) else []


def _read_text(content: Any) -> str:
    """Return the text of a result, which is a text, or a list of parts of which some are texts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in cast("list[Json]", content) if "text" in part)
    return json.dumps(content)


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DONE = "Done."


def write_anthropic(call: ToolCall | None) -> list[Json]:
    """Return the events of a streamed message, which is complete in the first and last of them."""
    usage = {"input_tokens": USAGE_TOKENS, "output_tokens": USAGE_TOKENS}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "usage": usage}
    if call is None:
        block: Json = {"type": "text", "text": ""}
        delta: Json = {"type": "text_delta", "text": DONE}
    else:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
    end = {"stop_reason": "end_turn" if call is None else "tool_use", "stop_sequence": None}
    return [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": usage},
        {"type": "message_stop"},
    ]


def write_anthropic_at_once(call: ToolCall | None) -> Json:
    """Return a message in one piece."""
    block: Json = {"type": "text", "text": DONE}
    if call is not None:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
    first, *_, last, _ = write_anthropic(call)
    return {**first["message"], "content": [block], **last["delta"]}


def write_chat(call: ToolCall | None) -> list[Json]:
    """Return the chunks of a streamed completion."""
    delta: Json = {"role": "assistant", "content": DONE}
    if call is not None:
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        delta = {
            "role": "assistant",
            "tool_calls": [{"index": 0, "id": call.id, "type": "function", "function": function}],
        }
    end = "stop" if call is None else "tool_calls"
    base = {"id": "chat_1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    usage = {"prompt_tokens": USAGE_TOKENS, "completion_tokens": USAGE_TOKENS, "total_tokens": 2 * USAGE_TOKENS}
    return [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": end}], "usage": usage},
    ]


def write_responses(call: ToolCall | None) -> list[Json]:
    """Return the events of a streamed response."""
    if call is None:
        content: list[Json] = [{"type": "output_text", "text": DONE, "annotations": []}]
        item: Json = {"type": "message", "id": "item_1", "role": "assistant", "content": content}
    else:
        item = {"type": "function_call", "id": "item_1", "call_id": call.id, "name": call.name}
        item |= {"arguments": json.dumps(call.arguments)}
        item |= {} if call.namespace is None else {"namespace": call.namespace}
    usage = {
        "input_tokens": USAGE_TOKENS, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": USAGE_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2 * USAGE_TOKENS,
    }  # fmt: skip
    item |= {"status": "completed"}
    return [
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "resp_1", "usage": usage, "output": [item]}},
    ]


def write_gemini(call: ToolCall | None) -> list[Json]:
    """Return the chunks of a streamed answer: one."""
    part: Json = {"text": DONE} if call is None else {"functionCall": {"name": call.name, "args": call.arguments}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": USAGE_TOKENS, "candidatesTokenCount": USAGE_TOKENS, "totalTokenCount": 2}
    return [{"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL}]


# ── The server ───────────────────────────────────────────────────────────────────────────────────────────────────────


class ScriptedModel:
    """The server; use it as a context manager."""

    def __init__(self, picture: str) -> None:
        self.script = Script(picture)
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _build_handler(self))

    @property
    def url(self) -> str:
        """Return the address, without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ScriptedModel":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: Json) -> "bytes | Iterator[bytes]":
        """Return an answer: one document, or the events of a stream."""
        if path.endswith(("/count_tokens", ":countTokens")):
            return _dump({"input_tokens": USAGE_TOKENS, "totalTokens": USAGE_TOKENS})
        if path.endswith("/messages"):
            call = self.script.decide(read_anthropic(body))
            return (
                _stream(write_anthropic(call), named=True)
                if body.get("stream")
                else _dump(write_anthropic_at_once(call))
            )
        if path.endswith("/chat/completions"):
            return _stream(write_chat(self.script.decide(read_chat(body))), end="[DONE]")
        if path.endswith("/responses"):
            return _stream(write_responses(self.script.decide(read_responses(body))), named=True)
        if ":streamGenerateContent" in path:
            return _stream(write_gemini(self.script.decide(read_gemini(body))))
        if ":generateContent" in path:
            return _dump(write_gemini(self.script.decide(read_gemini(body)))[0])
        return _dump({"data": [], "models": []})


def _dump(document: Json) -> bytes:
    return json.dumps(document).encode()


def _stream(events: list[Json], *, named: bool = False, end: str | None = None) -> Iterator[bytes]:
    """Yield server-sent events."""
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        yield f"{name}data: {json.dumps(event)}\n\n".encode()
    if end is not None:
        yield f"data: {end}\n\n".encode()


def _build_handler(model: ScriptedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            size = min(int(self.headers.get("content-length") or 0), REQUEST_BYTES_MAX)
            raw = self.rfile.read(size)
            try:
                body: Json = json.loads(raw or b"{}")
            except ValueError:
                body = {}
            self._answer(body)

        def _answer(self, body: Json) -> None:
            path = self.path.partition("?")[0]
            model.asked.append(f"{self.command} {path}")
            answer = model.answer(path, body)
            is_stream = not isinstance(answer, bytes)
            data = b"".join(answer) if is_stream else answer
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if is_stream else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    return Handler
