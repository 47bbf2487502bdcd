"""Shared quotes: the memory of recent quotes in the ledger, so that every replica knows what was said to a caller.

The keys have the caller in them, so that no one is held to a quote of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from seedance_mcp.core.idempotency import GenerationKeys
from seedance_mcp.core.limits import Cost, Recipient
from seedance_mcp.core.wire.json import Json
from seedance_mcp.generation.quotes import QUOTE_SECONDS, Quoted


class QuoteStore(Protocol):
    """Where quotes are kept."""

    async def remember_quote(self, key: str, price_micro_usdc: int, said: Json, *, seconds: float) -> None:
        """Write what a request was quoted at."""

    async def find_quote(self, keys: Sequence[str]) -> tuple[str, Json] | None:
        """Return the key and the words of the latest quote of a request that binds."""
        ...


@dataclass(frozen=True, slots=True)
class SharedQuotes:
    """The `QuoteMemory` of several replicas."""

    store: QuoteStore
    now: Callable[[], float]

    async def pin(self, key: str, cost: Cost, recipients: tuple[Recipient, ...], *, is_stale: bool = False) -> None:
        """Remember what was said of a request."""
        await self._write(key, Quoted(self.now(), cost, recipients, is_stale))

    async def find(self, keys: GenerationKeys) -> Quoted | None:
        """Return the latest quote of a request that still binds."""
        found = await self.store.find_quote(keys.all)
        return None if found is None else _read(found[1])

    async def mark_stale(self, keys: GenerationKeys) -> None:
        """Let the next question to a person be about fresh terms: these were refused."""
        found = await self.store.find_quote(keys.all)
        if found is not None:
            await self._write(found[0], replace(_read(found[1]), is_stale=True))

    async def _write(self, key: str, quoted: Quoted) -> None:
        seconds = quoted.at + QUOTE_SECONDS - self.now()
        await self.store.remember_quote(key, quoted.cost.price_micro_usdc, asdict(quoted), seconds=seconds)


def _read(said: Json) -> Quoted:
    values: dict[str, Any] = dict(said)
    recipients = tuple(
        Recipient(one["network"], one["address"], one["money"], tuple(one["replaces"])) for one in values["recipients"]
    )
    return Quoted(values["at"], Cost(**values["cost"]), recipients, values["is_stale"])
