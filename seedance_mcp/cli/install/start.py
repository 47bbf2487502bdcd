"""Start: the command with which a host starts this installation, from any folder.

A command that `uvx` runs lives in a cache that may be emptied at any time. The entry then names `uvx` and the source of
this copy, and never a path inside the cache.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.installation import NAME, UNKNOWN_SOURCE, find_requirement

_TAG = "CACHEDIR.TAG"
"""A file that marks a folder as a cache, in uv's cache too. Source: Cache Directory Tagging Specification."""


def find_start(environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the absolute command and its arguments.

    Raises:
        ConfigError: This copy runs from a cache, and cannot be started again from its source.
    """
    prefix = Path(sys.prefix)
    if _is_in_cache(prefix):
        return _find_uvx(environ), ["--from", _find_source(prefix), NAME]
    script = shutil.which(NAME, path=str(Path(sys.executable).parent))  # of this installation
    return (script, []) if script else (sys.executable, ["-m", "seedance_mcp"])


def _is_in_cache(prefix: Path) -> bool:
    return any((folder / _TAG).is_file() for folder in prefix.resolve().parents)  # an environment may have a tag itself


def _find_uvx(environ: Mapping[str, str]) -> str:
    uv = environ.get("UV")  # uv sets it for what it runs
    beside = shutil.which("uvx", path=str(Path(uv).parent)) if uv else None
    found = beside or shutil.which("uvx", path=environ.get("PATH"))
    if found is None:
        raise ConfigError(
            f"This copy of {NAME} runs from a cache, and there is no uvx to start it again. Nothing was written.",
            f"Install it permanently from {UNKNOWN_SOURCE}, and run the same command again.",
        )
    return found


def _find_source(prefix: Path) -> str:
    requirement = find_requirement()
    if requirement is None:
        raise ConfigError(
            f"This copy of {NAME} runs from a cache ({prefix}), and its source is unknown. Nothing was written.",
            f"Install it permanently from {UNKNOWN_SOURCE}, and run the same command again.",
        )
    return requirement
