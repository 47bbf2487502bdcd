"""JSON as editors write it, with comments and trailing commas: reading, and changing one entry.

The functions take and return text. An added entry follows the file's layout, and removing it restores the text: every
other character is kept, including comments. Each change is verified: the result is parsed and compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from seedance_mcp.core.errors import ConfigError

_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
_TO_LINE_END = re.compile(r"(?:[ \t]|//[^\r\n]*|/\*(?:(?!\*/)[^\r\n])*\*/)*(?=\r?\n)")
"""Blanks and comments up to the end of a line with nothing else on it."""
_INDENT = re.compile(r"[ \t]*")
_UNIT = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One member of an object: the start of its name and its value, its end, and its comma, if any."""

    name: str
    begin: int
    value: int
    stop: int
    comma: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """The layout of a file: its newline, and one step of indentation."""

    newline: str
    unit: str

    def dump(self, value: object, indent: str) -> str:
        """Serialise a value over several lines, all but the first indented by `indent`."""
        text = json.dumps(value, indent=self.unit, ensure_ascii=False)
        return text.replace("\n", self.newline + indent)


def find_newline(text: str) -> str:
    """Return the most frequent newline of a text."""
    return "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"


def parse_json(text: str, file: Path) -> dict[str, object]:
    """Parse a file's object; an empty one if it has only comments.

    Raises:
        ConfigError: It is not JSON, or not an object.
    """
    plain = _plain(text)
    if not plain.strip():
        return {}
    try:
        document = cast("object", json.loads(plain))
    except (ValueError, RecursionError) as exc:
        where = f", line {exc.lineno}: {exc.msg}" if isinstance(exc, json.JSONDecodeError) else ""
        raise ConfigError(f"{file} is not JSON{where}.", "Correct it first; nothing was changed.") from exc
    if not isinstance(document, dict):
        raise ConfigError(f"{file} does not hold a JSON object.", "Correct it first; nothing was changed.")
    return cast("dict[str, object]", document)


def read_object(document: Mapping[str, object], key: str, file: Path) -> dict[str, object]:
    """Return the object under a key; an empty one if there is none, or null.

    Raises:
        ConfigError: The value is not an object.
    """
    found = document.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{key} in {file} is not an object.", "Correct it first; nothing was changed.")
    return cast("dict[str, object]", found)


def set_json(text: str, file: Path, key: str, name: str, entry: Mapping[str, object]) -> str:
    """Return the text with one entry under a key set; a new one is put first.

    Raises:
        ConfigError: The text cannot be parsed, or not be changed safely.
    """
    document = parse_json(text, file)
    servers = read_object(document, key, file)
    plain = _plain(text)
    if not plain.strip():
        style = _Style(newline=find_newline(text), unit=_UNIT)
        gap = style.newline if text.strip() and not text.endswith("\n") else ""
        after = text + gap + style.dump({key: {name: entry}}, "") + style.newline
    else:
        top = plain.index("{")
        style = _find_style(text, top)
        if key not in document:
            after = _insert(text, top, key, {name: entry}, style, outer="", one_line=False)
        elif document[key] is None:
            after = _replace(text, _find(text, top, key), {name: entry}, style)
        elif name in servers:
            after = _replace(text, _find(text, _find(text, top, key).value, name), entry, style)
        else:
            one_line = _is_one_line(text, top)
            after = _insert(text, _find(text, top, key).value, name, entry, style, outer=style.unit, one_line=one_line)
    _prove(after, file, {**document, key: {**servers, name: dict(entry)}})
    return after


def cut_json(text: str, file: Path, key: str, name: str, *, with_key: bool) -> str:
    """Return the text without one entry under a key.

    Args:
        text: The file's text.
        file: The file's path, for an error.
        key: The key of the object that contains the entry.
        name: The name of the existing entry.
        with_key: True to remove the key, too, if its object has nothing left, not even a comment.

    Raises:
        ConfigError: As `set_json`.
    """
    document = parse_json(text, file)
    rest = {other: value for other, value in read_object(document, key, file).items() if other != name}
    top = _plain(text).index("{")
    after = _cut(text, _find(text, top, key).value, name)
    expected = {**document, key: rest}
    if with_key:
        left = _find(after, top, key)
        if not after[left.value + 1 : left.stop - 1].strip():
            after = _cut(after, top, key)
            del expected[key]
    _prove(after, file, expected)
    return after


def _prove(after: str, file: Path, expected: dict[str, object]) -> None:
    try:
        if parse_json(after, file) == expected:
            return
    except ConfigError:
        pass
    raise ConfigError(
        f"{file} is written in a way that cannot be changed safely.", "Change the entry by hand; nothing was changed."
    )


# ── Parsing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Replace a pattern outside strings by spaces, so that all positions stay the same."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith('"') else re.sub(r"[^\r\n]", " ", found)

    return pattern.sub(blank, text)


