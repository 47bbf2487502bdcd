"""Call checks: whether the limits and the wallet allow the rest of a call, before each of its payments.

A call is judged again only when something changed: the terms of an upload arrived, an upload was paid, or the studio
named its price. The last word is `PaymentExecutor.pay`'s, in the transaction that reserves. Must not pay anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from seedance_mcp.core.errors import PriceTooHighError
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Approval, Cost, Limits
from seedance_mcp.core.next_steps import Argument, NextStep
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.generation.preparation import PreparedRequest
from seedance_mcp.generation.pricing import UNPRICED, PricedRequest
from seedance_mcp.generation.quotes import Consent, QuoteMemory
from seedance_mcp.generation.source_images import Picture
from seedance_mcp.generation.upload_lookup import UPLOAD_PRICE_MICRO_USDC, UploadLookup
from seedance_mcp.payments import policy
from seedance_mcp.payments.planning import PaymentPlanner

UNPRICED_HINT = NextStep("Set the highest cost with {0}.", Argument("max_price_usd"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChecker:
    """Judges the calls of one payer.

    Attributes:
        uploads: Knows which pictures must still be uploaded.
        planner: Chooses the offers that would be signed.
        memory: What was quoted lately.
        now: Unix seconds.
    """

    uploads: UploadLookup
    planner: PaymentPlanner
    ledger: Ledger
    limits: Limits
    memory: QuoteMemory
    now: Callable[[], float]

    async def agree(self, prepared: PreparedRequest, consent: Consent, *, uploads_micro_usdc: int = 0) -> Approval:
        """Return the most that may be signed for a request.

        Args:
            prepared: The request.
            consent: What was said in this call.
            uploads_micro_usdc: What the image uploads of this call cost, their fees included.
        """
        approval = policy.agree_price(
            self.limits,
            max_price_micro_usdc=consent.max_price_micro_usdc,
            quoted_micro_usdc=await self.find_quoted_price(prepared),
            agreed_micro_usdc=consent.agreed_micro_usdc,
            uploads_micro_usdc=uploads_micro_usdc,
        )
        return replace(approval, recipients=consent.recipients)

    async def check_estimate(
        self, prepared: PreparedRequest, consent: Consent, estimate_micro_usdc: int | None
    ) -> None:
        """Raise where the limits forbid a call at the price that is known before the studio is asked.

        Raises:
            PolicyError: They do, or no price is known and the caller names no limit.
        """
        if estimate_micro_usdc is None and consent.max_price_micro_usdc is None:
            raise PriceTooHighError(UNPRICED, UNPRICED_HINT)
        price = await self._expect_price(prepared, estimate_micro_usdc)
        if price is not None:
            cost = self.guess_cost(price, await self.list_missing(one for one in prepared.pictures if one.url is None))
            approval = await self.agree(prepared, consent, uploads_micro_usdc=cost.uploads_micro_usdc)
            await self.check_limits(cost, approval)

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
        price = await self._expect_price(prepared, estimate_micro_usdc)
        video = None if price is None else policy.assume_price(offers, price)
        cost, _ = await self.plan_call([offers] * uploads, video)
        if video is not None:
            uploads_micro_usdc = paid_micro_usdc + cost.uploads_micro_usdc
            approval = await self.agree(prepared, consent, uploads_micro_usdc=uploads_micro_usdc)
            await self.check_limits(cost, approval)

    async def plan_call(self, uploads: Sequence[Offers], video: Offers | None) -> tuple[Cost, tuple[Offer, ...]]:
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

    async def check_limits(self, cost: Cost, approval: Approval) -> None:
        """Raise where a limit forbids a call, whose uploads come first."""
        policy.check_price(
            cost.price_micro_usdc,
            self.limits,
            spend=(await self.ledger.spend(self.now())).plus(cost.uploads_micro_usdc),
            approval=approval,
            fee_micro_usdc=cost.fee_micro_usdc,
        )
        policy.check_caps(cost.total_micro_usdc, await self.ledger.find_caps(self.now()))

    async def check_rise(
        self, prepared: PreparedRequest, priced: PricedRequest, consent: Consent, approval: Approval
    ) -> None:
        """Refuse a price far above the table's without the caller's word; a refused rise becomes the new quote.

        Args:
            prepared: The request.
            priced: The studio's price for it now.
            consent: What was said in this call.
            approval: The most that may be signed; it is what `PaymentExecutor.pay` judges any other price by.

        Raises:
            PriceTooHighError: Not without an explicit `max_price_usd`, or above what was quoted.
        """
        if priced.warning is not None and consent.max_price_micro_usdc is None:
            raise PriceTooHighError(
                priced.warning, NextStep("To accept this price, set {0}.", Argument("max_price_usd"))
            )
        quoted, price = await self.memory.find(prepared.keys), priced.price_micro_usdc
        if quoted is not None and price is not None and price > quoted.cost.price_micro_usdc:
            # Said now, in the error: the next call may agree to it.
            cost = replace(quoted.cost, price_micro_usdc=price)
            await self.memory.pin(priced.request.idempotency_key, cost, quoted.recipients)
            policy.check_price(price, self.limits, spend=await self.ledger.spend(self.now()), approval=approval)

    async def _expect_price(self, prepared: PreparedRequest, estimate_micro_usdc: int | None) -> int | None:
        """Return the price that was quoted lately, or else the table's; None where neither is known."""
        quoted = await self.find_quoted_price(prepared)
        return estimate_micro_usdc if quoted is None else quoted

    async def find_quoted_price(self, prepared: PreparedRequest) -> int | None:
        """Return the price that binds for a request, the latest that was said, if one was said lately."""
        quoted = await self.memory.find(prepared.keys)
        return None if quoted is None else quoted.cost.price_micro_usdc

    async def list_missing(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Return the pictures whose upload would be bought, each once."""
        return list({picture.sha256: picture for picture in pictures if await self.uploads.must_buy(picture)}.values())

    def guess_cost(self, price: int, missing: Sequence[Picture]) -> Cost:
        """Return a call's cost where no terms say what the network keeps."""
        uploads = len(missing)
        return Cost(price_micro_usdc=price, uploads_micro_usdc=UPLOAD_PRICE_MICRO_USDC * uploads, uploads=uploads)
