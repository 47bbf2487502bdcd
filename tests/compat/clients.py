"""Other makers' MCP clients: installed once for many runs, driven by a program each, and checked by one list.

`tests/compat` and `scripts/test_compat` share this module, so it does not need pytest. A driver is a program
`drive_NAME PICTURE COMMAND [ARGUMENT...]` that prints one JSON object: what its client got from the server.
"""

import fcntl  # these clients run on POSIX
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER_VARIABLE = "SEEDANCETEST_HOSTS_DIR"
"""Variable that names the folder of installed clients; by default a temporary folder of the machine."""
FOLDER = Path(os.environ.get(FOLDER_VARIABLE) or Path(tempfile.gettempdir()) / "seedance-mcp-hosts")
INSTALL_SECONDS = 300
INSTALL_ATTEMPTS_MAX = 3
DRIVE_SECONDS = 120
SERVER = [sys.executable, "-m", "seedance_mcp"]
SDK_1, SDK_2 = "mcp==1.30.0", "mcp==2.3.0"
"""The Python SDK, for a framework that does not choose a version, or takes one that breaks it."""
TOOLS = {
    "animate_image", "animate_storyboard", "get_job", "quote_price", "upload_image", "list_jobs", "wallet_status",
}  # fmt: skip
REFUSAL = "max_prize_usd: there is no such argument; the nearest is max_price_usd. Nothing was paid."


class InstallError(Exception):
    """A client cannot be installed here."""


def find_requirement(name: str, group: str = "adapters") -> str:
    """Return a package's pinned requirement in a dependency group of pyproject.toml."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return next(line for line in groups[group] if line.partition("==")[0].partition("[")[0] == name)


def install_python(*requirements: str) -> Path:
    """Create a virtual environment with these packages, and return its interpreter.

    Raises:
        InstallError: It cannot be installed.
    """
    folder = FOLDER / "-".join(requirements).translate({ord(c): "_" for c in "<>=,[] "})
    python = folder / "bin" / "python"
    with _locking(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            install([sys.executable, "-m", "venv", "--without-pip", str(folder)])
            pip = [sys.executable, "-m", "pip", "--python", str(python)]
            install([*pip, "install", "--quiet", "--no-compile", *requirements])  # few of the modules are imported
            (folder / "complete").touch()
    return python


def install_node(*packages: str) -> Path:
    """Create a folder with these npm packages.

    Raises:
        InstallError: There is no npm, or they cannot be installed.
    """
    if shutil.which("npm") is None:
        raise InstallError("npm is not installed")
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
    """Let one process install what several need."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(command: list[str], *, cwd: Path | None = None) -> None:
    """Run an installer, again after a failure of the network.

    Raises:
        InstallError: It still fails.
    """
    failure: Exception | None = None
    for _ in range(INSTALL_ATTEMPTS_MAX):
        try:
            subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as exc:
            failure = exc
        else:
            return
    raise InstallError(f"cannot install {command[-1]}: {type(failure).__name__}")


def add_to_node_folder(folder: Path, driver: str) -> Path:
    """Put a driver where it finds the packages of a folder, and return its path there."""
    for name in ("journey.mjs", driver):
        shutil.copy(HERE / name, folder)
    return folder / driver


def run_driver(command: list[str], environ: Mapping[str, str], cwd: Path | None = None) -> dict[str, Any]:
    """Run a driver, and return its report: what it printed, or the last line of it where its client prints, too."""
    done = subprocess.run(command, env=dict(environ), cwd=cwd, capture_output=True, text=True, timeout=DRIVE_SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = done.stdout.strip()
    return json.loads(printed if printed.startswith("{") else printed.splitlines()[-1])


def check_report(seen: Mapping[str, Any], *, drops_unknown: bool = False) -> None:
    """Check what every adapter's driver reports: the tools, a readable refusal, a price, a saved video, its job.

    Args:
        seen: The report.
        drops_unknown: True if the client itself drops an unknown argument, so that nothing is refused.
    """
    assert set(seen["tools"]) == set(seen["described"]) == TOOLS
    assert seen["refused_is_error"] is not drops_unknown
    assert drops_unknown or f"request: {REFUSAL}" in seen["refused"]
    assert seen["price"] == "0.32"
    assert seen["job"]["status"] == "complete"
    assert Path(seen["job"]["file"]).read_bytes()[4:8] == b"ftyp"
    assert seen["again"] == seen["job"]
    assert seen["job"]["file"] in seen["model_read"]
