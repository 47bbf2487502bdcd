"""JSON as editors write it, with comments and trailing commas: read as it is meant, and changed in one place only.

Pure text in, text out. A change is proven: what it makes is read again and compared, so that nothing else was touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from seedance_mcp.errors import ConfigError

_JSONC = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*(?:(?://[^\n]*|/\*.*?\*/)\s*)*[}\]])', re.DOTALL)


def parse_json(text: str, file: Path) -> dict[str, object]:
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


def edit_json(before: str | None, file: Path, key: str, name: str, entry: Mapping[str, object] | None) -> str:
    """Set or remove one entry and leave every other byte alone, comments included."""
    text = (before or "").removeprefix("\ufeff")
    document = parse_json(text, file)
    if not text.strip():
        return _dump({key: {name: entry}}) + "\n" if entry is not None else text
    servers = document.get(key)
    if servers is not None and not isinstance(servers, dict):
        raise ConfigError(f"{key} in {file} is not an object.", "Mend it first; nothing was changed.")
    if entry is None and name not in cast("dict[str, object]", servers or {}):
        return text
    if servers is None:
        after = _insert(text, _plain_json(text).index("{"), key, {name: entry}, depth=1)
    else:
        start = _find_value(text, _plain_json(text).index("{"), key)
        if name in cast("dict[str, object]", servers):
            text = _cut(text, start, name)
        after = text if entry is None else _insert(text, start, name, entry, depth=2)
    expected = {**document}
    rest = {other: value for other, value in cast("dict[str, object]", servers or {}).items() if other != name}
    expected[key] = rest if entry is None else {**rest, name: dict(entry)}
    if parse_json(after, file) != expected:  # the proof that nothing else was touched
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
