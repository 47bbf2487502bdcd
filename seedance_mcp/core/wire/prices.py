"""Prices: the price table, for an estimate and a plausibility check. The price itself is that of the 402.

The price of 4K is an assumption: see `UPSCALE_FACTORS`.

Source: contract section 4.
"""

from __future__ import annotations

from seedance_mcp.core.money import MicroUSDC, format_usdc
from seedance_mcp.core.wire.generation import NormalisedRequest, Upscale
from seedance_mcp.core.wire.routes import CEILING_MICRO_USDC_DEFAULT, Dialect, RouteContract

PRICE_MICRO_USDC_PER_SECOND: dict[tuple[Dialect, str, str], int] = {
    ("classic", "seedance", "480p"): 82_500,
    ("classic", "seedance", "720p"): 82_500,
    ("classic", "seedance", "1080p"): 82_500,
    ("classic", "seedance-fast", "480p"): 10_000,
    ("classic", "seedance-fast", "720p"): 10_000,
    ("classic", "seedance-fast", "1080p"): 10_000,
    ("current", "seedance", "480p"): 90_000,
    ("current", "seedance", "720p"): 240_000,
    ("current", "seedance", "1080p"): 540_000,
    ("current", "seedance-fast", "480p"): 80_000,
    ("current", "seedance-fast", "720p"): 168_000,
}
"""Known prices, by dialect, model and resolution. A video from text or from references costs the same."""
UPSCALE_FACTORS: dict[Upscale | None, int] = {None: 1, "4k": 2}
"""How much more an upscaled video costs. An assumption: the studio documents only that it costs significantly more."""

FAR_ABOVE_PERCENT = 150
"""A quote above this percentage of the table's price needs the caller's explicit approval."""


def estimate_price(dialect: Dialect, request: NormalisedRequest) -> MicroUSDC | None:
    """Return the table's price of a request, or None if it has none."""
    rate = PRICE_MICRO_USDC_PER_SECOND.get((dialect, request.model, request.resolution))
    if rate is None:
        return None
    return MicroUSDC(rate * request.duration_seconds * UPSCALE_FACTORS[request.upscale])


def is_ceiling(amount_micro_usdc: int, contract: RouteContract, estimate: MicroUSDC | None) -> bool:
    """Return True if a quote is the route's ceiling, which means that our body is invalid and is never a price.

    The longest classic video costs as much as the ceiling. So a quote that equals the price table's price is a price.

    Source: contract section 4, "The 20-dollar trap".
    """
    ceilings = {contract.ceiling_micro_usdc, CEILING_MICRO_USDC_DEFAULT}
    return amount_micro_usdc in ceilings and amount_micro_usdc != estimate


def warn_price(amount_micro_usdc: int, estimate: MicroUSDC | None) -> str | None:
    """Return a warning if a quote is far above the price table's price, or if the table has none; otherwise None."""
    if estimate is None:
        return f"The studio asks ${format_usdc(amount_micro_usdc)}; no price of such a video is known."
    if amount_micro_usdc * 100 <= estimate * FAR_ABOVE_PERCENT:
        return None
    return (
        f"The studio asks ${format_usdc(amount_micro_usdc)}; such a video was known to cost ${format_usdc(estimate)}."
    )
