"""TOML as a person writes it, changed in one place only: a table is put in, renewed where it stands, or cut out.

Pure text in, text out. Every other character stays, comments too. A change is proven: what it makes is read again and
compared. An entry that is not written as a table of its own is refused, for the text around it is not ours.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

from seedance_mcp.cli.install.json_edit import find_newline
from seedance_mcp.core.errors import ConfigError

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]', re.DOTALL
)
_BLANK_LINE = re.compile(r"[ \t]*\r?\n")


class Number(str):
    """A number with a point, kept as it is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table's name, where its header's line begins, and where the line of its last value ends."""

    path: tuple[str, ...]
    begin: int
    end: int


def parse_toml(text: str, file: Path) -> dict[str, object]:
    """A file's tables; numbers with a point are `Number`.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(text, parse_float=Number)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{file} is not TOML: {str(exc)[:200]}.", "Mend it first; nothing was changed.") from exc


def read_table(document: Mapping[str, object], key: str, file: Path) -> dict[str, object]:
    """The table under a key; an empty one where there is none.

    Raises:
        ConfigError: Something else is there.
    """
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{key} in {file} is not a table.", "Mend it first; nothing was changed.")
    return cast("dict[str, object]", found)


def set_toml(text: str, file: Path, key: str, name: str, entry: Mapping[str, object]) -> str:
    """The text with the table `key.name` in it: where it stands already, or at the end.

    Raises:
        ConfigError: It cannot be read, or not be changed safely.
    """
    document = parse_toml(text, file)
    newline = find_newline(text)
    written = write_toml(key, name, entry).replace("\n", newline)
    tables = _find_tables(text, key, name)
    if tables:
        after = text
        for table in reversed(tables[1:]):
            after = _cut(after, table)
        after = after[: tables[0].begin] + written + after[tables[0].end :]
    else:
        gap = newline if text.endswith("\n") else newline * 2
        after = text + gap + written if text else written
    after = _end_alike(after, text, newline)
    _prove(document, after, file, key, name, entry)
    return after


def cut_toml(text: str, file: Path, key: str, name: str) -> str:
    """The text without the table `key.name` and those below it.

    Raises:
        ConfigError: As `set_toml`.
    """
    after = text
    for table in reversed(_find_tables(text, key, name)):
        after = _cut(after, table)
    after = _end_alike(after, text, find_newline(text))
    _prove(parse_toml(text, file), after, file, key, name, None)
    return after


def write_toml(key: str, name: str, entry: Mapping[str, object]) -> str:
    """An entry as tables: its own, and one for each table in it."""
    tables = {inner: cast("Mapping[str, object]", value) for inner, value in entry.items() if isinstance(value, dict)}
    lines = [f"[{key}.{name}]"]
    lines += [f"{_write_key(inner)} = {_write_value(value)}" for inner, value in entry.items() if inner not in tables]
    for inner, values in tables.items():
        lines += ["", f"[{key}.{name}.{_write_key(inner)}]"]
        lines += [f"{_write_key(last)} = {_write_value(value)}" for last, value in values.items()]
    return "\n".join(lines) + "\n"


def _write_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _write_text(name)


def _write_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write_value(value: object) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(_write_value(part) for part in cast('list[object]', value))}]"
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return f"{{{', '.join(f'{_write_key(inner)} = {_write_value(part)}' for inner, part in members)}}}"
    return str(value)  # a date or a time


def _prove(
    document: Mapping[str, object], after: str, file: Path, key: str, name: str, entry: Mapping[str, object] | None
) -> None:
    """Refuse a change that is not the one that was meant; a table that is empty is as good as none."""
    servers = read_table(document, key, file)
    rest = {other: value for other, value in servers.items() if other != name}
    expected = {**document, key: rest if entry is None else {**rest, name: dict(entry)}}
    try:
        if {key: {}, **parse_toml(after, file)} == expected:
            return
    except ConfigError:
        pass
    if name in servers:
        raise ConfigError(
            f"{file} has the entry {key}.{name} in a form that is not edited here: not as a table [{key}.{name}].",
            "Take it out by hand, and run the same command again; nothing was changed.",
        )
    raise ConfigError(
        f"{file} lists its servers in a form that is not edited here: {key} is not written as tables.",
        f"Write each of them as [{key}.NAME], or add the entry by hand; nothing was changed.",
    )


# ── Places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _find_tables(text: str, key: str, name: str) -> list[_Table]:
    """Where `key.name` and the tables below it are, in their order."""
    headers: list[tuple[int, int]] = []  # where the line begins, and where the bracket is
    depth = line = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark == "\n":
            line = token.end()
        elif mark in ("[", "{"):
            if mark == "[" and depth == 0 and not text[line : token.start()].strip():
                headers.append((line, token.start()))
            depth += 1
        elif mark in ("]", "}"):
            depth -= 1
    plain = _TOKEN.sub(lambda token: " " * len(token[0]) if token[0].startswith("#") else token[0], text)
    found: list[_Table] = []
    for (begin, bracket), (until, _) in pairwise([*headers, (len(text), 0)]):
        path = _read_path(text[bracket : _find_line_end(text, bracket)])
        if path[:2] == (key, name):
            stop = begin + len(plain[begin:until].rstrip())
            found.append(_Table(path=path, begin=begin, end=_find_line_end(text, stop)))
    return found


def _find_line_end(text: str, at: int) -> int:
    newline = text.find("\n", at)
    return len(text) if newline < 0 else newline + 1


def _read_path(header: str) -> tuple[str, ...]:
    """`[a."b.c"]` as its names."""
    path: list[str] = []
    node: object = tomllib.loads(header)
    while node:
        if isinstance(node, list):
            node = cast("list[object]", node)[0]
        else:
            name, node = next(iter(cast("dict[str, object]", node).items()))
            path.append(name)
    return tuple(path)


def _cut(text: str, table: _Table) -> str:
    """Take out a table's lines and the empty line above it, or below it where it is the first of the file."""
    above, below = text[: table.begin], text[table.end :]
    empty = above.removesuffix("\n").removesuffix("\r").rstrip(" \t")
    if empty.endswith("\n"):
        above = empty
    elif not above and (blank := _BLANK_LINE.match(below)):
        below = below[blank.end() :]
    return above + below


def _end_alike(after: str, before: str, newline: str) -> str:
    """A file without a newline at its end has none afterwards."""
    return after.removesuffix(newline) if before and not before.endswith("\n") else after
