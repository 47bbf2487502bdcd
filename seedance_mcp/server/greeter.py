"""Greeter: answer a host's opening messages from a stored document while the server loads in the main thread.

`scripts/write_greeting` writes the document, `greeting.txt`, from the server. The greeter answers only what it knows
exactly. At any other line, at the end of stdin, or when the server has loaded, it stops for good. The server then gets
the messages that opened the connection, without answering them again, and reads on where the greeter stopped.

It must answer no call of a tool, and it must load nothing but the standard library.
"""

import contextlib
import io
import json
import os
import re
import signal
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, cast

from seedance_mcp.server.standard_streams import STDOUT, Rest, claim_stdin, duplicate

CHUNK_BYTES = LINE_BYTES_MAX = 65_536
ANSWERED_BYTES_MAX = 60_000
"""How much the greeter writes: a pipe holds it, so that a host that does not read cannot block the greeter."""
BRACKETS_MAX = 100
"""How many objects and lists a line may have: the server's parser has a limit of its own."""
SWITCH_SECONDS = 0.0005
"""How soon the loading thread lets the greeter run."""

PACKAGE = Path(__file__).parents[1]
DOCUMENT = PACKAGE / "server" / "greeting.txt"
OWN = PACKAGE / "server" / "__pycache__" / f"greeting.{sys.implementation.cache_tag}.txt"
"""Written by `install` where the other one does not apply. Who can write there can also change the code."""
LIBRARIES = ("mcp", "mcp_types", "pydantic", "pydantic_core")
"""The libraries that decide the text of an answer."""

INITIALIZE, DISCOVER = "initialize", "server/discover"
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
METHODS = (INITIALIZE, DISCOVER, "ping", *LISTS)
"""The only requests that the greeter answers."""
HANDSHAKES, NEWEST = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"), "2026-07-28"
VERSION, CAPABILITIES, CLIENT = (
    f"io.modelcontextprotocol/{name}" for name in ("protocolVersion", "clientCapabilities", "clientInfo")
)
APPS, APPS_MIME_TYPE = "io.modelcontextprotocol/ui", "text/html;profile=mcp-app"

Shape = type | tuple[str, ...] | re.Pattern[str] | Mapping[str, Any]
"""A type, some texts, a number or a text of a pattern, or fields: `name?` may be missing, `*` is any other field."""
PLAIN = re.compile(r"[ !#-\[\]-~]{1,128}")
"""Numbers, and texts that every writer of JSON writes alike."""
CAPABILITIES_SHAPE: Shape = {
    "roots?": {"listChanged?": bool},
    "sampling?": {"context?": {}, "tools?": {}},
    "elicitation?": {"form?": {}, "url?": {}},
    "experimental?": {"*": dict},
    "extensions?": {"*": dict},
}
CLIENT_SHAPE: Shape = {"name": str, "version": str, "title?": str}
REQUEST: Shape = {"jsonrpc": ("2.0",), "id": PLAIN, "method": METHODS, "params?": dict}
INITIALIZED: Shape = {"jsonrpc": ("2.0",), "method": ("notifications/initialized",)}
HANDSHAKE: Shape = {"protocolVersion": HANDSHAKES, "capabilities": CAPABILITIES_SHAPE, "clientInfo": CLIENT_SHAPE}
HANDSHAKE_PARAMS: Shape = {"_meta?": {"progressToken?": PLAIN}}
META: Shape = {VERSION: (NEWEST,), CAPABILITIES: CAPABILITIES_SHAPE, CLIENT: CLIENT_SHAPE, "progressToken?": PLAIN}
DOUBTFUL = re.compile(rb"\r|\\u[dD]|NaN|Infinity|\d{16}")
"""What other parsers may read in another way: half a surrogate pair, a number without a limit."""


def read_answers(document: Path = DOCUMENT) -> Mapping[bytes, bytes] | None:
    """Return the stored answers; None if they are missing or damaged, or of other code, libraries or Pythons."""
    try:
        head, _, rest = document.read_bytes().replace(b"\r\n", b"\n").partition(b"\n")
        libraries, sources, *rows = rest.splitlines()
        checksum, *files = sources.decode().split()
        stale = (
            b"%d.%d" % sys.version_info[:2] not in head.split()[1:]
            or b"%08x" % zlib.crc32(rest) != head[:8]
            or libraries.decode().split() != list_libraries()
            or checksum != compute_checksum(files)
        )
    except (OSError, ValueError):
        return None
    pairs = (row.partition(b"\t") for row in rows)
    return None if stale else {key: answer for keys, _, answer in pairs for key in keys.split(b",")}


def list_libraries() -> list[str]:
    """Return the libraries with their versions. `importlib.metadata` would take too long to load.

    Raises:
        OSError: A library is not installed as a folder.
    """
    found: list[str] = []
    for name in LIBRARIES:
        place = next((entry for entry in sys.path if os.path.isdir(os.path.join(entry, name))), os.devnull)
        found += sorted(entry for entry in os.listdir(place) if entry.startswith(f"{name}-"))
    return found


def compute_checksum(files: Sequence[str]) -> str:
    """Return the checksum of modules of the package, which are read.

    Raises:
        OSError: One is no readable file.
    """
    checksum = 0
    for file in files:
        checksum = zlib.crc32((PACKAGE / file).read_bytes().replace(b"\r\n", b"\n"), checksum)
    return f"{checksum:08x}"


