"""Policy: what the owner allows. Pure arithmetic over offers, limits and what was spent.

Owns the decision whether an offer may be signed. Never signs, never asks, never remembers: everything it judges by is
handed to it. The payment SDKs judge none of this; a tampered price, recipient, token or lifetime is signed by them
without complaint, so everything is checked here and only here, before a signature exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from seedance_mcp.errors import BudgetExceededError, PolicyError, PriceTooHighError, UnacceptableOfferError, quote_text
from seedance_mcp.money import format_usdc
from seedance_mcp.wire.encoding import same_address
from seedance_mcp.wire.offers import Offer, Offers, Rail
from seedance_mcp.wire.x402 import TokenDomain

AUTHORIZATION_SECONDS_MIN = 30
"""A studio whose offers live shorter than this cannot verify, work and settle in time."""
AUTHORIZATION_SECONDS_MAX = 180
"""How long a signature of ours lives at most, whatever the offer would like."""
OFFERED_SECONDS_MAX = 3600
"""An offer that wants a signature for longer than this is not from our studio."""
CLOCK_SKEW_SECONDS_MAX = 60
"""How far this machine's clock may be from the studio's when we sign: much less than a signature lives."""
RESERVED_SECONDS = 60
"""How long a reservation holds budget when nothing was signed: a process died in between."""
DAY_SECONDS = 24 * 3600

_ZERO_ADDRESS = "0x" + "0" * 40
_PLAIN_URL = re.compile(r"[\x21-\x7e]+")
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The owner's limits. Only settings make one; no tool can change it.

    Attributes:
        max_price_per_video_micro_usdc: Cap on one generation.
        max_per_day_micro_usdc: Cap on everything in any 24 hours.
        max_total_micro_usdc: Cap on everything this ledger ever paid, or None.
        ask_above_micro_usdc: A person must agree to a generation above this, or None.
        rails: Allowed rails, preferred first.
        recipients: Allowed recipients in lower case; empty allows any.
        models: Allowed models; empty allows any.
    """

    max_price_per_video_micro_usdc: int = 1_500_000
    max_per_day_micro_usdc: int = 5_000_000
    max_total_micro_usdc: int | None = None
    ask_above_micro_usdc: int | None = None
    rails: tuple[Rail, ...] = ("x402",)
    recipients: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What we are willing to pay in, and to whom we talk; from the profile, never from the network.

    Attributes:
        studio_origin: `https://host` or `http://127.0.0.1:port`, without a path.
        x402: The token that an x402 offer must name exactly, or None where the profile has no such rail.
    """

    studio_origin: str
    x402: TokenDomain | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What the ledger counts: settled payments, and every other one that still may settle."""

    last_day_micro_usdc: int = 0
    total_micro_usdc: int = 0

    def plus(self, amount_micro_usdc: int) -> Spend:
        """The sums after another payment of this size."""
        return Spend(
            last_day_micro_usdc=self.last_day_micro_usdc + amount_micro_usdc,
            total_micro_usdc=self.total_micro_usdc + amount_micro_usdc,
        )


@dataclass(frozen=True, slots=True)
class Approval:
    """What was agreed about this one purchase before the offers came.

    Attributes:
        max_price_micro_usdc: Never sign more than this for it.
        reason: Who says so, for the error text.
        hint: What to do about a higher price.
    """

    max_price_micro_usdc: int
    reason: str
    hint: str = "A shorter clip, a lower resolution or seedance-fast costs less. Only the owner can raise a limit."


