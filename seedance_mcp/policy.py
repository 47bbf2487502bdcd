"""Policy: what the owner allows. Pure arithmetic over offers, limits and what was spent.

Owns the decision whether an offer may be signed. Never signs, never asks, never remembers: everything it judges by is
handed to it. The payment SDKs judge none of this; a tampered price, recipient, token or lifetime is signed by them
without complaint, so everything is checked here and only here, before a signature exists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from seedance_mcp.errors import (
    BudgetExceededError,
    InsufficientBalanceError,
    PolicyError,
    PriceTooHighError,
    UnacceptableOfferError,
    quote_text,
)
from seedance_mcp.money import format_usdc
from seedance_mcp.wire.encoding import find_object, same_address
from seedance_mcp.wire.mpp import GAS_PRICE_DEFAULT, MppPins, is_pushed, is_sponsored, network_fee
from seedance_mcp.wire.offers import Offer, Offers, Rail
from seedance_mcp.wire.x402 import TokenDomain

AUTHORIZATION_SECONDS_MIN = 30
"""A studio whose offers live shorter than this cannot verify, work and settle in time."""
AUTHORIZATION_SECONDS_MAX = 180
"""How long a signature of ours lives at most, whatever the offer would like."""
OFFERED_SECONDS_MAX = 3600
"""An offer that wants a signature for longer than this is not from our studio."""
CHARGE_SECONDS_MIN, CHARGE_SECONDS_MAX = 15, 25
"""How long a Tempo charge of ours lives; the chain's newest rules take no expiring nonce of more than 30 s."""
CHARGE_AGE_SECONDS_MAX = 5
"""How much older than the studio's answer the moment may be that a charge's life is reckoned from."""
NETWORK_FEE_MICRO_USDC_MAX = 50_000
"""The most that Tempo may keep of one payment as its fee. It is two cents at most today, and about half a cent used."""
CLOCK_SKEW_SECONDS_MAX = 60
"""How far this machine's clock may be from the studio's when we sign: much less than a signature lives."""
RESERVED_SECONDS = 60
"""How long a reservation holds budget when nothing was signed: a process died in between."""
DAY_SECONDS = 24 * 3600

_CHARGE_FIELDS = frozenset({"amount", "currency", "recipient", "methodDetails", "description", "externalId"})
_DETAIL_FIELDS = frozenset({"chainId", "feePayer", "supportedModes"})
_CREDENTIAL_HEADERS = frozenset({"authorization", "payment-authorization"})
_CHAIN_NAMES = {"eip155:8453": "Base", "eip155:4217": "Tempo"}
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
        push_allowed: Whether a charge may be brought to the chain before the studio accepts the work, where a studio
            takes no other payment.
    """

    max_price_per_video_micro_usdc: int = 1_500_000
    max_per_day_micro_usdc: int = 5_000_000
    max_total_micro_usdc: int | None = None
    ask_above_micro_usdc: int | None = None
    rails: tuple[Rail, ...] = ("x402", "mpp")
    recipients: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    push_allowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What we are willing to pay in, and to whom we talk; from the profile, never from the network.

    Attributes:
        studio_origin: `https://host` or `http://127.0.0.1:port`, without a path.
        x402: The token that an x402 offer must name exactly, or None where the profile has no such rail.
        mpp: The chain and the dollars of an MPP charge, or None where the profile has no such rail.
    """

    studio_origin: str
    x402: TokenDomain | None
    mpp: MppPins | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What the chains say before a choice, as far as they could be asked.

    Attributes:
        balances: Micro-USDC held, by `(network, token in lower case)`; what is missing is not known.
        gas_price: Of the Tempo chain, in attodollars.
    """

    balances: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    gas_price: int = GAS_PRICE_DEFAULT

    def find_balance(self, offer: Offer) -> int | None:
        """What the wallet holds of an offer's token, or None where nobody could say."""
        return self.balances.get((offer.network, offer.asset.lower()))

    def fee_of(self, offer: Offer) -> int:
        """The most that the network may keep besides the price: nothing where the studio pays for gas."""
        return network_fee(self.gas_price) if offer.rail == "mpp" and not is_sponsored(offer) else 0

    def cost_of(self, offer: Offer) -> int:
        """What paying an offer needs in the wallet."""
        return offer.amount_micro_usdc + self.fee_of(offer)


