"""Quoting: find what a request would cost and whether the limits allow it, without spending.

A quote binds: for ten minutes nothing above it is signed for the same order. The verdict comes from the same `policy`
that judges the real purchase, so that a quote never promises what the purchase would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from seedance_mcp.core.limits import Approval, Cost, Limits, PinnedTerms, Recipient
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.mpp import is_pushed
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.generation.picture_checks import describe_unread_urls
from seedance_mcp.generation.preparation import PreparedRequest
from seedance_mcp.generation.pricing import PricedRequest, Pricing
from seedance_mcp.generation.quotes import (
    Consent,
    EvaluatedOffer,
    Payments,
    Quote,
    Quoted,
    QuoteMemory,
    build_begun_quote,
    evaluate_offer,
)
from seedance_mcp.generation.source_images import Picture
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
        memory: What was said lately.
    """

    uploads: UploadLookup
    planner: PaymentPlanner
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
            RequestError: The studio's dialect cannot carry the order.
            StudioError: The studio cannot be asked, or quotes its ceiling.
        """
        estimate = await self.pricing.estimate(prepared.request)
        priced, missing = await self._try_to_price(prepared)
        price = estimate.price_micro_usdc if priced is None else priced.price_micro_usdc
        notes = estimate.notes if priced is None else priced.notes
        notes += describe_unread_urls(missing)
        if priced is not None and all(map(is_pushed, priced.offers.offers)):
            notes += (PUSHED,)
        problem = self.planner.payer.problem
        if problem is not None:
            notes += (f"{problem.what} {UNCOMPARED}",)
        cost, error, payments = await self._judge_call(prepared, priced, price, missing, max_price_micro_usdc)
        warning = None if priced is None else priced.warning
        if error is None and warning is not None and max_price_micro_usdc is None:
            error = PriceTooHighError(warning, NextStep("It needs an explicit {0}.", Argument("max_price_usd")))
        if not can_ask:
            error = error or self._find_unasked(cost, payments.recipients)
        if cost is not None and priced is not None and remember:
            self.memory.pin(priced.request.idempotency_key, cost, payments.recipients, is_stale=error is not None)
        return Quote(
            exact=priced is not None,
            price_micro_usdc=price if cost is None else cost.price_micro_usdc,
            upload_micro_usdc=UPLOAD_PRICE_MICRO_USDC * len(missing),
            cost=cost,
            offers=() if priced is None else await self._evaluate_offers(priced.offers),
            error=error,
            needs_approval=self.needs_approval(cost, payments.recipients),
            warning=warning,
            notes=notes,
            max_price_per_video_micro_usdc=self.limits.max_price_per_video_micro_usdc,
            day_left_micro_usdc=await self._find_day_left(),
            key=await self.pricing.choose_key(prepared.request.model, prepared.keys),
            stage=stage,
            payments=payments,
            wallet_problem=problem,
        )

    async def quote_begun(self, prepared: PreparedRequest, job: Job | None) -> Quote:
        """Return the quote of a request that was bought or is being bought: it costs nothing, and no one is asked."""
        return build_begun_quote(
            prepared.keys.current,
            job,
            max_price_per_video_micro_usdc=self.limits.max_price_per_video_micro_usdc,
            day_left_micro_usdc=await self._find_day_left(),
        )

    async def _find_day_left(self) -> int:
        return policy.find_remaining_budget(self.limits, await self.ledger.spend(self.now()))[0][0]

    def needs_approval(self, cost: Cost | None, recipients: Iterable[Recipient]) -> bool:
        """Return True where a person must agree to what a call costs, or to whom it pays."""
        above = cost is not None and policy.needs_approval(self.limits, cost)
        return above or any(recipient.replaces for recipient in recipients)

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

    def find_pinned(self, prepared: PreparedRequest) -> int | None:
        """Return the price that binds for an order, the latest that was said, if one was said lately."""
        quoted = self.memory.find(prepared.keys)
        return None if quoted is None else quoted.cost.price_micro_usdc

    async def find_quoted(self, prepared: PreparedRequest) -> Quoted | None:
        """Return what a person may be asked about: what was quoted lately, while it is still so."""
        quoted = self.memory.find(prepared.keys)
        if quoted is None or quoted.is_stale or not quoted.recipients:
            return None
        if quoted.cost.uploads_micro_usdc and not await self._list_missing(prepared.pictures):
            return None
        return replace(quoted, recipients=tuple([await self._compare(one) for one in quoted.recipients]))

    def agree(self, prepared: PreparedRequest, consent: Consent, *, uploads_micro_usdc: int = 0) -> Approval:
        """Return the most that may be signed for a request.

        Args:
            prepared: The order.
            consent: What was said in this call.
            uploads_micro_usdc: What the image uploads of this call cost, their fees included.
        """
        approval = policy.agree_price(
            self.limits,
            max_price_micro_usdc=consent.max_price_micro_usdc,
            quoted_micro_usdc=self.find_pinned(prepared),
            agreed_micro_usdc=consent.agreed_micro_usdc,
            uploads_micro_usdc=uploads_micro_usdc,
        )
        return replace(approval, recipients=consent.recipients)

    async def check_estimate(
        self, prepared: PreparedRequest, consent: Consent, estimate_micro_usdc: int | None
    ) -> None:
        """Raise where the limits forbid a call at the price that is known before the studio is asked.

        Raises:
            PolicyError: They do.
        """
        pinned = self.find_pinned(prepared)
        price = estimate_micro_usdc if pinned is None else pinned
        if price is not None:
            cost = self._guess_cost(
                price, await self._list_missing(one for one in prepared.pictures if one.url is None)
            )
            await self._check_limits(cost, self.agree(prepared, consent, uploads_micro_usdc=cost.uploads_micro_usdc))

    async def check_before_upload(
        self,
        prepared: PreparedRequest,
        consent: Consent,
        offers: Offers,
        *,
        uploads: int,
        estimate_micro_usdc: int | None,
        paid_micro_usdc: int,
    ) -> None:
        """Raise where the wallet or a limit forbids the rest of a call, before its next image upload is bought.

        Args:
            prepared: What the call is for.
            consent: What was said in this call.
            offers: The terms of an upload.
            uploads: How many this call still buys.
            estimate_micro_usdc: What the price table knows of the video.
            paid_micro_usdc: What this call has paid already.

        Raises:
            PolicyError: It is forbidden, or the wallet is known to hold too little.
        """
        pinned = self.find_pinned(prepared)
        price = estimate_micro_usdc if pinned is None else pinned
        video = None if price is None else policy.assume_price(offers, price)
        cost, _ = await self._plan_call([offers] * uploads, video)
        if video is not None:
            uploads_micro_usdc = paid_micro_usdc + cost.uploads_micro_usdc
            approval = self.agree(prepared, consent, uploads_micro_usdc=uploads_micro_usdc)
            await self._check_limits(cost, approval)

    async def _plan_call(self, uploads: Sequence[Offers], video: Offers | None) -> tuple[Cost, tuple[Offer, ...]]:
        """Return what the payments of one call cost at most, and the offers that they would sign.

        Raises:
            PolicyError: One of them cannot be signed, or the wallet is known to hold too little for all of them.
            ConfigError: Their libraries are not installed.
        """
        steps = [*uploads] if video is None else [*uploads, video]
        chosen, wallet_balances = await self.planner.plan(*steps)
        for offer in chosen[: len(uploads)]:
            policy.check_upload_price(offer.amount_micro_usdc)
        last = None if video is None else chosen[-1]
        cost = Cost(
            price_micro_usdc=0 if last is None else last.amount_micro_usdc,
            fee_micro_usdc=0 if last is None else wallet_balances.fee_of(last),
            uploads_micro_usdc=sum(map(wallet_balances.cost_of, chosen[: len(uploads)])),
            uploads=len(uploads),
            upload_fees_micro_usdc=sum(map(wallet_balances.fee_of, chosen[: len(uploads)])),
        )
        return cost, chosen

    async def _check_limits(self, cost: Cost, approval: Approval) -> None:
        """Raise where a limit forbids a call, whose uploads come first."""
        policy.check_price(
            cost.price_micro_usdc,
            self.limits,
            spend=(await self.ledger.spend(self.now())).plus(cost.uploads_micro_usdc),
            approval=approval,
            fee_micro_usdc=cost.fee_micro_usdc,
        )

    async def check_warning(self, prepared: PreparedRequest, priced: PricedRequest, consent: Consent) -> None:
        """Refuse a price far above the table's without the caller's word; a refused rise becomes the new quote.

        Raises:
            PriceTooHighError: Not without an explicit `max_price_usd`.
        """
        if priced.warning is not None and consent.max_price_micro_usdc is None:
            raise PriceTooHighError(
                priced.warning, NextStep("If it is worth that, say so with {0}.", Argument("max_price_usd"))
            )
        quoted, price = self.memory.find(prepared.keys), priced.price_micro_usdc
        if quoted is not None and price is not None and price > quoted.cost.price_micro_usdc:
            approval = self.agree(prepared, consent)
            # Said now, in the error: the next call may agree to it.
            cost = replace(quoted.cost, price_micro_usdc=price)
            self.memory.pin(priced.request.idempotency_key, cost, quoted.recipients)
            policy.check_price(price, self.limits, spend=await self.ledger.spend(self.now()), approval=approval)

    async def _try_to_price(self, prepared: PreparedRequest) -> tuple[PricedRequest | None, list[Picture]]:
        """Return a real price, or None where it needs an upload first; and the pictures that need one."""
        hosted = [picture.url or await self._find_hosted(picture) for picture in prepared.pictures]
        missing = await self._list_missing(picture for picture in prepared.pictures if picture.url is None)
        latest = await self.ledger.latest_upload(studio=self.uploads.studio.origin, wallet=self.uploads.wallet)
        stand_in = None if latest is None else latest.image_url  # the price does not depend on the picture
        urls = [url or stand_in for url in hosted]
        known = [url for url in urls if url is not None]
        if len(known) < len(urls):
            return None, missing
        try:
            return await self.pricing.request_price(prepared.request, known), missing
        except StudioRejectedError as exc:
            if exc.status != 400:
                raise
            # This studio reads only what was uploaded to it, or the stand-in is gone.
            missing = await self._list_missing(prepared.pictures)
            if stand_in is None or stand_in in known:
                return None, missing
            return await self.pricing.request_price(prepared.request, [stand_in] * len(urls)), missing

    async def _list_missing(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Return the pictures whose upload would be bought, each once."""
        return list({picture.sha256: picture for picture in pictures if await self.uploads.must_buy(picture)}.values())

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
        known = None if price is None else self._guess_cost(price, missing)
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
                planned, chosen = await self._plan_call(uploads, video)
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
                await self._check_limits(known, approval)
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

    def _guess_cost(self, price: int, missing: Sequence[Picture]) -> Cost:
        """Return a call's cost where no terms say what the network keeps."""
        uploads = len(missing)
        return Cost(price_micro_usdc=price, uploads_micro_usdc=UPLOAD_PRICE_MICRO_USDC * uploads, uploads=uploads)

    async def _ask_upload_offers(self, missing: Sequence[Picture]) -> Offers | None:
        """Return the terms of an upload, where one would be bought and the studio says them."""
        image = next((picture.image for picture in missing if picture.image is not None), None)
        if image is None:
            return None
        try:
            return await self.uploads.ask_offers(image)
        except StudioError:  # the purchase will meet it; a price can be told all the same
            return None
