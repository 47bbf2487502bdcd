"""Recipients: whom a studio may be paid at. A recipient that changed is not paid without the owner's word."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from seedance_mcp.errors import RecipientChangedError
from seedance_mcp.policy.limits import Limits, Pins
from seedance_mcp.wire.offers import Offer

SHOWN_MAX = 3
"""How many earlier recipients an error or a question names."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a payment goes to.

    Attributes:
        network: CAIP-2 name of the chain.
        address: In lower case.
        money: What people call what is paid, such as "USDC on Base".
        replaces: The addresses in lower case that the studio is known by, where this one is none of them; else empty.
    """

    network: str
    address: str
    money: str
    replaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, offer: Offer, limits: Limits, pins: Pins, *, paid_before: AbstractSet[str]) -> Recipient:
        """Return the recipient that an offer names.

        Args:
            offer: What would be signed.
            limits: What the owner allows.
            pins: What is published of the studio.
            paid_before: Recipients on this network, in lower case, that the ledger remembers for this studio.
        """
        return cls(offer.network, offer.pay_to.lower(), pins.name_token(offer)).compare(
            limits, pins, paid_before=paid_before
        )

    def compare(self, limits: Limits, pins: Pins, *, paid_before: AbstractSet[str]) -> Recipient:
        """Return it with what it replaces now.

        The owner's own list (`recipients`) decides alone where there is one; terms are checked against it elsewhere.
        The first payment to a studio without a published recipient may go to any.
        """
        known = set(paid_before) | set(pins.recipients.get(self.network, ()))
        is_known = bool(limits.recipients) or self.address in known
        return replace(self, replaces=() if is_known else tuple(sorted(known)))


def check_recipient(recipient: Recipient, *, agreed: Iterable[Recipient] | None = None) -> None:
    """Raise unless the recipient did not change, or a person agreed to exactly this change in this very call.

    Args:
        recipient: Whom would be paid.
        agreed: What the person was shown who said yes, or None where no one was asked. Then no one else is paid.

    Raises:
        RecipientChangedError: It is another one; nothing was signed.
    """
    if agreed is None:
        if recipient.replaces:
            raise recipient_changed_error(recipient)
        return
    for shown in agreed:
        same = (shown.network, shown.address) == (recipient.network, recipient.address)
        if same and set(recipient.replaces) <= set(shown.replaces):
            return
    raise RecipientChangedError(
        f"The studio asks now to be paid at {recipient.address} on {recipient.network}, which the person who said yes "
        "was not shown.",
        "Call again: the person is then asked about it.",
    )


def recipient_changed_error(recipient: Recipient) -> RecipientChangedError:
    """Build the refusal of a changed recipient that no person agreed to."""
    known = recipient.replaces[:SHOWN_MAX]
    return RecipientChangedError(
        f"The studio asks to be paid at {recipient.address} on {recipient.network}, and was known by "
        f"{', '.join(known)}.",
        "Stop and tell the owner: this can be an attack. An owner who has asked the studio can allow it with "
        f"SEEDANCE_RECIPIENTS={','.join([*known, recipient.address])}",
    )