EMPTY_PURSE = Purse()
"""Nobody was asked."""


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
    if url is None and offers.is_mpp_alone:
        return  # an MPP challenge names no URL: its realm is judged with its other terms
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


def find_objection(
    offer: Offer,
    limits: Limits,
    pins: Pins,
    *,
    payer: str,
    now: float = math.inf,
    purse: Purse = EMPTY_PURSE,
) -> str | None:
    """Why an offer's terms may not be signed, or None where they may. Prices and budgets are `check_price`'s."""
    if offer.rail == "x402" and pins.x402 is not None:
        reason = _find_x402_objection(offer, pins.x402)
    elif offer.rail == "mpp" and pins.mpp is not None:
        reason = _find_mpp_objection(offer, limits, pins.mpp, pins.studio_origin, now=now, purse=purse)
    else:
        reason = f"{offer.rail} is not a rail of this profile"
    return reason or _find_recipient_objection(offer, limits, payer=payer)


def _find_x402_objection(offer: Offer, token: TokenDomain) -> str | None:
    """Source: the x402 `exact` scheme on EVM; pins per profile."""
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
    return None


def _find_mpp_objection(
    offer: Offer, limits: Limits, pins: MppPins, studio_origin: str, *, now: float, purse: Purse
) -> str | None:
    """Source: the Tempo method's `charge`; pins per profile."""
    realm = str(offer.terms.get("realm", ""))
    if realm.lower() not in _find_realms(studio_origin):
        return f"realm {quote_text(realm, 80)} is not the studio's host"
    if (offer.terms.get("method"), offer.scheme) != ("tempo", "charge"):
        return "it is not a Tempo charge"
    if offer.network != pins.network:
        return f"network {quote_text(offer.network, 60)} is not {pins.network}"
    if offer.asset.lower() not in pins.currencies:
        return f"token {offer.asset} is not on the list of the profile"
    if offer.amount_micro_usdc <= 0:
        return "its amount is not above zero"
    left_seconds = (offer.expires_at or 0) - now
    if left_seconds < CHARGE_SECONDS_MIN:
        return f"its challenge is over, or will be in less than {CHARGE_SECONDS_MIN} s"
    if left_seconds > OFFERED_SECONDS_MAX:
        return f"its challenge lives for more than {OFFERED_SECONDS_MAX} s"
    if purse.fee_of(offer) > NETWORK_FEE_MICRO_USDC_MAX:
        fee, most = format_usdc(purse.fee_of(offer)), format_usdc(NETWORK_FEE_MICRO_USDC_MAX)
        return f"the network's fee may be ${fee}, above the ${most} that is allowed"
    return _find_mode_objection(offer, limits) or _find_detail_objection(offer)


def _find_mode_objection(offer: Offer, limits: Limits) -> str | None:
    """Whether we may pay in the way that the studio takes: it brings our charge to the chain, or we do, before."""
    modes = find_object(offer.extra, "methodDetails").get("supportedModes", ["pull"])
    if not isinstance(modes, list) or not {"pull", "push"}.intersection(map(str, cast("list[object]", modes))):
        return "it does not say plainly who brings the payment to the chain"
    if not is_pushed(offer):
        return None
    if is_sponsored(offer):
        return "it would pay the network's fee of what it takes only from the chain"
    if not limits.push_allowed:
        return "it takes only payments that were sent to the chain before, and SEEDANCE_ALLOW_PUSH is off"
    return None


def _find_detail_objection(offer: Offer) -> str | None:
    """What a charge says besides: whatever could move other money, or ours in another way, is refused."""
    details = find_object(offer.extra, "methodDetails")
    if details.get("splits"):
        return "it splits the amount among several recipients"
    if not isinstance(details.get("feePayer", False), bool):
        return "it does not say plainly who pays the network's fee"
    sponsor = {"feePayerUrl"} if is_sponsored(offer) else set[str]()  # whom the studio asks; we never do
    unknown = sorted({*offer.extra} - _CHARGE_FIELDS | {*details} - _DETAIL_FIELDS - {"splits"} - sponsor)
    if unknown:
        return f"its field {quote_text(unknown[0], 30)} is not one that we know"
    if str(offer.terms.get("header", "authorization")).lower() not in _CREDENTIAL_HEADERS:
        return "it wants the credential in a header of its own"
    return None


