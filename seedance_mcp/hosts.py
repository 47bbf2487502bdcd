"""Hosts: where each MCP host keeps its list of servers, and how our entry is written into it and taken out again.

Owns other programs' files, so it changes nothing but our own entry, keeps a copy of what was there, and refuses a file
that it cannot read. Never writes a key: a host's file is read by many.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from seedance_mcp.errors import ConfigError
from seedance_mcp.jsonc import edit_json, parse_json

SERVER_NAME = "seedance"
CONFIG_BYTES_MAX = 8 * 1024 * 1024
BACKUPS_MAX = 1000
START_SECONDS, CALL_SECONDS = 30, 120
"""What Codex is told to allow: its own 10 s are short for a first start."""

SECRETS = ("SEEDANCE_WALLET_KEY", "SEEDANCE_RPC_URL", "SEEDANCE_TEMPO_RPC_URL")
"""Settings that are never written into another program's file: a key, and addresses that may hold a provider's."""

Form = Literal["mcpServers", "servers", "context_servers", "codex"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One MCP host.

    Attributes:
        name: What a person types.
        title: What a person calls it.
        form: How its file lists servers.
        places: Its file on Linux, macOS and Windows; `~`, `$CONFIG` and `$APPDATA` are filled in.
        reload: What to do afterwards.
    """

    name: str
    title: str
    form: Form
    places: tuple[str, str, str]
    reload: str

    def find_file(self, platform: str = sys.platform, environ: Mapping[str, str] | None = None) -> Path:
        """This host's file for this user; it need not exist."""
        environ = os.environ if environ is None else environ
        index = 1 if platform == "darwin" else 2 if platform in ("win32", "cygwin") else 0
        home = environ.get("USERPROFILE") if index == 2 else environ.get("HOME")
        home = home or str(Path.home())
        words = {
            "~": home,
            "$CONFIG": environ.get("XDG_CONFIG_HOME") or f"{home}/.config",
            "$APPDATA": environ.get("APPDATA") or f"{home}/AppData/Roaming",
            "$CODEX": environ.get("CODEX_HOME") or f"{home}/.codex",
        }
        first, _, rest = self.places[index].partition("/")
        return Path(words[first], *rest.split("/"))


def _everywhere(place: str) -> tuple[str, str, str]:
    return place, place, place


HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host(
            name="claude-desktop",
            title="Claude Desktop",
            form="mcpServers",
            places=(
                "$CONFIG/Claude/claude_desktop_config.json",
                "~/Library/Application Support/Claude/claude_desktop_config.json",
                "$APPDATA/Claude/claude_desktop_config.json",
            ),
            reload="Quit Claude Desktop and start it again.",
        ),
        Host(
            name="claude-code",
            title="Claude Code",
            form="mcpServers",
            places=_everywhere("~/.claude.json"),
            reload="Start a new session, and look with /mcp.",
        ),
        Host(
            name="cursor",
            title="Cursor",
            form="mcpServers",
            places=_everywhere("~/.cursor/mcp.json"),
            reload="Cursor sees it at once: Settings, MCP.",
        ),
        Host(
            name="vscode",
            title="VS Code",
            form="servers",
            places=(
                "$CONFIG/Code/User/mcp.json",
                "~/Library/Application Support/Code/User/mcp.json",
                "$APPDATA/Code/User/mcp.json",
            ),
            reload="Run the command MCP: List Servers, and start it.",
        ),
        Host(
            name="codex",
            title="Codex",
            form="codex",
            places=_everywhere("$CODEX/config.toml"),
            reload="Start a new session.",
        ),
        Host(
            name="windsurf",
            title="Windsurf",
            form="mcpServers",
            places=_everywhere("~/.codeium/windsurf/mcp_config.json"),
            reload="Press Refresh in its MCP panel.",
        ),
        Host(
            name="zed",
            title="Zed",
            form="context_servers",
            places=("$CONFIG/zed/settings.json", "~/.config/zed/settings.json", "$APPDATA/Zed/settings.json"),
            reload="Zed sees it at once.",
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A host's file as it is and as it will be.

    Attributes:
        before: None where there is no file yet.
    """

    file: Path
    before: str | None
    after: str

    @property
    def diff(self) -> str:
        """The change for a person's eyes: our entry alone, for the rest of the file may hold other people's secrets."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(), self.after.splitlines(), str(self.file), str(self.file), n=0, lineterm=""
        )
        return "\n".join(lines)


def build_entry(form: Form, *, sandbox: bool, environ: Mapping[str, str]) -> dict[str, object]:
    """Our entry: the absolute command, and no secret.

    Args:
        form: Of the host's file.
        sandbox: Whether it starts in the sandbox.
        environ: The owner's settings; those that are neither secret nor a sandbox's are carried along.
    """
    script = shutil.which("seedance-mcp", path=str(Path(sys.executable).parent))  # of this very installation
    command, args = (script, []) if script else (sys.executable, ["-m", "seedance_mcp"])
    if sandbox:
        env = {"SEEDANCE_PROFILE": "sandbox"}
    else:
        env = {name: _absolute(name, environ[name]) for name in sorted(environ) if name.startswith("SEEDANCE_")}
        for name in SECRETS:
            env.pop(name, None)
    entry: dict[str, object] = {"command": command, "args": args, "env": env}
    return {"type": "stdio", **entry} if form == "servers" else entry


