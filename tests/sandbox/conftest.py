"""Sandboxes on local ports, and clients for them."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from seedance_mcp.sandbox import Sandbox, SandboxSettings

from .client import FUNDS_MICRO_USDC, SandboxClient


@pytest.fixture(scope="session")
def account() -> LocalAccount:
    return Account.create()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def stoppers() -> Iterator[ThreadPoolExecutor]:
    """Yield threads that stop sandboxes while the next test begins."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def open_sandbox(account: LocalAccount, stoppers: ThreadPoolExecutor) -> Iterator[Callable[..., Sandbox]]:
    """Yield a function that starts sandboxes with a funded wallet; all are stopped after the test."""
    started: list[Sandbox] = []

    def start(**settings: Any) -> Sandbox:
        funded = {account.address: FUNDS_MICRO_USDC}
        chosen: dict[str, Any] = {"job_seconds": 0.2, "funded": funded, **settings}
        sandbox = Sandbox(SandboxSettings(**chosen))
        sandbox.start()
        started.append(sandbox)
        return sandbox

    yield start
    for sandbox in started:
        stoppers.submit(sandbox.stop)


@pytest.fixture(scope="session")
def trust() -> ssl.SSLContext:
    """Return one context for all clients: reading the trusted certificates is slow."""
    return ssl.create_default_context()


@pytest.fixture
async def open_client(account: LocalAccount, trust: ssl.SSLContext) -> AsyncIterator[Callable[..., SandboxClient]]:
    """Yield a function that opens clients; their connections are closed after the test."""
    clients: list[httpx.AsyncClient] = []

    def make(sandbox: Sandbox, signer: LocalAccount | None = None) -> SandboxClient:
        client = httpx.AsyncClient(base_url=sandbox.url, timeout=10, trust_env=False, verify=trust)
        clients.append(client)
        return SandboxClient(client, signer or account)

    yield make
    for client in clients:
        await client.aclose()
