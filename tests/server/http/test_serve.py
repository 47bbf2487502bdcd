"""`seedance-mcp serve` over real sockets: who is served, and how, in both protocol eras."""

import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from seedance_mcp.cli.exit_codes import YOURS
from tests.forks import build_command
from tests.hosted.clients import draw_picture
from tests.hosted.deployment import skew_clock
from tests.hosting import (
    ACCEPT,
    Server,
    add_caller,
    build_environ,
    build_message,
    open_http,
    start_server,
    wait_for_readiness,
)
from tests.postgres import require_postgres

if TYPE_CHECKING:
    pass

LIST = build_message("tools/list")
BOTH_ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@BOTH_ERAS
async def test_caller_with_a_token_lists_tools_and_reads_the_wallet(server: Server, token: str, mode: Any) -> None:
    async with server.connect(token, mode=mode) as host:
        assert len((await host.client.list_tools()).tools) == 7
        status = await host.call("wallet_status")
    assert (status["balances"], status["address"]) == ([], None), "the wallet is the owner's"


async def test_probes_need_no_token_and_accept_any_host(server: Server) -> None:
    async with open_http() as http:
        health = await http.get(f"{server.url}/healthz", headers={"host": "10.0.0.7:8080"})
        await wait_for_readiness(server)
        ready = await http.get(f"{server.url}/readyz", headers={"host": "10.0.0.7:8080"})
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "problems": []})


async def test_stream_and_session_requests_are_answered_405(server: Server, token: str) -> None:
    async with open_http(token) as http:
        for method in ("GET", "DELETE", "PUT", "HEAD", "OPTIONS"):
            answer = await http.request(method, f"{server.url}/mcp", headers=ACCEPT)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_request_without_a_token_gets_a_challenge_without_metadata(server: Server) -> None:
    async with open_http() as http:
        answer = await http.post(f"{server.url}/mcp", json=LIST, headers=ACCEPT)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="seedance-mcp"'


@pytest.mark.parametrize("change", ["last character", "unknown id", "malformed", "basic"])
async def test_wrong_token_is_refused(server: Server, token: str, change: str) -> None:
    scheme, wrong = "Bearer", token[:-1] + ("a" if token[-1] != "a" else "b")
    if change == "unknown id":
        wrong = f"sdn_0123456789ab_{token[-43:]}"
    elif change == "malformed":
        wrong = "sdn_x"
    elif change == "basic":
        scheme, wrong = "Basic", token
    async with open_http() as http:
        headers = {**ACCEPT, "authorization": f"{scheme} {wrong}"}
        answer = await http.post(f"{server.url}/mcp", json=LIST, headers=headers)
    assert answer.status_code == 401
    assert ('error="invalid_token"' in answer.headers["www-authenticate"]) is (change != "basic")
    assert "resource_metadata" not in answer.headers["www-authenticate"]


async def test_token_in_the_url_is_no_token_and_is_never_logged(server: Server, token: str) -> None:
    async with open_http() as http:
        for name in ("access_token", "token"):
            answer = await http.post(f"{server.url}/mcp?{name}={token}", json=LIST, headers=ACCEPT)
            assert answer.status_code == 401
        answer = await http.get(f"{server.url}/{token}/x", headers={"x-request-id": "the-last-one"})
        assert answer.status_code == 404
    await server.wait_for_record("the-last-one")
    assert token[-20:] not in server.log


async def test_server_on_a_database_that_may_forget_is_not_ready_and_says_why(settings: dict[str, str]) -> None:
    cluster = require_postgres(durable=True)
    with cluster.database() as url:
        cluster.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} SET synchronous_commit = off")
        with start_server(settings, SEEDANCE_DATABASE_URL=url, SEEDANCE_DATABASE_SINGLE="off") as server:
            token = await add_caller(url, "ann")
            async with open_http() as http:
                ready = await http.get(f"{server.url}/readyz")
            async with server.connect(token) as host:
                refused = await host.call("animate_image", image="https://pictures.example/a.png", prompt="x")
    assert ready.status_code == 503
    problems = ready.json()["problems"]
    assert [problem.partition(":")[0] for problem in problems] == [
        "synchronous_commit is off", "No synchronous standby is named (synchronous_standby_names)",
    ]  # fmt: skip
    assert all(any(problem in record["message"] for record in server.records) for problem in problems)
    assert refused.text.startswith("ledger: This server may not buy anything: synchronous_commit is off")
    assert "Nothing was paid. Stop and tell the owner." in refused.text


def test_server_on_another_version_of_the_ledger_does_not_start(settings: dict[str, str]) -> None:
    with require_postgres(durable=True).database(template="template0") as url:
        command = build_command("seedance_mcp", "serve")
        environ = build_environ(settings, SEEDANCE_DATABASE_URL=url)
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == YOURS
    assert "has no ledger yet. Run once: seedance-mcp migrate" in " ".join(done.stderr.split())


async def test_server_with_a_wrong_clock_buys_by_the_clock_of_the_database(
    settings: dict[str, str], database: str, token: str
) -> None:
    with start_server(settings, SEEDANCE_DATABASE_URL=database, **skew_clock(3_600)) as server:
        async with server.connect(token) as host:
            result = await host.call("animate_image", image=draw_picture(77), prompt="a wrong clock", wait_seconds=30)
    assert result["status"] == "complete"
    assert "clock" not in server.log
