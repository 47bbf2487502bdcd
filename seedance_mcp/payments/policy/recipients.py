"""Recipients: whom a studio may be paid at. A recipient that changed is not paid without the owner's consent."""

from __future__ import annotations

from collections.abc import Iterable

from seedance_mcp.core.errors import RecipientChangedError
from seedance_mcp.core.limits import Recipient
from seedance_mcp.core.next_steps import NextStep, OwnerOnly, Repeat, Setting

SHOWN_MAX = 3
"""How many earlier recipients an error or a question names."""


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
        f"The studio now asks to be paid at {recipient.address} on {recipient.network}. The person who approved the "
        "payment was not shown this recipient.",
        NextStep("{0}: the recipient is then asked about.", Repeat(changed=True)),
    )


def recipient_changed_error(recipient: Recipient) -> RecipientChangedError:
    """Build the refusal of a changed recipient that no person agreed to."""
    known = recipient.replaces[:SHOWN_MAX]
    return RecipientChangedError(
        f"The studio asks to be paid at {recipient.address} on {recipient.network}. Its known recipient "
        f"is {', '.join(known)}.",
        NextStep(
            "This can be an attack. {0}, after asking the studio, with {1}",
            OwnerOnly("allow it", stop=True),
            Setting("RECIPIENTS", ",".join([*known, recipient.address])),
        ),
    )