def _absolute(name: str, value: str) -> str:
    """A host starts us in a folder of its own choice: a path must not depend on it."""
    is_path = name.endswith(("_FILE", "_DIR")) and value and not value.startswith("${")
    return str(Path(value).expanduser().absolute()) if is_path else value


def add_entry(host: Host, file: Path, entry: Mapping[str, object]) -> Change:
    """The host's file with our entry in it.

    Raises:
        ConfigError: The file cannot be read, or is not what this host writes. Nothing is changed.
    """
    before = _read_text(file)
    if host.form == "codex":
        _parse_toml(before, file)
        text = _without_toml(before or "")
        after = (text.rstrip("\n") + "\n\n" if text.strip() else "") + _write_toml(entry)
        _parse_toml(after, file)
        return Change(file=file, before=before, after=after)
    return Change(file=file, before=before, after=edit_json(before, file, host.form, SERVER_NAME, entry))


def remove_entry(host: Host, file: Path) -> Change:
    """The host's file without our entry.

    Raises:
        ConfigError: As `add_entry`.
    """
    before = _read_text(file)
    if before is None:
        return Change(file=file, before=None, after="")
    if host.form == "codex":
        _parse_toml(before, file)
        return Change(file=file, before=before, after=_without_toml(before))
    return Change(file=file, before=before, after=edit_json(before, file, host.form, SERVER_NAME, None))


def has_entry(host: Host, file: Path) -> bool | None:
    """Whether our entry is in a host's file; None where the host has none.

    Raises:
        ConfigError: The file cannot be read.
    """
    text = _read_text(file)
    if text is None:
        return None
    if host.form == "codex":
        servers = _parse_toml(text, file).get("mcp_servers", {})
    else:
        servers = parse_json(text, file).get(host.form, {})
    return isinstance(servers, dict) and SERVER_NAME in servers


def write_change(change: Change) -> Path | None:
    """Write a host's file whole or not at all, and keep what was there beside it.

    Returns:
        The copy, or None where there was nothing.

    Raises:
        ConfigError: It cannot be written, or was changed meanwhile.
    """
    file = change.file.resolve() if change.file.is_symlink() else change.file
    partial = file.with_name(f".{file.name}.seedance-{os.getpid()}")
    backup: Path | None = None
    if _read_text(file) != change.before:
        raise ConfigError(f"{file} was changed by somebody else a moment ago.", "Run the same command again.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if change.before is not None:
            backup = _name_backup(file)
            shutil.copy2(file, backup)
        with partial.open("w", encoding="utf-8", newline="") as opened:
            if change.before is not None:
                shutil.copymode(file, partial)
            opened.write(change.after)
        os.replace(partial, file)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {exc.strerror or exc}.", "Nothing was changed.") from exc
    return backup


def _name_backup(file: Path) -> Path:
    for number in range(BACKUPS_MAX):
        backup = file.with_name(f"{file.name}.before-seedance{f'-{number}' if number else ''}")
        if not backup.exists():
            return backup
    raise ConfigError(f"There are {BACKUPS_MAX} copies of {file.name} already.", "Take some away.")


def _read_text(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            data = opened.read(CONFIG_BYTES_MAX + 1)
        if len(data) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{file} is larger than {CONFIG_BYTES_MAX} bytes.", "Nothing was changed.")
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read: {exc.strerror or exc}.", "Nothing was changed.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file} is not UTF-8 text.", "Nothing was changed.") from exc


# ── TOML, as Codex writes it ─────────────────────────────────────────────────────────────────────────────────────────

_TABLE = re.compile(r"^\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]\]?\s*(?:#.*)?$")


def _parse_toml(text: str | None, file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text or "")
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{file} is not TOML: {str(exc)[:200]}.", "Mend it first; nothing was changed.") from exc


def _without_toml(text: str) -> str:
    """The text without the tables `mcp_servers.seedance` and below."""
    kept: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        table = _TABLE.match(line)
        if table is not None:
            name = table["name"].replace('"', "").replace(" ", "")
            ours = name == f"mcp_servers.{SERVER_NAME}" or name.startswith(f"mcp_servers.{SERVER_NAME}.")
        if not ours:
            kept.append(line)
    return "".join(kept).rstrip("\n") + "\n" if kept else ""


def _write_toml(entry: Mapping[str, object]) -> str:
    lines = [
        f"[mcp_servers.{SERVER_NAME}]",
        f"command = {json.dumps(entry['command'])}",
        f"args = {json.dumps(entry['args'])}",
        f"startup_timeout_sec = {START_SECONDS}",
        f"tool_timeout_sec = {CALL_SECONDS}",
    ]
    env = cast("Mapping[str, str]", entry["env"])
    if env:
        lines += ["", f"[mcp_servers.{SERVER_NAME}.env]", *(f"{name} = {json.dumps(env[name])}" for name in env)]
    return "\n".join(lines) + "\n"
