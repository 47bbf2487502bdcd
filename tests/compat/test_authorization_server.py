"""`seedance-mcp serve` with an authorization server of other makers, `oidc-provider`, and the SDK's OAuth clients.

Run with SEEDANCETEST_HOSTS=1. What it cannot be made to sign wrongly is signed in `tests/adapters/test_oauth.py`.
"""

import asyncio
import json
import re
import secrets
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urljoin, urlsplit

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from seedance_mcp.app.local_sandbox import prepare_wallet
from seedance_mcp.core.access_tokens import identify
from tests.compat.clients import DRIVE_SECONDS, HERE
from tests.compat.conftest import install_node
from tests.hosting import ACCEPT, Server, build_message, open_http, start_server, work_on, write_keys
from tests.integration.host import Host
from tests.oauth_storage import Storage
from tests.postgres import require_postgres
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

pytestmark = [pytest.mark.compat, pytest.mark.slow]

PROVIDER = "oidc-provider@9.13.3"
SECRET = secrets.token_hex(16)
CALLBACK = "http://127.0.0.1:1/callback"
REDIRECTS_MAX = 12
ACTION = re.compile(r'action="([^"]+)"')
PROMPT = re.compile(r'name="prompt" value="(\w+)"')


@dataclass
class Provider:
    """A running authorization server of one resource."""

    port: int
    resource: str
    folder: Path
    process: "subprocess.Popen[str] | None" = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, key_id: str, algorithm: str) -> None:
        """Start it with a new key, also in the place of an earlier one."""
        self.stop()
        clients = [{"id": name, "secret": SECRET, "scope": "read spend"} for name in ("agent", "reader")]
        settings = {"port": self.port, "resource": self.resource, "key_id": key_id, "algorithm": algorithm}
        command = ["node", str(self.folder / "serve_oidc.mjs"), json.dumps({**settings, "clients": clients})]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline()) == {"listens": True}

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    async def give_token(self, client: str, *, scope: str = "read spend", resource: str = "") -> str:
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource or self.resource}
        async with open_http() as http:
            answer = await http.post(f"{self.issuer}/token", data=form, auth=(client, SECRET))
        return answer.raise_for_status().json()["access_token"]


@dataclass(frozen=True)
class Deployed:
    """A server in OAuth mode, its authorization server and its database."""

    server: Server
    provider: Provider
    database: str

    @property
    def url(self) -> str:
        return f"{self.server.url}/mcp"

    async def list_tools(self, token: str) -> httpx.Response:
        async with open_http(token) as http:
            return await http.post(self.url, json=build_message("tools/list"), headers=ACCEPT)

    @asynccontextmanager
    async def connect(self, auth: httpx2.Auth) -> AsyncGenerator[Host]:
        """Connect the SDK's client, which knows nothing but the URL and how to sign in."""
        async with (
            httpx2.AsyncClient(auth=auth, timeout=DRIVE_SECONDS, verify=NO_TLS) as http,
            Client(streamable_http_client(self.url, http_client=http)) as client,
        ):
            yield Host(client)


@pytest.fixture(scope="module")
def deployed(standing_sandbox: "Sandbox", tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployed]:
    node_folder, folder = install_node(PROVIDER), tmp_path_factory.mktemp("oauth")
    (node_folder / "serve_oidc.mjs").write_bytes((HERE / "serve_oidc.mjs").read_bytes())
    standing_sandbox.chain.mint(prepare_wallet(None, folder / "wallet.json"), 50_000_000)
    port, provider_port = find_free_port(), find_free_port()
    provider = Provider(provider_port, f"http://127.0.0.1:{port}/mcp", node_folder)
    with require_postgres(durable=True).database() as database, running(provider):
        environ = {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": standing_sandbox.url,
            "SEEDANCE_WALLET_FILE": str(folder / "wallet.json"),
            "SEEDANCE_DATA_DIR": str(folder / "data"),
            "SEEDANCE_STATE_KEYS_FILE": str(write_keys(folder)),
            "SEEDANCE_DATABASE_URL": database,
            "SEEDANCE_HTTP_LISTEN": f"127.0.0.1:{port}",
            "SEEDANCE_AUTH": "oauth",
            "SEEDANCE_OAUTH_ISSUER": provider.issuer,
            "SEEDANCE_CALLER_MAX_TOTAL": "5",
        }
        with start_server(environ) as server:
            yield Deployed(server, provider, database)


