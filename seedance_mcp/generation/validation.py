"""Validation: check the arguments of a video with pydantic, by the table of `generation.request`."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from seedance_mcp.generation.request import VIDEO_ARGUMENTS, VideoArgument


def annotate(argument: VideoArgument) -> Any:
    """Return an argument's type with its words and bounds, as pydantic reads them."""
    info = argument.info
    longest = info.characters_max if info.items_max is None else info.items_max
    field = Field(description=info.description, ge=info.minimum, le=info.maximum, max_length=longest)
    checks = [] if info.check is None else [AfterValidator(_skip_none(info.check))]
    return Annotated[(argument.type, field, *checks)]


@cache
def build_model() -> type[BaseModel]:
    """Return the closed model of the arguments of a video; built once."""
    spelled: dict[str, Any] = {
        one.name: (annotate(one), ... if one.is_required else one.default) for one in VIDEO_ARGUMENTS
    }
    return create_model("VideoArguments", __config__=ConfigDict(extra="forbid"), **spelled)


def _skip_none(check: Callable[[str], object]) -> Callable[[str | None], str | None]:
    def checked(text: str | None) -> str | None:
        if text is not None:
            check(text)
        return text

    return checked
