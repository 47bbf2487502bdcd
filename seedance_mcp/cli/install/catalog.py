"""Catalog: the MCP hosts that are known here, and where each has its file on this machine.

It looks only at folders and environment variables, and changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seedance_mcp.cli.install.shapes import Form

START_SECONDS, CALL_SECONDS = 30, 120
"""Time-outs in Codex's entry; its default of 10 s is short for a first start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host's file on this machine.

    Attributes:
        folder: The folder that the host itself creates.
        file: The file in which it lists its servers; it need not exist.
    """

    folder: Path
    file: Path

    @property
    def is_there(self) -> bool:
        """Return True if the host seems to be installed."""
        return self.folder.is_dir() or self.file.is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place before it is expanded for a user: `~`, `$CONFIG` and the like, and `*` in the folder's path.

    Attributes:
        folder: The folder that the host itself creates.
        file: The file in which it lists its servers.
        instead: A file that the host reads, too, and that counts if it exists.
    """

    folder: str
    file: str
    instead: str | None = None

    def list_places(self, words: Mapping[str, str]) -> Iterator[Place]:
        """Yield the places on this machine; with `*` those that exist, otherwise exactly one."""
        base, _, rest = self.folder.partition("/")
        folders = sorted(Path(words[base]).glob(rest)) if "*" in rest else [Path(words[base], rest)]
        for found in folders:
            file = _expand(self.file, {**words, ".": str(found)})
            other = None if self.instead is None else file.with_name(self.instead)
            yield Place(folder=found, file=file if other is None or not other.is_file() else other)


def _expand(path: str, words: Mapping[str, str]) -> Path:
    first, _, rest = path.partition("/")
    return Path(words[first], rest)


