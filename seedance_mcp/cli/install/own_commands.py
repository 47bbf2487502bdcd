"""Own commands: the commands with which hosts add a server to their own file.

A host's own command is preferred, because it knows the host's file best. It gets no secret: an entry never has one, and
an existing entry, which may have anything, is only changed in the file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from seedance_mcp.cli.install.entry import SERVER_NAME, read_env

RUN_SECONDS = 60
"""How long a host's command may take. Gemini CLI needs ten seconds on a small machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCommand:
    """A host's command that is on the path.

    Attributes:
        name: The command for people, such as `codex mcp add`.
        words: The whole command.
    """

    name: str
    words: tuple[str, ...]

    def run(self) -> bool:
        """Run the command, and return True if it succeeded. Its output is not shown."""
        try:
            done = subprocess.run(  # noqa: S603 - the program that the person installed for this host
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=RUN_SECONDS,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def find_own_command(host: str, entry: Mapping[str, object]) -> OwnCommand | None:
    """Return the command of a host that adds an entry; None if it has none, or none is on the path.

    Args:
        host: The host's name in the catalog.
        entry: Our entry, in our shape.
    """
    known = _KNOWN.get(host)
    program = None if known is None or os.name != "posix" else shutil.which(known[0])
    if known is None or program is None:
        return None
    words = known[1](entry)
    return OwnCommand(name=" ".join((known[0], *words[:2])), words=(program, *words))


def _list_env(entry: Mapping[str, object], flag: str) -> list[str]:
    return [word for name, value in read_env(entry).items() for word in (flag, f"{name}={value}")]


def _list_start(entry: Mapping[str, object]) -> list[str]:
    return [str(entry["command"]), *map(str, cast("list[object]", entry["args"]))]


def _add_json(entry: Mapping[str, object]) -> list[str]:
    return ["mcp", "add-json", "--scope", "user", SERVER_NAME, json.dumps(entry)]


def _add(entry: Mapping[str, object]) -> list[str]:
    return ["mcp", "add", SERVER_NAME, *_list_env(entry, "--env"), "--", *_list_start(entry)]


def _add_for_gemini(entry: Mapping[str, object]) -> list[str]:
    command, *args = _list_start(entry)
    return ["mcp", "add", "--scope", "user", *_list_env(entry, "-e"), SERVER_NAME, command, "--", *args]


_KNOWN: dict[str, tuple[str, Callable[[Mapping[str, object]], list[str]]]] = {
    "claude-code": ("claude", _add_json),
    "codex": ("codex", _add),
    "copilot-cli": ("copilot", _add),
    "gemini-cli": ("gemini", _add_for_gemini),
    "opencode": ("opencode", _add),
}
"""Programs, and the words that follow, by host. `scripts/test_compat` runs each of them."""
