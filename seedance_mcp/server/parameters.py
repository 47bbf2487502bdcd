"""Parameters: the tools' arguments in an MCP client's form.

A description repeats the range, the choices and the default, because some hosts drop them from the schema.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio.to_thread
from pydantic import Field

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.image_names import DATA_URI_CHARACTERS_MAX
from seedance_mcp.core.money import parse_usdc
from seedance_mcp.server.call_context import WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX

if TYPE_CHECKING:
    from seedance_mcp.generation.request import VideoRequest

JOBS_DEFAULT, JOBS_MAX = 10, 50

Image = Annotated[str, Field(description="Absolute path, https URL or data: URI", max_length=DATA_URI_CHARACTERS_MAX)]
Prompt = Annotated[str, Field(description="What moves, and how")]
LastImage = Annotated[str | None, Field(description="Last frame, named like image")]
ModelName = Annotated[Literal["seedance-fast", "seedance"], Field(description="seedance-fast (default) or seedance")]
Duration = Annotated[int, Field(ge=4, le=15, description="Seconds, 4-15, default 4")]
Resolution = Annotated[
    Literal["480p", "720p", "1080p"], Field(description="480p (default), 720p; 1080p only with model seedance")
]
AspectRatio = Annotated[
    Literal["auto", "16:9", "9:16", "4:3", "3:4", "1:1", "21:9"],
    Field(description="auto (default: the image's), 16:9, 9:16, 4:3, 3:4, 1:1 or 21:9"),
]
CameraFixed = Annotated[bool | None, Field(description="Lock the camera")]
GenerateAudio = Annotated[bool | None, Field(description="Add sound")]
Seed = Annotated[int | None, Field(ge=-(2**53) + 1, le=2**53 - 1, description="Random seed")]
Take = Annotated[int, Field(ge=1, le=1000, description="Raise to buy again, 1-1000, default 1")]
AcceptRisk = Annotated[bool, Field(description="Buy although the picture may be refused, default false")]
MaxPrice = Annotated[str | None, Field(description='Most to pay in all, e.g. "0.50"', pattern=r"^\d{1,9}(\.\d{1,6})?$")]
WaitSeconds = Annotated[
    int, Field(ge=0, le=WAIT_SECONDS_MAX, description=f"0-{WAIT_SECONDS_MAX}, default {WAIT_SECONDS_DEFAULT}")
]
JobId = Annotated[str, Field(description="From animate_image or list_jobs", max_length=200)]
JobsLimit = Annotated[int, Field(ge=1, le=JOBS_MAX, description=f"Most jobs, 1-{JOBS_MAX}, default {JOBS_DEFAULT}")]


async def make_request(**arguments: Any) -> "VideoRequest":
    """Build a request from a caller's arguments. The modules for it load in a thread, with the first call."""

    def load() -> "type[VideoRequest]":
        from seedance_mcp.generation.request import VideoRequest

        return VideoRequest

    return (await anyio.to_thread.run_sync(load))(**arguments)


def read_price(text: str | None) -> int | None:
    """Read a caller's price limit, in micro-USDC.

    Raises:
        RequestError: Not an amount.
    """
    try:
        return None if text is None else parse_usdc(text)
    except ValueError as exc:
        raise RequestError(f"max_price_usd: {exc}.") from exc