@contextmanager
def running(provider: Provider) -> Generator[None]:
    try:
        provider.start("first", "RS256")
        yield
    finally:
        provider.stop()


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def buy(host: Host, picture: Path) -> dict[str, Any]:
    """Quote and buy a video of a picture; returns the job."""
    ticket = await host.call("upload_image")
    async with open_http() as http:
        (await http.put(ticket["upload_url"], content=picture.read_bytes())).raise_for_status()
    quoted = await host.call("quote_price", image=ticket["image"], prompt="It moves.")
    assert quoted["price_usd"] == "0.32"
    job = await host.call("animate_image", image=ticket["image"], prompt="It moves.", wait_seconds=30)
    return {name: job[name] for name in ("status", "job_id")}


async def test_program_with_a_secret_discovers_all_and_buys(
    deployed: Deployed, make_picture: Callable[..., Path]
) -> None:
    issuer = deployed.provider.issuer
    auth = ClientCredentialsOAuthProvider(deployed.url, Storage(), "agent", SECRET, issuer=issuer)
    async with deployed.connect(auth) as host:
        job = await buy(host, make_picture())
    assert job["status"] == "complete"
    entries = await work_on(deployed.database, lambda ledger: ledger.list_callers())
    assert identify(issuer, "sub", "agent").id in [entry.caller.id for entry in entries]


async def test_token_that_may_only_read_is_replaced_when_it_must_buy(
    deployed: Deployed, make_picture: Callable[..., Path]
) -> None:
    """The client answers the challenge of the refused purchase, and repeats it by itself."""
    storage = Storage(OAuthToken(access_token=await deployed.provider.give_token("reader", scope="read"), scope="read"))
    auth = ClientCredentialsOAuthProvider(deployed.url, storage, "reader", SECRET, issuer=deployed.provider.issuer)
    async with deployed.connect(auth) as host:
        assert (await host.call("list_jobs"))["jobs"] == []
        assert storage.tokens is not None
        assert storage.tokens.scope == "read"
        job = await buy(host, make_picture())
    assert job["status"] == "complete"
    assert set((storage.tokens.scope or "").split()) == {"read", "spend"}


async def test_person_signs_in_by_the_pages_of_the_provider(deployed: Deployed) -> None:
    """With PKCE and a client that registers itself."""
    landed: list[str] = []

    async def open_page(url: str) -> None:
        landed.append(await sign_in(url, "grace"))

    async def read_landing() -> AuthorizationCodeResult:
        query = {name: values[0] for name, values in parse_qs(urlsplit(landed[-1]).query).items()}
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))

    metadata = OAuthClientMetadata(
        client_name="a client", redirect_uris=[AnyUrl(CALLBACK)], grant_types=["authorization_code"],
        response_types=["code"], token_endpoint_auth_method="client_secret_basic",
    )  # fmt: skip
    auth = OAuthClientProvider(deployed.url, metadata, Storage(), open_page, read_landing)
    async with deployed.connect(auth) as host:
        assert not (await host.call("wallet_status")).failed
    name = identify(deployed.provider.issuer, "sub", "grace").name
    entry = await work_on(deployed.database, lambda ledger: ledger.find_entry(name))
    assert entry.caller.scopes == {"read", "spend"}


async def sign_in(url: str, account: str) -> str:
    """Follow the provider's pages as a browser would, and fill in their forms; returns where they lead in the end."""
    async with httpx.AsyncClient(verify=NO_TLS, timeout=DRIVE_SECONDS) as browser:
        answer = await browser.get(url)
        for _ in range(REDIRECTS_MAX):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["location"])
                if url.startswith(CALLBACK):
                    return url
                answer = await browser.get(url)
                continue
            prompt, action = PROMPT.search(answer.text), ACTION.search(answer.text)
            assert prompt is not None, answer.text
            assert action is not None, answer.text
            form = {"prompt": prompt[1], "login": account, "password": "any"}
            answer = await browser.post(urljoin(str(answer.url), action[1]), data=form)
    raise AssertionError("it leads nowhere")


async def test_token_for_another_resource_is_refused(deployed: Deployed) -> None:
    token = await deployed.provider.give_token("agent", resource="https://other.example/mcp")
    answer = await deployed.list_tools(token)
    assert (answer.status_code, answer.json()["error_description"]) == (401, f"The token is not for {deployed.url}")
    assert (await deployed.list_tools(await deployed.provider.give_token("agent"))).status_code == 200


async def test_new_key_of_the_provider_needs_no_restart(deployed: Deployed) -> None:
    old = await deployed.provider.give_token("agent")
    assert (await deployed.list_tools(old)).status_code == 200
    await asyncio.to_thread(deployed.provider.start, "second", "ES256")
    new = await deployed.provider.give_token("agent")
    with anyio.fail_after(DRIVE_SECONDS):
        while (answer := await deployed.list_tools(new)).status_code == 503:
            await anyio.sleep(0.5)  # as the answer says: the keys were read a moment ago
    assert answer.status_code == 200
