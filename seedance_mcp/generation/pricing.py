"""Pricing: ask the studio what a request costs now, without paying.

Owns the studio's route contract (which dialect it speaks), cached with a lifetime and read again when an answer says
that we may be wrong, or names a price that is not the table's. Where it cannot be read, the last one that was read is
used, also of an earlier process: the 402 still judges the price. A quote equal to the route's ceiling is the studio's
way of saying "I cannot read your request"; it is reported as that and is never a price.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.errors import (
    LedgerError,
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
)
from seedance_mcp.core.idempotency import GenerationKeys, generation_keys
from seedance_mcp.core.money import MicroUSDC, format_usdc
from seedance_mcp.core.next_steps import NextStep, Report
from seedance_mcp.core.wire.contracts import ASSUMED, read_contract, write_contract
from seedance_mcp.core.wire.generation import NormalisedRequest, encode_generation
from seedance_mcp.core.wire.json import Json
from seedance_mcp.core.wire.offers import Offer, Offers, read_offers
from seedance_mcp.core.wire.prices import estimate_price, is_ceiling, warn_price
from seedance_mcp.core.wire.responses import PaidRequest, describe_answer
from seedance_mcp.core.wire.routes import Route, RouteContract, check_upload_types, read_route_contract

log = logging.getLogger("seedance_mcp")

CONTRACT_SECONDS = 600
"""How long a studio's declaration is believed."""
UNREADABLE_SECONDS = 30
"""How long a declaration that could not be read is not asked for again, unless something depends on it."""
UNPRICED = "No price of such a video is known."
PLACEHOLDER_URL = "https://example.invalid/image.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedRequest:
    """A request with its price: the bytes that were quoted are the bytes to pay for.

    Attributes:
        request: Ready to be bought.
        offers: The payment challenge.
        is_expected: Whether every such price is the table's, to the micro.
        price_micro_usdc: The lowest price among the offers that we may sign, or among all where there is none.
        notes: What the caller should know about the request.
        warning: Where the price is far above the table's, or the table has none.
    """

    request: PaidRequest
    offers: Offers
    is_expected: bool
    price_micro_usdc: int | None
    notes: tuple[str, ...]
    warning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the price table knows of a request that cannot be quoted yet."""

    price_micro_usdc: MicroUSDC | None
    notes: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """Return a warning if the table has no price."""
        return UNPRICED if self.price_micro_usdc is None else None


class ContractMemory(Protocol):
    """Keeps across restarts what a studio declared: the ledger."""

    async def record_contract(self, studio: str, model: str, contract: Json, *, now: float) -> None:
        """Write what a studio declares for a model's route."""
        ...

    async def find_contract(self, studio: str, model: str) -> Json | None:
        """Return what it last declared."""
        ...


