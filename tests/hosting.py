"""Hosted servers for tests: `seedance-mcp serve` as a process, with a database and the sandbox studio."""

import asyncio
import json
import os
import re
import secrets
import subprocess
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from seedance_mcp.adapters.ledger.postgres import PostgresLedger
from seedance_mcp.core.callers import NO_CAPS, CallerCaps, parse_scopes
from tests.forks import build_command
from tests.integration.host import Host
from tests.servers import NO_TLS

START_SECONDS = 60
END_SECONDS = 90
CALL_SECONDS = 60
CALLERS_AT_A_TIME = 10
ACCEPT = {"accept": "application/json, text/event-stream"}
MODERN = "2026-07-28"
T = TypeVar("T")
ADDRESS = re.compile(r"Serving MCP at (http://\S+)/mcp")


@dataclass
class Server:
    """A running server.

    Attributes:
        url: Its origin.
        process: It.
        records: What it has logged.
    """

    url: str
    process: "subprocess.Popen[str]"
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reader: threading.Thread | None = None

    @property
    def log(self) -> str:
        """All that it has logged."""
        return "\n".join(json.dumps(record) for record in list(self.records))

    async def wait_for_record(self, text: str) -> None:
        """Wait until it has logged a text."""
        with anyio.fail_after(START_SECONDS):
            while text not in self.log:
                await anyio.sleep(0.02)

    def end(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.terminate()
        code = self.process.wait(END_SECONDS)
        if self.reader is not None:
            self.reader.join()
        return code

    @asynccontextmanager
    async def connect(self, token: str, *, mode: Any = "auto", elicitation: Any = None) -> AsyncGenerator[Host]:
        """Connect a host with a token."""
        failure: BaseException | None = None
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS, verify=NO_TLS) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(transport, mode=mode, elicitation_callback=elicitation) as client:
                try:
                    yield Host(client)
                except BaseException as exc:  # carried past the client's task group, which would wrap it
                    failure = exc
        if failure is not None:
            raise failure


@asynccontextmanager
async def open_http(token: str | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    """Open an HTTP client, with a token in its header."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=CALL_SECONDS, verify=NO_TLS) as http:
        yield http


def build_message(method: str, **params: object) -> dict[str, Any]:
    """Build a JSON-RPC request of an earlier revision."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def build_modern_call(
    tool: str, arguments: dict[str, Any], *, shows: str = "form", **params: object
) -> tuple[dict[str, str], dict[str, Any]]:
    """Build headers and message of a tool call at revision 2026-07-28, from a client that shows forms, or links."""
    meta: dict[str, object] = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {shows: {}}},
    }
    headers = {**ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
    return headers, build_message("tools/call", name=tool, arguments=arguments, _meta=meta, **params)


def build_environ(environ: dict[str, str], **more: str) -> dict[str, str]:
    """Return the environment of a server at a free port."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    own = {"SEEDANCE_HTTP_LISTEN": "127.0.0.1:0", "SEEDANCE_DATABASE_SINGLE": "on"}
    return {**plain, **own, **environ, **more}


@contextmanager
def start_server(environ: dict[str, str], **more: str) -> Generator[Server]:
    """Start a server and wait until it listens; kill it afterwards if it has not ended."""
    given = build_environ(environ, **more)
    command = build_command("seedance_mcp", "serve", afresh="LD_PRELOAD" in given)
    process = subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    reader: threading.Thread | None = None
    try:
        server = Server("", process)
        for record in read_records(process.stderr):
            server.records.append(record)
            if found := ADDRESS.search(record["message"]):
                server.url = found[1]
                break
        assert server.url, f"it ended before it listened: {server.log}"
        reader = threading.Thread(target=lambda: server.records.extend(read_records(process.stderr or [])), daemon=True)
        server.reader = reader
        reader.start()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if reader is not None:
            reader.join()
        process.stderr.close()


def read_records(lines: "Iterator[str] | Any") -> Generator[dict[str, Any]]:
    """Return each line of a log; one that is no record is a message."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            yield {"message": line.rstrip()}


async def work_on(url: str, work: Callable[[PostgresLedger], Awaitable[T]]) -> T:
    """Open the ledger in a database, work on it, and close it."""
    ledger = await PostgresLedger.open(url)
    try:
        return await work(ledger)
    finally:
        await ledger.close()


async def add_caller(url: str, name: str, *, scopes: str = "read,spend", caps: CallerCaps = NO_CAPS) -> str:
    """Add a caller to a database; returns its token."""
    return (await work_on(url, lambda ledger: ledger.add_caller(name, parse_scopes(scopes), caps))).text


def hand_out_tokens(url: str, name: str) -> Generator[str]:
    """Yield the tokens of new callers; some are added at a time, because to open the ledger takes longest."""

    async def add(ledger: PostgresLedger) -> list[str]:
        scopes = parse_scopes("read,spend")
        names = (f"{name}-{secrets.token_hex(4)}" for _ in range(CALLERS_AT_A_TIME))
        return [(await ledger.add_caller(one, scopes, NO_CAPS)).text for one in names]

    while True:
        yield from asyncio.run(work_on(url, add))


async def wait_for_readiness(server: Server, *, ready: bool = True) -> list[str]:
    """Wait until a server is ready, or not; returns its problems."""
    async with open_http() as http:
        with anyio.fail_after(START_SECONDS):
            while True:
                answer = (await http.get(f"{server.url}/readyz")).json()
                if answer["ready"] is ready:
                    return answer["problems"]
                await anyio.sleep(0.1)


def write_keys(folder: Path) -> Path:
    """Write a file of state keys."""
    file = folder / "state.keys"
    file.write_text(f"{secrets.token_urlsafe(48)}\n")
    return file
