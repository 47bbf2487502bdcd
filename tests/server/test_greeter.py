"""The greeter: every answer is the server's, byte for byte, and what it does not know is left to the server."""

import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.cli.install.greeting import store_answers as store_with_command
from seedance_mcp.config.sources import SETTINGS
from seedance_mcp.server import greeter
from seedance_mcp.server.greeter import HANDSHAKES, NEWEST, Greeter, read_answers
from seedance_mcp.server.greeting import APPS, ask_server, store_answers
from tests.forks import build_command
from tests.integration.test_process import LEAVE_SECONDS

PROGRAM = str(Path(__file__).with_name("greeted.py"))
REVISIONS = (*HANDSHAKES, NEWEST)
CLIENT = {"name": "test", "version": "1"}
WRITTEN_WITH = greeter.DOCUMENT.read_text("utf-8").partition("\n")[0].split()[1:]
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")

pytestmark = pytest.mark.skipif(
    f"{sys.version_info[0]}.{sys.version_info[1]}" not in WRITTEN_WITH,
    reason="the stored answers were not compared under this Python, so the greeter steps aside",
)


def ask(
    method: str, revision: str, number: object = 0, capabilities: Mapping[str, Any] | None = None, **params: Any
) -> dict[str, Any]:
    """A request as a host of a revision sends it."""
    if revision == NEWEST:
        meta = {greeter.VERSION: NEWEST, greeter.CAPABILITIES: capabilities or {}, greeter.CLIENT: CLIENT}
        params = {**params, "_meta": {**meta, **params.get("_meta", {})}}
    return {"jsonrpc": "2.0", "id": number, "method": method, **({"params": params} if params else {})}


def open_with(revision: str, capabilities: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The request that opens a connection."""
    if revision == NEWEST:
        return ask("server/discover", NEWEST, "first", capabilities)
    hello = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": CLIENT}
    return {**ask("initialize", revision, "first"), "params": hello}


def encode(message: object) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def greet(*messages: object, piece_bytes: int = 1_000_000) -> tuple[list[bytes], list[str], list[bytes]]:
    """What the greeter answers to lines, what of them the server is told, and what is left to the server."""
    answers = read_answers()
    assert answers is not None, "the stored answers are not this server's. Run: scripts/write_greeting"
    stdin, host_writes = os.pipe()
    host_reads, stdout = os.pipe()
    served = Greeter(answers, stdin=stdin, stdout=stdout)
    lines = b"".join(encode(message) + b"\n" for message in messages)

    def write() -> None:
        for start in range(0, len(lines), piece_bytes):
            os.write(host_writes, lines[start : start + piece_bytes])
        os.close(host_writes)

    writer = threading.Thread(target=write)
    writer.start()
    served.start()
    served.join()
    with open(host_reads, "rb") as file:
        said = file.read().splitlines()
    left = served.hand_over().read().split(b"\n")[:-1]
    writer.join()
    os.close(stdin)
    return said, [line.replace(served.opening_id, "first") for line in served.opening], left


def serve(messages: Sequence[object]) -> list[bytes]:
    """What the server alone answers to requests."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [encode(message) for message in messages]
        return [line.encode() for line in anyio.run(ask_server, lines, {"SEEDANCE_DATA_DIR": folder})]


@pytest.mark.parametrize("capabilities", [{}, APPS], ids=["plain", "apps"])
@pytest.mark.parametrize("revision", REVISIONS)
def test_each_answer_is_the_servers(revision: str, capabilities: dict[str, Any]) -> None:
    requests = [open_with(revision, capabilities)]
    requests += [ask(method, revision, f"id {method}", capabilities) for method in LISTS]
    requests += [ask("ping", revision, -7)] if revision != NEWEST else []
    said, opening, left = greet(*requests)

    assert said == serve(requests)
    assert left == []
    assert [json.loads(line) for line in opening] == requests[:1]


NAMES = st.sampled_from(
    ["roots", "sampling", "elicitation", "experimental", "extensions", "tasks", "roots?", "*", "listChanged",
     "form", "tools", "mimeTypes", greeter.APPS, "name", "version", "title", "protocolVersion", "capabilities", "_meta",
     "progressToken", "cursor", "clientInfo", greeter.VERSION, greeter.CAPABILITIES, greeter.CLIENT]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 1, -1.5, 2**70, float("nan"), "", "é\ud83d", "1", *REVISIONS, greeter.APPS_MIME_TYPE]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)
