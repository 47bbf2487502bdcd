"""Choice: which of a challenge's offers is signed, by the owner's order of rails and by what the wallet holds."""

from __future__ import annotations

import math

from seedance_mcp.errors import InsufficientBalanceError, UnacceptableOfferError
from seedance_mcp.money import format_usdc
from seedance_mcp.policy.limits import EMPTY_PURSE, Limits, Pins, Purse
from seedance_mcp.policy.terms import check_resource, find_objection
from seedance_mcp.wire.mpp import is_pushed
from seedance_mcp.wire.offers import Offer, Offers

_CHAIN_NAMES = {"eip155:8453": "Base", "eip155:4217": "Tempo"}


def choose_offer(
    offers: Offers,
    limits: Limits,
    pins: Pins,
    *,
    payer: str,
    now: float = math.inf,
    purse: Purse = EMPTY_PURSE,
) -> Offer:
    """The offer to sign: on the first of the owner's rails that has an acceptable one and the money for it.

    One whose money would move before the studio accepts the work is for a challenge that offers nothing else, and only
    while its chain answers: what was pushed must be seen there.

    Args:
        offers: The challenge.
        limits: What the owner allows.
        pins: What the owner pays in.
        payer: Our address.
        now: Unix seconds; without it every absolute expiry has passed.
        purse: What the wallet is known to hold; an unknown balance passes nothing over.

    Raises:
        UnacceptableOfferError: None may be signed, or two on one rail differ.
        InsufficientBalanceError: Some may, and the wallet is known to hold too little for each of them.
    """
    check_resource(offers, pins)
    reasons: list[str] = list(offers.passed_over)
    signable: list[Offer] = []
    for rail in limits.rails:
        acceptable: list[Offer] = []
        for offer in offers.offers:
            if offer.rail != rail:
                continue
            reason = find_objection(offer, limits, pins, payer=payer, now=now, purse=purse)
            if reason is None:
                acceptable.append(offer)
            else:
                reasons.append(reason)
        if len({_terms(offer) for offer in acceptable}) > 1:
            raise UnacceptableOfferError(
                f"The studio names {len(acceptable)} different prices or recipients for one thing on {rail}.",
                "Do not retry; tell the owner.",
            )
        signable += sorted(acceptable, key=lambda offer: (_preference(offer, pins), purse.fee_of(offer)))
    if signable and all(map(is_pushed, signable)):
        answered = [offer for offer in signable if purse.find_balance(offer) is not None]
        reasons += [] if answered else ["it is to be pushed to a chain that does not answer now"]
        signable = answered
    else:
        signable = [offer for offer in signable if not is_pushed(offer)]
    for offer in signable:
        balance = purse.find_balance(offer)
        if balance is None or balance >= purse.cost_of(offer):
            return offer
    if signable:
        raise _insufficient_error(signable, purse, payer)
    reasons += [
        f"{offer.rail} is not among the allowed rails" for offer in offers.offers if offer.rail not in limits.rails
    ]
    raise UnacceptableOfferError(
        "The studio made no offer that the owner's settings allow to sign: "
        + ("; ".join(list(dict.fromkeys(reasons))[:6]) or "it named none") + ".",
        "Do not retry; the owner can compare this with the settings.",
    )  # fmt: skip


def _terms(offer: Offer) -> tuple[object, ...]:
    """What must not differ among the offers of one rail. All pinned dollars are alike, so the token is not among it."""
    return (offer.network, offer.pay_to.lower(), offer.amount_micro_usdc)


def _preference(offer: Offer, pins: Pins) -> int:
    """The place of an offer's token on the owner's list."""
    if pins.mpp is None or offer.rail != "mpp":
        return 0
    return pins.mpp.currencies.index(offer.asset.lower())


def _insufficient_error(short: list[Offer], purse: Purse, payer: str) -> InsufficientBalanceError:
    lacks: list[str] = []
    for offer in short:
        chain = _CHAIN_NAMES.get(offer.network, "the chain")
        fee = purse.fee_of(offer)
        with_fee = f" with the network fee (${format_usdc(fee)} at most)" if fee else ""
        lacks.append(
            f"${format_usdc(purse.cost_of(offer))}{with_fee} is needed and "
            f"${format_usdc(purse.find_balance(offer) or 0)} is there of token {offer.asset} on {chain} "
            f"({offer.network})"
        )
    return InsufficientBalanceError(
        f"The wallet {payer} holds too little: {'; '.join(lacks)}.",
        "Tell the owner to send the missing amount of that token, on that very chain, to this address "
        "(in the sandbox: POST /_sandbox/fund), then make the same call again.",
    )