def choose_offer(offers: Offers, limits: Limits, pins: Pins, *, payer: str) -> Offer:
    """The offer to sign: on the first of the owner's rails that has an acceptable one.

    Raises:
        UnacceptableOfferError: None may be signed, or two on one rail differ.
    """
    check_resource(offers, pins)
    reasons: list[str] = list(offers.passed_over)
    for rail in limits.rails:
        acceptable: list[Offer] = []
        for offer in offers.offers:
            if offer.rail != rail:
                continue
            reason = find_objection(offer, limits, pins, payer=payer)
            if reason is None:
                acceptable.append(offer)
            else:
                reasons.append(reason)
        if len({_terms(offer) for offer in acceptable}) > 1:
            raise UnacceptableOfferError(
                f"The studio names {len(acceptable)} different prices or recipients for one thing on {rail}.",
                "Do not retry; tell the owner.",
            )
        if acceptable:
            return acceptable[0]
    reasons += [
        f"{offer.rail} is not among the allowed rails" for offer in offers.offers if offer.rail not in limits.rails
    ]
    raise UnacceptableOfferError(
        "The studio made no offer that the owner's settings allow to sign: "
        + ("; ".join(list(dict.fromkeys(reasons))[:6]) or "it named none") + ".",
        "Do not retry; the owner can compare this with the settings.",
    )  # fmt: skip


def _terms(offer: Offer) -> tuple[object, ...]:
    return (offer.network, offer.asset.lower(), offer.pay_to.lower(), offer.amount_micro_usdc)


def check_clock(offers: Offers, now: float) -> None:
    """Raise where this machine's clock and the studio's are far apart: a signature's lifetime would not be what we say.

    A clock that is ahead makes a signature that lives for longer than the owner's three minutes; one that is behind
    makes one that is void already, and books that count the wrong day.

    Raises:
        PolicyError: By more than `CLOCK_SKEW_SECONDS_MAX`.
    """
    if offers.answered_at is None:
        return
    skew_seconds = int(now - offers.answered_at)
    if abs(skew_seconds) > CLOCK_SKEW_SECONDS_MAX:
        side = "ahead of" if skew_seconds > 0 else "behind"
        raise PolicyError(
            f"This machine's clock is {abs(skew_seconds)} s {side} the studio's; "
            f"{CLOCK_SKEW_SECONDS_MAX} s are allowed.",
            "Set the clock, then make the same call again.",
        )


def check_resource(offers: Offers, pins: Pins) -> None:
    """Raise where the challenge is for something at another origin than the studio's, or for nothing it names.

    Raises:
        UnacceptableOfferError: The resource's origin is not the one that we called.

    Source: x402 v2 specification, section 5.1 (`resource` is required).
    """
    url = offers.resource_url
    if url is None:
        raise UnacceptableOfferError("The studio asks for a payment but does not name what it is for (resource.url).")
    if _find_origin(url) != _find_origin(pins.studio_origin):
        raise UnacceptableOfferError(
            f"The studio asks a payment for {quote_text(url, 120)}, which is not at {pins.studio_origin}."
        )


def _find_origin(url: str) -> str | None:
    """Scheme, host and port in lower case, a default port left out; None where this is no plain URL.

    Python's reader drops tabs and line breaks from inside a host's name and folds look-alike letters; here only
    printable ASCII gets so far.
    """
    if _PLAIN_URL.fullmatch(url) is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not parts.netloc:
        return None
    netloc = parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    return f"{parts.scheme}://{netloc}"


def find_objection(offer: Offer, limits: Limits, pins: Pins, *, payer: str) -> str | None:
    """Why an offer's terms may not be signed, or None where they may. Prices and budgets are `check_price`'s.

    Source: the x402 `exact` scheme on EVM; pins per profile.
    """
    token = pins.x402
    if offer.rail != "x402" or token is None:
        return f"{offer.rail} is not a rail of this profile"
    if offer.scheme != "exact":
        return f"scheme {quote_text(offer.scheme, 30)} is not exact"
    if offer.network != token.network:
        return f"network {quote_text(offer.network, 60)} is not {token.network}"
    if not same_address(offer.asset, token.asset):
        return f"token {offer.asset} is not {token.asset}"
    if offer.extra.get("name") != token.name or offer.extra.get("version") != token.version:
        return "the token's EIP-712 name or version is not the pinned one"
    if offer.extra.get("assetTransferMethod", "eip3009") != "eip3009":
        return f"transfer method {quote_text(offer.extra.get('assetTransferMethod'), 30)} is not eip3009"
    if offer.amount_micro_usdc <= 0:
        return "its amount is not above zero"
    if not AUTHORIZATION_SECONDS_MIN <= offer.lifetime_seconds <= OFFERED_SECONDS_MAX:
        allowed = f"{AUTHORIZATION_SECONDS_MIN} to {OFFERED_SECONDS_MAX} s"
        return f"a lifetime of {offer.lifetime_seconds} s is outside {allowed}"
    if same_address(offer.pay_to, _ZERO_ADDRESS) or same_address(offer.pay_to, offer.asset):
        return "its recipient is nobody"
    if same_address(offer.pay_to, payer):
        return "its recipient is our own wallet"
    if limits.recipients and offer.pay_to.lower() not in limits.recipients:
        return f"recipient {offer.pay_to} is not on the owner's list"
    return None


