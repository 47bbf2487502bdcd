"""Set or remove one entry of a YAML file that a person wrote.

`ruamel.yaml` finds the places and writes our entry; it is loaded only for a host with such a file. Every character
outside our entry stays. A change is refused if it does not read back as intended.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from seedance_mcp.cli.install.json_edit import find_newline, read_object
from seedance_mcp.core.errors import ConfigError

_INDENT = 2
_WIDTH = 1_000_000
"""A line is never broken."""

_Node = Any
"""A node of `ruamel.yaml`, whose types say little."""


def parse_yaml(text: str, file: Path) -> dict[str, object]:
    """Return a file's mapping; an empty one if it has only comments.

    Raises:
        ConfigError: It is not YAML, or not a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = cast("object", YAML(typ="safe", pure=True).load(text))  # pyright: ignore[reportUnknownMemberType] - untyped
    except (YAMLError, ValueError, RecursionError, TypeError, AttributeError) as exc:
        place = getattr(exc, "problem_mark", None)
        where = "" if place is None else f", line {place.line + 1}"
        raise ConfigError(f"{file} is not YAML{where}.", "Correct it first; nothing was changed.") from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{file} does not hold a YAML mapping.", "Correct it first; nothing was changed.")
    return cast("dict[str, object]", document)


def set_yaml(text: str, file: Path, key: str, name: str, entry: Mapping[str, object]) -> str:
    """Return the text with one entry under a key: where it stands already, or as the first one.

    Raises:
        ConfigError: It cannot be read, or not be changed safely.
    """
    document = parse_yaml(text, file)
    servers = read_object(document, key, file)
    expected = {**document, key: {**servers, name: dict(entry)}}
    return _change(lambda: _set(text, key, name, entry, find_newline(text)), file, expected, key)


def cut_yaml(text: str, file: Path, key: str, name: str, *, with_key: bool) -> str:
    """Return the text without one entry under a key.

    Args:
        text: The file's text.
        file: For errors.
        key: The key of the entries.
        name: The entry.
        with_key: True to remove the key, too, if nothing else is under it.

    Raises:
        ConfigError: As `set_yaml`.
    """
    document = parse_yaml(text, file)
    rest = {other: value for other, value in read_object(document, key, file).items() if other != name}
    expected = {**document, key: rest}
    return _change(lambda: _cut(text, key, name, with_key=with_key and not rest), file, expected, key)


def write_yaml(key: str, name: str, entry: Mapping[str, object]) -> str:
    """Return an entry as a document of its own. Texts are quoted: `off` is a word here, and no more than that."""
    from ruamel.yaml import YAML

    writer = YAML()
    writer.width = _WIDTH
    buffer = io.StringIO()
    writer.dump({key: {name: _quote(dict(entry))}}, buffer)  # pyright: ignore[reportUnknownMemberType] - untyped
    return buffer.getvalue()


def _quote(value: object) -> object:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return DoubleQuotedScalarString(value)
    if isinstance(value, list):
        return [_quote(part) for part in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: _quote(part) for name, part in cast("dict[str, object]", value).items()}
    return value


def _change(edit: Callable[[], str], file: Path, expected: Mapping[str, object], key: str) -> str:
    """Return the changed text, if it reads back as expected; a mapping that is empty is as good as none.

    Raises:
        ConfigError: It does not.
    """
    try:
        after = edit()
        found = parse_yaml(after, file)
        if {**found, key: found.get(key) or {}} == expected:
            return after
    except (ConfigError, RecursionError):  # an alias may lead back to where it stands
        pass
    raise ConfigError(
        f"{file} lists its servers in a form that is not edited here: {key} is not written as indented lines.",
        "Write it so, or edit the entry by hand; nothing was changed.",
    )


# ── Places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _set(text: str, key: str, name: str, entry: Mapping[str, object], newline: str) -> str:
    root = _compose(text)
    written = write_yaml(key, name, entry).replace("\n", newline)
    found = None if root is None else _find(root, key)
    if found is None:
        return (text if not text or text.endswith("\n") else text + newline) + written
    above, value = found
    indent = value.value[0][0].start_mark.column if _has_lines(value) else _INDENT
    _, _, inner = written.partition(newline)
    lines = [" " * (indent - _INDENT) + line for line in inner.splitlines(keepends=True)]
    place = _find(value, name) if _has_lines(value) else None
    if place is not None:
        begin, end = _find_lines(text, *place)
        return text[:begin] + "".join(lines) + text[end:]
    if not _has_lines(value):
        text = _empty(text, above, value, "")
    at = _end_of_line(text, above.end_mark.index)
    head = text[:at] if text[:at].endswith("\n") else text[:at] + newline
    return head + "".join(lines) + text[at:]


def _cut(text: str, key: str, name: str, *, with_key: bool) -> str:
    root = _compose(text)
    found = None if root is None else _find(root, key)
    place = None if found is None or not _has_lines(found[1]) else _find(found[1], name)
    if found is None or place is None:
        return text
    above, value = found
    begin, end = _find_lines(text, *place)
    if len(value.value) > 1:
        return text[:begin] + text[end:]
    if with_key:
        return text[: above.start_mark.index] + text[end:]
    return _empty(text[:begin] + text[end:], above, None, " {}")


def _empty(text: str, above: _Node, value: _Node | None, replacement: str) -> str:
    """Return the text with this in place of an empty value behind a key."""
    colon = text.index(":", above.end_mark.index) + 1
    end = colon if value is None or value.start_mark.index == value.end_mark.index else value.end_mark.index
    return text[:colon] + replacement + text[end:]


def _compose(text: str) -> _Node | None:
    """Return the top node of a text that was parsed before; None if it has only comments."""
    from ruamel.yaml import YAML

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return YAML(pure=True).compose(text)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _has_lines(node: _Node) -> bool:
    """Return True if a node is a mapping with one line or more for each entry."""
    return node.id == "mapping" and not node.flow_style and bool(node.value)


def _find(node: _Node, key: str) -> tuple[_Node, _Node] | None:
    """Return the nodes of a key and its value in a mapping."""
    members = node.value if node.id == "mapping" else ()
    return next(((name, value) for name, value in members if name.value == key), None)


def _find_lines(text: str, name: _Node, value: _Node) -> tuple[int, int]:
    """Return the begin and the end of the lines of an entry; comments below it are not its own."""
    end = max(index for node in (name, value) for index in _list_ends(node))
    return name.start_mark.index - name.start_mark.column, _end_of_line(text, end)


def _list_ends(node: _Node) -> Iterator[int]:
    """Yield where the content of a node ends: a block's own mark is behind the comments below it."""
    if node.id == "scalar" or node.flow_style:
        if node.end_mark.index > node.start_mark.index:
            yield node.end_mark.index
        return
    members = cast("list[_Node]", node.value)
    parts = [part for pair in members for part in pair] if node.id == "mapping" else members
    for part in parts:
        yield from _list_ends(part)


def _end_of_line(text: str, at: int) -> int:
    """Return where the next line begins."""
    if at and text[at - 1] == "\n":
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1
