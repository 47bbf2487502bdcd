"""Quoting: what an order would cost and whether the owner's limits allow it, without spending a cent.

A quote binds: for ten minutes nothing above it is signed for the same order. The verdict comes from the same `policy`
that judges the real purchase, so that a quote never promises what the purchase would refuse.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from seedance_mcp import policy
from seedance_mcp.errors import ConfigError, PolicyError, PriceTooHighError, StudioRejectedError
from seedance_mcp.funds import Funds
from seedance_mcp.hosting import UPLOAD_PRICE_MICRO_USDC, Hosting, Picture
from seedance_mcp.installation import describe_install
from seedance_mcp.ledger import Ledger
from seedance_mcp.money import format_usdc
from seedance_mcp.order import PreparedOrder
from seedance_mcp.policy import EMPTY_PURSE, Approval, Limits, Pins, Purse
from seedance_mcp.pricing import Priced, Pricing
from seedance_mcp.wire.mpp import is_pushed
from seedance_mcp.wire.offers import Offer

QUOTE_SECONDS = 600
"""For so long a quote binds."""
QUOTES_MAX = 1000
PUSHED = "This studio takes the money before it accepts the work: what it then refuses is lost."


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedOffer:
    """An offer of the studio's, why it may not be signed (None where it may), and what the wallet holds for it.

    Attributes:
        balance_micro_usdc: Of the offered token; None where nobody could say.
        fee_micro_usdc: The most that the network may keep besides the price.
    """

    offer: Offer
    objection: str | None
    balance_micro_usdc: int | None
    fee_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an order would cost, and whether the limits allow it.

    Attributes:
        exact: From a real unpaid 402; otherwise from the price table.
        price_micro_usdc: The clip's price, or None where nobody knows it.
        upload_micro_usdc: What hosting the pictures would cost besides.
        refusal: Why it would be refused now, or None.
        day_left_micro_usdc: What is left of the budget for 24 hours.
    """

    exact: bool
    price_micro_usdc: int | None
    upload_micro_usdc: int
    offers: tuple[JudgedOffer, ...]
    refusal: str | None
    warning: str | None
    notes: tuple[str, ...]
    max_price_per_video_micro_usdc: int
    day_left_micro_usdc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What was said to one purchase by whoever wants it, in one call.

    Attributes:
        max_price_micro_usdc: The most that the caller allows, or None.
        agreed_micro_usdc: The price that a person was asked about in this very call; 0 where nobody was.
    """

    max_price_micro_usdc: int | None = None
    agreed_micro_usdc: int = 0


@dataclass(frozen=True, slots=True)
class Quoting:
    """Quotes orders for one wallet at one studio, and remembers what it said."""

    hosting: Hosting
    pricing: Pricing
    ledger: Ledger
    limits: Limits
    pins: Pins
    funds: Funds
    now: Callable[[], float]
    _quotes: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict[str, tuple[float, int]])

    async def quote(self, prepared: PreparedOrder, *, max_price_micro_usdc: int | None) -> Quote:
        """Ask for the price: with the pictures' own URLs, with a stand-in of ours, or else by the price table.

        Raises:
            RequestError: The studio's dialect cannot carry the order.
            StudioError: The studio cannot be asked, or quotes its ceiling.
        """
        estimate = await self.pricing.estimate(prepared.request)
        hosted = [picture.url or await self._find_hosted(picture) for picture in prepared.pictures]
        uploads = UPLOAD_PRICE_MICRO_USDC * sum(url is None for url in hosted)
        priced = await self._try_to_price(prepared, hosted)
        purse = EMPTY_PURSE if priced is None else await self.funds.look(priced.offers)
        if priced is None:
            price, warning, notes = estimate.price_micro_usdc, None, estimate.notes
        else:
            price, warning, notes = priced.price_micro_usdc, priced.warning, priced.notes
            if all(map(is_pushed, priced.offers.offers)):
                notes += (PUSHED,)
            self.pin(priced.request.fingerprint, price)
        return Quote(
            exact=priced is not None,
            price_micro_usdc=price,
            upload_micro_usdc=uploads,
            offers=() if priced is None else tuple(self._judge(offer, purse) for offer in priced.offers.offers),
            refusal=self._find_refusal(priced, price, uploads, max_price_micro_usdc, purse),
            warning=warning,
            notes=notes,
            max_price_per_video_micro_usdc=self.limits.max_price_per_video_micro_usdc,
            day_left_micro_usdc=policy.find_room(self.limits, self.ledger.spend(self.now()))[0][0],
        )

    def pin(self, key: str, price_micro_usdc: int | None) -> None:
        """Remember what was said of an order, under its idempotency key."""
        if price_micro_usdc is None:
            return
        self._quotes[key] = (self.now(), price_micro_usdc)
        self._quotes.move_to_end(key)
        while len(self._quotes) > QUOTES_MAX:
            self._quotes.popitem(last=False)

    def find_pinned(self, prepared: PreparedOrder) -> int | None:
        """Return the price that binds for an order, the latest that was said, if one was said lately."""
        said = [self._quotes[key] for key in prepared.keys.all if key in self._quotes]
        quoted_at, price = max(said, default=(0.0, 0))
        return price if quoted_at + QUOTE_SECONDS > self.now() else None

    def agree(self, prepared: PreparedOrder, consent: Consent) -> Approval:
        """The most that may be signed for an order."""
        return policy.agree_price(
            self.limits,
            max_price_micro_usdc=consent.max_price_micro_usdc,
            quoted_micro_usdc=self.find_pinned(prepared),
            agreed_micro_usdc=consent.agreed_micro_usdc,
        )

    def check_estimate(self, prepared: PreparedOrder, estimate: int | None, consent: Consent) -> None:
        """Before an upload is bought: would the clip fit the limits at the price that the table knows?

        Raises:
            PolicyError: It would not.
        """
        if estimate is not None:
            missing = [
                picture for picture in prepared.pictures if picture.url is None and not self.hosting.is_hosted(picture)
            ]
            uploads = UPLOAD_PRICE_MICRO_USDC * len(missing)
            spend = self.ledger.spend(self.now()).plus(uploads)
            policy.check_price(estimate, self.limits, spend=spend, approval=self.agree(prepared, consent))

    def check_warning(self, prepared: PreparedOrder, priced: Priced, consent: Consent) -> None:
        """Refuse a price far above the table's without the caller's word; a refused rise becomes the new quote.

        Raises:
            PriceTooHighError: Not without an explicit `max_price_usd`.
        """
        if priced.warning is not None and consent.max_price_micro_usdc is None:
            raise PriceTooHighError(priced.warning, "If it is worth that, say so with max_price_usd.")
        pinned, price = self.find_pinned(prepared), priced.price_micro_usdc
        if pinned is not None and price is not None and price > pinned:
            approval = self.agree(prepared, consent)
            self.pin(priced.request.fingerprint, price)  # said now, in the error: the next call may agree to it
            policy.check_price(price, self.limits, spend=self.ledger.spend(self.now()), approval=approval)

    async def _find_hosted(self, picture: Picture) -> str | None:
        upload = await self.hosting.find(picture)
        return None if upload is None else upload.image_url

    async def _try_to_price(self, prepared: PreparedOrder, hosted: list[str | None]) -> Priced | None:
        """A real price, or None where it needs an upload first."""
        latest = self.ledger.latest_upload(studio=self.hosting.studio.origin, wallet=self.hosting.buyer.wallet.address)
        stand_in = None if latest is None else latest.image_url  # the price does not depend on the picture
        urls = [url or stand_in for url in hosted]
        known = [url for url in urls if url is not None]
        if len(known) < len(urls):
            return None
        try:
            return await self.pricing.ask(prepared.request, known)
        except StudioRejectedError as exc:
            if exc.status != 400:
                raise
            # This studio reads only what was uploaded to it, or the stand-in is gone.
            if stand_in is None or stand_in in known:
                return None
            return await self.pricing.ask(prepared.request, [stand_in] * len(urls))

    def _judge(self, offer: Offer, purse: Purse) -> JudgedOffer:
        payer = self.hosting.buyer.wallet.address
        objection = policy.find_objection(offer, self.limits, self.pins, payer=payer, now=self.now(), purse=purse)
        if objection is None and offer.rail not in self.limits.rails:
            objection = f"{offer.rail} is not among the allowed rails"
        if objection is None and offer.rail == "mpp" and not self.hosting.buyer.wallet.can_charge:
            objection = f"its libraries are not installed. {describe_install('tempo')}"
        balance = purse.find_balance(offer)
        if objection is None and balance is not None and balance < purse.cost_of(offer):
            objection = f"the wallet holds ${format_usdc(balance)} of its token"
        return JudgedOffer(
            offer=offer, objection=objection, balance_micro_usdc=balance, fee_micro_usdc=purse.fee_of(offer)
        )

    def _find_refusal(
        self,
        priced: Priced | None,
        price: int | None,
        uploads: int,
        max_price_micro_usdc: int | None,
        purse: Purse,
    ) -> str | None:
        """Why the purchase would be refused now, by asking the same policy."""
        fee = 0
        try:
            policy.check_settings(self.limits)
            policy.check_not_frozen(self.ledger.find_freeze())
            if priced is not None:
                payer = self.hosting.buyer.wallet.address
                offer = policy.choose_offer(
                    priced.offers, self.limits, self.pins, payer=payer, now=self.now(), purse=purse
                )
                price, fee = offer.amount_micro_usdc, purse.fee_of(offer)
                known = self.ledger.find_recipients(self.pins.studio_origin, offer.network)
                policy.check_recipient(offer, self.limits, self.pins, paid_before=known)
            if price is not None:
                approval = policy.agree_price(
                    self.limits,
                    max_price_micro_usdc=max_price_micro_usdc,
                    quoted_micro_usdc=None,
                    agreed_micro_usdc=price,  # a person will be asked when it is bought
                )
                spend = self.ledger.spend(self.now()).plus(uploads)
                policy.check_price(price, self.limits, spend=spend, approval=approval, fee_micro_usdc=fee)
        except (ConfigError, PolicyError) as exc:
            return f"{exc.what} {exc.hint}".strip()
        if priced is not None and priced.warning is not None and max_price_micro_usdc is None:
            return f"{priced.warning} It needs an explicit max_price_usd."
        return None
