"""Shared parts of the hosts' tests: the switch that allows downloads, a server's settings, and clients."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.compat import clients
from tests.compat.clients import DRIVE_SECONDS, SERVER, TOOLS, InstallError

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

__all__ = ["DRIVE_SECONDS", "SERVER"]
SWITCH_VARIABLE = "SEEDANCETEST_HOSTS"
SWITCHED_ON = os.environ.get(SWITCH_VARIABLE) == "1"  # read at import: a fixture removes our variables

MakeEnviron = Callable[..., Mapping[str, str]]


@pytest.fixture
def host_environ(make_sandbox: Callable[..., "Sandbox"], funded_key: str, tmp_path: Path) -> MakeEnviron:
    """Return a function that builds the settings of a server with its own sandbox."""

    def make(**settings: str) -> Mapping[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
        return {
            **plain,
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": make_sandbox().url,
            "SEEDANCE_WALLET_KEY": funded_key,
            "SEEDANCE_DATA_DIR": str(tmp_path / "data"),
            **settings,
        }

    return make


def need_switch() -> None:
    """Skip unless other clients were requested: they are downloaded."""
    if not SWITCHED_ON:
        pytest.skip(f"downloads clients; set {SWITCH_VARIABLE}=1")


def install_python(*requirements: str) -> Path:
    """Return the interpreter of a virtual environment with these packages, or skip the test."""
    need_switch()
    try:
        return clients.install_python(*requirements)
    except InstallError as exc:
        pytest.skip(str(exc))


def install_node(*packages: str) -> Path:
    """Return a folder with these npm packages, or skip the test."""
    need_switch()
    try:
        return clients.install_node(*packages)
    except InstallError as exc:
        pytest.skip(str(exc))


def install(command: list[str]) -> None:
    """Run an installer, or skip the test."""
    try:
        clients.install(command)
    except InstallError as exc:
        pytest.skip(str(exc))


def check_journey(seen: Mapping[str, Any], *, asked: bool) -> None:
    """Check the report that every driver must give."""
    assert set(seen["tools"]) == TOOLS
    assert seen["refused_is_error"]
    assert "max_prize_usd: there is no such argument" in seen["refused"]
    assert seen["price"] == "0.32"
    assert seen["job"]["status"] == "complete"
    assert Path(seen["job"]["file"]).read_bytes()[4:8] == b"ftyp"
    assert seen["content"] == ["text", "resource_link", "image"]
    assert seen["resource"] == seen["job"]
    assert set(seen["prompts"]) == {"animate", "storyboard"}
    assert len(seen["progress"]) >= 2
    assert bool(seen["questions"]) is asked
