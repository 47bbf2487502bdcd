"""Hosts: how our entry is added to the file in which an MCP host lists its servers, and removed from it.

The files are other programs', so this module changes only our entry, keeps a copy of the file, and refuses a file that
it cannot read. It never writes a key, because many programs read a host's file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from seedance_mcp.cli.install.catalog import Host
from seedance_mcp.cli.install.entry import SERVER_NAME, show_change
from seedance_mcp.cli.install.formats import cut_server, has_key, read_servers, set_server
from seedance_mcp.cli.install.shapes import Form, from_host, to_host
from seedance_mcp.core.errors import ConfigError

CONFIG_BYTES_MAX = 256 * 1024 * 1024
"""Claude Code's file also has its history: 65 MB have been seen."""

BACKUPS_MAX = 1000

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A host's file before and after a change.

    Attributes:
        form: The format of the file.
        before: The text before; None if there is no file yet.
        after: The text after; None if the file is removed, because it had only our entry.
        old: Our entry before, if any.
        new: Our entry after.
    """

    form: Form
    file: Path
    before: str | None
    after: str | None
    old: object
    new: Mapping[str, object] | None

    @property
    def diff(self) -> str:
        """Return the change of our entry for people; the rest of the file may contain secrets."""
        return show_change(self.form, self.file, self.old, self.new)

    @property
    def old_entry(self) -> dict[str, object] | None:
        """Return our entry before, in our shape."""
        old = self.old
        return from_host(self.form, cast("dict[str, object]", old)) if isinstance(old, dict) else None

    @property
    def new_entry(self) -> dict[str, object]:
        """Return our entry after, in our shape; empty if it is removed."""
        return from_host(self.form, self.new or {})

    @property
    def drops_bom(self) -> bool:
        """Return True if a byte order mark is removed: most hosts refuse a file with one."""
        return self.after is not None and (self.before or "").startswith(_BOM)


def read_entry(host: Host, file: Path) -> Mapping[str, object] | None:
    """Return our entry in a host's file, or None.

    Raises:
        ConfigError: The file cannot be read.
    """
    entry = _read_servers(host, _read_text(file) or "", file).get(SERVER_NAME)
    return from_host(host.form, cast("dict[str, object]", entry)) if isinstance(entry, dict) else None


def has_entry(host: Host, file: Path) -> bool | None:
    """Return True if our entry is in a host's file; None if the host has no file.

    Raises:
        ConfigError: The file cannot be read.
    """
    text = _read_text(file)
    return None if text is None else SERVER_NAME in _read_servers(host, text, file)


def add_entry(host: Host, file: Path, entry: Mapping[str, object]) -> Change:
    """Build the change that adds our entry to a host's file.

    Raises:
        ConfigError: The file cannot be read, or is not in this host's format. Nothing is changed.
    """
    before = _read_text(file)
    new = to_host(host.form, entry)
    old = _read_servers(host, before or "", file).get(SERVER_NAME)
    text = _without_bom(before or "")
    after = _set(host, text, file, new) if before is None or old != new else text
    return Change(form=host.form, file=file, before=before, after=after, old=old, new=new)


def remove_entry(host: Host, file: Path) -> Change:
    """Build the change that removes our entry: to the same bytes as before, if no one else has changed the file.

    Raises:
        ConfigError: As `add_entry`.
    """
    before = _read_text(file)
    servers = _read_servers(host, before or "", file)
    if before is None or SERVER_NAME not in servers:
        return Change(form=host.form, file=file, before=before, after=before, old=None, new=None)
    old = servers[SERVER_NAME]
    after = _undo(host, _without_bom(before), file, old)
    return Change(form=host.form, file=file, before=before, after=after, old=old, new=None)


def _undo(host: Host, before: str, file: Path, old: object) -> str | None:
    copy = _read_copy(host, file)
    if isinstance(old, dict):
        entry = cast("dict[str, object]", old)
        if copy is not None and _would_be(host, copy, file, entry) == before:
            return copy
        if _would_be(host, "", file, entry) == before:
            return None
    made_by_us = copy is not None and not has_key(host.form, copy, file)
    return cut_server(host.form, before, file, SERVER_NAME, with_key=made_by_us)


def _read_copy(host: Host, file: Path) -> str | None:
    """Return the file before our entry was added: the newest copy without one."""
    for copy in reversed(_list_copies(_resolve(file))):
        try:
            text = _read_text(copy)
            if text is not None and SERVER_NAME not in _read_servers(host, text, copy):
                return _without_bom(text)
        except ConfigError:
            continue  # the copy was changed: it cannot be used, and the file itself is not at fault
    return None


def _would_be(host: Host, text: str, file: Path, entry: Mapping[str, object]) -> str | None:
    try:
        return _set(host, text, file, entry)
    except ConfigError:
        return None


def _set(host: Host, text: str, file: Path, entry: Mapping[str, object]) -> str:
    after = set_server(host.form, text, file, SERVER_NAME, entry)
    try:
        after.encode("utf-8")
    except UnicodeEncodeError as exc:  # a path in the environment that is not Unicode text
        raise ConfigError(f"What {file} would hold is not UTF-8 text.", "Nothing was changed.") from exc
    return after


def _read_servers(host: Host, text: str, file: Path) -> dict[str, object]:
    """Return a host's servers by name."""
    return read_servers(host.form, _without_bom(text), file)