@dataclass(slots=True)
class Pricing:
    """Asks one studio for prices.

    Attributes:
        studio: Is asked.
        wallet: The paying address: part of a purchase's identity.
        now: Unix seconds.
        signable: Whether an offer's terms are ones that we may sign, whatever its price.
        memory: Keeps what the studio declared; None for a look that leaves nothing behind.
        caller: Whose purchases they are; see `generation_keys`.
        unreadable: Why what it declares could not be read the last time, or None.
    """

    studio: Studio
    wallet: str
    now: Callable[[], float]
    signable: Callable[[Offer], bool] = lambda _: True
    memory: ContractMemory | None = None
    caller: str = ""
    unreadable: StudioError | None = None
    _openapi: tuple[float, bytes] | None = None
    _failed_at: float = -math.inf
    _readings: int = 0
    _contracts: dict[Route, RouteContract] = field(default_factory=dict[Route, RouteContract])
    """What the document declares, by route; each is read and remembered once."""

    async def route_contract(self, route: Route, *, fresh: bool = False) -> RouteContract:
        """Return what the studio declares for a route, or last declared where it cannot be read now.

        Raises:
            RequestError: It has no such model, or makes no video from text alone.
            StudioProtocolError: It declares nothing that this version can write.
            StudioUnreachableError: Nothing answers at its address.
        """
        stale = self._openapi is None or self._openapi[0] + CONTRACT_SECONDS < self.now()
        if fresh or (stale and self._failed_at + UNREADABLE_SECONDS < self.now()):
            try:
                self._openapi = (self.now(), await self.studio.fetch_openapi())
                self._readings += 1
                self._contracts.clear()
                self.unreadable = None
            except StudioError as exc:
                if isinstance(exc, StudioUnreachableError) and not exc.answered:
                    raise  # no studio, no price: the routes would not answer either
                self._failed_at, self.unreadable = self.now(), exc
                log.warning("The studio's openapi.json cannot be read; what it last said is used. %s", exc.what)
        if self._openapi is None:
            return await self._recall(route)
        contract = self._contracts.get(route) or read_route_contract(self._openapi[1], route)
        if route not in self._contracts:
            await self._remember(route, contract)
            self._contracts[route] = contract
        return contract

    async def _recall(self, route: Route) -> RouteContract:
        """Return what an earlier process read, or else what is taken for granted."""
        stored = None if self.memory is None else await self.memory.find_contract(self.studio.origin, route.key)
        return (None if stored is None else read_contract(stored)) or ASSUMED

    async def _remember(self, route: Route, contract: RouteContract) -> None:
        """Keep what the studio declares, for a time when it cannot be read. A locked ledger keeps it the next time."""
        document = write_contract(contract)
        with contextlib.suppress(LedgerError):
            if self.memory is not None and await self.memory.find_contract(self.studio.origin, route.key) != document:
                await self.memory.record_contract(self.studio.origin, route.key, document, now=self.now())

    async def choose_key(self, route: Route, keys: GenerationKeys) -> str:
        """Return the idempotency key of a purchase in the dialect that the studio speaks now.

        Raises:
            StudioError: The studio's declaration cannot be had.
        """
        contract = await self.route_contract(route)
        return keys.choose(contract.dialect, carries_audio=contract.carries_audio)

    async def check_uploads(self, route: Route, media_types: Iterable[str]) -> None:
        """Raise where the studio says that it takes no uploads of one of these media types.

        Raises:
            RequestError: It does.
        """
        check_upload_types(media_types, await self.route_contract(route))

    async def estimate(self, request: NormalisedRequest) -> Estimate:
        """Check that the studio's dialect can carry a request, and look its price up in the table.

        Raises:
            RequestError: It cannot.
            StudioProtocolError: The studio declares nothing that this version can write.
        """
        contract = await self.route_contract(request.route)
        files = (request.image, request.last_image, *request.references)
        body = encode_generation(request, contract, [PLACEHOLDER_URL for one in files if one is not None])
        return Estimate(price_micro_usdc=estimate_price(contract.dialect, request), notes=body.notes)

    async def request_price(self, request: NormalisedRequest, urls: Sequence[str]) -> PricedRequest:
        """Ask the studio for the price, in its dialect.

        Args:
            request: What is wanted.
            urls: Public URLs of its files; see `encode_generation`.

        Raises:
            RequestError: The dialect cannot carry the request.
            StudioRejectedError: It does not take it; status 400 where it cannot read an image's URL.
            StudioProtocolError: It quotes the ceiling, or answers what the contract does not allow.
            StudioUnreachableError: It does not answer.
        """
        before = self._readings
        contract = await self.route_contract(request.route)
        try:
            priced = await self._ask(request, contract, urls)
        except (StudioRejectedError, StudioProtocolError):
            # Perhaps the studio has changed its dialect since we looked.
            fresh = await self.route_contract(request.route, fresh=True)
            if fresh == contract:
                raise
            return await self._ask(request, fresh, urls)
        if priced.is_expected or self._readings > before:
            return priced
        # Not the table's price: perhaps it is a new ceiling, for a body that is not understood any more.
        fresh = await self.route_contract(request.route, fresh=True)
        return priced if fresh == contract else await self._ask(request, fresh, urls)

    async def _ask(self, request: NormalisedRequest, contract: RouteContract, urls: Sequence[str]) -> PricedRequest:
        body = encode_generation(request, contract, urls)
        keys = generation_keys(request.arguments(), wallet=self.wallet, studio=self.studio.origin, caller=self.caller)
        paid_request = PaidRequest(
            purpose="generation",
            idempotency_key=keys.choose(contract.dialect, carries_audio=contract.carries_audio),
            aliases=keys.all,
            url=self.studio.origin + request.route.path,
            body=body.data,
            arguments=request.arguments(),
        )
        answer = await self.studio.send(paid_request)
        if answer.status != 402:
            raise StudioRejectedError(
                f"The studio does not take the request: {describe_answer(answer)}.", status=answer.status
            )
        offers = read_offers(answer.status, answer.headers, answer.body, url=paid_request.url)
        estimate = estimate_price(contract.dialect, request)
        # An offer in a token that we would never sign for says nothing about our price.
        judged = [offer for offer in offers.offers if self.signable(offer)] or offers.offers
        amounts = [offer.amount_micro_usdc for offer in judged]
        for amount in amounts:
            if is_ceiling(amount, contract, estimate):
                raise StudioProtocolError(
                    f"Our request is wrong: the studio quotes its ceiling of ${format_usdc(amount)}, which it does for "
                    "a request that it cannot read.",
                    NextStep("Do not pay this. Update seedance-mcp, or {0}.", Report()),
                )
        expected = all(amount == estimate for amount in amounts)
        if contract is ASSUMED and not expected:
            raise StudioProtocolError(
                "The studio does not say which requests it takes (its openapi.json cannot be read), and its price is "
                "not the known one.",
                "Nothing is signed while this is unclear. Try again in a few minutes.",
            )
        return PricedRequest(
            request=paid_request,
            offers=offers,
            is_expected=expected,
            price_micro_usdc=min(amounts, default=None),
            notes=body.notes,
            warning=warn_price(max(amounts), estimate) if amounts else None,
        )
