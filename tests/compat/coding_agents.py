"""The coding agents that people run, each driven by a scripted model on loopback, in a home of its own.

`install` writes the server's entry, as for a user. No agent gets a key or reaches a network: its model is on loopback,
and every other address leads to a proxy that is not there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.compat.clients import SERVER
from tests.compat.scripted_model import MODEL, ScriptedModel

RUN_SECONDS = 240
INSTALL_SECONDS = 120
REQUEST = "Animate the picture."
NO_PROXY = "http://127.0.0.1:9"
DELAY_SECONDS = 1.5
"""How much later than usual a delayed server starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent.

    Attributes:
        host: Its name for `install`.
        package: Its npm package with the version.
        program: Its command.
        file: The file below the home in which it lists its servers.
        prepare: Writes its other settings into a home; gets the model's address.
        words: The arguments that make it do `REQUEST` and end; gets the model's address.
        environ: Its variables; gets the model's address.
    """

    host: str
    package: str
    program: str
    file: str
    prepare: Callable[[Path, str], None]
    words: Callable[[str], list[str]]
    environ: Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run of an agent showed.

    Attributes:
        way: The line of `install` that names the way in which it added the entry.
        output: The end of what the agent printed.
    """

    way: str
    output: str


def _write_claude(home: Path, url: str) -> None:
    del url
    (home / ".claude").mkdir()
    settled = {"hasCompletedOnboarding": True, "hasTrustDialogAccepted": True}
    (home / ".claude.json").write_text(json.dumps(settled))


def _write_codex(home: Path, url: str) -> None:
    (home / ".codex").mkdir()
    lines = [
        f'model = "{MODEL}"', 'model_provider = "scripted"', "[model_providers.scripted]", 'name = "scripted"',
        f'base_url = "{url}/v1"', 'wire_api = "responses"', 'env_key = "SCRIPTED_KEY"',
    ]  # fmt: skip
    (home / ".codex/config.toml").write_text("\n".join(lines) + "\n")