def _without_bom(text: str) -> str:
    return text.removeprefix(_BOM)


def keep_copy(change: Change) -> Path | None:
    """Keep a copy of a host's file before it is changed.

    Returns:
        The copy, or None if there is no file.

    Raises:
        ConfigError: The copy cannot be written, or the file was changed meanwhile.
    """
    file = _resolve(change.file)
    _check_unchanged(file, change)
    if change.before is None:
        return None
    backup = _name_backup(file)
    try:
        shutil.copy2(file, backup)
        backup.chmod(0o600)  # it may contain a key, and only its owner needs it
    except OSError as exc:
        raise _unwritable_error(backup, exc) from exc
    return backup


def _check_unchanged(file: Path, change: Change) -> None:
    if _read_text(file) != change.before:
        raise ConfigError(f"{file} was changed by another program a moment ago.", "Run the same command again.")


def write_change(change: Change, *, copy: bool = True) -> Path | None:
    """Write a host's file completely or not at all (or remove it), and keep a copy of it.

    Args:
        change: The change.
        copy: False if there is a copy already.

    Returns:
        The copy, or None if there is none.

    Raises:
        ConfigError: It cannot be written, or was changed meanwhile.
    """
    backup = keep_copy(change) if copy else None
    file = _resolve(change.file)
    _check_unchanged(file, change)
    partial = file.with_name(f".{file.name}.seedance-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if change.after is None:
            file.unlink()
            return backup
        with partial.open("w", encoding="utf-8", newline="") as opened:
            if change.before is not None:
                shutil.copymode(file, partial)
            opened.write(change.after)
        os.replace(partial, file)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise _unwritable_error(file, exc) from exc
    return backup


def _unwritable_error(file: Path, cause: OSError) -> ConfigError:
    return ConfigError(f"{file} cannot be written: {cause.strerror or cause}.", "Nothing was changed.")


def _resolve(file: Path) -> Path:
    return file.resolve() if file.is_symlink() else file


def _list_copies(file: Path) -> list[Path]:
    """Return the copies of a file, the oldest first."""
    try:
        there = set(os.listdir(file.parent))
    except OSError:
        return []
    names = (_name_copy(file, number) for number in range(BACKUPS_MAX))
    return [file.with_name(name) for name in names if name in there]


def _name_copy(file: Path, number: int) -> str:
    return f"{file.name}.before-seedance{f'-{number}' if number else ''}"


def _name_backup(file: Path) -> Path:
    for number in range(BACKUPS_MAX):
        copy = file.with_name(_name_copy(file, number))
        if not copy.exists():
            return copy
    raise ConfigError(f"There are {BACKUPS_MAX} copies of {file.name} already.", "Delete some.")


def _read_text(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            is_large = os.fstat(opened.fileno()).st_size > CONFIG_BYTES_MAX
            data = b"" if is_large else opened.read(CONFIG_BYTES_MAX + 1)
        if is_large or len(data) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{file} is larger than {CONFIG_BYTES_MAX} bytes.", "Nothing was changed.")
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read: {exc.strerror or exc}.", "Nothing was changed.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file} is not UTF-8 text.", "Nothing was changed.") from exc
