"""Story files: read the shots and options of a film from YAML or JSON. Reads and checks; buys nothing.

An error lists everything that is wrong with the file, so that it is corrected once.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from seedance_mcp.cli.input_files import read_input
from seedance_mcp.core.errors import ImageError, RequestError
from seedance_mcp.core.image_names import is_path
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.value_problems import describe_problem
from seedance_mcp.core.wire.generation import check_prompt
from seedance_mcp.generation.film_request import SHOTS_MAX, ShotRequest
from seedance_mcp.generation.request import VideoRequest

STORY_BYTES_MAX = 256 * 1024
CROSSFADE_SECONDS_MAX = 2.0
PROBLEMS_MAX = 20
"""How many problems an error lists."""
VALUE_CHARACTERS_MAX = 60

SHOT_FIELDS = tuple(field.name for field in fields(ShotRequest))
"""What a shot may have of its own; everything else is an option of the whole film."""
_PLACEHOLDER = "the last frame of the shot before"
_FORMATS = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A film as its file describes it, with absolute paths.

    Attributes:
        shots: The arguments of each shot, in order.
        options: The arguments of the whole film.
        crossfade_seconds: For how long a shot fades into the next.
    """

    shots: list[dict[str, Any]]
    options: dict[str, Any]
    crossfade_seconds: float


def read_story(file: Path) -> Story:
    """Read a story; paths in it are relative to its own folder.

    Args:
        file: `.yaml`, `.yml` or `.json`.

    Raises:
        RequestError: Unreadable, not of one of these formats, or with values that are wrong; all are listed.
    """
    document = _parse(file, _read_text(file))
    problems: list[str] = []
    shots = _read_shots(document.get("shots"), file.absolute().parent, problems)
    crossfade = document.get("crossfade", 0)
    is_number = isinstance(crossfade, int | float) and not isinstance(crossfade, bool)
    if not is_number or not 0 <= cast("float", crossfade) <= CROSSFADE_SECONDS_MAX:
        problems.append(f"crossfade {_quote(crossfade)}: seconds from 0 to {CROSSFADE_SECONDS_MAX:.0f}")
    options = {str(name): value for name, value in document.items() if name not in ("shots", "crossfade")}
    own = [name for name in options if name in SHOT_FIELDS and name != "duration"]
    problems.extend(f"{name} belongs to a shot, not to the film" for name in own)
    problems.extend(_check_values({name: value for name, value in options.items() if name not in own}, shots))
    if problems:
        left = len(problems) - PROBLEMS_MAX
        listed = [*problems[:PROBLEMS_MAX], *([f"and {left} more"] if left > 0 else [])]
        what = f"{file.name}: " + "; ".join(listed)
        raise RequestError(f"{what}.", "Correct the file and run the same command again.")
    return Story(shots=shots, options=options, crossfade_seconds=float(cast("float", crossfade)))


def _read_text(file: Path) -> str:
    if file.suffix.lower() not in _FORMATS:
        raise RequestError(f"{file.name} is neither .yaml nor .json.", "Name a file of one of these kinds.")
    return read_input(file, bytes_max=STORY_BYTES_MAX, larger_hint="Name pictures by their paths.")


def _parse(file: Path, text: str) -> dict[object, object]:
    kind = _FORMATS[file.suffix.lower()]
    try:
        document = json.loads(text) if kind == "JSON" else _parse_yaml(text)
    except (ValueError, RecursionError, TypeError, AttributeError) as exc:
        line = _find_line(exc)
        where = "" if line is None else f", line {line}"
        raise RequestError(f"{file.name} is not {kind}{where}.", "Correct it and run the same command again.") from exc
    if not isinstance(document, dict):
        raise RequestError(f"{file.name} has no list of shots.", "Write `shots:` and below it one entry for each shot.")
    return cast("dict[object, object]", document)


def _parse_yaml(text: str) -> object:
    from ruamel.yaml import YAML  # only where a file is YAML
    from ruamel.yaml.error import YAMLError

    reader: Any = YAML(typ="safe", pure=True)  # untyped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader.load(text)
    except YAMLError as exc:
        raise ValueError(str(exc)) from exc


def _find_line(exc: BaseException) -> int | None:
    mark = getattr(exc.__cause__, "problem_mark", None)
    return getattr(exc, "lineno", None) if mark is None else int(mark.line) + 1


def _read_shots(given: object, folder: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Return the shots with absolute paths, and add what is wrong with them."""
    if not isinstance(given, list) or not given:
        problems.append("it has no shots")
        return []
    rows = cast("list[object]", given)
    if len(rows) > SHOTS_MAX:
        problems.append(f"it has {len(rows)} shots; {SHOTS_MAX} are the most")
    shots: list[dict[str, Any]] = []
    for number, row in enumerate(rows[:SHOTS_MAX], start=1):
        if isinstance(row, str):  # a shot of a prompt alone
            row = {"prompt": row}
        if not isinstance(row, dict):
            problems.append(f"shot {number} is neither a prompt nor a mapping")
            continue
        shot = {str(name): value for name, value in cast("dict[object, Any]", row).items() if value is not None}
        for name in ("image", "last_image"):
            if isinstance(shot.get(name), str) and is_path(shot[name]):
                shot[name] = _find_file(shot[name], folder, f"shot {number}", problems)
        if isinstance(shot.get("references"), list):
            shot["references"] = [
                _find_file(one, folder, f"shot {number}", problems) if isinstance(one, str) and is_path(one) else one
                for one in cast("list[object]", shot["references"])
            ]
        shots.append({"number": number, **shot})
    return shots


def _find_file(text: str, folder: Path, where: str, problems: list[str]) -> str:
    path = folder / Path(text).expanduser()
    if not path.is_file():
        problems.append(f"{where}: there is no file {_quote(text)}")
    return str(path)


def _check_values(options: Mapping[str, Any], shots: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with the values of options and shots, each problem once; takes the numbers off the shots."""
    problems: list[str] = []
    wrong_options = dict.fromkeys(_list_problems({**options, "prompt": "x", "image": _PLACEHOLDER}))
    problems.extend(wrong_options)
    for index, shot in enumerate(shots):
        where = f"shot {shot.pop('number')}"
        unknown = [name for name in shot if name not in SHOT_FIELDS]
        problems.extend(f"{where}: {_quote(name)} is not one of {', '.join(SHOT_FIELDS)}" for name in unknown)
        is_alone = bool(shot.get("references") or shot.get("text_only"))
        if index == 0 and "image" not in shot and not is_alone:
            problems.append(f"{where} has no image, no references, and no shot before it to start from")
        values = {name: value for name, value in shot.items() if name not in unknown}
        found = _list_problems(values if is_alone else {"image": _PLACEHOLDER, **values})
        problems.extend(f"{where}: {problem}" for problem in found)
    return problems


def _list_problems(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the arguments of one video."""
    from pydantic import ValidationError  # `--help` does not wait for these

    from seedance_mcp.generation.inputs import check_inputs
    from seedance_mcp.generation.validation import build_model

    try:
        checked = build_model().model_validate(values)
        check_inputs(VideoRequest(**dict(checked)))
        check_prompt(values["prompt"])
    except ValidationError as exc:
        return [_describe(error) for error in exc.errors(include_url=False)]
    except (ImageError, RequestError) as exc:
        return [exc.what.rstrip(".")]
    return []


def _describe(error: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        return f"there is no option {_quote(name)}"
    return f"{name} {_quote(error['input'])}: {describe_problem(error)}"


def _quote(value: object) -> str:
    return quote_text(str(value), VALUE_CHARACTERS_MAX)
