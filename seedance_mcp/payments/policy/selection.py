"""Choice: which of a challenge's offers is signed, by the owner's order of rails and by what the wallet holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from seedance_mcp.core.errors import InsufficientBalanceError, UnacceptableOfferError
from seedance_mcp.core.limits import NO_BALANCES, Limits, PinnedTerms, WalletBalances
from seedance_mcp.core.money import MicroUSDC, format_usdc
from seedance_mcp.core.next_steps import Command, NextStep, OwnerDo, OwnerOnly, Repeat, Report
from seedance_mcp.core.wire.mpp import is_pushed
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.payments.policy.terms import check_resource, find_rejection_reason


def choose_offer(
    offers: Offers,
    limits: Limits,
    pins: PinnedTerms,
    *,
    payer: str,
    now: float = math.inf,
    wallet_balances: WalletBalances = NO_BALANCES,
) -> Offer:
    """Return the offer to sign: on the first of the owner's rails that has an acceptable one and the money for it.

    Args:
        offers: The challenge.
        limits: What the owner allows.
        pins: What the owner pays in.
        payer: Our address.
        now: Unix seconds; without it every absolute expiry has passed.
        wallet_balances: What the wallet is known to hold; an unknown balance passes nothing over.

    Raises:
        UnacceptableOfferError: None may be signed, or two on one rail differ.
        InsufficientBalanceError: Some may, and the wallet is known to hold too little for each of them.
    """
    return plan_payments([offers], limits, pins, payer=payer, now=now, wallet_balances=wallet_balances)[0]


def plan_payments(
    steps: Sequence[Offers],
    limits: Limits,
    pins: PinnedTerms,
    *,
    payer: str,
    now: float = math.inf,
    wallet_balances: WalletBalances = NO_BALANCES,
) -> tuple[Offer, ...]:
    """Return the offer that each payment of one call would sign, in order: the image uploads, then the video.

    Args:
        steps: The challenges, in the order in which they are paid.
        limits: What the owner allows.
        pins: What the owner pays in.
        payer: Our address.
        now: Unix seconds; without it every absolute expiry has passed.
        wallet_balances: What the wallet is known to hold; an unknown balance passes nothing over.

    Raises:
        UnacceptableOfferError: One of them has no offer that may be signed.
        InsufficientBalanceError: The wallet is known to hold too little for all of them together.
    """
    ways = [list_ways(offers, limits, pins, payer=payer, now=now, wallet_balances=wallet_balances) for offers in steps]
    chosen, _ = pay_in_turn(ways, wallet_balances)
    if len(chosen) < len(ways):
        raise insufficient_error(ways, wallet_balances, pins, payer=payer)
    return chosen


def pay_in_turn(
    ways: Sequence[Sequence[Offer]], wallet_balances: WalletBalances
) -> tuple[tuple[Offer, ...], WalletBalances]:
    """Return the offer that each payment would sign, up to the first that the wallet cannot pay, and what is left.

    Args:
        ways: For each payment the offers that could be signed, preferred first.
        wallet_balances: What the wallet is known to hold; an unknown balance passes nothing over.
    """
    chosen: list[Offer] = []
    for acceptable in ways:
        offer = next((offer for offer in acceptable if wallet_balances.can_pay(offer)), None)
        if offer is None:
            break
        chosen.append(offer)
        wallet_balances = wallet_balances.after(offer)
    return tuple(chosen), wallet_balances


def assume_price(offers: Offers, price_micro_usdc: int) -> Offers:
    """Return the same offers at another price: what the studio will ask for its next work, as far as it can be told."""
    changed = tuple(replace(offer, amount_micro_usdc=MicroUSDC(price_micro_usdc)) for offer in offers.offers)
    return replace(offers, offers=changed)


def list_ways(
    offers: Offers, limits: Limits, pins: PinnedTerms, *, payer: str, now: float, wallet_balances: WalletBalances
) -> list[Offer]:
    """Return the offers that may be signed, preferred first; at least one.

    One whose money would move before the studio accepts the work is for a challenge that offers nothing else, and only
    while its chain answers: what was pushed must be seen there.

    Raises:
        UnacceptableOfferError: None may be signed, or two on one rail differ.
    """
    check_resource(offers, pins)
    reasons: list[str] = list(offers.passed_over)
    signable: list[Offer] = []
    for rail in limits.rails:
        acceptable: list[Offer] = []
        for offer in offers.offers:
            if offer.rail != rail:
                continue
            reason = find_rejection_reason(offer, limits, pins, payer=payer, now=now, wallet_balances=wallet_balances)
            if reason is None:
                acceptable.append(offer)
            else:
                reasons.append(reason)
        if len({_terms(offer) for offer in acceptable}) > 1:
            raise UnacceptableOfferError(
                f"The studio names {len(acceptable)} different prices or recipients for one thing on {rail}.",
                NextStep("Do not retry; {0}.", Report()),
            )
        signable += sorted(acceptable, key=lambda offer: (_preference(offer, pins), wallet_balances.fee_of(offer)))
    if signable and all(map(is_pushed, signable)):
        answered = [
            offer
            for offer in signable
            if not wallet_balances.is_known or wallet_balances.find_balance(offer) is not None
        ]
        reasons += [] if answered else ["it is to be pushed to a chain that does not answer now"]
        signable = answered
    else:
        signable = [offer for offer in signable if not is_pushed(offer)]
    if signable:
        return signable
    reasons += [
        f"{offer.rail} is not among the allowed rails" for offer in offers.offers if offer.rail not in limits.rails
    ]
    raise UnacceptableOfferError(
        "The studio made no offer that the settings allow to sign: "
        + ("; ".join(list(dict.fromkeys(reasons))[:6]) or "it named none") + ".",
        NextStep("Do not retry. {0}.", OwnerOnly("compare this with the settings")),
    )  # fmt: skip


def _terms(offer: Offer) -> tuple[object, ...]:
    """Return what must not differ among the offers of one rail; the token may, since all pinned dollars are alike."""
    return (offer.network, offer.pay_to.lower(), offer.amount_micro_usdc)


def _preference(offer: Offer, pins: PinnedTerms) -> int:
    """Return the position of an offer's token on the owner's list."""
    if pins.mpp is None or offer.rail != "mpp":
        return 0
    return pins.mpp.currencies.index(offer.asset.lower())


def insufficient_error(
    ways: Sequence[Sequence[Offer]],
    wallet_balances: WalletBalances,
    pins: PinnedTerms,
    *,
    payer: str,
    purpose: str | None = None,
) -> InsufficientBalanceError:
    """Name what payments need together, and what the wallet holds of each token that could pay them.

    Args:
        ways: For each payment the offers that could be signed; the wallet cannot pay for all of them.
        wallet_balances: What the wallet is known to hold.
        pins: The profile's terms.
        payer: The wallet's address.
        purpose: What the payments are for; None for one video.
    """
    chosen, _ = pay_in_turn(ways, wallet_balances)
    what = purpose or ("the video and its image upload" if len(ways) > 1 else "")
    needed_for = f" for {what}" if what else ""
    price = sum(step[0].amount_micro_usdc for step in ways)
    lacks: list[str] = []
    for offer in ways[len(chosen)]:
        fees, held = wallet_balances.fee_of(offer) * len(ways), wallet_balances.find_balance(offer) or 0
        with_fee = f" with the network fee (${format_usdc(fees)} at most)" if fees else ""
        missing = f", so ${format_usdc(price + fees - held)} is missing" if purpose else ""
        lacks.append(
            f"${format_usdc(price + fees)}{with_fee} is needed{needed_for} and "
            f"${format_usdc(held)} of {pins.name_token(offer)} is there{missing}"
        )
    next_step = (
        NextStep("This is play money: send POST /_sandbox/fund to the sandbox. Then {0}.", Repeat())
        if pins.play_money
        else NextStep(
            "{0}: {1}. It shows where to send the missing amount. Then {2}.",
            OwnerDo("run"),
            Command("wallet fund"),
            Repeat(),
        )
    )
    return InsufficientBalanceError(f"The wallet {payer} holds too little: {'; '.join(lacks)}.", next_step)
