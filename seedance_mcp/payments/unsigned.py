"""Unsigned payments: what is signed for an offer, before it is signed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from seedance_mcp.core.wire.mpp import build_charge, is_pushed
from seedance_mcp.core.wire.offers import Offer, Offers
from seedance_mcp.core.wire.x402 import Authorization, build_payment
from seedance_mcp.payments import policy


def build_unsigned_payment(
    offer: Offer, offers: Offers, *, payer: str, gas_price: int, now: float
) -> tuple[Mapping[str, object], int]:
    """Return the unsigned payment of an offer, with a new nonce, and when it can buy nothing any more, in Unix seconds.

    Args:
        offer: What is paid.
        offers: The challenge that it is part of.
        payer: The paying address.
        gas_price: Of Tempo, in its own unit.
        now: Unix seconds.
    """
    if offer.rail == "mpp":
        valid_before = policy.charge_valid_before(offer, now, answered_at=offers.answered_at)
        document = build_charge(
            offer,
            payer=payer,
            valid_before=valid_before,
            gas_price=gas_price,
            client_id=secrets.token_hex(16),
        )
        # What is on the chain stays there: its hash is good for as long as the challenge is.
        return document, max(valid_before, int(offer.expires_at or 0)) if is_pushed(offer) else valid_before
    valid_after, valid_before = policy.authorization_window(offer, now)
    authorization = Authorization(
        payer=payer,
        pay_to=offer.pay_to,
        amount_micro_usdc=offer.amount_micro_usdc,
        valid_after=valid_after,
        valid_before=valid_before,
        nonce="0x" + secrets.token_hex(32),
    )
    return build_payment(authorization, offer, offers), valid_before
