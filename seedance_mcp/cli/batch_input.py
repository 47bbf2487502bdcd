"""Batch input: read many requests from a list of pictures or from a file of rows.

Reads and checks; buys nothing. Rows that cannot be understood are named all at once, and then no row is bought.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_origin

from seedance_mcp.cli.input_files import read_input
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.image_names import is_path, list_variants
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.value_problems import describe_problem
from seedance_mcp.core.wire.generation import check_prompt
from seedance_mcp.generation.request import VIDEO_ARGUMENTS, VideoRequest

SHOTS_MAX = 500
SHOTS_BYTES_MAX = 4 * 1024 * 1024
_LIMIT = "max_price_usd"
"""An empty price limit is an error: it is not the same as none."""
COLUMNS = tuple(one.name for one in VIDEO_ARGUMENTS)
LISTS = frozenset(one.name for one in VIDEO_ARGUMENTS if get_origin(one.type) is tuple)
LIST_SEPARATOR = "|"
"""Separates the parts of a list in one cell: no URL and no Windows path has it."""
SEPARATORS = (",", ";", "\t")
"""What programs write between columns: a spreadsheet writes semicolons where the comma is in numbers."""
PROBLEMS_MAX = 20
"""How many rows that cannot be used are named one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One request, and how a person finds its place.

    Attributes:
        where: Such as `shots.csv line 3`; for a typed picture, its name.
        typed: True if it was an argument of the command, not a row of a file.
    """

    where: str
    typed: bool
    request: VideoRequest


def build_shot(where: str, values: Mapping[str, object], *, folder: Path, typed: bool = False) -> Shot:
    """Build a request from the tools' arguments.

    Args:
        where: Named in errors.
        values: By argument name; None and blank texts count as left out.
        folder: Start of relative paths.
        typed: True if the values are a command's options, which have other names in errors.

    Raises:
        RequestError: A value is wrong.
    """
    limit = values.get(_LIMIT)
    if isinstance(limit, str) and not limit.strip():
        raise RequestError(f"{where}: the price limit is empty.", "Write an amount, such as 0.50, or leave it out.")
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
    given = {name: value for name, value in stripped.items() if value is not None and value not in ("", [], ())}
    if str(given.get("seed")) == "-1":  # as the tools take it: no seed
        del given["seed"]
    fields = _validate(where, given, typed=typed)
    for name in ("image", "last_image"):
        if fields[name] is not None:
            fields[name] = _complete_path(fields[name], folder)
    fields["references"] = tuple(_complete_path(one, folder) for one in fields["references"])
    return Shot(where=where, typed=typed, request=VideoRequest(**fields))


def _validate(where: str, given: Mapping[str, object], *, typed: bool) -> dict[str, Any]:
    """Return every argument, with its default where it was left out.

    Raises:
        RequestError: A value is wrong.
    """
    from pydantic import ValidationError  # `--help` does not wait for these

    from seedance_mcp.generation.validation import build_model

    try:
        fields = dict(build_model().model_validate(given))
        check_prompt(fields["prompt"])
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        name = ".".join(str(part) for part in error["loc"])
        if typed and name != "image":
            name = f"--{name.replace('_', '-')}"
        message = {
            "missing": f"{name} is missing",
            "extra_forbidden": f"there is no argument {quote_text(name, 60)}",
        }.get(error["type"], f"{name} {quote_text(error['input'], 60)}: {describe_problem(error)}")
        raise RequestError(f"{where}: {message}.", "Correct it and run the same command again.") from exc
    except RequestError as exc:
        raise exc.at(where) from exc
    return fields


def _complete_path(text: str, folder: Path) -> str:
    """Return the name of a file with an absolute path; a URL stays as it is."""
    return str(folder / _choose_path(text, folder).expanduser()) if is_path(text) else text


def _choose_path(text: str, folder: Path) -> Path:
    """Return the path that a row's text means: as it stands if there is such a file, else without its decoration."""
    if not (folder / Path(text).expanduser()).exists():
        for variant in list_variants(text):
            if (folder / Path(variant).expanduser()).exists():
                return Path(variant)
    return Path(text)


