"""Parameters: the arguments that `animate_image` and `quote_price` share, in an MCP client's form."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio.to_thread
from pydantic import Field

from seedance_mcp.core.errors import RequestError
from seedance_mcp.core.image_names import DATA_URI_CHARACTERS_MAX
from seedance_mcp.core.money import parse_usdc
from seedance_mcp.server.call_context import WAIT_SECONDS_MAX

if TYPE_CHECKING:
    from seedance_mcp.generation.request import Order

Image = Annotated[str, Field(description="Absolute path, https URL or data: URI", max_length=DATA_URI_CHARACTERS_MAX)]
Prompt = Annotated[str, Field(description="What moves, and how")]
LastImage = Annotated[str | None, Field(description="Last frame")]
ModelName = Literal["seedance-fast", "seedance"]
Duration = Annotated[int, Field(ge=4, le=15, description="Seconds")]
Resolution = Annotated[Literal["480p", "720p", "1080p"], Field(description="1080p: seedance only")]
AspectRatio = Literal["auto", "16:9", "9:16", "4:3", "3:4", "1:1", "21:9"]
CameraFixed = Annotated[bool | None, Field(description="Lock the camera")]
Seed = Annotated[int | None, Field(ge=-(2**53) + 1, le=2**53 - 1)]
Take = Annotated[int, Field(ge=1, le=1000, description="Raise to buy again")]
AcceptRisk = Annotated[bool, Field(description="Buy although the picture may be refused")]
MaxPrice = Annotated[str | None, Field(description='Pay no more, e.g. "0.50"', pattern=r"^\d{1,9}(\.\d{1,6})?$")]
WaitSeconds = Annotated[int, Field(ge=0, le=WAIT_SECONDS_MAX)]


async def make_order(**arguments: Any) -> "Order":
    """Build a request from a caller's arguments. The modules for it load in a thread, with the first call."""

    def load() -> "type[Order]":
        from seedance_mcp.generation.request import Order

        return Order

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