def _write_gemini(home: Path, url: str) -> None:
    del url
    (home / ".gemini").mkdir()
    settled = {"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}}}
    settled |= {"privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False}}
    (home / ".gemini/settings.json").write_text(json.dumps(settled, indent=2))


def _write_opencode(home: Path, url: str) -> None:
    folder = home / ".config/opencode"
    folder.mkdir(parents=True)
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
        "models": {MODEL: {"tool_call": True, "limit": {"context": 200_000, "output": 8_000}}},
    }
    settled = {
        "provider": {"scripted": provider},
        "model": f"scripted/{MODEL}",
        "autoupdate": False,
        "share": "disabled",
    }
    (folder / "opencode.json").write_text(json.dumps(settled, indent=2))


def _write_copilot(home: Path, url: str) -> None:
    del url
    (home / ".copilot").mkdir()


def _write_cline(home: Path, url: str) -> None:
    folder = home / ".cline/data/settings"
    folder.mkdir(parents=True)
    provider = {"provider": "openai-compatible", "apiKey": "none", "model": MODEL, "baseUrl": f"{url}/v1"}
    settled = {
        "version": 1,
        "lastUsedProvider": "openai-compatible",
        "modes": {},
        "providers": {
            "openai-compatible": {
                "settings": provider,
                "updatedAt": "2026-01-01T00:00:00.000Z",
                "tokenSource": "manual",
            }
        },
    }
    (folder / "providers.json").write_text(json.dumps(settled, indent=2))


AGENTS: dict[str, Agent] = {
    "Claude Code": Agent(
        host="claude-code",
        package="@anthropic-ai/claude-code@2.1.328",
        program="claude",
        file=".claude.json",
        prepare=_write_claude,
        words=lambda _: ["-p", REQUEST, "--allowedTools", "mcp__seedance", "--model", MODEL],
        environ=lambda url: {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "MCP_CONNECTION_NONBLOCKING": "0",  # else `claude -p` begins after 5 s, with or without the tools
            "MCP_CONNECT_TIMEOUT_MS": "60000",
        },
    ),
    "Codex": Agent(
        host="codex",
        package="@openai/codex@0.169.0",
        program="codex",
        file=".codex/config.toml",
        prepare=_write_codex,
        words=lambda _: ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", REQUEST],
        environ=lambda _: {"SCRIPTED_KEY": "none"},
    ),
    "Gemini CLI": Agent(
        host="gemini-cli",
        package="@google/gemini-cli@0.61.0",
        program="gemini",
        file=".gemini/settings.json",
        prepare=_write_gemini,
        words=lambda _: ["-p", REQUEST, "--approval-mode", "yolo", "-m", "gemini-2.5-pro"],
        environ=lambda url: {
            "GOOGLE_GEMINI_BASE_URL": url,
            "GEMINI_API_KEY": "none",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        },
    ),
    "OpenCode": Agent(
        host="opencode",
        package="opencode-ai@1.18.33",
        program="opencode",
        file=".config/opencode/opencode.json",
        prepare=_write_opencode,
        words=lambda _: ["run", "-m", f"scripted/{MODEL}", REQUEST],
        environ=lambda _: {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    ),
    "GitHub Copilot CLI": Agent(
        host="copilot-cli",
        package="@github/copilot@1.0.102",
        program="copilot",
        file=".copilot/mcp-config.json",
        prepare=_write_copilot,
        words=lambda _: ["-p", REQUEST, "--allow-all-tools"],
        environ=lambda url: {"COPILOT_PROVIDER_BASE_URL": f"{url}/v1", "COPILOT_MODEL": MODEL},
    ),
    "Cline": Agent(
        host="cline",
        package="cline@3.0.65",
        program="cline",
        file=".cline/data/settings/cline_mcp_settings.json",
        prepare=_write_cline,
        words=lambda _: [REQUEST],
        environ=lambda _: {"CLINE_TELEMETRY_DISABLED": "1"},
    ),
}


def run_agent(
    agent: Agent,
    programs: Path,
    model: ScriptedModel,
    settings: Mapping[str, str],
    home: Path,
    *,
    delayed: bool = False,
) -> Seen:
    """Install the server for an agent, and run the agent once.

    Args:
        agent: The agent.
        programs: The folder with its command.
        model: The model, which keeps what it sees.
        settings: The server's settings, which `install` copies into the entry.
        home: An empty folder.
        delayed: True to start the server `DELAY_SECONDS` later.
    """
    agent.prepare(home, model.url)
    environ = {
        "HOME": str(home), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "LANG": "C.UTF-8", "TERM": "dumb",
        "HTTPS_PROXY": NO_PROXY, "HTTP_PROXY": NO_PROXY, "NO_PROXY": "127.0.0.1,localhost", **agent.environ(model.url),
    }  # fmt: skip
    installed = _run([*SERVER, "install", agent.host], {**environ, **settings}, home, INSTALL_SECONDS)
    if delayed:
        _delay(home / agent.file)
    output = _run([str(programs / agent.program), *agent.words(model.url)], environ, home, RUN_SECONDS)
    way = next((line for line in installed.splitlines() if line.startswith(("Added with", "Written", "`"))), installed)
    return Seen(way=way, output=output[-2000:])


def _delay(file: Path) -> None:
    """Start the server of an entry later: its command is replaced by one that waits."""
    command = str(Path(sys.executable).parent / "seedance-mcp")
    waiting = file.parent / "delayed"
    waiting.write_text(f'#!/bin/sh\nsleep {DELAY_SECONDS}\nexec {command} "$@"\n')
    waiting.chmod(0o755)
    text = file.read_text()
    assert command in text, text
    file.write_text(text.replace(command, str(waiting)))


def _run(command: list[str], environ: Mapping[str, str], home: Path, seconds: int) -> str:
    """Run a command in a home, and return what it printed on both streams."""
    work = home / "work"
    work.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as exc:
        parts = [part.decode() if isinstance(part, bytes) else part or "" for part in (exc.stdout, exc.stderr)]
        return "".join(parts) + f"\nThe command did not end within {seconds} s."
    return done.stdout + done.stderr
