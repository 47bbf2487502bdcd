"""`seedance-mcp serve` with the official conformance suite and other clients. Run with SEEDANCETEST_HOSTS=1.

The suite sends no token, so a proxy adds one to each request.
"""

import asyncio
import base64
import secrets
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from seedance_mcp.app.local_sandbox import prepare_wallet
from tests.compat.clients import HERE, SDK_1, TOOLS, add_to_node_folder, run_driver
from tests.compat.conftest import install_node, install_python, need_switch
from tests.compat.test_conformance import SCENARIOS, run_scenario
from tests.hosted.proxy import Proxy
from tests.hosting import add_caller, start_server, write_keys
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

pytestmark = pytest.mark.compat


@dataclass(frozen=True)
class Deployed:
    """A running server, the proxy before it, and its database."""

    url: str
    proxy_url: str
    database: str


@pytest.fixture(scope="module")
def hosted(standing_sandbox: "Sandbox", tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployed]:
    need_switch()
    folder = tmp_path_factory.mktemp("hosted")
    address = prepare_wallet(None, folder / "wallet.json")
    standing_sandbox.chain.mint(address, 50_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with require_postgres(durable=True).database() as database:
        token = asyncio.run(add_caller(database, f"suite-{secrets.token_hex(4)}"))
        with run_proxy(port, token) as proxy:
            environ = {
                "SEEDANCE_PROFILE": "sandbox",
                "SEEDANCE_STUDIO_URL": standing_sandbox.url,
                "SEEDANCE_WALLET_FILE": str(folder / "wallet.json"),
                "SEEDANCE_DATA_DIR": str(folder / "data"),
                "SEEDANCE_STATE_KEYS_FILE": str(write_keys(folder)),
                "SEEDANCE_DATABASE_URL": database,
                "SEEDANCE_HTTP_LISTEN": f"127.0.0.1:{port}",
                "SEEDANCE_PUBLIC_URL": proxy.url,
            }
            with start_server(environ):
                yield Deployed(f"http://127.0.0.1:{port}/mcp", f"{proxy.url}/mcp", database)


@contextmanager
def run_proxy(port: int, token: str) -> Generator[Proxy]:
    """Run a proxy that adds a token, in a thread of its own."""
    proxy = Proxy([port], headers=[f"authorization: Bearer {token}".encode()])
    loop, listens, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def run() -> None:
        async with proxy.running():
            listens.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    listens.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("revision", "scenario"), [(revision, name) for revision, names in SCENARIOS.items() for name in names]
)
def test_official_scenario_passes_against_serve(hosted: Deployed, tmp_path: Path, revision: str, scenario: str) -> None:
    run_scenario(hosted.proxy_url, tmp_path, revision, scenario)


@pytest.mark.slow
@pytest.mark.parametrize("client", ["python", "typescript"])
def test_client_with_a_token_gets_a_video(hosted: Deployed, make_picture: Callable[..., Path], client: str) -> None:
    picture = "data:image/png;base64," + base64.b64encode(make_picture().read_bytes()).decode()
    token = asyncio.run(add_caller(hosted.database, client))
    seen = run_driver([*build_driver(client), picture, hosted.url, token], {"PATH": "/usr/bin:/bin"})
    check_hosted_journey(seen)


def build_driver(client: str) -> list[str]:
    if client == "python":
        return [str(install_python(SDK_1)), str(HERE / "drive_python.py")]
    folder = install_node("@modelcontextprotocol/sdk@1.32.2")
    return ["node", str(add_to_node_folder(folder, "drive_typescript.mjs"))]


def check_hosted_journey(seen: dict[str, Any]) -> None:
    """Check the report of a driver: as on stdio, with a link in the place of a file."""
    assert set(seen["tools"]) == TOOLS
    assert seen["refused_is_error"]
    assert "max_prize_usd: there is no such argument" in seen["refused"]
    assert seen["price"] == "0.32"
    assert seen["job"]["status"] == "complete"
    assert seen["resource"]["job_id"] == seen["job"]["job_id"]
    assert set(seen["prompts"]) == {"animate", "storyboard"}
    assert len(seen["progress"]) >= 2
    assert seen["questions"] == []
