"""Money: whole micro-USDC, and its conversion from and to text.

An amount is always an `int` of micro-USDC (1 USDC = 1_000_000), which is also the token's smallest unit on Base and on
Tempo, so nothing is rounded. There is no `float`, and no `Decimal`, whose precision setting could round: the conversion
moves digits as text.
"""

from __future__ import annotations

import re
from typing import NewType

from seedance_mcp.core.redaction import quote_value

MicroUSDC = NewType("MicroUSDC", int)

MICRO_PER_USDC = 1_000_000
MICRO_USDC_MAX = 10**15
"""Highest accepted amount, a billion dollars. A larger one, in an offer or in a setting, is an attack or a mistake.
It also bounds the ledger's columns."""
AMOUNT_CHARACTERS_MAX = 40
"""Longest text of an amount that is read or written."""

_DECIMALS = 6
_AMOUNT = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?")


def parse_usdc(text: str) -> MicroUSDC:
    """Read a decimal amount of USDC, such as `0.40` or `1`.

    Args:
        text: Plain decimal digits with at most six decimals; no sign, exponent, separator or currency mark.

    Raises:
        ValueError: The text is not such an amount.
    """
    text = text.strip()
    found = _AMOUNT.fullmatch(text) if len(text) <= AMOUNT_CHARACTERS_MAX else None
    whole, fraction = (found["whole"], found["fraction"] or "") if found else ("", "")
    if not whole + fraction:
        raise ValueError(f"{quote_value(text)} is not an amount in US dollars such as 0.40")
    fraction = fraction.rstrip("0")
    if len(fraction) > _DECIMALS:
        raise ValueError(f"{quote_value(text)} has more than six decimals; USDC has six")
    micro = int(whole or "0") * MICRO_PER_USDC + int(fraction.ljust(_DECIMALS, "0"))
    if micro > MICRO_USDC_MAX:
        raise ValueError(f"{quote_value(text)} is more than {MICRO_USDC_MAX // MICRO_PER_USDC} US dollars")
    return MicroUSDC(micro)


def format_usdc(amount_micro_usdc: int) -> str:
    """Write an amount as a decimal string with two to six decimals: `400000` becomes `0.40`."""
    sign = "-" if amount_micro_usdc < 0 else ""
    whole, micro = divmod(abs(amount_micro_usdc), MICRO_PER_USDC)
    decimals = f"{micro:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
