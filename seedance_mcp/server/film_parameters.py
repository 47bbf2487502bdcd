"""Film parameters: the arguments of a storyboard in an MCP client's form."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.image_names import DATA_URI_CHARACTERS_MAX
from seedance_mcp.core.money import parse_usdc
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.core.wire.generation import DECLARED_SECONDS_MAX, DECLARED_SECONDS_MIN, REFERENCES_MAX, SOUNDS_MAX
from seedance_mcp.generation.film_request import FilmRequest, build_shot
from seedance_mcp.generation.request import VIDEO_ARGUMENTS, VideoRequest, spell_arguments
from seedance_mcp.generation.validation import annotate

Result = TypeVar("Result")
PictureName = Annotated[str | None, Field(max_length=DATA_URI_CHARACTERS_MAX)]


class ShotArguments(BaseModel):
    """One shot."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    image: PictureName = None
    last_image: PictureName = None
    duration: Annotated[int | None, Field(ge=DECLARED_SECONDS_MIN, le=DECLARED_SECONDS_MAX)] = None
    references: Annotated[list[str], Field(max_length=REFERENCES_MAX + SOUNDS_MAX)] = []
    text_only: bool = False


_SHOTS = "1-20 of a film"
Shots = Annotated[list[ShotArguments], Field(description=_SHOTS)]
OptionalShots = Annotated[list[ShotArguments] | None, Field(description=_SHOTS)]

_PER_SHOT = frozenset({"image", "prompt", "last_image", "references", "text_only"})
OPTIONS = tuple(one for one in VIDEO_ARGUMENTS if one.name not in _PER_SHOT)
"""Arguments that all shots of a film share."""


def take_storyboard(function: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
    """Return a function that takes the arguments of a storyboard instead of its parameter `request`."""

    @wraps(function)
    async def spelled(**given: Any) -> Result:
        options = {one.name: given.pop(one.name) for one in OPTIONS}
        return await function(request=build_film_request(given["shots"], options), **given)

    unsaid = [replace(one, info=replace(one.info, description="")) for one in OPTIONS]  # as in animate_image
    spell_arguments(spelled, function, "request", [(one, annotate(one)) for one in unsaid])
    return spelled


def take_video_or_shots(function: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
    """Return a function that takes the arguments of a video, or `shots`, instead of its parameter `request`."""
    optional = {"image", "prompt"}
    arguments = [
        replace(one, type=one.type | None, default=None) if one.name in optional and one.is_required else one
        for one in VIDEO_ARGUMENTS
    ]

    @wraps(function)
    async def spelled(**given: Any) -> Result:
        values = {one.name: given.pop(one.name) for one in arguments}
        shots = given["shots"]
        if shots is not None:
            if any(values[name] for name in ("image", "prompt", "last_image", "references", "text_only")):
                raise RequestError(
                    "Shots are given, and also a picture or a prompt.",
                    NextStep("Put them into {0}, or leave it out.", Argument("shots")),
                )
            return await function(request=build_film_request(shots, values), **given)
        if values["prompt"] is None:  # a missing picture is the request's own error
            raise RequestError(
                "A picture or the prompt is missing.",
                NextStep("Name {0} and {1}, or {2}.", Argument("image"), Argument("prompt"), Argument("shots")),
            )
        return await function(request=VideoRequest(**values), **given)

    spell_arguments(spelled, function, "request", [(one, annotate(one)) for one in arguments])
    return spelled


def build_film_request(shots: list[ShotArguments], values: dict[str, Any]) -> FilmRequest:
    """Return a film's request from the arguments of a call.

    Raises:
        RequestError: `max_price_usd` is not an amount.
    """
    most = values.get("max_price_usd")
    try:
        max_price = None if most is None else parse_usdc(most)
    except ValueError as exc:
        raise RequestError(f"The price limit is not an amount: {exc}.") from exc
    options = {one.name: values[one.name] for one in OPTIONS if one.name != "max_price_usd"}
    return FilmRequest(
        shots=tuple(build_shot(shot.model_dump()) for shot in shots),
        options=options,
        max_price_micro_usdc=max_price,
    )
