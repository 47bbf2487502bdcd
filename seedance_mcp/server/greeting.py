"""Greeting: write the documents that the greeter answers from, with the answers of the real server.

`scripts/write_greeting` writes the one in the package. Where it does not apply, because Python or a library is another
one, `store_answers` writes one for this installation beside the compiled modules. It must answer no host.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from seedance_mcp.server import build_server, greeter

APPS = {"extensions": {greeter.APPS: {"mimeTypes": [greeter.APPS_MIME_TYPE]}}}
VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "apps": APPS}
CLIENT = {"name": "greeting", "version": "1"}


def list_requests(revision: str, capabilities: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a request for each method that the greeter answers in a revision, as a host sends them."""
    if revision in greeter.HANDSHAKES:
        hello = {"protocolVersion": revision, "capabilities": capabilities, "clientInfo": CLIENT}
        yield {"method": greeter.INITIALIZE, "params": hello}
        yield from ({"method": method} for method in ("ping", *greeter.LISTS))
    else:
        meta = {greeter.VERSION: revision, greeter.CAPABILITIES: capabilities, greeter.CLIENT: CLIENT}
        yield from ({"method": method, "params": {"_meta": meta}} for method in (greeter.DISCOVER, *greeter.LISTS))


async def ask_server(lines: Sequence[bytes], environ: Mapping[str, str]) -> list[str]:
    """Return the server's answer to each request of one connection, as it writes them on stdio."""
    to_server, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    server = build_server(environ)._lowlevel_server  # pyright: ignore[reportPrivateUsage]  # served without stdio
    answers: list[str] = []
    async with anyio.create_task_group() as tasks, to_server, from_server:
        tasks.start_soon(server.run, read, write, server.create_initialization_options())
        for line in lines:
            await to_server.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))
            answer = await from_server.receive()
            answers.append(answer.message.model_dump_json(by_alias=True, exclude_unset=True))
        tasks.cancel_scope.cancel()
    return answers


def collect_rows(environ: Mapping[str, str]) -> list[str]:
    """Return the rows of the document: keys with the same result, and the result."""
    keys: dict[str, list[str]] = {}
    for revision in (*greeter.HANDSHAKES, greeter.NEWEST):
        for variant, capabilities in VARIANTS.items():
            requests = [{"jsonrpc": "2.0", "id": 1, **part} for part in list_requests(revision, capabilities)]
            answers = anyio.run(ask_server, [json.dumps(part).encode() for part in requests], environ)
            for request, answer in zip(requests, answers, strict=True):
                result = answer.removeprefix('{"jsonrpc":"2.0","id":1,"result":').removesuffix("}")
                if answer != f'{{"jsonrpc":"2.0","id":1,"result":{result}}}':
                    raise ValueError(f"this is no result of {request['method']}: {answer}")
                keys.setdefault(result, []).append(f"{revision} {variant} {request['method']}")
    return [f"{','.join(names)}\t{result}" for result, names in keys.items()]


def build_document(environ: Mapping[str, str], sources: Sequence[str], old: str = "") -> str:
    """Return the document.

    Args:
        environ: The environment of the settings.
        sources: The modules that the server is built from, as paths in the package.
        old: The document that is there: if the server says the same, the versions of Python that it names stay.
    """
    checksum = greeter.compute_checksum(sources)
    lines = (" ".join(greeter.list_libraries()), f"{checksum} {' '.join(sources)}", *collect_rows(environ))
    rest = "".join(f"{line}\n" for line in lines)
    head, _, old_rest = old.partition("\n")
    pythons = {f"{sys.version_info[0]}.{sys.version_info[1]}", *(head.split()[1:] if old_rest == rest else ())}
    return f"{zlib.crc32(rest.encode()):08x} {' '.join(sorted(pythons))}\n{rest}"


def store_answers(packaged: Path = greeter.DOCUMENT, own: Path = greeter.OWN) -> bool:
    """Write a document for this Python and these libraries if the greeter has none; return True if it has one now.

    The code must be that of the packaged document, which names the modules that count.

    Raises:
        OSError: It cannot be written here.
        ValueError: The packaged document has no modules, or the server's answers have another form.
    """
    if greeter.read_answers(packaged) is not None or greeter.read_answers(own) is not None:
        return True
    _, _, line, *_ = packaged.read_text("utf-8").splitlines()
    checksum, *sources = line.split()
    if greeter.compute_checksum(sources) != checksum:
        return False
    with tempfile.TemporaryDirectory() as folder:
        document = build_document({"SEEDANCE_DATA_DIR": folder}, sources)
    own.parent.mkdir(exist_ok=True)
    written = own.with_name(f"{own.name}.{os.getpid()}")  # readable for all who can read the package
    written.write_text(document, "utf-8", newline="\n")
    os.replace(written, own)
    return greeter.read_answers(own) is not None
