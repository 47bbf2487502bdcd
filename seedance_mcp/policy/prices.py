"""Prices: the most that may be signed for one purchase, and whether it fits every budget of the owner's."""

from __future__ import annotations

from seedance_mcp.errors import BudgetExceededError, PriceTooHighError, UnacceptableOfferError
from seedance_mcp.money import format_usdc
from seedance_mcp.policy.limits import Approval, Limits, Spend

DAY_SECONDS = 24 * 3600
"""What the owner's `max_per_day` is counted over."""


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
