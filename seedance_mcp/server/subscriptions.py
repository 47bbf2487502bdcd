"""Subscriptions by caller: a stream gets the changes of its own caller's jobs alone."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp import MCPError
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp.types import INTERNAL_ERROR

from seedance_mcp.server.auth import find_caller
from seedance_mcp.server.resources import JOB_PREFIX

STREAMS_MAX = 32
"""How many streams a caller may have open at this server; the SDK bounds those of all callers."""

Listener = Callable[[ServerEvent], None]


@dataclass(frozen=True, slots=True)
class _Subscription:
    caller_id: str
    listener: Listener


async def _know_none(_job_id: str) -> str | None:
    return None


class CallerBus:
    """The SDK's `SubscriptionBus`, filtered by caller.

    Attributes:
        find_owner: Returns the id of the caller whose job it is, or None; set once the ledger is open.
        shares_jobs: True if all callers share their purchases, and so see each other's jobs.
    """

    def __init__(self) -> None:
        self.find_owner: Callable[[str], Awaitable[str | None]] = _know_none
        self.shares_jobs = False
        self._subscriptions: dict[object, _Subscription] = {}
        self._streams: Counter[str] = Counter()

    async def publish(self, event: ServerEvent) -> None:
        """Deliver an event to those whom it concerns."""
        if not self._subscriptions:
            return
        owner = await self._find_owner_of(event)
        for subscription in tuple(self._subscriptions.values()):
            if subscription.caller_id == owner or (self.shares_jobs and owner is not None):
                subscription.listener(event)

    async def _find_owner_of(self, event: ServerEvent) -> str | None:
        if not isinstance(event, ResourceUpdated) or not event.uri.startswith(JOB_PREFIX):
            return None  # our lists do not change, and no other resource has subscribers
        return await self.find_owner(event.uri.removeprefix(JOB_PREFIX))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Register a listener of the current caller; returns what ends it.

        Raises:
            MCPError: The caller has too many streams open.
        """
        caller = find_caller()
        caller_id = "" if caller is None else caller.id
        if self._streams[caller_id] >= STREAMS_MAX:
            raise MCPError(INTERNAL_ERROR, f"Close a stream: more than {STREAMS_MAX} are open.")
        key = object()
        self._subscriptions[key] = _Subscription(caller_id, listener)
        self._streams[caller_id] += 1

        def unsubscribe() -> None:
            if self._subscriptions.pop(key, None) is not None:
                self._streams[caller_id] -= 1

        return unsubscribe
