"""Shapes: the same entry as each host writes it.

Our entry has `command`, `args` and `env`. Some hosts use other names, or one list for the command and its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

Form = Literal["mcpServers", "servers", "context_servers", "codex", "opencode", "goose"]
"""The format of a host's file."""

_KEYS = {"codex": "mcp_servers", "opencode": "mcp", "goose": "extensions"}
_GOOSE = {"command": "cmd", "env": "envs"}
"""Our members as Goose names them."""


def find_key(form: Form) -> str:
    """Return the key under which a host's file has its servers."""
    return _KEYS.get(form, form)


def to_host(form: Form, entry: Mapping[str, object]) -> dict[str, object]:
    """Convert our entry to a host's shape."""
    written = dict(entry)
    if form == "codex" and not entry.get("env"):
        written.pop("env", None)  # an empty table is noise
    if form == "opencode" and "command" in entry:
        args = cast("list[object]", written.pop("args", []))
        written["command"] = [entry["command"], *args]
        written["environment"] = written.pop("env", {})
    if form == "goose":
        return {_GOOSE.get(name, name): value for name, value in written.items()}
    return written


def from_host(form: Form, written: Mapping[str, object]) -> dict[str, object]:
    """Convert an entry from a host's shape to ours."""
    entry = dict(written)
    if form == "opencode":
        command = written.get("command")
        if isinstance(command, list) and command:
            entry["command"], *entry["args"] = cast("list[object]", command)
        if "environment" in written:
            entry["env"] = entry.pop("environment")
    if form == "goose":
        ours = {theirs: name for name, theirs in _GOOSE.items()}
        return {ours.get(name, name): value for name, value in entry.items()}
    return entry
