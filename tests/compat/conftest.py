"""Shared parts of the hosts' tests: a server's command and settings, and other clients installed once for many runs."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

FOLDER_VARIABLE = "SEEDANCETEST_HOSTS_DIR"
"""Variable that names the folder of installed clients; by default a temporary folder of the machine."""
SWITCH_VARIABLE = "SEEDANCETEST_HOSTS"
INSTALL_SECONDS = 300
INSTALL_ATTEMPTS_MAX = 3
DRIVE_SECONDS = 120
SERVER = [sys.executable, "-m", "seedance_mcp"]
FOLDER = Path(os.environ.get(FOLDER_VARIABLE) or Path(tempfile.gettempdir()) / "seedance-mcp-hosts")
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
    """Create a virtual environment with these packages, and return its interpreter."""
    need_switch()
    folder = FOLDER / "-".join(requirements).translate({ord(c): "_" for c in "<>=,[] "})
    python = folder / "bin" / "python"
    with _locking(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            install([sys.executable, "-m", "venv", str(folder)])
            install([str(python), "-m", "pip", "install", "--quiet", *requirements])
            (folder / "complete").touch()
    return python


def install_node(*packages: str) -> Path:
    """Create a folder with these npm packages."""
    need_switch()
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = FOLDER / "-".join(packages).translate({ord(c): "_" for c in "@/^~ "})
    with _locking(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "package.json").write_text('{"private": true}')
            install(["npm", "install", "--silent", "--no-audit", "--no-fund", *packages], cwd=folder)
            (folder / "complete").touch()
    return folder


@contextmanager
def _locking(folder: Path) -> Generator[None]:
    """Let one worker install what several need."""
    import fcntl  # these tests run on POSIX

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(command: list[str], *, cwd: Path | None = None) -> None:
    """Run an installer, again after a network failure; skip the test if it still fails."""
    failure: Exception | None = None
    for _ in range(INSTALL_ATTEMPTS_MAX):
        try:
            subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as exc:
            failure = exc
        else:
            return
    pytest.skip(f"cannot install {command[-1]}: {type(failure).__name__}")


def run_driver(command: list[str], environ: Mapping[str, str], cwd: Path | None = None) -> dict[str, Any]:
    """Run another client, and return its JSON report."""
    done = subprocess.run(command, env=dict(environ), cwd=cwd, capture_output=True, text=True, timeout=DRIVE_SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip())


def check_journey(seen: Mapping[str, Any], *, asked: bool) -> None:
    """Check the report that every driver must give."""
    assert set(seen["tools"]) == {
        "animate_image", "get_job", "quote_price", "upload_image", "list_jobs", "wallet_status",
    }  # fmt: skip
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