def read_shots(file: Path, defaults: Mapping[str, object]) -> list[Shot]:
    """Read a CSV file with a header, or JSON lines; paths in it are relative to its own folder.

    Args:
        file: `.csv`, or `.jsonl` / `.ndjson`.
        defaults: Arguments for rows that leave them out.

    Raises:
        RequestError: Unreadable, empty, too large, or a row that cannot be understood, named by its line.
    """
    text = read_input(file, bytes_max=SHOTS_BYTES_MAX, larger_hint="Split it.")
    rows = {".csv": _read_csv, ".jsonl": _read_json_lines, ".ndjson": _read_json_lines}.get(file.suffix.lower())
    if rows is None:
        raise RequestError(f"{file} is neither .csv nor .jsonl.", "Name a file of one of these kinds.")
    folder = file.absolute().parent
    read: list[Shot | RequestError] = []
    for number, (line, values) in enumerate(rows(file, text), start=1):
        if number > SHOTS_MAX:
            raise RequestError(f"{file} has more than {SHOTS_MAX} rows.", "Split it.")
        if isinstance(values, RequestError):
            read.append(values)
            continue
        try:
            read.append(build_shot(f"{file.name} line {line}", {**defaults, **_list_given(values)}, folder=folder))
        except RequestError as exc:
            read.append(exc)
    shots = [one for one in read if isinstance(one, Shot)]
    if len(shots) < len(read):
        raise join_problems([problem for one in read if (problem := _find_problem(one)) is not None])
    if not shots:
        raise RequestError(f"{file} has no rows.", "Write one row for each video.")
    return shots


def _find_problem(row: Shot | RequestError) -> RequestError | None:
    """Return what is wrong with a row; of one that was understood, a file of its own that is not there."""
    if isinstance(row, RequestError):
        return row
    absent = next((name for name in row.request.files if is_path(name) and not Path(name).exists()), None)
    return None if absent is None else RequestError(f"{row.where}: there is no file {quote_text(absent, 200)}.")


def join_problems(problems: Sequence[SeedanceError]) -> SeedanceError:
    """Return one error that names each row that cannot be used, so that all can be corrected in one step."""
    first = problems[0]
    if len(problems) == 1:
        return first
    named = [f"- {problem.what}" for problem in problems[:PROBLEMS_MAX]]
    more = len(problems) - len(named)
    named += [f"- and {more} more"] if more else []
    what = "\n".join([f"{len(problems)} rows cannot be used:", *named, ""])
    return RequestError(what, NextStep("Correct them, then {0}.", Repeat()))


def _list_given(values: Mapping[str, object]) -> dict[str, object]:
    """Return a row's values without those that are left out, so that they do not replace the command's options."""
    return {name: value for name, value in values.items() if value is not None and (value != "" or name == _LIMIT)}


def _read_csv(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, object] | RequestError]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_find_separator(text))
    header: list[str] | None = None
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header is None:
                header = cells
                unknown = [name for name in header if name not in COLUMNS]
                if unknown or len(set(header)) < len(header):
                    what, hint = _describe_header(unknown)
                    raise RequestError(f"{file.name} line {reader.line_num}: {what}.", hint)
            elif len(cells) != len(header):
                problem = f"{len(cells)} of {len(header)} columns; the row is not whole"
                hint = NextStep("Correct it (quote a text that holds a separator), then {0}.", Repeat())
                yield reader.line_num, RequestError(f"{file.name} line {reader.line_num}: {problem}.", hint)
            else:
                yield (
                    reader.line_num,
                    {
                        name: _split_list(cell) if name in LISTS else cell
                        for name, cell in zip(header, cells, strict=True)
                        if cell
                    },
                )
    except csv.Error as exc:
        raise RequestError(f"{file.name} line {reader.line_num}: {exc}.", "Correct the row.") from exc


def _find_separator(text: str) -> str:
    """Return what separates the columns of the header: what finds the most columns that are known."""
    header = next((line for line in text.splitlines() if line.strip()), "")

    def count_known(separator: str) -> int:
        return sum(part.strip().strip('"') in COLUMNS for part in header.split(separator))

    return max(SEPARATORS, key=count_known)


def _split_list(cell: str) -> list[str]:
    return [part for one in cell.split(LIST_SEPARATOR) if (part := one.strip())]


def _describe_header(unknown: list[str]) -> tuple[str, str]:
    """Return what is wrong with a header, and what to do about it.

    Args:
        unknown: Its columns that are none; without one, it names a column twice.
    """
    if not unknown:
        return "the header names a column twice", "Leave one of the two out."
    if any(part.strip() in COLUMNS for part in unknown[0].split("|")):
        return "the columns are separated by bars", "Separate the columns by commas, semicolons or tabs."
    return f"{quote_text(unknown[0], 60)} is not a column that is known", f"Known are: {', '.join(COLUMNS)}."


def _read_json_lines(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, object] | RequestError]]:
    for number, line in enumerate(text.split("\n"), start=1):  # no other separator: JSON may hold them in its texts
        if not line.strip():
            continue
        try:
            values = cast("object", json.loads(line))
        except (ValueError, RecursionError):
            what = f"{file.name} line {number}: this is not JSON; the row is not whole."
            yield number, RequestError(what, "Correct it.")
            continue
        if isinstance(values, dict):
            yield number, cast("dict[str, object]", values)
        else:
            what = f"{file.name} line {number}: this is not an object."
            yield number, RequestError(what, 'Write {"image": "…"}.')
