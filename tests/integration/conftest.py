"""Fixtures of the journeys."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from seedance_mcp.app.local_sandbox import prepare_wallet
from seedance_mcp.sandbox import Sandbox, SandboxSettings
from tests.integration.host import Bench, draw, run_in_thread

FUNDED = 50_000_000


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return draw(tmp_path / "picture.png")


@pytest.fixture
def rail() -> str:
    """How a bench's studio is paid, where the test does not say; journeys that run on both rails are parametrized."""
    return "x402"


@pytest.fixture
async def make_bench(tmp_path: Path, rail: str) -> AsyncGenerator[Callable[..., Awaitable[Bench]]]:
    """Starts sandboxes with a funded wallet; stops them in the end."""
    started: list[Sandbox] = []

    async def make(*, funded: int = FUNDED, job_seconds: float = 0.3, **options: object) -> Bench:
        wallet_file = tmp_path / f"wallet{len(started)}.json"
        address = await run_in_thread(lambda: prepare_wallet(None, wallet_file))
        options = {"rails": (rail,), **options}
        settings = SandboxSettings(funded={address: funded}, job_seconds=job_seconds, **options)  # type: ignore[arg-type]  # as the test arguments
        sandbox = Sandbox(settings)
        await run_in_thread(sandbox.start)
        started.append(sandbox)
        return Bench(sandbox=sandbox, wallet_file=wallet_file, address=address, folder=tmp_path)

    yield make
    for sandbox in started:
        await run_in_thread(sandbox.stop)


@pytest.fixture
async def bench(make_bench: Callable[..., Awaitable[Bench]]) -> Bench:
    return await make_bench()
