"""Output: copy saved videos to where `--output` says, and open them. The copy in the data folder stays."""

import inspect
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from seedance_mcp.cli.console import words
from seedance_mcp.cli.viewing import open_file
from seedance_mcp.core.errors import ConfigError

Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Copy the video to this file or folder; it replaces a file.", show_default=False
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the video in this machine's own program.")]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What the options of a command say about its videos."""

    output: Path | None
    opens: bool


def take_output(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options `--output` and `--open` instead of its parameter `target`."""

    @wraps(function)
    def taking(*, output: Path | None, opens: bool, **given: Any) -> None:
        function(target=OutputOptions(output, opens), **given)

    keyword, hints = inspect.Parameter.KEYWORD_ONLY, get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, own in inspect.signature(function).parameters.items():
        if name == "target":
            parameters.append(inspect.Parameter("output", keyword, default=None, annotation=Output))
            parameters.append(inspect.Parameter("opens", keyword, default=False, annotation=Open))
        else:
            parameters.append(own.replace(annotation=hints[name], kind=keyword))
    signature = inspect.Signature(parameters, return_annotation=None)
    taking.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue] - read by `inspect.signature`
    taking.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    return taking


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """Where videos go after they were saved.

    Attributes:
        place: A file or a folder; None to leave them where they are.
        is_folder: True if each video keeps its name there.
        opens: True to open them, too.
    """

    place: Path | None
    is_folder: bool
    opens: bool

    def copy_and_open(self, results: Sequence[dict[str, Any]]) -> bool:
        """Copy and open the saved videos of some results; a result's `output` is where its copy is.

        Returns:
            False if a copy cannot be written. A person is told; the video itself is saved.
        """
        files = dict.fromkeys(result["file"] for result in results if result.get("file"))
        copies = {} if self.place is None else {file: self._copy(Path(file), self.place) for file in files}
        for result in results:
            if self.place is not None and result.get("file"):
                result["output"] = copies[result["file"]]
        for file in files if self.opens else ():
            if not open_file(copies.get(file) or file):
                words.print(f"No program here opens {file}.")
        return None not in copies.values()

    def _copy(self, file: Path, place: Path) -> str | None:
        target = place / file.name if self.is_folder else place
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial)
            os.replace(partial, target)
        except OSError as exc:
            partial.unlink(missing_ok=True)
            words.print(f"{target} cannot be written: {exc.strerror or exc}.", style="bold red")
            words.print(f"The video is saved in {file}. Run the same command with another --output.")
            return None
        return str(target)


def plan_output(target: OutputOptions, *, videos: int = 1) -> OutputPlan:
    """Check where videos are to be copied, before they are bought.

    Raises:
        ConfigError: Several videos are to become one file, or the place cannot be written.
    """
    if target.output is None:
        return OutputPlan(place=None, is_folder=False, opens=target.opens)
    place = target.output.expanduser()
    is_folder = place.is_dir() or videos > 1
    if videos > 1 and place.is_file():
        raise ConfigError(f"{videos} videos cannot be one file: {place}.", "Name a folder with --output.")
    existing = next(one for one in (place if is_folder else place.parent, *place.absolute().parents) if one.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"{place} cannot be written.", "Name another --output.")
    return OutputPlan(place=place, is_folder=is_folder, opens=target.opens)