EMPTY = st.builds(dict[str, Any])
CAPABILITIES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    NAMES, EMPTY | st.dictionaries(NAMES, EMPTY | VALUES, max_size=1), max_size=2
)


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    """Lines of a host, each with at most one thing that is unusual."""
    revision, capabilities = draw(st.sampled_from(REVISIONS)), draw(CAPABILITIES)
    methods = draw(st.lists(st.sampled_from(greeter.METHODS), max_size=2))
    messages = [
        open_with(revision, capabilities),
        *(ask(method, revision, str(number), capabilities) for number, method in enumerate(methods)),
    ]
    said: list[bytes] = []
    for message in copy.deepcopy(messages):
        place, name, value = (
            draw(st.sampled_from(["", "", "", "", "", "id", "message", "params", "_meta", "clientInfo"])),
            "",
            0,
        )
        if place:
            name, value = draw(NAMES), draw(VALUES)
        params = message.get("params", {})
        inner = {"message": message, "params": params, "id": message, "_meta": params.get("_meta", {})}
        inner.get(place, params.get(place, {}))["id" if place == "id" else name] = value
        text = json.dumps(message, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
        cut = draw(st.integers(0, len(text)))
        extra = draw(
            st.sampled_from(
                [b"", b"", b"", b"", b"", b"", b"", b"\xef\xbb\xbf", b" ", b"\r", b'"id":1,', b"\\u00e9", b"0"]
            )
        )
        said.append(text[:cut] + extra + text[cut:])
    return said


@given(lines())
def test_unusual_message_is_answered_as_by_the_server_or_left(messages: list[bytes]) -> None:
    said, _, left = greet(*messages)

    assert left == messages[len(said) :]
    assert said == serve(messages[: len(said)])


STRANGE: tuple[object, ...] = (
    ask("tools/list", "2025-06-18", 10, cursor="x"),
    {**ask("tools/list", "2025-06-18", 11), "params": None},
    ask("tools/call", "2025-06-18", 12, name="quote_price", arguments={"nonsense": 1}),
    ask("no/method", "2025-06-18", 13),
    [ask("ping", "2025-06-18", 14)],
    b'{"jsonrpc": "2.0", "id": 15, "method": "tools/list"',
    b"",
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    open_with("2025-06-18"),
    {**ask("ping", "2025-06-18", 16), "jsonrpc": "1.0"},
    ask("tools/list", NEWEST, 17),
    b"\xff" * 200,
)


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_strange_line_and_all_behind_it_are_left(number: int) -> None:
    ping = ask("ping", "2025-06-18", 2)
    messages = [open_with("2025-06-18"), INITIALIZED, ask("tools/list", "2025-06-18", 1), STRANGE[number], ping]
    said, opening, left = greet(*messages, piece_bytes=1 + number)

    assert [json.loads(line)["id"] for line in said] == ["first", 1]
    assert [json.loads(line) for line in opening] == [messages[0], INITIALIZED]
    assert left == [encode(message) for message in messages[3:]]


def test_host_that_does_not_read_stops_the_greeter() -> None:
    lists = [ask("tools/list", NEWEST, number) for number in range(20)]
    said, _, left = greet(*lists)

    assert 0 < len(b"".join(said)) <= greeter.ANSWERED_BYTES_MAX + 100 * len(said)
    assert left == [encode(message) for message in lists[len(said) :]]
    assert left


def test_discovery_that_its_host_gave_up_is_left() -> None:
    messages = [open_with(NEWEST), open_with("2025-06-18")]

    assert greet(*messages) == ([], [], [encode(message) for message in messages])


def talk(*messages: object, alone: bool, last: object, **environ: str) -> list[bytes]:
    """All answers of a server, sorted; `last` is the id of a request that only the server answers."""
    program = build_command(PROGRAM, *(["alone"] if alone else []))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    said: list[bytes] = []
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**plain, **environ}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in messages:
            process.stdin.write(encode(message) + b"\n")
        process.stdin.flush()
        wanted: set[object] = {last}
        for message in messages:
            wanted |= {message["id"]} if isinstance(message, dict) and "id" in message else set()
        while wanted:
            said.append(process.stdout.readline())
            wanted.discard(json.loads(said[-1])["id"])
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(LEAVE_SECONDS) == 0
    return sorted(said)


