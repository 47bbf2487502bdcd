"""Places: the data folder, and what the environment says of a setting. No file is read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from seedance_mcp.config.names import NEVER_EMPTY, PREFIX
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.redaction import VALUE_CHARACTERS_MAX, is_secret, quote_value
from seedance_mcp.core.texts import quote_text

LEFT_EMPTY = "${user_config."
"""How a bundle's host passes on a field that its owner left empty."""

_REFERENCE = re.compile(r"\$\{(?:\w+:)?[A-Za-z_][\w.]*\}")
_REFERENCE_CHARACTERS_MAX = 60


def read_base_dir(environ: Mapping[str, str]) -> Path:
    """Return the data folder, in which the settings file lies.

    Raises:
        ConfigError: Its path cannot be resolved.
    """
    named = find_value(environ, "DATA_DIR")
    if named:
        return expand(named, f"{PREFIX}DATA_DIR (environment)")
    return platformdirs.user_data_path("seedance-mcp", appauthor=False)


def find_value(environ: Mapping[str, str], name: str) -> str:
    """Return a setting's text in the environment; empty if it is not set, or was left empty in a bundle's form.

    Raises:
        ConfigError: It is a literal `${NAME}`, or empty where that would mean "no limit".
    """
    value = environ.get(PREFIX + name, "").strip()
    if not value and PREFIX + name in environ and name in NEVER_EMPTY:
        raise empty_error(f"{PREFIX}{name} (environment)")
    if value.startswith("${") and (name == "WALLET_KEY" or value.startswith(LEFT_EMPTY)):
        return ""  # without a key there is still a price to be asked, and the first purchase says what is missing
    if value.startswith("${"):
        shown = quote_text(value, _REFERENCE_CHARACTERS_MAX if _REFERENCE.fullmatch(value) else VALUE_CHARACTERS_MAX)
        raise ConfigError(
            f"{PREFIX}{name} (environment) is the literal {shown}: the host did not fill it in.",
            "Set that variable where the host is started, write the value itself, or remove the setting.",
        )
    if name != "WALLET_KEY":
        check_no_secret(value, f"{PREFIX}{name} (environment)")
    return value


def check_no_secret(text: str, where: str) -> None:
    """Refuse a setting whose value is a key or a seed phrase: it would come back as a path, a name or an amount.

    Raises:
        ConfigError: It looks like one.
    """
    if is_secret(text):
        raise ConfigError(
            f"{where} holds what looks like a private key, a seed phrase or a token.",
            f"Take it out. A private key belongs in {PREFIX}WALLET_KEY, or in a file of mode 0600.",
        )


def empty_error(where: str) -> ConfigError:
    """Return the error of a setting that is set to nothing."""
    return ConfigError(f"{where} is empty.", "Write a value, or remove the setting.")


def expand(text: str, where: str) -> Path:
    """Return a path with its `~` resolved. Raises `ConfigError`."""
    if "://" in text:
        raise ConfigError(f"{where} is a URL.", "Write the path of a file or a folder.")
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:  # `~a person` who does not exist
        raise ConfigError(
            f"{where} is {quote_value(text)}, whose ~ cannot be resolved.", "Write the whole path."
        ) from exc
