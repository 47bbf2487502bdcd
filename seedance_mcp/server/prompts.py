"""Prompts: the prompts that a person selects in an MCP client, and completions for arguments with few values."""

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, cast

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import UserMessage
from mcp.server.mcpserver.prompts import Prompt
from mcp.types import (
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import Field

from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.generation import DURATION_SECONDS_MAX, DURATION_SECONDS_MIN
from seedance_mcp.core.wire.routes import MODELS
from seedance_mcp.generation.request import VIDEO_ARGUMENTS
from seedance_mcp.server.call_context import State

log = logging.getLogger("seedance_mcp")

NAME_CHARACTERS_MAX, NAMES_MAX = 60, 5
"""How many characters of an unknown name are quoted, and how many names."""
MOTIONS = ("slow push-in", "gentle parallax", "orbit to the right", "handheld drift", "still camera, moving subject")
SHOTS = ("2", "3", "4", "6")
CHOICES: dict[str, tuple[str, ...]] = {
    **{one.name: one.choices for one in VIDEO_ARGUMENTS if one.choices},
    "model": MODELS,
    "duration": tuple(str(seconds) for seconds in range(DURATION_SECONDS_MIN, DURATION_SECONDS_MAX + 1)),
    "motion": MOTIONS,
    "shots": SHOTS,
}
"""Values of an argument, by its name, in all prompts."""


def animate(
    image: Annotated[str, Field(description="Absolute path or https URL of the picture")],
    motion: Annotated[str, Field(description="What moves and how")] = MOTIONS[0],
    model: Annotated[str, Field(description="seedance-fast or seedance")] = "seedance-fast",
    resolution: Annotated[str, Field(description="480p, 720p or 1080p")] = "480p",
    duration: Annotated[str, Field(description="Seconds, 4 to 15")] = "4",
) -> list[UserMessage]:
    """Quote, approve, animate one picture."""
    return [
        UserMessage(
            f"Animate the picture {image}: {motion}. Use {model}, {resolution}, {duration} seconds. First call "
            "quote_price and tell me its cost_usd; after my yes call animate_image with the same arguments and "
            "max_price_usd set to that cost, then get_job until the file is saved, and tell me where it is."
        )
    ]


def storyboard(
    images: Annotated[str, Field(description="Pictures in order, separated by commas")],
    story: Annotated[str, Field(description="What happens, in a sentence or two")],
    shots: Annotated[str, Field(description="How many videos")] = SHOTS[1],
    resolution: Annotated[str, Field(description="480p, 720p or 1080p")] = "480p",
) -> list[UserMessage]:
    """Plan several videos that belong together, with one price for all of them."""
    return [
        UserMessage(
            f"Make a storyboard of {shots} videos from these pictures: {images}. The story: {story}. For each video "
            "write one prompt of what moves and how the camera moves; a shot without image starts where the one "
            f"before it ends. Resolution {resolution}. Call quote_price once "
            "with all of them as shots, show me their prices and the sum, and wait for my yes. Then call "
            "animate_storyboard once with the same arguments and max_price_usd set to the sum, and get_job until its "
            "file is saved."
        )
    ]


async def complete(
    ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: CompletionContext | None
) -> Completion | None:
    """Return the values of an argument that start with the given text."""
    del ref, context
    values = [value for value in CHOICES.get(argument.name, ()) if value.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)


PROMPTS: dict[str, tuple[str, Callable[..., list[UserMessage]]]] = {
    "animate": ("Animate a picture", animate),
    "storyboard": ("Storyboard", storyboard),
}
"""Every prompt, with its title for people and its function."""


@cache
def build_prompts() -> tuple[Prompt, ...]:
    """Build the prompts, once for all servers of this process."""
    return tuple(Prompt.from_function(write, title=title) for title, write in PROMPTS.values())


def add_prompts(server: MCPServer[State]) -> None:
    """Add the prompts and their completions."""
    for prompt in build_prompts():
        server.add_prompt(prompt)
    server.completion()(complete)


async def check_prompt_arguments(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Refuse an unknown prompt, and missing or unknown arguments, by name.

    Raises:
        MCPError: Invalid parameters (-32602).

    Source: MCP specification, "Prompts", "Error Handling".
    """
    if ctx.method == "prompts/get":
        problem = find_problem(ctx.params or {})
        if problem is not None:
            log.warning("A prompt is refused: %s", problem)
            raise MCPError(INVALID_PARAMS, problem)
    return await call_next(ctx)


def find_problem(params: Mapping[str, Any]) -> str | None:
    """Return the problem with the parameters of `prompts/get`, or None."""
    name, given = params.get("name"), params.get("arguments")
    if not isinstance(name, str) or name not in PROMPTS:
        return f"There is no prompt {quote_text(name, NAME_CHARACTERS_MAX)}; there are {', '.join(PROMPTS)}."
    if given is not None and not isinstance(given, dict):
        return f"The arguments of the prompt {name} are not an object."
    arguments = cast("dict[str, object]", given or {})
    known = inspect.signature(PROMPTS[name][1]).parameters
    unknown = [quote_text(one, NAME_CHARACTERS_MAX) for one in arguments if one not in known][:NAMES_MAX]
    missing = [one for one, part in known.items() if part.default is part.empty and one not in arguments]
    untold = [one for one, value in arguments.items() if one in known and not isinstance(value, str)]
    if missing:
        return f"The prompt {name} needs {', '.join(missing)}."
    if unknown:
        return f"The prompt {name} takes no argument {', '.join(unknown)}; it takes {', '.join(known)}."
    if untold:
        return f"{', '.join(untold)} of the prompt {name} must be text."
    return None
