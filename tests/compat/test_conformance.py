"""The official conformance suite's scenarios that apply to any server. Run with SEEDANCETEST_HOSTS=1.

Scenarios that need fixture tools by name, or features that we do not offer, are not run; `docs/mcp.md` lists them.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.compat.conftest import install_node, need_switch

pytestmark = pytest.mark.compat

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE = "node@22.23.3"
START_SECONDS = 60
SCENARIO_SECONDS = 120
SCENARIOS: dict[str, tuple[str, ...]] = {
    "2025-11-25": (
        "server-initialize", "server-session-lifecycle", "ping", "tools-list", "resources-list", "prompts-list",
        "completion-complete", "server-sse-multiple-streams", "dns-rebinding-protection",
    ),
    "2026-07-28": (
        "tools-list", "resources-list", "prompts-list", "completion-complete", "server-sse-multiple-streams",
        "dns-rebinding-protection", "caching", "http-header-validation", "sep-2164-resource-not-found",
        "input-required-result-unsupported-methods", "server-stateless",
    ),
}  # fmt: skip
FIXTURE_CHECKS_MAX = {("2026-07-28", "server-stateless"): 2}
"""Checks that need the suite's own tool, `test_missing_capability`."""


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    need_switch()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    environ = {**plain, "SEEDANCE_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    command = [sys.executable, "-m", "tests.compat.serve_http", str(port)]
    with subprocess.Popen(command, env=environ, cwd=Path(__file__).parents[2]) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    for _ in range(START_SECONDS * 10):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not listen")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("revision", "scenario"), [(revision, name) for revision, names in SCENARIOS.items() for name in names]
)
def test_official_scenario_passes(server_url: str, tmp_path: Path, revision: str, scenario: str) -> None:
    run_scenario(server_url, tmp_path, revision, scenario)


def run_scenario(server_url: str, tmp_path: Path, revision: str, scenario: str) -> None:
    """Run a scenario against a server, and check that all its checks pass that need no fixture tool."""
    folder = install_node(SUITE, NODE)
    programs = folder / "node_modules/.bin"
    command = [
        str(programs / "node"), str(programs / "conformance"), "server", "--url", server_url,
        "--scenario", scenario, "--spec-version", revision, "-o", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SCENARIO_SECONDS)
    checks = [check for file in tmp_path.rglob("checks.json") for check in json.loads(file.read_text(encoding="utf-8"))]
    assert checks, done.stdout[-2000:] + done.stderr[-2000:]
    failed = [check for check in checks if check["status"] == "FAILURE"]
    told = [(check.get("id"), check.get("errorMessage")) for check in failed]
    assert len(failed) <= FIXTURE_CHECKS_MAX.get((revision, scenario), 0), told
    sys.stderr.write(f"\n{revision} {scenario}: {len(checks) - len(failed)} of {len(checks)} checks pass\n")
