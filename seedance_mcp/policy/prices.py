"""Prices: the most that may be signed for one purchase, and whether it fits every budget of the owner's."""

from __future__ import annotations

from dataclasses import replace

from seedance_mcp.errors import BudgetExceededError, ConfigError, PriceTooHighError, UnacceptableOfferError
from seedance_mcp.money import format_usdc
from seedance_mcp.policy.limits import Approval, Limits, Spend
from seedance_mcp.wire.offers import Rail

DAY_SECONDS = 24 * 3600
"""What the owner's `max_per_day` is counted over."""

_CAP = ("the owner allows for one video (max_price_per_video)", "Only the owner can raise a limit.")
_CALLERS_WORD = (
    "this call allows (max_price_usd)",
    "If it is worth more, call again with a higher max_price_usd.",
)
"""Who set a bound that no fee may pass either, and what to do about a higher price."""


def agree_price(
    limits: Limits, *, max_price_micro_usdc: int | None, quoted_micro_usdc: int | None, agreed_micro_usdc: int = 0
) -> Approval:
    """The most that may be signed for one generation.

    It is the lowest of the cap, the caller's word, the quote, and, above `ask_above`, the price that a person said
    yes to in this very call.
    """
    agreed = [Approval(limits.max_price_per_video_micro_usdc, _CAP[0])]
    if max_price_micro_usdc is not None:
        agreed.append(Approval(max_price_micro_usdc, *_CALLERS_WORD))
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
    lowest = min(agreed, key=lambda approval: approval.max_price_micro_usdc)
    return replace(lowest, max_cost_micro_usdc=max_price_micro_usdc)


def check_settings(limits: Limits) -> None:
    """Raise while something in the owner's settings is not understood; called before anything is bought or signed.

    Raises:
        ConfigError: A setting is unknown, empty or wrong.
    """
    if limits.problem is not None:
        raise ConfigError(limits.problem.what, limits.problem.hint)


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
        ConfigError: The owner's settings are not understood.
        UnacceptableOfferError: Not a price at all.
        PriceTooHighError: Above the approved price.
        BudgetExceededError: No room in the day's or the total budget.
    """
    check_settings(limits)
    if price_micro_usdc <= 0:
        raise UnacceptableOfferError(f"The price is ${format_usdc(price_micro_usdc)}, which is not above zero.")
    if price_micro_usdc > approval.max_price_micro_usdc:
        raise PriceTooHighError(
            f"The price is ${format_usdc(price_micro_usdc)}, above the "
            f"${format_usdc(approval.max_price_micro_usdc)} that {approval.reason}.",
            approval.hint,
        )
    cost = price_micro_usdc + fee_micro_usdc
    for most, reason, hint in (
        (limits.max_price_per_video_micro_usdc, *_CAP),
        (approval.max_cost_micro_usdc, *_CALLERS_WORD),
    ):
        if fee_micro_usdc and most is not None and cost > most:
            raise PriceTooHighError(
                f"The price is ${format_usdc(price_micro_usdc)} and the network's fee up to "
                f"${format_usdc(fee_micro_usdc)}, together above the ${format_usdc(most)} that {reason}.",
                hint,
            )
    for room, name in find_room(limits, spend):
        if cost > room:
            raise BudgetExceededError(
                f"${format_usdc(cost)} is more than the ${format_usdc(room)} left of the owner's {name}.",
                "Stop and tell the owner. Only the owner can raise a limit (SEEDANCE_MAX_PER_DAY, SEEDANCE_MAX_TOTAL). "
                "Payments that are not over count as well: wallet_status lists them.",
            )


def is_still_allowed(
    limits: Limits, spend: Spend, *, rail: Rail, pay_to: str, model: str | None, cost_micro_usdc: int
) -> bool:
    """Whether a payment that was signed, and that `spend` counts, may be sent again: limits may be tighter by now.

    Args:
        limits: What the owner allows now.
        spend: What was spent, this payment included.
        rail: How it pays.
        pay_to: Whom.
        model: Of what kind the clip is; None for an upload.
        cost_micro_usdc: Its price and fee.
    """
    caps = [
        (cost_micro_usdc if model is not None else 0, limits.max_price_per_video_micro_usdc),
        (spend.last_day_micro_usdc, limits.max_per_day_micro_usdc),
        (spend.total_micro_usdc, limits.max_total_micro_usdc),
    ]
    return (
        limits.problem is None
        and rail in limits.rails
        and (not limits.recipients or pay_to.lower() in limits.recipients)
        and (model is None or not limits.models or model in limits.models)
        and all(most is None or amount <= most for amount, most in caps)
    )


def find_room(limits: Limits, spend: Spend) -> list[tuple[int, str]]:
    """What is left of each budget, never below zero, with its name."""
    room = [(max(0, limits.max_per_day_micro_usdc - spend.last_day_micro_usdc), "budget for 24 hours (max_per_day)")]
    if limits.max_total_micro_usdc is not None:
        room.append((max(0, limits.max_total_micro_usdc - spend.total_micro_usdc), "total budget (max_total)"))
    return room
