"""The settings file: change values of the owner's `settings.toml`, and keep everything else in it.

A change is written completely or not at all, and only if it reads back as intended. Only a person changes settings.
"""

import os
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

from seedance_mcp.config.settings import SETTINGS_BYTES_MAX
from seedance_mcp.core.errors import ConfigError

_NO_CHANGE = "Nothing was changed."


def write_settings(file: Path, values: Mapping[str, str]) -> None:
    """Set values in the settings file; make it, readable by its owner only, if there is none.

    Args:
        file: `Settings.file`.
        values: By name in lower case, without the prefix.

    Raises:
        ConfigError: The file cannot be read, changed safely or written.
    """
    import tomlkit  # only a change needs it

    file = file.resolve() if file.is_symlink() else file
    before = _read(file)
    try:
        expected = {**tomllib.loads(before), **values}
        document = tomlkit.parse(before)
        for name, value in values.items():
            document[name] = value
        after = tomlkit.dumps(document)
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError and tomlkit's errors are ValueErrors
        raise ConfigError(f"{file} is not TOML: {str(exc)[:200]}.", f"Correct it first. {_NO_CHANGE}") from exc
    if tomllib.loads(after) != expected:
        raise ConfigError(f"{file} cannot be changed safely.", f"Change it by hand. {_NO_CHANGE}")
    _write(file, after)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(SETTINGS_BYTES_MAX + 1)
        if len(data) > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{file} is larger than {SETTINGS_BYTES_MAX} bytes.", _NO_CHANGE)
        return data.decode()
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read: {exc.strerror or exc}.", _NO_CHANGE) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file} is not UTF-8 text.", _NO_CHANGE) from exc


def _write(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
        if file.exists():
            shutil.copymode(file, partial)
        os.replace(partial, file)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {exc.strerror or exc}.", _NO_CHANGE) from exc
