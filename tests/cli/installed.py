"""Hosts that are installed in the temporary home: each has the folder that it creates itself."""

import os
import sys
from pathlib import Path

import pytest

from seedance_mcp.cli.install.catalog import HOSTS

HOST_VARIABLES = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "CLINE_DIR", "APPDATA", "LOCALAPPDATA")
"""Variables that move a host's file."""


def add_host(name: str) -> None:
    HOSTS[name].find_place().folder.mkdir(parents=True, exist_ok=True)


def drop_variables(patch: pytest.MonkeyPatch) -> None:
    """Forget the variables and the hosts of the person who runs the tests."""
    patch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), "/usr/bin", "/bin")))
    for variable in HOST_VARIABLES:
        patch.delenv(variable, raising=False)