@pytest.mark.parametrize("revision", ["2025-06-18", NEWEST])
def test_conversation_is_the_same_without_greeter_and_settings(revision: str, tmp_path: Path) -> None:
    messages = [
        open_with(revision), *([] if revision == NEWEST else [INITIALIZED]),
        *(ask(method, revision, method) for method in LISTS), *STRANGE, ask("no/method", revision, "last"),
    ]  # fmt: skip
    set_all = {f"SEEDANCE_{name}": "x" for name in SETTINGS} | {"SEEDANCE_DATA_DIR": str(tmp_path)}
    with_greeter = talk(*messages, alone=False, last="last", SEEDANCE_DATA_DIR=str(tmp_path))

    assert with_greeter == talk(*messages, alone=True, last="last", **set_all)


def test_answered_discovery_is_not_given_up() -> None:
    program = build_command(PROGRAM)
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers: list[dict[str, Any]] = []
        for message in (open_with(NEWEST), open_with("2025-06-18")):
            process.stdin.write(encode(message) + b"\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline()))
        process.stdin.close()

    assert "capabilities" in answers[0]["result"]
    assert answers[1]["error"]["code"] == -32022


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("end", ["signal", "stdin"])
def test_end_while_it_loads_is_that_of_the_server(end: str) -> None:
    with subprocess.Popen(build_command(PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode(open_with("2025-06-18")) + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        if end == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(LEAVE_SECONDS) == 0


def write_other(file: Path, place: str) -> None:
    """Write the stored document as it would be elsewhere."""
    head, libraries, sources, *rows = greeter.DOCUMENT.read_bytes().splitlines(keepends=True)
    libraries = libraries.replace(b"mcp-2", b"mcp-3") if place == "library" else libraries
    sources = sources.replace(b" core/money.py", b"") if place == "code" else sources
    rest = libraries + (b"" if place == "short" else sources + b"".join(rows))
    pythons = b"3.10\n" if place == "python" else head.partition(b" ")[2]
    written = b"%08x %s%s" % (zlib.crc32(rest), pythons, rest)
    file.write_bytes(written.replace(b"USDC", b"USDX", 1) if place == "damaged" else written)


@pytest.mark.parametrize("place", ["python", "library", "code", "missing", "short", "damaged", "none"])
def test_document_of_another_server_is_not_used(place: str, tmp_path: Path) -> None:
    document = tmp_path / "greeting.txt"
    if place != "missing":
        write_other(document, place)

    assert (read_answers(document) is None) == (place != "none")


@pytest.mark.parametrize("place", ["python", "library"])
def test_install_stores_the_same_answers_for_another_installation(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packaged, own = tmp_path / "greeting.txt", tmp_path / "folder" / "own.txt"
    write_other(packaged, place)
    store_with_command(packaged, own)
    assert "first answers are stored" in " ".join(capsys.readouterr().err.split())
    store_with_command(packaged, own)  # there are some
    assert capsys.readouterr().err == ""
    assert read_answers(own) == read_answers()
    assert [file.name for file in own.parent.iterdir()] == ["own.txt"]


def test_install_says_why_answers_cannot_be_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packaged = tmp_path / "greeting.txt"
    write_other(packaged, "python")
    store_with_command(packaged, packaged / "own.txt")

    assert "could not be stored" in " ".join(capsys.readouterr().err.split())


def test_answers_are_not_stored_where_no_modules_are_named(tmp_path: Path) -> None:
    packaged, own = tmp_path / "greeting.txt", tmp_path / "own.txt"
    write_other(packaged, "short")

    with pytest.raises(ValueError, match="not enough values"):
        store_answers(packaged, own)
    assert not own.exists()


@pytest.mark.parametrize(("place", "is_stored"), [("none", True), ("code", False)])
def test_answers_are_stored_only_where_the_code_is_the_packages(place: str, is_stored: bool, tmp_path: Path) -> None:
    packaged, own = tmp_path / "greeting.txt", tmp_path / "own.txt"
    write_other(packaged, place)

    assert store_answers(packaged, own) == is_stored
    assert not own.exists()


def test_no_call_of_a_tool_is_ever_answered() -> None:
    stored = greeter.DOCUMENT.read_text("utf-8").splitlines()[3:]
    methods = {key.split(" ")[2] for row in stored for key in row.partition("\t")[0].split(",")}

    assert methods == set(greeter.METHODS) == {"initialize", "server/discover", "ping", *LISTS}
