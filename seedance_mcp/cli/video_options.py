"""Video options: the arguments of a video as options of a command."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import typer

from seedance_mcp.core.wire.routes import MODELS
from seedance_mcp.generation.request import VIDEO_ARGUMENTS, VideoArgument, spell_arguments

NUMBER_SHOWN_MAX = 1_000_000
SHORT = {"prompt": ("-p",), "model": ("-m",), "duration": ("-d",), "resolution": ("-r",), "aspect_ratio": ("-a",)}
"""Short options of arguments."""

Arguments: TypeAlias = Mapping[str, object]
"""The values of a command's options, by the arguments' names."""


def take_arguments(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with an option for each argument of a video instead of its parameter `arguments`.

    Pictures are no options, and a file of rows may have the prompts, so `prompt` may be left out.
    """
    return _spell(function, [_make_optional(one) for one in VIDEO_ARGUMENTS if one.name != "image"])


def take_some(names: Collection[str], **defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator like `take_arguments` for some arguments, in the table's order. It checks no bounds.

    Args:
        names: Of the arguments that become options.
        defaults: Those that differ from the table's.
    """
    options = [
        replace(
            one,
            default=defaults.get(one.name, one.default),
            info=replace(one.info, minimum=None, maximum=None),
        )
        for one in VIDEO_ARGUMENTS
        if one.name in names
    ]
    return lambda function: _spell(function, options)


def _spell(function: Callable[..., None], options: Sequence[VideoArgument]) -> Callable[..., None]:
    @wraps(function)
    def spelled(**given: Any) -> None:
        function(arguments={one.name: given.pop(one.name) for one in options}, **given)

    spell_arguments(spelled, function, "arguments", [(one, _annotate(one)) for one in options])
    return spelled


def _make_optional(argument: VideoArgument) -> VideoArgument:
    return replace(argument, type=argument.type | None, default=None) if argument.is_required else argument


def _annotate(argument: VideoArgument) -> Any:
    """Return an argument's type with its words and bounds, as Typer reads them."""
    info = argument.info
    names = [f"--{argument.name.replace('_', '-')}", *SHORT.get(argument.name, ())]
    if argument.name not in SHORT and argument.type is not bool:
        names = []  # Typer's own; a truth value has a name here, so that it gets no `--no-` form
    is_small = info.maximum is not None and info.maximum <= NUMBER_SHOWN_MAX  # a larger bound tells a reader nothing
    least, most = (info.minimum, info.maximum) if is_small else (None, None)
    kind = argument.type if get_origin(argument.type) is not tuple else list[get_args(argument.type)[0]]
    complete = _complete_model if argument.name == "model" else None
    return Annotated[kind, typer.Option(*names, min=least, max=most, help=info.help, autocompletion=complete)]


def _complete_model(incomplete: str) -> list[str]:
    """Return the known models that begin like this; the studio may have others."""
    return [model for model in MODELS if model.startswith(incomplete)]