def _find_realms(studio_origin: str) -> tuple[str, ...]:
    """The studio's host, with its port and without. Source: contract section 13."""
    parts = urlsplit(studio_origin)
    host = (parts.hostname or "").lower()
    return (host, parts.netloc.lower(), f"{host}{_DEFAULT_PORTS.get(parts.scheme, '')}")


def _find_recipient_objection(offer: Offer, limits: Limits, *, payer: str) -> str | None:
    if same_address(offer.pay_to, _ZERO_ADDRESS) or same_address(offer.pay_to, offer.asset):
        return "its recipient is nobody"
    if same_address(offer.pay_to, payer):
        return "its recipient is our own wallet"
    if limits.recipients and offer.pay_to.lower() not in limits.recipients:
        return f"recipient {offer.pay_to} is not on the owner's list"
    return None


def agree_price(
    limits: Limits, *, max_price_micro_usdc: int | None, quoted_micro_usdc: int | None, agreed_micro_usdc: int = 0
) -> Approval:
    """The most that may be signed for one generation.

    It is the lowest of the cap, the caller's word, the quote, and, above `ask_above`, the price that a person said
    yes to in this very call.
    """
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
    if limits.ask_above_micro_usdc is not None:
        agreed.append(
            Approval(
                max(limits.ask_above_micro_usdc, agreed_micro_usdc),
                "a person was asked about, or that needs no question (ask_above)",
                "Call again: the person is then asked about the new price.",
            )
        )
    return min(agreed, key=lambda approval: approval.max_price_micro_usdc)


UPLOAD_APPROVAL = Approval(20_000, "one image upload may cost", "Do not retry; tell the owner.")
"""An upload costs $0.01. Source: contract section 4."""


def check_price(
    price_micro_usdc: int, limits: Limits, *, spend: Spend, approval: Approval, fee_micro_usdc: int = 0
) -> None:
    """Raise unless this price fits the approval and every budget; called inside the ledger's write transaction.

    Args:
        price_micro_usdc: What the studio asks: what is quoted and agreed.
        limits: What the owner allows. The network's fee counts here: no more leaves the wallet than the owner said.
        spend: What was spent.
        approval: The most that was agreed for the price.
        fee_micro_usdc: The most that the network may keep besides.

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
    cost = price_micro_usdc + fee_micro_usdc
    if cost > limits.max_price_per_video_micro_usdc and fee_micro_usdc:
        raise PriceTooHighError(
            f"The price is ${format_usdc(price_micro_usdc)} and the network's fee up to "
            f"${format_usdc(fee_micro_usdc)}, together above the "
            f"${format_usdc(limits.max_price_per_video_micro_usdc)} that the owner allows for one video "
            "(max_price_per_video).",
            "Only the owner can raise a limit.",
        )
    for room, name in find_room(limits, spend):
        if cost > room:
            raise BudgetExceededError(
                f"${format_usdc(cost)} is more than the ${format_usdc(room)} left of the owner's {name}.",
                "Stop and tell the owner. Only the owner can raise a limit (SEEDANCE_MAX_PER_DAY, SEEDANCE_MAX_TOTAL). "
                "Payments that are not over count as well: wallet_status lists them.",
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


def charge_valid_before(offer: Offer, now: float, *, answered_at: float | None) -> int:
    """When a Tempo charge of ours is void, in Unix seconds: before its challenge is, and in seconds.

    The chain cares about seconds here, so the studio's clock is believed before ours where it says what it is.
    """
    moment = now if answered_at is None else min(max(now, answered_at), answered_at + CHARGE_AGE_SECONDS_MAX)
    return min(int(moment) + CHARGE_SECONDS_MAX, int(offer.expires_at or 0))


def credential_hold_until(valid_before: int, now: float, *, answered_at: float | None) -> int:
    """When a credential can settle no more by *our* clock, in Unix seconds: ours may be ahead of the chain's."""
    ahead = CLOCK_SKEW_SECONDS_MAX if answered_at is None else max(0, math.ceil(now - answered_at))
    return valid_before + ahead


def hold_until(now: float) -> int:
    """When a reservation without a signature lapses, in Unix seconds."""
    return int(now) + RESERVED_SECONDS
