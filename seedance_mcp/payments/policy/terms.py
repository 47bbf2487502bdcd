"""Terms: whether an offer may be signed at all; one hostile word in it, and it may not. Prices are judged elsewhere."""

from __future__ import annotations

import math
import re
from typing import cast
from urllib.parse import urlsplit

from seedance_mcp.core.errors import UnacceptableOfferError
from seedance_mcp.core.limits import NO_BALANCES, Limits, PinnedTerms, WalletBalances
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.json import find_object, same_address
from seedance_mcp.core.wire.mpp import PinnedChargeTerms, is_pushed, is_sponsored
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.core.wire.x402 import TokenDomain
from seedance_mcp.payments.policy.lifetimes import AUTHORIZATION_SECONDS_MIN, CHARGE_SECONDS_MIN, OFFERED_SECONDS_MAX

NETWORK_FEE_MICRO_USDC_MAX = 50_000
"""The most that Tempo may keep of one payment as its fee. It is two cents at most today, and about half a cent used."""

_CHARGE_FIELDS = frozenset({"amount", "currency", "recipient", "methodDetails", "description", "externalId"})
_DETAIL_FIELDS = frozenset({"chainId", "feePayer", "supportedModes"})
_CREDENTIAL_HEADERS = frozenset({"authorization", "payment-authorization"})
_ZERO_ADDRESS = "0x" + "0" * 40
_PLAIN_URL = re.compile(r"[\x21-\x7e]+")
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def check_resource(offers: Offers, pins: PinnedTerms) -> None:
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
            f"The studio asks for a payment for {quote_text(url, 120)}, which is not at {pins.studio_origin}."
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


def find_rejection_reason(
    offer: Offer,
    limits: Limits,
    pins: PinnedTerms,
    *,
    payer: str,
    now: float = math.inf,
    wallet_balances: WalletBalances = NO_BALANCES,
) -> str | None:
    """Why an offer's terms may not be signed, or None where they may. Prices and budgets are `check_price`'s."""
    if offer.rail == "x402" and pins.x402 is not None:
        reason = _find_x402_objection(offer, pins.x402)
    elif offer.rail == "mpp" and pins.mpp is not None:
        reason = _find_mpp_objection(
            offer, limits, pins.mpp, pins.studio_origin, now=now, wallet_balances=wallet_balances
        )
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
    offer: Offer,
    limits: Limits,
    pins: PinnedChargeTerms,
    studio_origin: str,
    *,
    now: float,
    wallet_balances: WalletBalances,
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
    if wallet_balances.fee_of(offer) > NETWORK_FEE_MICRO_USDC_MAX:
        fee, most = format_usdc(wallet_balances.fee_of(offer)), format_usdc(NETWORK_FEE_MICRO_USDC_MAX)
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
    """Return why further fields of a charge are refused: they could move other money, or ours in another way."""
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
    """Return the studio's host, with its port and without. Source: contract section 13."""
    parts = urlsplit(studio_origin)
    host = (parts.hostname or "").lower()
    return (host, parts.netloc.lower(), f"{host}{_DEFAULT_PORTS.get(parts.scheme, '')}")


def _find_recipient_objection(offer: Offer, limits: Limits, *, payer: str) -> str | None:
    if same_address(offer.pay_to, _ZERO_ADDRESS) or same_address(offer.pay_to, offer.asset):
        return "its recipient is no one"
    if same_address(offer.pay_to, payer):
        return "its recipient is our own wallet"
    if limits.recipients and offer.pay_to.lower() not in limits.recipients:
        return f"recipient {offer.pay_to} is not among the allowed ones (SEEDANCE_RECIPIENTS)"
    return None
