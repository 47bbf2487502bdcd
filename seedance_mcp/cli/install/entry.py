"""Our entry in a host's list of servers: what it holds, what stays of the one before it, and how it is shown.

A key is never in it. What the owner set in the entry before (limits above all) stays, or is named when it does not.
Secrets are never shown, not even those that somebody else put there.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from seedance_mcp.cli.install.toml_edit import write_toml
from seedance_mcp.config.settings import read_settings
from seedance_mcp.config.sources import PREFIX, SETTINGS, expand
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.next_steps import join_steps

SERVER_NAME = "seedance"
START_SECONDS, CALL_SECONDS = 30, 120
"""What Codex is told to allow: its own 10 s are short for a first start."""

KEY = "SEEDANCE_WALLET_KEY"
SECRETS = (KEY, "SEEDANCE_RPC_URL", "SEEDANCE_TEMPO_RPC_URL")
"""Settings that are never written into another program's file: a key, and addresses that may hold a provider's."""

PROFILE = "SEEDANCE_PROFILE"
_OF_A_PROFILE = (
    "SEEDANCE_PROFILE_FILE", "SEEDANCE_STUDIO_URL", "SEEDANCE_WALLET_FILE", "SEEDANCE_WALLET_PASSWORD_FILE",
    "SEEDANCE_WALLET_KEYCHAIN", "SEEDANCE_RECIPIENTS", *SECRETS,
)  # fmt: skip
"""Settings that mean one studio and one wallet, and must not meet those of another profile."""

_OURS = ("type", "command", "args", "env")
_REFERENCE = re.compile(r"\$\{(?:\w+:)?[A-Za-z_][\w.-]*\}")
"""A value that the host looks up elsewhere, such as `${NAME}` or `${input:name}`; one with a default may hold it."""
_KEY_LIKE = re.compile(r"[0-9a-fA-F]{64}")
_MAY_HIDE = re.compile(rf"=|{_KEY_LIKE.pattern}")
_HIDDEN = "(not shown)"

Form = Literal["mcpServers", "servers", "context_servers", "codex"]


def build_entry(
    form: Form, *, sandbox: bool, environ: Mapping[str, str], old: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Our entry: the absolute command, the owner's settings, and no secret.

    Args:
        form: Of the host's file.
        sandbox: Whether it starts in the sandbox.
        environ: The owner's settings; those that are neither secret nor a sandbox's are carried along.
        old: The entry that is there. Its settings stay where `environ` has no other, but for a key, and for what
            belongs to another profile.
    """
    script = shutil.which("seedance-mcp", path=str(Path(sys.executable).parent))  # of this very installation
    command, args = (script, []) if script else (sys.executable, ["-m", "seedance_mcp"])
    entry: dict[str, object] = {"type": "stdio"} if form == "servers" else {}
    entry |= {"command": command, "args": args}
    if form == "codex":
        entry |= {"startup_timeout_sec": START_SECONDS, "tool_timeout_sec": CALL_SECONDS}
    if old is not None and "command" in old:  # what the host or the owner added; not how to reach a server elsewhere
        entry |= {name: value for name, value in old.items() if name not in _OURS}
    fresh = {PROFILE: "sandbox"} if sandbox else _read_environ(environ)
    env = {**_keep(old or {}, fresh), **fresh}
    if env or form != "codex":
        entry["env"] = {name: env[name] for name in sorted(env)}
    return entry


def _read_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The owner's settings that are set and no secret."""
    own = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX) and name not in SECRETS}
    return {name: _absolute(name, value) for name, value in own.items() if value and not _is_reference(value)}


def _absolute(name: str, value: str) -> str:
    """A host starts us in a folder of its own choice: a path must not depend on it."""
    if name.endswith("_DIRS"):
        parts = [part.strip() for part in value.split(os.pathsep)]
        return os.pathsep.join(str(expand(part, name).absolute()) for part in parts if part)
    return str(expand(value, name).absolute()) if name.endswith(("_FILE", "_DIR")) else value


