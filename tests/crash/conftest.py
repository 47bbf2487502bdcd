"""Studios to die at: a prompt one, one that is slow to settle and one that is slow to answer, each on both rails.

The fourth takes a charge only once its money has moved.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seedance_mcp.sandbox import Sandbox, SandboxSettings

JOB_SECONDS = 0.5
PAUSE_SECONDS = 1.5
"""Long enough for a crash point to notice where the studio is and to fall through."""


def _open_sandbox(*faults: str, rails: tuple[str, ...] = ("x402", "mpp"), pushed: bool = False) -> Iterator[Sandbox]:
    settings = SandboxSettings(rails=rails, takes_pushed=pushed, job_seconds=JOB_SECONDS, faults=faults)
    with Sandbox(settings) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def prompt_studio() -> Iterator[Sandbox]:
    yield from _open_sandbox()


@pytest.fixture(scope="module")
def slow_to_settle() -> Iterator[Sandbox]:
    yield from _open_sandbox(f"slow_settle={PAUSE_SECONDS}")


@pytest.fixture(scope="module")
def slow_to_answer() -> Iterator[Sandbox]:
    yield from _open_sandbox(f"slow_answer={PAUSE_SECONDS}")


@pytest.fixture(scope="module")
def taking_pushed() -> Iterator[Sandbox]:
    yield from _open_sandbox(rails=("mpp",), pushed=True)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"
