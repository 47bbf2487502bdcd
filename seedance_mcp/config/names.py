"""Setting names: find variables, keys and settings files that are not read, and suggest the intended setting.

An owner may believe that a misspelt limit is set, so an unknown name is a problem and is never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

import platformdirs

from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.texts import quote_text

PREFIX = "SEEDANCE_"
"""Prefix of settings; an environment variable with it, in any case, counts as a setting."""
TEST_PREFIX = "SEEDANCETEST_"
"""Prefix of variables of this project's tests, which are not settings."""
SETTINGS_FILE = "settings.toml"

NEVER_EMPTY = (
    "MAX_PRICE_PER_VIDEO", "MAX_PER_DAY", "MAX_PER_WEEK", "MAX_PER_MONTH", "MAX_PER_FILM", "MAX_TOTAL", "ASK_ABOVE",
    "RECIPIENTS", "MODELS", "RAILS",
    "CALLER_MAX_PER_DAY", "CALLER_MAX_TOTAL", "CALLER_MAX_OPEN", "CALLER_CALLS_PER_MINUTE",
)  # fmt: skip
"""Settings whose empty value would mean "no limit"; an empty value of any other setting means unset."""

_MISSPELT_PREFIX = 0.9
"""Lowest similarity of a name without our prefix to a setting's whole name at which it counts as one."""
_NAME_CHARACTERS_MAX = 60


def check_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[ConfigError]:
    """Return a problem for each variable that looks like a setting but is not."""
    names = sorted(known)
    full = {PREFIX + name for name in names}
    return [
        ConfigError(
            f"{_show(name)} (environment) is not a setting.",
            f"Did you mean {PREFIX}{meant}? Correct the name, or remove the variable.",
        )
        for name in environ
        if name not in full and (meant := _find_meant(name, names)) is not None
    ]


def _find_meant(name: str, known: Sequence[str]) -> str | None:
    """Return the setting that a variable is meant to be; None for a variable of another program."""
    if name.startswith(TEST_PREFIX) or name[:1] not in "Ss":
        return None
    written = re.sub(r"[^A-Z0-9]+", "_", name[: _NAME_CHARACTERS_MAX * 2].upper())
    if written.startswith(PREFIX):
        return find_nearest(written.removeprefix(PREFIX), known)
    alike = get_close_matches(written, [PREFIX + other for other in known], n=1, cutoff=_MISSPELT_PREFIX)
    return alike[0].removeprefix(PREFIX) if alike else None


def check_keys(document: Mapping[str, object], known: Iterable[str], where: str) -> list[ConfigError]:
    """Return a problem for each unknown key of a document."""
    names = sorted(known)
    return [
        ConfigError(
            f"{where} has an unknown key {_show(key)!r}.",
            f"Did you mean {find_nearest(key.lower().removeprefix(PREFIX.lower()), names)}? "
            f"Known are: {', '.join(names)}.",
        )
        for key in document
        if key not in names
    ]


def find_nearest(name: str, known: Sequence[str]) -> str:
    """Return the most similar known name: one with all words of this name and few more, or one with most letters."""
    name = name[: _NAME_CHARACTERS_MAX * 2]
    words = set(name.split("_")) - {""}
    with_all = [other for other in known if words and words <= set(other.split("_"))]
    fewest = min((other.count("_") for other in with_all), default=0)
    closest = [other for other in with_all if other.count("_") == fewest]
    return max(closest or known, key=lambda other: SequenceMatcher(None, name, other).ratio())


def find_unread_files(base_dir: Path) -> tuple[Path, ...]:
    """Return settings files in folders where they are not read, although the owner may expect it.

    Args:
        base_dir: The data folder; the only settings file that is read is directly in it.
    """
    platform = (
        platformdirs.user_data_path("seedance-mcp", appauthor=False),
        platformdirs.user_config_path("seedance-mcp", appauthor=False),
    )
    profiles = [base_dir / name for name in ("live", "sandbox", "custom")]
    read = base_dir / SETTINGS_FILE
    places = dict.fromkeys(folder / SETTINGS_FILE for folder in (*profiles, *platform))
    found = [file for file in places if file != read and _is_file(file)]
    return (*found, *(file for file in sorted((base_dir / "custom").glob(f"*/{SETTINGS_FILE}")) if _is_file(file)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _show(name: str) -> str:
    """Return a name unchanged, or quoted and bounded if it is not plain."""
    plain = name.isascii() and name.isprintable() and len(name) <= _NAME_CHARACTERS_MAX
    return name if plain else quote_text(name, _NAME_CHARACTERS_MAX)