def _keep(old: Mapping[str, object], fresh: Mapping[str, str]) -> dict[str, object]:
    """What stays of the environment of the entry before: `fresh` is what it gets anew."""
    env = read_env(old)
    before, now = read_profile(old), fresh.get(PROFILE, "live")
    if PROFILE not in fresh and before == "custom":
        now = before  # only the sandbox comes and goes with its flag
    kept: dict[str, object] = {}
    for name, value in env.items():
        if not name.startswith(PREFIX):
            kept[name] = value
            continue
        foreign = before != now and (name == PROFILE or name in _OF_A_PROFILE)
        if not foreign and (name != KEY or _is_reference(value)):
            kept[name] = value if isinstance(value, str) else json.dumps(value, default=str)
    return kept


def read_env(entry: Mapping[str, object]) -> dict[str, object]:
    """An entry's environment; empty where it has none."""
    env = entry.get("env")
    return cast("dict[str, object]", env) if isinstance(env, dict) else {}


def read_profile(entry: Mapping[str, object]) -> str:
    """An entry's profile."""
    return str(read_env(entry).get(PROFILE) or "live").strip().lower()


def has_key(entry: Mapping[str, object]) -> bool:
    """Whether an entry holds a private key itself."""
    value = read_env(entry).get(KEY)
    return bool(value) and not _is_reference(value)


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value.strip()) is not None


def list_dropped(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Names of what the entry before had and the new one has not, but for its key."""
    told = (PROFILE, KEY) if has_key(old) else (PROFILE,)
    lost = [name for name in old if name not in new and name not in _OURS]
    return lost + [name for name in read_env(old) if name not in read_env(new) and name not in told]


def check_entry(entry: Mapping[str, object], where: Path) -> None:
    """Refuse an entry with which the server would not start.

    Raises:
        ConfigError: A setting that was kept from the entry before is wrong.
    """
    env = {name: str(value) for name, value in read_env(entry).items() if not _is_reference(value)}
    try:
        read_settings(env)
    except ConfigError as exc:
        raise ConfigError(
            f"The entry in {where} would not start: {exc.what}",
            join_steps("Correct that setting there.", exc.next_step),
        ) from exc


# ── For a person's eyes ──────────────────────────────────────────────────────────────────────────────────────────────


def show_change(form: Form, file: Path, old: object, new: Mapping[str, object] | None) -> str:
    """The difference of two entries, with no secret in it; the rest of the file is nobody's business."""
    lines = difflib.unified_diff(_show(form, old), _show(form, new), str(file), str(file), n=sys.maxsize, lineterm="")
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _show(form: Form, entry: object) -> list[str]:
    if entry is None:
        return []
    masked = _mask(cast("dict[str, object]", entry)) if isinstance(entry, dict) else _HIDDEN
    if form == "codex" and isinstance(masked, dict):
        return write_toml("mcp_servers", SERVER_NAME, masked).splitlines()
    return json.dumps({form: {SERVER_NAME: masked}}, indent=2, ensure_ascii=False).splitlines()


def _mask(entry: Mapping[str, object]) -> dict[str, object]:
    """An entry with only what is known to be no secret: anybody may have put anything into it."""
    masked: dict[str, object] = {}
    for name, value in entry.items():
        if name == "env" and isinstance(value, dict):
            env = cast("dict[str, object]", value)
            masked[name] = {inner: env[inner] if _is_plain(inner, env[inner]) else _HIDDEN for inner in env}
        elif name == "args" and isinstance(value, list):
            masked[name] = [part if _is_plain_word(part) else _HIDDEN for part in cast("list[object]", value)]
        elif isinstance(value, bool | int) or (name in ("type", "command") and not _MAY_HIDE.search(str(value))):
            masked[name] = value
        else:
            masked[name] = _HIDDEN
    return masked


def _is_plain(name: str, value: object) -> bool:
    if not name.startswith(PREFIX) or name.removeprefix(PREFIX) not in SETTINGS or name in SECRETS:
        return _is_reference(value)
    return _KEY_LIKE.search(str(value)) is None


def _is_plain_word(part: object) -> bool:
    """Whether an argument is a flag, or names us; a token could be anything else."""
    return isinstance(part, str) and not _MAY_HIDE.search(part) and (part.startswith("-") or "seedance" in part)
