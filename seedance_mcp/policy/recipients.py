"""Recipients: whom a studio may be paid at. A recipient that changed is not paid without the owner's word."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from seedance_mcp.errors import RecipientChangedError
from seedance_mcp.policy.limits import Limits, Pins
from seedance_mcp.wire.offers import Offer


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a payment goes to.

    Attributes:
        network: CAIP-2 name of the chain.
        address: In lower case.
        money: What people call what is paid, such as "USDC on Base".
    """

    network: str
    address: str
    money: str

    @classmethod
    def of(cls, offer: Offer, pins: Pins) -> Recipient:
        """Return the recipient that an offer names."""
        return cls(offer.network, offer.pay_to.lower(), pins.name_token(offer))


def find_new_recipient(offer: Offer, limits: Limits, pins: Pins, *, paid_before: AbstractSet[str]) -> str | None:
    """Return the offer's recipient if it is not one that this studio is known by on this network, else None.

    The owner's own list (`recipients`) decides alone where there is one; terms are checked against it elsewhere. The
    first payment to a studio without a published recipient may go to any.

    Args:
        offer: What would be signed.
        limits: What the owner allows.
        pins: What is published of the studio.
        paid_before: Recipients on this network, in lower case, that payments to this studio were signed for.
    """
    known = set(paid_before) | set(pins.recipients.get(offer.network, ()))
    if limits.recipients or not known or offer.pay_to.lower() in known:
        return None
    return offer.pay_to


def check_recipient(
    offer: Offer, limits: Limits, pins: Pins, *, paid_before: AbstractSet[str], agreed: str | None = None
) -> None:
    """Raise unless the recipient is a known one, or a person agreed to it in this very call.

    Args:
        offer: What would be signed.
        limits: What the owner allows.
        pins: What is published of the studio.
        paid_before: See `find_new_recipient`.
        agreed: The recipient that a person was shown and said yes to, or None.

    Raises:
        RecipientChangedError: It is another one; nothing was signed.
    """
    new = find_new_recipient(offer, limits, pins, paid_before=paid_before)
    if new is None or (agreed is not None and agreed.lower() == new.lower()):
        return
    known = sorted(set(paid_before) | set(pins.recipients.get(offer.network, ())))
    raise RecipientChangedError(
        f"The studio asks to be paid at {new} on {offer.network}, and was known by {', '.join(known[:3])}.",
        "Stop and tell the owner: this can be an attack. An owner who has asked the studio can allow it with "
        f"SEEDANCE_RECIPIENTS={','.join([*known[:3], new.lower()])}",
    )
