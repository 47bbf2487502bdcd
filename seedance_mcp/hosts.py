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
    return Change(file=file, before=before, after=_edit_json(before, file, host.form, entry))


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
    return Change(file=file, before=before, after=_edit_json(before, file, host.form, None))


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
        servers = _parse_json(text, file).get(host.form, {})
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


# ── JSON, as editors write it: with comments and trailing commas ─────────────────────────────────────────────────────

_JSONC = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*(?:(?://[^\n]*|/\*.*?\*/)\s*)*[}\]])', re.DOTALL)


def _parse_json(text: str, file: Path) -> dict[str, object]:
    """A file's object; comments and trailing commas are read as spaces, so that places stay what they were."""
    plain = _plain_json(text)
    if not plain.strip():
        return {}
    try:
        document = cast("object", json.loads(plain))
    except (ValueError, RecursionError) as exc:
        where = f", line {exc.lineno}: {exc.msg}" if isinstance(exc, json.JSONDecodeError) else ""
        raise ConfigError(f"{file} is not JSON{where}.", "Mend it first; nothing was changed.") from exc
    if not isinstance(document, dict):
        raise ConfigError(f"{file} does not hold a JSON object.", "Mend it first; nothing was changed.")
    return cast("dict[str, object]", document)


def _plain_json(text: str) -> str:
    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    return _JSONC.sub(blank, text.removeprefix("\ufeff"))


def _edit_json(before: str | None, file: Path, key: str, entry: Mapping[str, object] | None) -> str:
    """Set or remove our entry and leave every other byte alone, comments included."""
    text = (before or "").removeprefix("\ufeff")
    document = _parse_json(text, file)
    if not text.strip():
        return _dump({key: {SERVER_NAME: entry}}) + "\n" if entry is not None else text
    servers = document.get(key)
    if servers is not None and not isinstance(servers, dict):
        raise ConfigError(f"{key} in {file} is not an object.", "Mend it first; nothing was changed.")
    if entry is None and SERVER_NAME not in cast("dict[str, object]", servers or {}):
        return text
    if servers is None:
        after = _insert(text, _plain_json(text).index("{"), key, {SERVER_NAME: entry}, depth=1)
    else:
        start = _find_value(text, _plain_json(text).index("{"), key)
        if SERVER_NAME in cast("dict[str, object]", servers):
            text = _cut(text, start, SERVER_NAME)
        after = text if entry is None else _insert(text, start, SERVER_NAME, entry, depth=2)
    expected = {**document}
    rest = {name: value for name, value in cast("dict[str, object]", servers or {}).items() if name != SERVER_NAME}
    expected[key] = rest if entry is None else {**rest, SERVER_NAME: dict(entry)}
    if _parse_json(after, file) != expected:  # the proof that nothing else was touched
        raise ConfigError(f"{file} is written in a way that cannot be changed safely.", "Add the entry by hand.")
    return after


def _dump(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _members(text: str, start: int) -> list[tuple[str, int, int, int]]:
    """The members of the object at `start`: name, where it begins, where its value begins and ends."""
    plain = _plain_json(text)
    decoder = json.JSONDecoder()
    found: list[tuple[str, int, int, int]] = []
    at = start + 1
    while True:
        at = _skip(plain, at, ",")
        if plain[at] == "}":
            return found
        name, end = cast("tuple[str, int]", decoder.raw_decode(plain, at))
        value = _skip(plain, _skip(plain, end, "") + 1, "")
        _, stop = decoder.raw_decode(plain, value)
        found.append((name, at, value, stop))
        at = stop


def _skip(plain: str, at: int, also: str) -> int:
    while plain[at].isspace() or plain[at] in also:
        at += 1
    return at


def _find_value(text: str, start: int, name: str) -> int:
    return [value for found, _, value, _ in _members(text, start) if found == name][-1]


def _insert(text: str, start: int, name: str, value: object, *, depth: int) -> str:
    """Put a member first into the object at `start`."""
    members = _members(text, start)
    written = f"{json.dumps(name)}: {_dump(value)}".replace("\n", "\n" + "  " * depth)
    tail = "," if members else "\n" + "  " * (depth - 1)
    rest = text[start + 1 :]
    return f"{text[: start + 1]}\n{'  ' * depth}{written}{tail}{rest if members else rest.lstrip()}"


def _cut(text: str, start: int, name: str) -> str:
    """Take a member out of the object at `start`, with one comma."""
    plain = _plain_json(text)
    for found, begin, _, stop in _members(text, start):
        if found == name:
            after = _skip(plain, stop, "")
            if plain[after] == ",":
                return text[:begin] + text[_skip(plain, after + 1, "") :]
            before = begin - 1
            while plain[before].isspace():
                before -= 1
            return text[: before if plain[before] == "," else before + 1] + text[stop:]
    return text


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
