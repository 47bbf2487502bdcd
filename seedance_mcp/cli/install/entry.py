"""Our entry in a host's list of servers: its content, what it keeps of the previous one, and its display.

It never contains a key. The owner's settings in the previous entry (limits above all) are kept, or named if they are
dropped. Secrets are never shown, regardless of who added them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from seedance_mcp.cli.install.formats import write_server
from seedance_mcp.cli.install.shapes import Form
from seedance_mcp.cli.install.start import find_start
from seedance_mcp.config.places import expand
from seedance_mcp.config.settings import read_settings
from seedance_mcp.config.sources import PREFIX, SETTINGS
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.next_steps import join_steps

SERVER_NAME = "seedance"

KEY = "SEEDANCE_WALLET_KEY"
SECRETS = (
    KEY, "SEEDANCE_DATABASE_DIRECT_URL", "SEEDANCE_DATABASE_URL", "SEEDANCE_RPC_URL", "SEEDANCE_TEMPO_RPC_URL",
)  # fmt: skip
"""Settings that are never written to another program's file: a key, and URLs that may contain a password or a key."""

PROFILE = "SEEDANCE_PROFILE"
_OF_A_PROFILE = (
    "SEEDANCE_PROFILE_FILE", "SEEDANCE_STUDIO_URL", "SEEDANCE_WALLET_FILE", "SEEDANCE_WALLET_PASSWORD_FILE",
    "SEEDANCE_WALLET_KEYCHAIN", "SEEDANCE_RECIPIENTS", *SECRETS,
)  # fmt: skip
"""Settings of one studio and one wallet, which must not be combined with those of another profile."""

_OURS = ("type", "command", "args", "env")
_PLAIN = ("type", "command", "cmd", "name", "description")
"""Members that are shown, unless they look like a secret."""
_REFERENCE = re.compile(r"\$\{(?:\w+:)?[A-Za-z_][\w.-]*\}")
"""A value that the host resolves, such as `${NAME}` or `${input:name}`, but without a default, which may be secret."""
_KEY_LIKE = re.compile(r"[0-9a-fA-F]{64}")
_MAY_HIDE = re.compile(rf"=|{_KEY_LIKE.pattern}")
_HIDDEN = "(not shown)"


def build_entry(
    *,
    sandbox: bool,
    environ: Mapping[str, str],
    old: Mapping[str, object] | None = None,
    extra: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Build our entry: the absolute command, the owner's settings, and no secret.

    Args:
        sandbox: True to start in the sandbox.
        environ: The owner's settings; those that are neither secret nor a sandbox's are copied.
        old: The existing entry. Its settings are kept unless `environ` has other values, except a key and the
            settings of another profile.
        extra: Members that the host's entries have in addition; those of the existing entry prevail.
    """
    command, args = find_start(environ)
    extra = extra or {}
    entry: dict[str, object] = {name: extra[name] for name in ("type",) if name in extra}
    entry |= {"command": command, "args": args, **extra}
    if old is not None and "command" in old:  # what the host or the owner added, but not a remote server's address
        entry |= {name: value for name, value in old.items() if name not in _OURS}
    fresh = {PROFILE: "sandbox"} if sandbox else _read_environ(environ)
    env = {**_keep(old or {}, fresh), **fresh}
    entry["env"] = {name: env[name] for name in sorted(env)}
    return entry


def _read_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the owner's settings that are set and not secret."""
    own = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX) and name not in SECRETS}
    return {name: _absolute(name, value) for name, value in own.items() if value and not _is_reference(value)}


def _absolute(name: str, value: str) -> str:
    """Make a path absolute, because a host starts the server in any folder."""
    if name.endswith("_DIRS"):
        parts = [part.strip() for part in value.split(os.pathsep)]
        return os.pathsep.join(str(expand(part, name).absolute()) for part in parts if part)
    return str(expand(value, name).absolute()) if name.endswith(("_FILE", "_DIR")) else value


def _keep(old: Mapping[str, object], fresh: Mapping[str, str]) -> dict[str, object]:
    """Return the kept settings of the previous entry; `fresh` has the new ones."""
    env = read_env(old)
    before, now = read_profile(old), fresh.get(PROFILE, "live")
    if PROFILE not in fresh and before == "custom":
        now = before  # only the sandbox profile depends on its flag
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
    """Return an entry's environment; empty if it has none."""
    env = entry.get("env")
    return cast("dict[str, object]", env) if isinstance(env, dict) else {}


def read_profile(entry: Mapping[str, object]) -> str:
    """Return an entry's profile."""
    return str(read_env(entry).get(PROFILE) or "live").strip().lower()


def has_key(entry: Mapping[str, object]) -> bool:
    """Return True if an entry itself contains a private key."""
    value = read_env(entry).get(KEY)
    return bool(value) and not _is_reference(value)


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value.strip()) is not None


def list_dropped(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Return the names that the previous entry had and the new one lacks, except its key."""
    told = (PROFILE, KEY) if has_key(old) else (PROFILE,)
    lost = [name for name in old if name not in new and name not in _OURS]
    return lost + [name for name in read_env(old) if name not in read_env(new) and name not in told]


def check_entry(entry: Mapping[str, object], where: Path) -> None:
    """Check that the server would start with an entry.

    Raises:
        ConfigError: A setting that was kept from the previous entry is invalid.
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
    """Return the difference of two entries without secrets, and without the rest of the file."""
    lines = difflib.unified_diff(_show(form, old), _show(form, new), str(file), str(file), n=sys.maxsize, lineterm="")
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _show(form: Form, entry: object) -> list[str]:
    if entry is None:
        return []
    masked = _mask(cast("dict[str, object]", entry)) if isinstance(entry, dict) else _HIDDEN
    return write_server(form, SERVER_NAME, masked).splitlines()


def _mask(entry: Mapping[str, object]) -> dict[str, object]:
    """Return an entry with only values that are known not to be secret: it may contain anything."""
    masked: dict[str, object] = {}
    for name, value in entry.items():
        if name in ("env", "envs", "environment") and isinstance(value, dict):
            env = cast("dict[str, object]", value)
            masked[name] = {inner: env[inner] if _is_plain(inner, env[inner]) else _HIDDEN for inner in env}
        elif name in ("args", "command", "tools") and isinstance(value, list):
            parts = enumerate(cast("list[object]", value))
            masked[name] = [
                part if _is_plain_word(part, at if name == "command" else 1) else _HIDDEN for at, part in parts
            ]
        elif isinstance(value, bool | int) or (name in _PLAIN and not _MAY_HIDE.search(str(value))):
            masked[name] = value
        else:
            masked[name] = _HIDDEN
    return masked


def _is_plain(name: str, value: object) -> bool:
    if not name.startswith(PREFIX) or name.removeprefix(PREFIX) not in SETTINGS or name in SECRETS:
        return _is_reference(value)
    return _KEY_LIKE.search(str(value)) is None


def _is_plain_word(part: object, position: int) -> bool:
    """Return True if a word is a program (position 0), a flag, or names us; any other one could be a token."""
    if not isinstance(part, str) or _MAY_HIDE.search(part):
        return False
    return position == 0 or part.startswith("-") or part == "*" or "seedance" in part
