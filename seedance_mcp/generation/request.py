"""Video request: the arguments of one video, in one table.

Each field of `VideoRequest` is one argument: its name, type, default, bounds and words. The schemas of the MCP tools,
the options of the command line and the columns of a batch file are made from it. It needs the standard library only, so
that neither the start of a server nor `--help` waits for a validation library.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.image_names import DATA_URI_CHARACTERS_MAX
from seedance_mcp.core.money import parse_usdc
from seedance_mcp.core.wire.generation import (
    DECLARED_SECONDS_MAX,
    DECLARED_SECONDS_MIN,
    REFERENCES_MAX,
    SEED_MAX,
    SOUNDS_MAX,
    AspectRatio,
    Resolution,
    Upscale,
)
from seedance_mcp.core.wire.routes import check_model

TAKE_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentInfo:
    """The words and bounds of one argument.

    Attributes:
        description: For a model. It repeats range, choices and default, because some hosts drop them from a schema.
        help: For a person at the command line, which shows these by itself.
        minimum: Smallest number.
        maximum: Largest number.
        characters_max: Longest text.
        items_max: Longest list.
        check: Raises `ValueError` for a text that is not valid, or None.
    """

    description: str
    help: str
    minimum: int | None = None
    maximum: int | None = None
    characters_max: int | None = None
    items_max: int | None = None
    check: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """A caller's request for one video. All but `accept_risk` and `max_price_usd` is part of its identity."""

    image: Annotated[
        str | None,
        ArgumentInfo(
            description="Absolute path, https URL, data: URI or upload:<id>",
            help="A path or an https URL.",
            characters_max=DATA_URI_CHARACTERS_MAX,
        ),
    ] = None
    prompt: Annotated[str, ArgumentInfo(description="What moves and how", help="What moves and how.")]
    last_image: Annotated[str | None, ArgumentInfo(description="Last frame", help="Picture of the last frame.")] = None
    references: Annotated[
        tuple[str, ...],
        ArgumentInfo(
            description="Pictures, videos, sounds; prompt: @image1",
            help="Instead of a picture: files that the prompt names @image1, @video1 or @audio1. Repeat it for each.",
            items_max=REFERENCES_MAX + SOUNDS_MAX,
        ),
    ] = ()
    text_only: Annotated[
        bool,
        ArgumentInfo(description="Default false", help="Make the video from the prompt alone."),
    ] = False
    model: Annotated[
        str,
        ArgumentInfo(
            description="seedance-fast (default), seedance or another",
            help="seedance-fast, seedance, or another Seedance of the studio.",
            check=check_model,
        ),
    ] = "seedance-fast"
    duration: Annotated[
        int,
        ArgumentInfo(
            description="Seconds, 4-15, default 4",
            help="Seconds; 4 to 15, unless the studio declares others for a model.",
            minimum=DECLARED_SECONDS_MIN,
            maximum=DECLARED_SECONDS_MAX,
        ),
    ] = 4
    resolution: Annotated[
        Resolution,
        ArgumentInfo(description="480p (default); 1080p: seedance only", help="1080p: seedance only."),
    ] = "480p"
    upscale: Annotated[
        Upscale | None, ArgumentInfo(description="4k; costs more", help="Enlarge the video, for a higher price.")
    ] = None
    aspect_ratio: Annotated[
        Literal["auto", AspectRatio],
        ArgumentInfo(
            description="auto (default): image's",
            help="auto: the picture's own shape; 16:9 without a first frame.",
        ),
    ] = "auto"
    camera_fixed: Annotated[bool | None, ArgumentInfo(description="Lock the camera", help="Lock the camera.")] = None
    generate_audio: Annotated[bool | None, ArgumentInfo(description="Add sound", help="Native audio.")] = None
    seed: Annotated[
        int | None,
        ArgumentInfo(
            description="Random seed", help="Only if the studio has seeds.", minimum=-SEED_MAX, maximum=SEED_MAX
        ),
    ] = None
    take: Annotated[
        int,
        ArgumentInfo(
            description="Raise to buy again, 1-1000, default 1",
            help="Raise it to buy another take of the same request.",
            minimum=1,
            maximum=TAKE_MAX,
        ),
    ] = 1
    accept_risk: Annotated[
        bool,
        ArgumentInfo(
            description="Buy despite a risk, default false",
            help="Buy although Seedance is likely to refuse a picture of this size.",
        ),
    ] = False
    max_price_usd: Annotated[
        str | None,
        ArgumentInfo(
            description="Most to pay, as 0.50",
            help="Refuse to pay more for one video, e.g. 0.50.",
            check=parse_usdc,
        ),
    ] = None

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of its pictures, videos and sounds."""
        return tuple(one for one in (self.image, self.last_image, *self.references) if one is not None)

    @property
    def max_price_micro_usdc(self) -> int | None:
        """Return the most that the caller allows for the video, its uploads and network fees; None for no limit.

        Raises:
            RequestError: `max_price_usd` is not an amount.
        """
        try:
            return None if self.max_price_usd is None else parse_usdc(self.max_price_usd)
        except ValueError as exc:
            raise RequestError(f"The price limit is not an amount: {exc}.") from exc


@dataclass(frozen=True, slots=True)
class VideoArgument:
    """One argument of the table.

    Attributes:
        name: Its name for every caller.
        type: Its Python type.
        default: Its default; `inspect.Parameter.empty` if it is required.
        info: Its words and bounds.
    """

    name: str
    type: Any
    default: Any
    info: ArgumentInfo

    @property
    def is_required(self) -> bool:
        """Return True if it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the allowed texts; empty if there is no such list."""
        literals = (self.type, *get_args(self.type)) if get_origin(self.type) is not Literal else (self.type,)
        return next((get_args(one) for one in literals if get_origin(one) is Literal), ())


VIDEO_ARGUMENTS: tuple[VideoArgument, ...] = tuple(
    VideoArgument(
        field.name,
        get_args(field.type)[0],
        inspect.Parameter.empty if field.default is MISSING else field.default,
        get_args(field.type)[1],
    )
    for field in fields(VideoRequest)
)
"""Every argument of a video, in order."""


def spell_arguments(
    wrapper: Callable[..., Any],
    function: Callable[..., Any],
    parameter: str,
    annotations: Iterable[tuple[VideoArgument, Any]],
) -> None:
    """Give a wrapper the signature of its function, with arguments of the table instead of one parameter.

    Args:
        wrapper: Called with the arguments, each under its name.
        function: Takes the arguments in one parameter.
        parameter: That parameter's name.
        annotations: The arguments, each with its annotation in the words of a library.
    """
    hints = get_type_hints(function, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    spelled: list[inspect.Parameter] = []
    for name, own in inspect.signature(function).parameters.items():
        if name == parameter:
            spelled += [
                inspect.Parameter(one.name, kind, default=one.default, annotation=annotation)
                for one, annotation in annotations
            ]
        else:
            spelled.append(own.replace(annotation=hints[name], kind=kind))
    signature = inspect.Signature(spelled, return_annotation=hints["return"])
    wrapper.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue] - read by `inspect.signature`
    wrapper.__annotations__ = {one.name: one.annotation for one in spelled} | {"return": hints["return"]}