def start_greeter() -> "Greeter | None":
    """Start to answer the host; return None where only the server can."""
    answers = None if sys.stdin is None or sys.stdin.isatty() else read_answers() or read_answers(OWN)
    if answers is None:
        return None
    try:
        greeter = Greeter(answers, stdout=duplicate(STDOUT), stdin=claim_stdin())
    except OSError:
        return None
    if os.name == "posix":
        signal.signal(signal.SIGTERM, _end)
    sys.setswitchinterval(SWITCH_SECONDS)
    greeter.start()
    return greeter


def _end(_number: int, _frame: FrameType | None) -> None:
    """End as the loaded server does: nothing was paid yet."""
    os._exit(0)


class Greeter(threading.Thread):
    """Answers until it must hand over.

    Args:
        answers: The stored answers.
        stdin: The descriptor of the host's lines, which the server takes over.
        stdout: The descriptor for the answers.

    Attributes:
        opening: The messages that opened the connection, for the server; a request has `opening_id` for its id.
    """

    def __init__(self, answers: Mapping[bytes, bytes], *, stdin: int, stdout: int) -> None:
        super().__init__(daemon=True)
        self.opening: list[str] = []
        self.opening_id = f"greeted-{os.urandom(16).hex()}"
        self._answers: Mapping[bytes, bytes] = answers
        self._stdin, self._stdout = stdin, stdout
        self._ending, self._rest, self._answered_bytes = False, b"", 0
        self._revision, self._capabilities = "", cast("dict[str, Any]", {})
        self._interval = sys.getswitchinterval()

    def hand_over(self) -> BinaryIO:
        """Wait for the next line or the end of stdin; return the lines from there on."""
        self._ending = True
        sys.setswitchinterval(self._interval)
        self.join()
        return io.BufferedReader(Rest(self._rest, self._stdin))

    def run(self) -> None:
        """Answer line after line."""
        chunk = b"\n"
        while chunk and not self._ending and len(self._rest) <= LINE_BYTES_MAX:
            line, ended, behind = self._rest.partition(b"\n")
            if not ended:
                chunk = b""
                with contextlib.suppress(OSError):  # the server will see it
                    chunk = os.read(self._stdin, CHUNK_BYTES)
                self._rest += chunk
            elif self._answer(line, behind):
                self._rest = behind
            else:
                break
        self._answers = {}
        os.close(self._stdout)

    def _answer(self, line: bytes, behind: bytes) -> bool:
        """Answer a line; return False if it is for the server."""
        message = parse(line)
        if fits(message, INITIALIZED) and self._revision in HANDSHAKES:
            self.opening.append(line.decode())
            return True
        if not fits(message, REQUEST) or (message["method"] == DISCOVER and b'"initialize"' in behind):
            return False  # in the second case the host has stopped waiting for this answer, see `lines`
        result = self._find_result(message["method"], message.get("params", {}))
        self._answered_bytes += len(result or b"")
        if result is None or self._answered_bytes > ANSWERED_BYTES_MAX:
            return False
        answer = b'{"jsonrpc":"2.0","id":%s,"result":%s}\n' % (json.dumps(message["id"]).encode(), result)
        if not self.opening:
            self.opening.append(json.dumps({**message, "id": self.opening_id}))
        with contextlib.suppress(OSError):  # the host has left, and the server will see it
            while answer:
                answer = answer[os.write(self._stdout, answer) :]
        return not answer

    def _find_result(self, method: str, params: dict[str, Any]) -> bytes | None:
        """Return the stored result; None if the server may have another one."""
        if method == INITIALIZE and not self._revision and fits(params, HANDSHAKE):
            self._revision, self._capabilities = params["protocolVersion"], params["capabilities"]
        elif self._revision in ("", NEWEST) and fits(params, {"_meta": META}):
            self._revision, self._capabilities = NEWEST, params["_meta"][CAPABILITIES]
        elif method == INITIALIZE or self._revision not in HANDSHAKES or not fits(params, HANDSHAKE_PARAMS):
            return None
        kinds = self._capabilities.get("extensions", {}).get(APPS, {}).get("mimeTypes")
        variant = "apps" if isinstance(kinds, list) and APPS_MIME_TYPE in kinds else "plain"
        return self._answers.get(f"{self._revision} {variant} {method}".encode())


def parse(line: bytes) -> Any:
    """Return the document of a line; None if another parser might read it in another way."""
    line = line.removesuffix(b"\r")
    if DOUBTFUL.search(line) or line.count(b"{") + line.count(b"[") > BRACKETS_MAX:
        return None
    try:
        return json.loads(line.decode(), object_pairs_hook=_read_fields)
    except ValueError:
        return None


def _read_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a field is there twice")
    return dict(pairs)


def fits(value: Any, shape: Any) -> bool:
    """Return True if a value has a shape, without any field that the shape does not name."""
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and _fit(cast("dict[str, Any]", value), cast("Mapping[str, Any]", shape))
    if isinstance(shape, tuple):
        return isinstance(value, str) and value in shape
    if isinstance(shape, re.Pattern):
        return type(value) is int or (isinstance(value, str) and bool(PLAIN.fullmatch(value)))
    return type(value) is shape


def _fit(value: dict[str, Any], shape: Mapping[str, Any]) -> bool:
    shapes = {name.removesuffix("?"): inner for name, inner in shape.items()}
    if not all(name in value for name in shape if name in shapes and name != "*"):
        return False
    known = all(name in shapes or "*" in shapes for name in value)
    return known and all(fits(inner, shapes.get(name, shapes.get("*"))) for name, inner in value.items())
