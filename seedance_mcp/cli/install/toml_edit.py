"""Set or remove one table of a TOML file that a person wrote.

`tomlkit` writes our table and finds its end; it is loaded only when a file changes. Every character outside our table
stays. A change is refused if it does not read back as intended, or if our entry is not written as a table of its own:
the text around it is not ours.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from seedance_mcp.cli.install.json_edit import find_newline
from seedance_mcp.core.errors import ConfigError

if TYPE_CHECKING:
    from tomlkit.items import Item

_HEADER = re.compile(r"^[ \t]*\[[^\n]*\][ \t]*(?:#[^\n]*)?\r?$", re.MULTILINE)
"""A line that is a table's header, or looks like one inside a value."""


class Number(str):
    """A number with a point, kept as it is written."""

    __slots__ = ()


def parse_toml(text: str, file: Path) -> dict[str, object]:
    """Return a file's tables; numbers with a point are `Number`.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(text, parse_float=Number)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{file} is not TOML: {str(exc)[:200]}.", "Fix it first; nothing was changed.") from exc


def read_table(document: Mapping[str, object], key: str, file: Path) -> dict[str, object]:
    """Return the table under a key; an empty one where there is none.

    Raises:
        ConfigError: Something else is there.
    """
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{key} in {file} is not a table.", "Fix it first; nothing was changed.")
    return cast("dict[str, object]", found)


def set_toml(text: str, file: Path, key: str, name: str, entry: Mapping[str, object]) -> str:
    """Return the text with the table `key.name` in it: where it stands already, or at the end.

    Raises:
        ConfigError: It cannot be read, or not be changed safely.
    """
    document = parse_toml(text, file)
    newline = find_newline(text)
    written = write_toml(key, name, entry).replace("\n", newline)
    if name in read_table(document, key, file):
        first, *rest = _split_at_table(text, key, name)
        after = first + written + _join(rest, newline) if rest else text
    else:
        gap = newline if text.endswith("\n") else newline * 2
        after = text + gap + written if text else written
    after = _end_alike(after, text, newline)
    _check_change(document, after, file, key, name, entry)
    return after


def cut_toml(text: str, file: Path, key: str, name: str) -> str:
    """Return the text without the table `key.name` and those below it.

    Raises:
        ConfigError: As `set_toml`.
    """
    document = parse_toml(text, file)
    newline = find_newline(text)
    after = _end_alike(_join(_split_at_table(text, key, name), newline), text, newline)
    _check_change(document, after, file, key, name, None)
    return after


def write_toml(key: str, name: str, entry: Mapping[str, object]) -> str:
    """Return an entry as tables: its own, and one for each table in it."""
    import tomlkit

    table = tomlkit.table()
    for inner, value in sorted(entry.items(), key=lambda member: isinstance(member[1], dict)):
        if isinstance(value, dict):
            below = tomlkit.table()
            for last, part in cast("dict[str, object]", value).items():
                below.append(last, _build_value(part))
            table.append(inner, below)
        else:
            table.append(inner, _build_value(value))
    above = tomlkit.table(is_super_table=True).append(name, table)
    return tomlkit.document().append(key, above).as_string()


def _build_value(value: object) -> Item:
    """Return a value as TOML has it inside a table: a number as it was written, a table on one line."""
    import tomlkit

    if isinstance(value, Number):
        return tomlkit.value(str(value))
    if isinstance(value, list):
        array = tomlkit.array()
        for part in cast("list[object]", value):
            array.insert(len(array), _build_value(part))
        return array
    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        for inner, part in cast("dict[str, object]", value).items():
            inline.append(inner, _build_value(part))
        return inline
    return tomlkit.item(value)


def _check_change(
    document: Mapping[str, object], after: str, file: Path, key: str, name: str, entry: Mapping[str, object] | None
) -> None:
    """Refuse a change that is not the intended one; a table that is empty is as good as none."""
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
            "Remove it by hand, and run the same command again; nothing was changed.",
        )
    raise ConfigError(
        f"{file} lists its servers in a form that is not edited here: {key} is not written as tables.",
        f"Write each of them as [{key}.NAME], or add the entry by hand; nothing was changed.",
    )


# ── Places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _split_at_table(text: str, key: str, name: str) -> list[str]:
    """Return the pieces of a text around each place where `key.name`, or a table below it, stands."""
    pieces = [""]
    for table in _list_tables(text):
        found = _read_header(table).get(key)
        if isinstance(found, dict) and name in found:
            pieces.append(_render_end(table))
        else:
            pieces[-1] += table
    return pieces


def _list_tables(text: str) -> Iterator[str]:
    """Yield a file table by table: each piece is TOML by itself, so no bracket within a value begins one.

    tomlkit is not given the whole file: it reorders tables around a `[[list]]` of tables.
    """
    begin = 0
    for header in _HEADER.finditer(text):
        if _is_toml(text[begin : header.start()]):
            yield text[begin : header.start()]
            begin = header.start()
    yield text[begin:]


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_header(table: str) -> dict[str, object]:
    """Return what the first line of a table makes, if it is a header."""
    header = table.partition("\n")[0].strip()
    return tomllib.loads(header) if header.startswith("[") else {}


def _render_end(table: str) -> str:
    """Return the empty lines and comments after a table's last value: they belong to what follows."""
    import tomlkit
    from tomlkit.items import Table

    end, body = "", tomlkit.parse(table).body
    while body:
        inner, item = body[-1]
        if isinstance(item, Table):
            body = item.value.body
        elif inner is None:
            end, body = item.as_string() + end, body[:-1]
        else:
            break
    return end


def _join(pieces: list[str], newline: str) -> str:
    """Join the pieces around removed tables, without the empty line above each, or below one that began the file."""
    first, *rest = pieces
    for piece in rest:
        lines = first.splitlines(keepends=True)
        if not first:
            blank, _, below = piece.partition("\n")
            piece = piece if blank.strip() else below
        elif not lines[-1].strip():
            first = "".join(lines[:-1])
        first += piece
    return first


def _end_alike(after: str, before: str, newline: str) -> str:
    """Return the new text without a newline at its end where the old one has none."""
    return after.removesuffix(newline) if before and not before.endswith("\n") else after