def _in(folder: str, file: str, *, instead: str | None = None) -> Where:
    return Where(folder=folder, file=f"./{file}", instead=instead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One MCP host.

    Attributes:
        name: Its name as an argument.
        title: Its name for people.
        form: The format of its file.
        linux: Its possible places on Linux; the first that is there counts, otherwise the first.
        mac: Those on macOS.
        windows: Those on Windows.
        reload: The next step for the person.
        extra: Members that this host's entry has in addition.
    """

    name: str
    title: str
    form: Form
    linux: tuple[Where, ...]
    mac: tuple[Where, ...]
    windows: tuple[Where, ...]
    reload: str
    extra: Mapping[str, object] = field(default_factory=dict[str, object])

    def find_place(self, platform: str = sys.platform, environ: Mapping[str, str] | None = None) -> Place:
        """Return this host's place for this user: the one that is there, otherwise its usual one."""
        windows = platform in ("win32", "cygwin")
        wheres = self.windows if windows else self.mac if platform == "darwin" else self.linux
        words = _read_words(os.environ if environ is None else environ, windows=windows)
        places = [place for where in wheres for place in where.list_places(words)]
        return next((place for place in places if place.is_there), places[0])

    def find_file(self, platform: str = sys.platform, environ: Mapping[str, str] | None = None) -> Path:
        """Return this host's file for this user; it need not exist."""
        return self.find_place(platform, environ).file


def _read_words(environ: Mapping[str, str], *, windows: bool) -> dict[str, str]:
    """Return the first parts of paths, for this user."""
    home = environ.get("USERPROFILE" if windows else "HOME") or str(Path.home())
    return {
        "~": home,
        "$CONFIG": environ.get("XDG_CONFIG_HOME") or f"{home}/.config",
        "$MAC": f"{home}/Library/Application Support",
        "$APPDATA": environ.get("APPDATA") or f"{home}/AppData/Roaming",
        "$LOCALAPPDATA": environ.get("LOCALAPPDATA") or f"{home}/AppData/Local",
        "$FLATPAK": f"{home}/.var/app",
        "$CODEX": environ.get("CODEX_HOME") or f"{home}/.codex",
        "$COPILOT": environ.get("COPILOT_HOME") or f"{home}/.copilot",
        "$CLINE": environ.get("CLINE_DIR") or f"{home}/.cline",
        "$CLAUDE": environ.get("CLAUDE_CONFIG_DIR") or f"{home}/.claude",
        "$CLAUDE_FILE": environ.get("CLAUDE_CONFIG_DIR") or home,
    }


_CODE = {
    "linux": (
        "$CONFIG/Code",
        "$CONFIG/Code - Insiders",
        "$CONFIG/VSCodium",
        "$FLATPAK/com.visualstudio.code/config/Code",
        "$FLATPAK/com.visualstudio.code.insiders/config/Code - Insiders",
        "$FLATPAK/com.vscodium.codium/config/VSCodium",
    ),
    "mac": ("$MAC/Code", "$MAC/Code - Insiders", "$MAC/VSCodium"),
    "windows": ("$APPDATA/Code", "$APPDATA/Code - Insiders", "$APPDATA/VSCodium"),
}
"""The user data of VS Code and of its variants."""


def _in_code(system: str, file: str) -> tuple[Where, ...]:
    return tuple(_in(folder, file) for folder in _CODE[system])


_CLINE = "settings/cline_mcp_settings.json"


def _in_cline(system: str) -> tuple[Where, ...]:
    """Return the places of Cline: its own folder, and that of its earlier versions inside VS Code."""
    inside = (f"{code}/User/globalStorage/saoudrizwan.claude-dev" for code in _CODE[system])
    return (_in("$CLINE/data", _CLINE), *(_in(folder, _CLINE) for folder in inside))


def _everywhere(
    name: str, title: str, where: Where, *, reload: str, form: Form = "mcpServers", **extra: object
) -> Host:
    """Return a host whose file has the same place on each system."""
    one = (where,)
    return Host(name=name, title=title, form=form, linux=one, mac=one, windows=one, reload=reload, extra=extra)


_LIST = (
    Host(
        name="claude-desktop",
        title="Claude Desktop",
        form="mcpServers",
        linux=(_in("$CONFIG/Claude", "claude_desktop_config.json"),),
        mac=(_in("$MAC/Claude", "claude_desktop_config.json"),),
        windows=(  # the app from the MSIX package reads only its own folder
            _in("$LOCALAPPDATA/Packages/Claude_*/LocalCache/Roaming/Claude", "claude_desktop_config.json"),
            _in("$APPDATA/Claude", "claude_desktop_config.json"),
        ),
        reload="Quit Claude Desktop and start it again.",
    ),
    _everywhere(
        "claude-code",
        "Claude Code",
        Where(folder="$CLAUDE", file="$CLAUDE_FILE/.claude.json"),
        reload="Start a new session, and look with /mcp.",
        alwaysLoad=True,  # otherwise the model has to search for the tools
    ),
    _everywhere(
        "cursor",
        "Cursor",
        _in("~/.cursor", "mcp.json"),
        reload="Cursor sees it at once: Settings, MCP.",
    ),
    Host(
        name="vscode",
        title="VS Code",
        form="servers",
        linux=_in_code("linux", "User/mcp.json"),
        mac=_in_code("mac", "User/mcp.json"),
        windows=_in_code("windows", "User/mcp.json"),
        reload="Run the command MCP: List Servers, and start it.",
        extra={"type": "stdio"},
    ),
    _everywhere(
        "codex",
        "Codex",
        _in("$CODEX", "config.toml"),
        form="codex",
        reload="Start a new session.",
        startup_timeout_sec=START_SECONDS,
        tool_timeout_sec=CALL_SECONDS,
        required=True,  # otherwise a session begins after one second, without the tools
    ),
    _everywhere(
        "windsurf",
        "Windsurf",
        _in("~/.codeium/windsurf", "mcp_config.json"),
        reload="Press Refresh in its MCP panel.",
    ),
    Host(
        name="zed",
        title="Zed",
        form="context_servers",
        linux=(_in("$CONFIG/zed", "settings.json"),),
        mac=(_in("~/.config/zed", "settings.json"),),
        windows=(_in("$APPDATA/Zed", "settings.json"),),
        reload="Zed sees it at once.",
    ),
    _everywhere(
        "gemini-cli",
        "Gemini CLI",
        _in("~/.gemini", "settings.json"),
        reload="Start a new session, and look with /mcp.",
    ),
    _everywhere(
        "opencode",
        "OpenCode",
        _in("$CONFIG/opencode", "opencode.json", instead="opencode.jsonc"),
        form="opencode",
        reload="Start a new session.",
        type="local",
        enabled=True,
        timeout=START_SECONDS * 1000,  # to list the tools, in ms
    ),
    _everywhere(
        "copilot-cli",
        "GitHub Copilot CLI",
        _in("$COPILOT", "mcp-config.json"),
        reload="Start a new session, and look with /mcp show.",
        type="local",
        tools=["*"],
    ),
    Host(
        name="goose",
        title="Goose",
        form="goose",
        linux=(_in("$CONFIG/goose", "config.yaml"),),
        mac=(_in("~/.config/goose", "config.yaml"),),
        windows=(_in("$APPDATA/Block/goose/config", "config.yaml"),),
        reload="Start a new session.",
        extra={
            "type": "stdio",
            "name": "seedance",
            "description": "Pictures to paid videos",
            "enabled": True,
            "timeout": CALL_SECONDS,  # of a call
        },
    ),
    Host(
        name="cline",
        title="Cline",
        form="mcpServers",
        linux=_in_cline("linux"),
        mac=_in_cline("mac"),
        windows=_in_cline("windows"),
        reload="Look under MCP Servers, Configure.",
        extra={"timeout": CALL_SECONDS},  # its command line otherwise leaves out a server that needs more than 3 s
    ),
    _everywhere(
        "lm-studio",
        "LM Studio",
        _in("~/.lmstudio", "mcp.json"),
        reload="Switch the server on in the Program tab.",
    ),
)

HOSTS: dict[str, Host] = {host.name: host for host in _LIST}
