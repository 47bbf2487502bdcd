"""What a hosted server does with hostile requests, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from seedance_mcp.core.callers import OWNER, Caller
from seedance_mcp.server import guard
from seedance_mcp.server.auth import TokenVerifier
from seedance_mcp.server.draining import Drain, DrainingServer, build_config
from seedance_mcp.server.http import BODY_BYTES_MAX, Access, build_app
from seedance_mcp.server.protocol import BoundedProtocol
from seedance_mcp.server.readiness import Readiness
from tests.hosting import ACCEPT, Server, add_caller, build_message, open_http, start_server
from tests.server.http.calls import draw_uri, post

LIST = build_message("tools/list")
TOKEN = f"sdn_{'0' * 12}_{'a' * 43}"
SOON = 0.2
"""Seconds of each bound of a server in this process."""


async def ask(server: Server, token: str | None = None, **headers: str) -> httpx.Response:
    """List the tools with further headers."""
    async with open_http(token) as http:
        return await http.post(f"{server.url}/mcp", json=LIST, headers={**ACCEPT, **headers})


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", "127.0.0.1:8080@evil.example", ""]
)
async def test_other_host_is_refused_before_the_token(server: Server, token: str, host: str) -> None:
    assert (await ask(server, token, host=host)).status_code == 421
    assert (await ask(server, host=host)).status_code == 421


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
async def test_each_name_of_this_machine_is_served(server: Server, token: str, name: str) -> None:
    assert (await ask(server, token, host=f"{name}:{urlsplit(server.url).port}")).status_code == 200


async def test_two_hosts_or_none_are_refused(server: Server) -> None:
    for head in (b"GET /mcp HTTP/1.1\r\nHost: %b\r\nHost: evil\r\n\r\n", b"GET /mcp HTTP/1.0\r\n\r\n"):
        host = urlsplit(server.url).netloc.encode()
        answer = await exchange(server.url, head.replace(b"%b", host))
        assert answer.split(b" ")[1] in (b"400", b"421")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "https://localhost:8080"])
async def test_page_of_another_origin_is_refused(server: Server, token: str, origin: str) -> None:
    assert (await ask(server, token, origin=origin)).status_code == 403


async def test_page_of_our_own_origin_is_served(server: Server, token: str) -> None:
    assert (await ask(server, token, origin=server.url)).status_code == 200


async def test_large_body_is_refused_by_its_length_and_while_it_is_read(server: Server, token: str) -> None:
    async def stream() -> AsyncGenerator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65536 + 2):
            yield b" " * 65536

    async with open_http(token) as http:
        headers = {**ACCEPT, "content-type": "application/json"}
        declared = await http.post(f"{server.url}/mcp", content=b" " * (BODY_BYTES_MAX + 1), headers=headers)
        chunked = await http.post(f"{server.url}/mcp", content=stream(), headers=headers)
    assert (declared.status_code, chunked.status_code) == (413, 413)


async def test_large_body_without_a_token_is_not_read(server: Server) -> None:
    host = urlsplit(server.url).netloc
    head = f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000000000\r\n\r\n".encode()
    assert (await exchange(server.url, head)).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b"null", b'{"jsonrpc":"2.0"}', b"9" * 5_000]
)
@pytest.mark.parametrize("revision", [None, "2025-11-25", "2026-07-28"])
async def test_malformed_message_is_the_clients_fault(
    server: Server, token: str, body: bytes, revision: str | None
) -> None:
    version = {} if revision is None else {"mcp-protocol-version": revision}
    async with open_http(token) as http:
        headers = {**ACCEPT, **version, "content-type": "application/json"}
        answer = await http.post(f"{server.url}/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "path", ["/", "/mcp/", "/mcp/../mcp", "//mcp", "/.well-known/oauth-protected-resource/mcp", "/metrics"]
)
async def test_other_paths_do_not_exist(server: Server, token: str, path: str) -> None:
    async with open_http(token) as http:
        answer = await http.send(http.build_request("POST", server.url, extensions={"target": path.encode()}))
    assert answer.status_code == 404


async def test_token_that_may_only_read_cannot_buy(server: Server, database: str) -> None:
    token = await add_caller(database, "reader", scopes="read")
    async with server.connect(token) as host:
        assert not (await host.call("list_jobs")).failed
        for tool, arguments in (
            ("animate_image", {"image": "https://x.example/a.png", "prompt": "x"}),
            ("upload_image", {}),
        ):
            refused = await host.call(tool, **arguments)
            assert refused.text.startswith("permission_denied: The token of reader may not call")
            assert "Nothing was paid. Stop and tell the owner." in refused.text


async def test_too_many_calls_are_told_when_to_call_again(settings: dict[str, str], database: str, token: str) -> None:
    environ = {**settings, "SEEDANCE_DATABASE_URL": database, "SEEDANCE_CALLER_CALLS_PER_MINUTE": "1"}
    with start_server(environ) as server:
        async with server.connect(token) as host:
            first, second = await host.call("list_jobs"), await host.call("list_jobs")
            assert len((await host.client.list_tools()).tools) == 7, "only tool calls count"
    assert not first.failed
    seconds = (second.result.meta or {})["seedance-mcp/error"]["retry_after_seconds"]
    assert 1 <= seconds <= 60
    assert second.text.startswith("too_many_calls: ")
    assert f"Nothing was paid. Wait {seconds} seconds. Then make the same call again" in second.text


async def test_200_concurrent_calls_are_answered(server: Server, token: str) -> None:
    message = build_message("tools/call", name="wallet_status", arguments={})

    async def call(http: httpx.AsyncClient, number: int) -> int:
        sent = LIST if number % 10 else message
        return (await http.post(f"{server.url}/mcp", json=sent, headers=ACCEPT)).status_code

    async with open_http(token) as http:
        assert set(await asyncio.gather(*(call(http, number) for number in range(200)))) == {200}


async def test_answered_question_is_bound_to_caller_and_call_and_buys_once(
    asking: Server, settings: dict[str, str], database: str, make_picture: Any
) -> None:
    """The state that a client brings back may be replayed for ten minutes: the idempotency key is the guard."""
    ann, eve = [await add_caller(database, name) for name in ("ann-asked", "eve")]
    with start_server(settings, SEEDANCE_DATABASE_URL=database, SEEDANCE_ASK_ABOVE="0.01") as other:
        call = {"image": draw_uri(make_picture()), "prompt": "the replayed state"}
        question = (await post(asking, ann, "animate_image", call))["result"]
        state = question["requestState"]
        (key,) = question["inputRequests"]
        yes = {key: {"action": "accept", "content": {"approve": True}}}
        again = {"inputResponses": yes, "requestState": state}

        assert "result" not in await post(asking, eve, "animate_image", call, **again)
        assert "result" not in await post(asking, ann, "animate_image", {**call, "prompt": "y"}, **again)
        forged = {**again, "requestState": state[:-4] + "AAAA"}
        assert "result" not in await post(asking, ann, "animate_image", call, **forged)

        bought = [(await post(one, ann, "animate_image", call, **again))["result"] for one in (other, asking, other)]

    jobs = {one["structuredContent"]["job_id"] for one in bought if not one.get("isError")}
    assert len(jobs) == 1, bought


@asynccontextmanager
async def serve_here(answer: bytes = b"ok") -> AsyncGenerator[tuple[str, DrainingServer]]:
    """Serve an application behind the same checks in this process, with short bounds; yields its origin and itself."""

    async def find(_id: str, _sha256: str) -> Caller:
        return OWNER

    async def reply(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(answer)(scope, receive, send)

    async def look() -> list[str]:
        return []

    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        async with anyio.create_task_group() as tasks:

            def start(work: Callable[[], Awaitable[None]]) -> None:
                tasks.start_soon(guard, work)

            access = Access(
                verifier=TokenVerifier(find),
                drain=Drain(1),
                readiness=Readiness(look, look, start),
                hosts=frozenset({host}),
                origins=frozenset(),
                body_seconds=SOON,
            )
            app = build_app(reply, access)
            protocol = type("Protocol", (BoundedProtocol,), {"head_seconds": SOON, "send_seconds": SOON})
            server = DrainingServer(build_config(app, keep_alive_seconds=1, protocol=protocol))
            tasks.start_soon(server.serve, [listening])
            yield f"http://{host}", server
            server.should_exit = True


async def exchange(url: str, *pieces: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes the connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    for piece in pieces:
        writer.write(piece)
    await writer.drain()
    with anyio.fail_after(60):
        received = await reader.read(65536) if pieces and pieces[0].startswith(b"GET /mcp") else await reader.read()
    writer.close()
    return received


@pytest.mark.parametrize("head", [b"", b"P", b"POST /mcp HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_connection_that_sends_no_whole_head_is_closed(head: bytes) -> None:
    async with serve_here() as (url, _):
        assert await exchange(url, head) == b""


async def test_slow_drip_of_a_head_is_closed() -> None:
    async with serve_here() as (url, _):
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        with anyio.fail_after(60):
            while not reader.at_eof():
                writer.write(b"P")
                with anyio.move_on_after(0.05):
                    await reader.read()
        writer.close()


async def test_half_sent_body_is_refused_in_time() -> None:
    async with serve_here() as (url, _):
        host = urlsplit(url).netloc
        head = f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 10\r\n\r\n12345"
        answer = await exchange(url, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


async def test_client_that_does_not_read_its_answer_is_left() -> None:
    async with serve_here(b"x" * 50_000_000) as (url, server):
        parts = urlsplit(url)
        host = parts.netloc
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
        head = f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}"
        writer.write(head.encode())
        received = 0
        with anyio.fail_after(60):
            while not server.server_state.total_requests or server.server_state.connections:
                await anyio.sleep(SOON)
            while piece := await reader.read(1 << 20):
                received += len(piece)
        writer.close()
    assert received < 50_000_000