def agree_price(limits: Limits, *, max_price_micro_usdc: int | None, quoted_micro_usdc: int | None) -> Approval:
    """The most that may be signed for one generation: the lowest of the cap, the caller's word and the quote."""
    agreed = [Approval(limits.max_price_per_video_micro_usdc, "the owner allows for one video (max_price_per_video)")]
    if max_price_micro_usdc is not None:
        agreed.append(
            Approval(
                max_price_micro_usdc,
                "this call allows (max_price_usd)",
                "If it is worth more, call again with a higher max_price_usd.",
            )
        )
    if quoted_micro_usdc is not None:
        agreed.append(
            Approval(
                quoted_micro_usdc,
                "was quoted for it a moment ago",
                "The price has risen since. If the new one is all right, call again.",
            )
        )
    return min(agreed, key=lambda approval: approval.max_price_micro_usdc)


UPLOAD_APPROVAL = Approval(20_000, "one image upload may cost", "Do not retry; tell the owner.")
"""An upload costs $0.01. Source: contract section 4."""


def check_price(price_micro_usdc: int, limits: Limits, *, spend: Spend, approval: Approval) -> None:
    """Raise unless this price fits the approval and every budget; called inside the ledger's write transaction.

    Raises:
        UnacceptableOfferError: Not a price at all.
        PriceTooHighError: Above the approved price.
        BudgetExceededError: No room in the day's or the total budget.
    """
    if price_micro_usdc <= 0:
        raise UnacceptableOfferError(f"The price is ${format_usdc(price_micro_usdc)}, which is not above zero.")
    if price_micro_usdc > approval.max_price_micro_usdc:
        raise PriceTooHighError(
            f"The price is ${format_usdc(price_micro_usdc)}, above the "
            f"${format_usdc(approval.max_price_micro_usdc)} that {approval.reason}.",
            approval.hint,
        )
    for room, name in find_room(limits, spend):
        if price_micro_usdc > room:
            raise BudgetExceededError(
                f"${format_usdc(price_micro_usdc)} is more than the ${format_usdc(room)} left of the owner's {name}.",
                "Stop and tell the owner. Only the owner can raise a limit.",
            )


def find_room(limits: Limits, spend: Spend) -> list[tuple[int, str]]:
    """What is left of each budget, never below zero, with its name."""
    room = [(max(0, limits.max_per_day_micro_usdc - spend.last_day_micro_usdc), "budget for 24 hours (max_per_day)")]
    if limits.max_total_micro_usdc is not None:
        room.append((max(0, limits.max_total_micro_usdc - spend.total_micro_usdc), "total budget (max_total)"))
    return room


def authorization_window(offer: Offer, now: float) -> tuple[int, int]:
    """`(valid_after, valid_before)` in Unix seconds: never longer than the offer likes, never longer than we allow."""
    return 0, int(now) + min(offer.lifetime_seconds, AUTHORIZATION_SECONDS_MAX)


def hold_until(now: float) -> int:
    """When a reservation without a signature lapses, in Unix seconds."""
    return int(now) + RESERVED_SECONDS
