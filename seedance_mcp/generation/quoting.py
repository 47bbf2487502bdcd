"""Quoting: find what a request would cost and whether the limits allow it, without spending.

A quote binds: for ten minutes nothing above it is signed for the same request. The verdict comes from the same `policy`
that judges the real purchase, so that a quote never promises what the purchase would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from seedance_mcp.adapters.media.recordings import find_kind
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    ConfigError,
    InsufficientBalanceError,
    PolicyError,
    PriceTooHighError,
    StudioError,
    StudioRejectedError,
)
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Cost, Limits, PinnedTerms, Recipient
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.mpp import is_pushed
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.generation.call_checks import CallChecker
from seedance_mcp.generation.picture_checks import describe_unread_urls
from seedance_mcp.generation.preparation import PreparedRequest
from seedance_mcp.generation.pricing import PricedRequest, Pricing
from seedance_mcp.generation.quotes import (
    EvaluatedOffer,
    Payments,
    Quote,
    Quoted,
    QuoteMemory,
    build_begun_quote,
    evaluate_offer,
)
from seedance_mcp.generation.source_images import Picture, list_media_types
from seedance_mcp.generation.stages import Stage
from seedance_mcp.generation.upload_lookup import UPLOAD_PRICE_MICRO_USDC, UploadLookup
from seedance_mcp.payments import policy
from seedance_mcp.payments.planning import PaymentPlanner

PUSHED = "This studio takes the money before it accepts the work: what it then refuses is lost."
UNCOMPARED = "The cost is compared with no balance."


@dataclass(frozen=True, slots=True)
class Quoting:
    """Quotes requests for one payer at one studio, and remembers what it said.

    Attributes:
        uploads: Finds what is hosted already.
        planner: Chooses the offers that would be signed.
        checker: Judges a call as the purchase does.
        memory: What was said lately.
    """

    uploads: UploadLookup
    planner: PaymentPlanner
    checker: CallChecker
    pricing: Pricing
    ledger: Ledger
    limits: Limits
    pins: PinnedTerms
    now: Callable[[], float]
    memory: QuoteMemory

    async def quote(
        self,
        prepared: PreparedRequest,
        *,
        max_price_micro_usdc: int | None,
        can_ask: bool = True,
        remember: bool = True,
        stage: Stage = "new",
    ) -> Quote:
        """Ask for the price: with the pictures' own URLs, with a stand-in of ours, or else by the price table.

        Args:
            prepared: What is wanted.
            max_price_micro_usdc: The most that the caller allows, or None.
            can_ask: Whether a person can be asked when it is bought.
            remember: Whether the price binds from now on.
            stage: How far its purchase has come; one that has begun is `quote_begun`'s.

        Raises:
            RequestError: The studio's dialect cannot carry the request.
            StudioError: The studio cannot be asked, or quotes its ceiling.
        """
        priced, missing = await self._try_to_price(prepared)
        known = await self.pricing.estimate(prepared.request) if priced is None else priced
        cost, error, payments = await self._judge_call(
            prepared, priced, known.price_micro_usdc, missing, max_price_micro_usdc
        )
        unallowed = known.warning if max_price_micro_usdc is None else None
        error = error or self._find_refusal(unallowed, cost, payments.recipients, can_ask=can_ask)
        key = await self._find_key(prepared, priced)
        if cost is not None and priced is not None and remember:
            await self.memory.pin(key, cost, payments.recipients, is_stale=error is not None)
        return Quote(
            exact=priced is not None,
            price_micro_usdc=known.price_micro_usdc if cost is None else cost.price_micro_usdc,
            upload_micro_usdc=UPLOAD_PRICE_MICRO_USDC * len(missing),
            cost=cost,
            offers=() if priced is None else await self._evaluate_offers(priced.offers),
            error=error,
            needs_approval=self.needs_approval(cost, payments.recipients),
            warning=known.warning,
            notes=known.notes + self._list_notes(priced, missing),
            max_price_per_video_micro_usdc=self.limits.max_price_per_video_micro_usdc,
            day_left_micro_usdc=await self._find_day_left(),
            key=key,
            stage=stage,
            payments=payments,
            wallet_problem=self.planner.payer.problem,
        )

    async def _find_key(self, prepared: PreparedRequest, priced: PricedRequest | None) -> str:
        """Return the idempotency key of a purchase in the dialect that the studio speaks now."""
        if priced is not None:
            return priced.request.idempotency_key
        return await self.pricing.choose_key(prepared.request.route, prepared.keys)

    def _list_notes(self, priced: PricedRequest | None, missing: Sequence[Picture]) -> tuple[str, ...]:
        """Return what a quote says of the uploads, of a studio that is paid in advance, and of a missing wallet."""
        notes = describe_unread_urls(missing)
        if priced is not None and all(map(is_pushed, priced.offers.offers)):
            notes += (PUSHED,)
        problem = self.planner.payer.problem
        return notes if problem is None else (*notes, f"{problem.what} {UNCOMPARED}")

    async def quote_begun(self, prepared: PreparedRequest, job: Job | None) -> Quote:
        """Return the quote of a request that was bought or is being bought: it costs nothing, and no one is asked."""
        return build_begun_quote(
            prepared.keys.current,
            job,
            max_price_per_video_micro_usdc=self.limits.max_price_per_video_micro_usdc,
            day_left_micro_usdc=await self._find_day_left(),
        )

    async def _find_day_left(self) -> int:
        now = self.now()
        spend, caps = await self.ledger.find_visible_spend(now), await self.ledger.find_caps(now)
        return policy.find_day_left(replace(self.limits, max_total_micro_usdc=None), spend, caps)

    def needs_approval(self, cost: Cost | None, recipients: Iterable[Recipient]) -> bool:
        """Return True where a person must agree to what a call costs, or to whom it pays."""
        above = cost is not None and policy.needs_approval(self.limits, cost)
        return above or any(recipient.replaces for recipient in recipients)

    def _find_refusal(
        self, warning: str | None, cost: Cost | None, recipients: Iterable[Recipient], *, can_ask: bool
    ) -> PolicyError | None:
        """Return why a call is refused that the limits allow: for a warning, or where no person can be asked."""
        if warning is not None:
            return PriceTooHighError(warning, NextStep("It needs an explicit {0}.", Argument("max_price_usd")))
        return None if can_ask else self._find_unasked(cost, recipients)

    def _find_unasked(self, cost: Cost | None, recipients: Iterable[Recipient]) -> PolicyError | None:
        """Return why a call is refused where no person can be asked, or None."""
        changed = next((recipient for recipient in recipients if recipient.replaces), None)
        if changed is not None:
            return policy.recipient_changed_error(changed)
        if cost is not None and policy.needs_approval(self.limits, cost):
            return policy.unasked_error(self.limits, cost)
        return None

    async def _find_recipient(self, offer: Offer) -> Recipient:
        paid_before = await self.ledger.find_recipients(self.pins.studio_origin, offer.network)
        return Recipient.of(offer, self.limits, self.pins, paid_before=paid_before)

    async def _compare(self, recipient: Recipient) -> Recipient:
        """Return a recipient with what it replaces by now."""
        paid_before = await self.ledger.find_recipients(self.pins.studio_origin, recipient.network)
        return recipient.compare(self.limits, self.pins, paid_before=paid_before)

    async def find_quoted(self, prepared: PreparedRequest) -> Quoted | None:
        """Return what a person may be asked about: what was quoted lately, while it is still so."""
        quoted = await self.memory.find(prepared.keys)
        if quoted is None or quoted.is_stale or not quoted.recipients:
            return None
        if quoted.cost.uploads_micro_usdc and not await self.checker.list_missing(prepared.pictures):
            return None
        return replace(quoted, recipients=tuple([await self._compare(one) for one in quoted.recipients]))

    async def _try_to_price(self, prepared: PreparedRequest) -> tuple[PricedRequest | None, list[Picture]]:
        """Return a real price, or None where it needs an upload first; and the pictures that need one."""
        hosted = [picture.url or await self._find_hosted(picture) for picture in prepared.pictures]
        missing = await self.checker.list_missing(picture for picture in prepared.pictures if picture.url is None)
        await self.pricing.check_uploads(prepared.request.route, list_media_types(missing))
        latest = await self.ledger.latest_upload(studio=self.uploads.studio.origin, wallet=self.uploads.wallet)
        # The price does not depend on the file, but the studio looks at its kind.
        kind = None if latest is None else find_kind(latest.media_type)
        stand_in = None if latest is None or kind != "image" else latest.image_url
        urls = [
            url or (stand_in if picture.kind == "image" else None)
            for url, picture in zip(hosted, prepared.pictures, strict=True)
        ]
        known = [url for url in urls if url is not None]
        if len(known) < len(urls):
            return None, missing
        try:
            return await self.pricing.request_price(prepared.request, known), missing
        except StudioRejectedError as exc:
            if exc.status != 400 or not prepared.pictures:
                raise
            # This studio reads only what was uploaded to it, or the stand-in is gone.
            missing = await self.checker.list_missing(prepared.pictures)
            is_picture = all(picture.kind == "image" for picture in prepared.pictures)
            if stand_in is None or stand_in in known or not is_picture:
                return None, missing
            return await self.pricing.request_price(prepared.request, [stand_in] * len(urls)), missing

    async def _find_hosted(self, picture: Picture) -> str | None:
        upload = await self.uploads.find(picture)
        return None if upload is None else upload.image_url

    async def _evaluate_offers(self, offers: Offers) -> tuple[EvaluatedOffer, ...]:
        payer = self.planner.payer
        evaluate = partial(
            evaluate_offer,
            limits=self.limits,
            pins=self.pins,
            payer=payer.address,
            can_charge=payer.can_charge,
            wallet_balances=await self.planner.balance_reader.look(offers.offers),
            now=self.now(),
            names_balances=self.planner.names_balances,
        )
        return tuple(evaluate(offer) for offer in offers.offers)

    async def _judge_call(
        self,
        prepared: PreparedRequest,
        priced: PricedRequest | None,
        price: int | None,
        missing: Sequence[Picture],
        max_price_micro_usdc: int | None,
    ) -> tuple[Cost | None, SeedanceError | None, Payments]:
        """Return what the call can cost, why it would be refused now by the policy of the purchase, and its payments.

        The ways to pay are left out where the policy refused before it looked at them.
        """
        payments = Payments(uploads=tuple(picture.sha256 for picture in missing))
        known = None if price is None else self.checker.guess_cost(price, missing)
        upload = await self._ask_upload_offers(missing if priced is not None else missing or prepared.pictures)
        video = None if priced is None else priced.offers
        if upload is None and video is not None:
            upload = policy.assume_price(video, UPLOAD_PRICE_MICRO_USDC)
        if video is None and upload is not None and price is not None:
            video = policy.assume_price(upload, price)
        uploads = [] if upload is None else [upload] * len(missing)
        try:
            policy.check_settings(self.limits)
            policy.check_not_frozen(await self.ledger.find_freeze())
            if uploads or video is not None:
                planned, chosen = await self.checker.plan_call(uploads, video)
                payments = await self._list_ways(payments, uploads, video)
                known = planned if video is not None else known
                recipients = tuple(dict.fromkeys([await self._find_recipient(offer) for offer in chosen]))
                payments = replace(payments, recipients=recipients)
            if known is not None:
                agreed = known.total_micro_usdc  # a person will be asked when it is bought
                approval = policy.agree_price(
                    self.limits,
                    max_price_micro_usdc=max_price_micro_usdc,
                    quoted_micro_usdc=None,
                    agreed_micro_usdc=agreed,
                    uploads_micro_usdc=known.uploads_micro_usdc,
                )
                await self.checker.check_limits(known, approval)
        except InsufficientBalanceError as exc:
            return known, exc, await self._list_ways(payments, uploads, video)
        except (PolicyError, ConfigError) as exc:
            return known, exc, payments
        return known, None, payments

    async def _list_ways(self, payments: Payments, uploads: Sequence[Offers], video: Offers | None) -> Payments:
        """Return a call's payments with the offers that could be signed for each, and what the wallet holds."""
        steps = [*uploads] if video is None else [*uploads, video]
        ways, wallet_balances = await self.planner.list_ways(*steps)
        return replace(payments, ways=ways, wallet_balances=wallet_balances)

    async def _ask_upload_offers(self, missing: Sequence[Picture]) -> Offers | None:
        """Return the terms of an upload, where one would be bought and the studio says them."""
        image = next((picture.image for picture in missing if picture.image is not None), None)
        if image is None:
            return None
        try:
            return await self.uploads.ask_offers(image)
        except StudioError:  # the purchase will meet it; a price can be told all the same
            return None
