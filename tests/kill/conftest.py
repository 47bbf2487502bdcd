"""Three studios to die at: a prompt one, one that is slow to settle, and one that is slow to answer; on both rails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seedance_mcp.sandbox import Sandbox, SandboxSettings

JOB_SECONDS = 0.5
PAUSE_SECONDS = 1.5
"""Long enough for a trapdoor to notice where the studio is and to fall through."""


def _open_sandbox(*faults: str) -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(rails=("x402", "mpp"), job_seconds=JOB_SECONDS, faults=faults)) as sandbox:
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
def anyio_backend() -> str:
    return "asyncio"
