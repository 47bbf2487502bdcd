"""Money: whole micro-USDC, and the two doors between them and text.

Owns the unit. An amount is always an `int` of micro-USDC (1 USDC = 1_000_000), which is also the token's own
smallest unit on Base and on Tempo, so nothing is ever rounded. `Decimal` appears here and nowhere else;
`float` appears nowhere.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NewType

MicroUSDC = NewType("MicroUSDC", int)

MICRO_PER_USDC = 1_000_000
AMOUNT_CHARACTERS_MAX = 40
"""No amount that we read or write is longer; a longer one is an attack or a mistake."""


def parse_usdc(text: str) -> MicroUSDC:
    """Read a decimal amount of USDC, such as `0.40` or `1`.

    Args:
        text: Plain decimal digits with at most six decimals; no sign, exponent, separator or currency mark.

    Raises:
        ValueError: The text is not such an amount.
    """
    text = text.strip()
    if len(text) > AMOUNT_CHARACTERS_MAX or not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise ValueError(f"{text[:AMOUNT_CHARACTERS_MAX]!r} is not an amount in US dollars such as 0.40")
    try:
        micro = Decimal(text) * MICRO_PER_USDC
    except InvalidOperation as exc:
        raise ValueError(f"{text!r} is not an amount in US dollars such as 0.40") from exc
    if micro != micro.to_integral_value():
        raise ValueError(f"{text!r} has more than six decimals; USDC has six")
    return MicroUSDC(int(micro))


def format_usdc(amount_micro_usdc: int) -> str:
    """Write an amount as a decimal string with two to six decimals: `400000` becomes `0.40`."""
    sign = "-" if amount_micro_usdc < 0 else ""
    whole, micro = divmod(abs(amount_micro_usdc), MICRO_PER_USDC)
    decimals = f"{micro:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
