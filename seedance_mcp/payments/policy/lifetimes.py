"""Lifetimes: how long what we sign may live, how long it holds budget, and how far the clocks may be apart."""

from __future__ import annotations

import math

from seedance_mcp.core.errors import PolicyError
from seedance_mcp.core.next_steps import NextStep, Repeat
from seedance_mcp.core.wire.offers import Offer, Offers

AUTHORIZATION_SECONDS_MIN = 30
"""A studio whose offers live shorter than this cannot verify, work and settle in time."""
AUTHORIZATION_SECONDS_MAX = 180
"""How long a signature of ours lives at most, whatever the offer would like."""
OFFERED_SECONDS_MAX = 3600
"""An offer that wants a signature for longer than this is not from our studio."""
CHARGE_SECONDS_MIN, CHARGE_SECONDS_MAX = 15, 25
"""How long a Tempo charge of ours lives; the chain's newest rules take no expiring nonce of more than 30 s."""
CHARGE_AGE_SECONDS_MAX = 5
"""How much older than the studio's answer the moment may be that a charge's life is reckoned from."""
CLOCK_SKEW_SECONDS_MAX = 60
"""How far this machine's clock may be from the studio's when we sign: much less than a signature lives."""
RESERVED_SECONDS = 60
"""How long a reservation holds budget when nothing was signed: a process died in between."""


def check_clock(offers: Offers, now: float) -> None:
    """Raise where this machine's clock and the studio's are far apart: a signature's lifetime would not be what we say.

    A clock that is ahead makes a signature that lives for longer than the owner's three minutes; one that is behind
    makes one that is void already, and ledger that count the wrong day.

    Raises:
        PolicyError: By more than `CLOCK_SKEW_SECONDS_MAX`.
    """
    if offers.answered_at is None:
        return
    skew_seconds = int(now - offers.answered_at)
    if abs(skew_seconds) > CLOCK_SKEW_SECONDS_MAX:
        side = "ahead of" if skew_seconds > 0 else "behind"
        raise PolicyError(
            f"This machine's clock is {abs(skew_seconds)} s {side} the studio's; "
            f"{CLOCK_SKEW_SECONDS_MAX} s are allowed.",
            NextStep("Set the clock, then {0}.", Repeat()),
        )


def authorization_window(offer: Offer, now: float) -> tuple[int, int]:
    """`(valid_after, valid_before)` in Unix seconds: never longer than the offer likes, never longer than we allow."""
    return 0, int(now) + min(offer.lifetime_seconds, AUTHORIZATION_SECONDS_MAX)


def charge_valid_before(offer: Offer, now: float, *, answered_at: float | None) -> int:
    """When a Tempo charge of ours is void, in Unix seconds: before its challenge is, and in seconds.

    The chain cares about seconds here, so the studio's clock is believed before ours where it says what it is.
    """
    moment = now if answered_at is None else min(max(now, answered_at), answered_at + CHARGE_AGE_SECONDS_MAX)
    return min(int(moment) + CHARGE_SECONDS_MAX, int(offer.expires_at or 0))


def credential_hold_until(valid_before: int, now: float, *, answered_at: float | None) -> int:
    """When a credential can settle no more by *our* clock, in Unix seconds: ours may be ahead of the chain's."""
    ahead = CLOCK_SKEW_SECONDS_MAX if answered_at is None else max(0, math.ceil(now - answered_at))
    return valid_before + ahead


def hold_until(now: float) -> int:
    """When a reservation without a signature lapses, in Unix seconds."""
    return int(now) + RESERVED_SECONDS
