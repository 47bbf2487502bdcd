"""Parameters: the tools' arguments in an MCP client's form.

A description repeats the range, the choices and the default, because some hosts drop them from the schema.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any, TypeVar

from pydantic import Field

from seedance_mcp.generation.request import VIDEO_ARGUMENTS, VideoRequest, spell_arguments
from seedance_mcp.generation.validation import annotate
from seedance_mcp.server.call_context import WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX

Result = TypeVar("Result")

JOBS_DEFAULT, JOBS_MAX = 10, 50
_IMAGE = next(one.info for one in VIDEO_ARGUMENTS if one.name == "image")

Image = Annotated[str | None, Field(description=_IMAGE.description, max_length=_IMAGE.characters_max)]
WaitSeconds = Annotated[
    int, Field(ge=0, le=WAIT_SECONDS_MAX, description=f"0-{WAIT_SECONDS_MAX}, default {WAIT_SECONDS_DEFAULT}")
]
JobId = Annotated[str, Field(description="From animate_image or list_jobs", max_length=200)]
Cancel = Annotated[bool, Field(description="Ends a film, default false")]
JobsLimit = Annotated[int, Field(ge=1, le=JOBS_MAX, description=f"Most jobs, 1-{JOBS_MAX}, default {JOBS_DEFAULT}")]


def take_request(function: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
    """Return a tool's function or resolver that takes the arguments of a video instead of its parameter `request`."""

    @wraps(function)
    async def spelled(**given: Any) -> Result:
        request = VideoRequest(**{one.name: given.pop(one.name) for one in VIDEO_ARGUMENTS})
        return await function(request=request, **given)

    spell_arguments(spelled, function, "request", [(one, annotate(one)) for one in VIDEO_ARGUMENTS])
    return spelled
