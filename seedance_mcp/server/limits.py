"""Limits of calls: scopes, and how many tool calls a caller makes in a minute at this server.

A refusal is a failed tool result, not an HTTP status: a model reads the result, and with it when to repeat the call.
Several clients take an HTTP 429 for the end of the connection and show no text of it; none repeats the call by itself.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

import anyio

from seedance_mcp.core.callers import Caller
from seedance_mcp.core.errors import PermissionDeniedError, TooManyCallsError
from seedance_mcp.core.next_steps import NextStep, OwnerOnly

SPENDING_TOOLS = frozenset({"animate_image", "animate_storyboard", "upload_image"})
"""Tools that need the scope `spend`."""
CALLERS_MAX = 10_000
"""How many callers' calls are counted; the one whose call is the longest ago is forgotten first."""


@dataclass(slots=True)
class _Bucket:
    left: float
    seen_at: float


class CallLimiter:
    """Counts calls in a bucket per caller, which refills evenly.

    Args:
        calls_per_minute: Size of the bucket, and calls that it gains in a minute.
    """

    def __init__(self, calls_per_minute: int) -> None:
        self._calls_per_minute = calls_per_minute
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller_id: str) -> int:
        """Take a call from a caller's bucket; returns 0, or the seconds until there is one."""
        now, per_second = anyio.current_time(), self._calls_per_minute / 60
        bucket = self._buckets.setdefault(caller_id, _Bucket(self._calls_per_minute, now))
        self._buckets.move_to_end(caller_id)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        bucket.left = min(bucket.left + (now - bucket.seen_at) * per_second, self._calls_per_minute)
        bucket.seen_at = now
        if bucket.left < 1:
            return math.ceil((1 - bucket.left) / per_second)
        bucket.left -= 1
        return 0


def check_scope(caller: Caller, tool: str) -> None:
    """Raise if a caller's token may not call a tool.

    Raises:
        PermissionDeniedError: The tool spends, and the token has no scope for that, or nothing limits its caller.
    """
    if tool in SPENDING_TOOLS and caller.needs_cap:
        raise PermissionDeniedError(
            f"{caller.name} may not call {tool}: no cap limits what it spends.",
            NextStep("{0}.", OwnerOnly(f"give {caller.name} a cap, or all callers one", stop=True)),
        )
    if tool in SPENDING_TOOLS and "spend" not in caller.scopes:
        raise PermissionDeniedError(f"The token of {caller.name} may not call {tool}: it has no scope `spend`.")


def check_rate(limiter: CallLimiter, caller: Caller) -> None:
    """Count a call.

    Raises:
        TooManyCallsError: The caller has made all calls of this minute.
    """
    seconds = limiter.take(caller.id)
    if seconds:
        raise TooManyCallsError(f"{caller.name} has made too many calls in a minute.", retry_after_seconds=seconds)
