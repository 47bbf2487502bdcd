"""`seedance-mcp serve` as an OAuth resource server: who is served, what others are told, and a whole journey."""

import secrets
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

from seedance_mcp.core.access_tokens import identify
from seedance_mcp.core.callers import CallerCaps
from tests.hosted.authorization import SECRET, AuthorizationServer, Key, run_authorization_server
from tests.hosting import ACCEPT, CALL_SECONDS, Server, add_caller, build_message, open_http, start_server, work_on
from tests.integration.host import Host
from tests.oauth_storage import Storage
from tests.servers import NO_TLS

LIST = build_message("tools/list")
CAPS = CallerCaps(max_total_micro_usdc=5_000_000)


@pytest.fixture(scope="module")
def issuer() -> Generator[AuthorizationServer]:
    with run_authorization_server(Key.make("first"), path="/realms/team") as running:
        yield running


@pytest.fixture(scope="module")
def guarded(settings: dict[str, str], database: str, issuer: AuthorizationServer) -> Generator[Server]:
    """A server in OAuth mode; each caller may spend $5 in all."""
    with start_server(
        settings,
        SEEDANCE_DATABASE_URL=database,
        SEEDANCE_AUTH="oauth",
        SEEDANCE_OAUTH_ISSUER=issuer.issuer,
        SEEDANCE_CALLER_MAX_TOTAL="5",
    ) as started:
        yield started


def make_subject() -> str:
    return f"ann-{secrets.token_hex(4)}"


async def ask(server: Server, token: str | None, message: dict[str, Any] = LIST) -> httpx.Response:
    async with open_http(token) as http:
        return await http.post(f"{server.url}/mcp", json=message, headers=ACCEPT)


async def test_request_without_a_token_is_told_where_to_get_one(guarded: Server, issuer: AuthorizationServer) -> None:
    answer = await ask(guarded, None)
    metadata_url = f"{guarded.url}/.well-known/oauth-protected-resource/mcp"
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        f'Bearer realm="seedance-mcp", resource_metadata="{metadata_url}", scope="read spend"'
    )
    async with open_http() as http:
        document = (await http.get(metadata_url)).json()
    assert document == {
        "resource": f"{guarded.url}/mcp",
        "authorization_servers": [issuer.issuer],
        "scopes_supported": ["read", "spend"],
        "bearer_methods_supported": ["header"],
        "resource_name": "seedance-mcp",
    }


async def test_valid_token_is_served_and_its_caller_is_added(
    guarded: Server, issuer: AuthorizationServer, database: str
) -> None:
    subject = make_subject()
    async with guarded.connect(issuer.mint(subject, f"{guarded.url}/mcp")) as host:
        status = await host.call("wallet_status")
    name = identify(issuer.issuer, "sub", subject).name
    entry = await work_on(database, lambda ledger: ledger.find_entry(name))
    assert entry.caller.scopes == {"read", "spend"}
    assert status["address"] is None, "the wallet is the owner's"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://other.example/mcp"}, "The token is not for http://"),
        ({"iss": "https://other.example"}, "The token is of another issuer"),
        ({"exp": 1}, "The token has expired"),
    ],
)
async def test_wrong_token_is_refused_with_a_challenge(
    guarded: Server, issuer: AuthorizationServer, changes: dict[str, Any], why: str
) -> None:
    token = issuer.mint("ann", f"{guarded.url}/mcp", **changes)
    answer = await ask(guarded, token)
    challenge = answer.headers["www-authenticate"]
    assert answer.status_code == 401
    assert 'error="invalid_token"' in challenge
    assert why in challenge
    assert "resource_metadata=" in challenge
    assert token not in answer.text + challenge


async def test_tokens_of_the_command_line_are_refused(guarded: Server, database: str) -> None:
    token = await add_caller(database, make_subject())
    answer = await ask(guarded, token)
    assert answer.status_code == 401
    assert answer.json()["error_description"] == "The token is not a JWT of this server's issuer"


async def test_token_without_read_is_told_the_scope(guarded: Server, issuer: AuthorizationServer) -> None:
    answer = await ask(guarded, issuer.mint(make_subject(), f"{guarded.url}/mcp", scope="spend openid"))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="read"' in answer.headers["www-authenticate"]


async def test_purchase_without_spend_is_told_to_get_another_token(
    guarded: Server, issuer: AuthorizationServer
) -> None:
    token = issuer.mint(make_subject(), f"{guarded.url}/mcp", scope="read")
    call = build_message("tools/call", name="animate_image", arguments={"image": "https://x.example/a.png"})
    answer = await ask(guarded, token, call)
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="read spend"' in answer.headers["www-authenticate"]
    async with guarded.connect(token) as host:
        assert (await host.call("list_jobs"))["jobs"] == []