@lru_cache(maxsize=4)
def _strip(text: str) -> tuple[str, str]:
    """Return the text without comments, and also without trailing commas."""
    if _is_json(text):  # as most files are; some of them are large
        return text, text
    bare = _blank(_COMMENT, text)
    return bare, _blank(_LAST_COMMA, bare)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _plain(text: str) -> str:
    return _strip(text)[1]


@lru_cache(maxsize=8)
def _members(text: str, start: int) -> tuple[list[_Member], int]:
    """Return the members of the object at `start`, and the position of its closing brace."""
    bare, plain = _strip(text)
    decoder = json.JSONDecoder()
    found: list[_Member] = []
    at = _skip(plain, start + 1)
    while plain[at] != "}":
        name, end = cast("tuple[str, int]", decoder.raw_decode(plain, at))
        value = _skip(plain, _skip(plain, end) + 1)
        _, stop = decoder.raw_decode(plain, value)
        after = _skip(bare, stop)
        comma = after if bare[after] == "," else None
        found.append(_Member(name=name, begin=at, value=value, stop=stop, comma=comma))
        at = _skip(plain, stop if comma is None else comma + 1)
    return found, at


def _skip(text: str, at: int) -> int:
    while text[at].isspace():
        at += 1
    return at


def _find(text: str, start: int, name: str) -> _Member:
    """Return an existing member; of several with one name, the last."""
    return [member for member in _members(text, start)[0] if member.name == name][-1]


def _find_indent(text: str, at: int) -> str:
    """Return the indentation of a position's line."""
    found = _INDENT.match(text, text.rfind("\n", 0, at) + 1)
    return found[0] if found else ""


def _find_style(text: str, top: int) -> _Style:
    members, _ = _members(text, top)
    first = _find_indent(text, members[0].begin) if members and not _is_one_line(text, top) else ""
    return _Style(newline=find_newline(text), unit=first or _UNIT)


def _is_one_line(text: str, start: int) -> bool:
    """Return True if the object at `start` has its first member on the line of its brace."""
    members, _ = _members(text, start)
    return bool(members) and "\n" not in text[start : members[0].begin]


# ── Changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _insert(text: str, start: int, name: str, value: object, style: _Style, *, outer: str, one_line: bool) -> str:
    """Insert a member first into the object at `start`, in the layout of the other members.

    Args:
        text: The file's text.
        start: The position of the object.
        name: The member's name.
        value: The member's value.
        style: The file's layout.
        outer: The indentation of the closing brace, if the object is empty.
        one_line: True to write it on one line, if the object is empty.
    """
    members, close = _members(text, start)
    at = start + 1
    if _is_one_line(text, start) or (one_line and not members):
        written = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        if members:  # add a blank on one side, if there is none
            written = f" {written}," if text[at].isspace() else f"{written}, "
        return text[:at] + written + text[at:]
    line_end = _TO_LINE_END.match(text, at)
    at = line_end.end() if line_end else at
    indent = _find_indent(text, members[0].begin) if members else outer + style.unit
    written = f"{style.newline}{indent}{json.dumps(name)}: {style.dump(value, indent)}"
    if members:
        written += ","
    elif "\n" not in text[at:close]:
        written += style.newline + outer
    return text[:at] + written + text[at:]


def _replace(text: str, member: _Member, value: object, style: _Style) -> str:
    before = _strip(text)[0][: member.begin]
    if "\n" in before[len(before.rstrip()) :]:
        written = style.dump(value, _find_indent(text, member.begin))
    else:
        written = json.dumps(value, ensure_ascii=False)
    return text[: member.value] + written + text[member.stop :]


def _cut(text: str, start: int, name: str) -> str:
    """Remove a member, its comma, and the line break before it or the blank beside it; see `_insert`."""
    members, _ = _members(text, start)
    index = [number for number, member in enumerate(members) if member.name == name][-1]
    member = members[index]
    begin, end = member.begin, member.stop
    beside = ""  # a comment before our comma is not ours
    if member.comma is not None:
        beside = text[member.stop : member.comma]
        beside = beside if beside.strip() else ""
        end = member.comma + 1
    space = len(text[:begin].rstrip())
    newline = text.rfind("\n", space, begin)
    if newline < 0:
        if space < begin:
            begin = space
        elif text[end : end + 1] == " ":
            end += 1
    elif not text[end:].partition("\n")[0].strip():
        begin = newline - 1 if text[newline - 1] == "\r" and newline > space else newline
    else:  # other text on our last line must not follow a comment on the line above
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    after = text[:begin] + beside + text[end:]
    earlier = members[index - 1].comma if index else None
    if member.comma is None and earlier is not None:
        after = after[:earlier] + after[earlier + 1 :]
    return after