async def test_scope_that_the_owner_did_not_give_is_no_challenge(
    guarded: Server, issuer: AuthorizationServer, database: str
) -> None:
    """Another token would not have it either."""
    subject = make_subject()
    identity = identify(issuer.issuer, "sub", subject)
    await work_on(database, lambda ledger: ledger.admit(identity, subject, frozenset({"read"}), CAPS))
    async with guarded.connect(issuer.mint(subject, f"{guarded.url}/mcp", scope="read spend admin")) as host:
        refused = await host.call("animate_image", image="https://x.example/a.png", prompt="x")
        status = await host.call("wallet_status")
    assert refused.text.startswith("permission_denied: ")
    assert "has no scope `spend`" in refused.text
    assert status["address"] is None, "no token makes an admin of someone whom the owner did not"


async def test_revoked_caller_is_refused_with_a_valid_token(
    guarded: Server, issuer: AuthorizationServer, database: str
) -> None:
    subject = make_subject()
    name = identify(issuer.issuer, "sub", subject).name
    await work_on(database, lambda ledger: ledger.find_or_add(identify(issuer.issuer, "sub", subject)))
    await work_on(database, lambda ledger: ledger.revoke_caller(name))
    answer = await ask(guarded, issuer.mint(subject, f"{guarded.url}/mcp"))
    assert answer.status_code == 401
    assert answer.json()["error_description"] == "The token is unknown or revoked"


async def test_no_token_is_logged(guarded: Server, issuer: AuthorizationServer) -> None:
    good = issuer.mint(make_subject(), f"{guarded.url}/mcp")
    wrong = issuer.mint("ann", "https://other.example/mcp")
    for token in (good, wrong):
        await ask(guarded, token)
    async with open_http(wrong) as http:
        await http.get(f"{guarded.url}/clips/none", headers={"x-request-id": "the-last-of-oauth"})
    await guarded.wait_for_record("the-last-of-oauth")
    for token in (good, wrong):
        assert not any(part in guarded.log for part in token.split("."))


async def test_caller_without_any_cap_reads_and_buys_nothing(
    settings: dict[str, str], database: str, issuer: AuthorizationServer
) -> None:
    own = {"SEEDANCE_DATABASE_URL": database, "SEEDANCE_AUTH": "oauth", "SEEDANCE_OAUTH_ISSUER": issuer.issuer}
    subject = make_subject()
    name = identify(issuer.issuer, "sub", subject).name
    with start_server(settings, **own) as server:
        async with server.connect(issuer.mint(subject, f"{server.url}/mcp")) as host:
            refused = await host.call("animate_image", image="https://x.example/a.png", prompt="x")
            assert (await host.call("list_jobs"))["jobs"] == []
        assert "No cap of callers is set" in server.log
    assert refused.text.startswith(
        f"permission_denied: {name} may not call animate_image: no cap limits what it spends."
    )
    assert "Nothing was paid." in refused.text


async def test_issuer_that_is_away_is_503_with_the_time_to_repeat(settings: dict[str, str], database: str) -> None:
    with run_authorization_server() as away:
        token = away.mint(make_subject(), "http://127.0.0.1/mcp")
    own = {"SEEDANCE_DATABASE_URL": database, "SEEDANCE_AUTH": "oauth", "SEEDANCE_OAUTH_ISSUER": away.issuer}
    with start_server(settings, **own) as server:
        answer = await ask(server, token)
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert "www-authenticate" not in answer.headers
    assert answer.json()["error"]["message"].startswith("The authorization server cannot be asked")


@asynccontextmanager
async def connect_by_discovery(server: Server, issuer: str, client_id: str) -> AsyncGenerator[Host]:
    """Connect the SDK's client, which knows the URL of MCP and its own secret alone."""
    url = f"{server.url}/mcp"
    auth = ClientCredentialsOAuthProvider(url, Storage(), client_id, SECRET, issuer=issuer)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=CALL_SECONDS, verify=NO_TLS) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield Host(client)


async def test_client_discovers_the_issuer_and_buys_a_video(
    guarded: Server, issuer: AuthorizationServer, make_picture: Callable[..., Path]
) -> None:
    client_id, picture = make_subject(), make_picture()
    async with connect_by_discovery(guarded, issuer.issuer, client_id) as host:
        ticket = await host.call("upload_image")
        async with open_http() as http:
            (await http.put(ticket["upload_url"], content=picture.read_bytes())).raise_for_status()
        quoted = await host.call("quote_price", image=ticket["image"], prompt="It moves.")
        job = await host.call("animate_image", image=ticket["image"], prompt="It moves.", wait_seconds=30)
        status = await host.call("wallet_status")
    assert quoted["price_usd"] == "0.32"
    assert job["status"] == "complete"
    assert "/realms/team/token" in issuer.asked
    assert "5.00" in str(status.result.structured_content), "the cap of every caller"
