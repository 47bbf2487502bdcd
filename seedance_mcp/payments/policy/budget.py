"""Prices: the most that may be signed for one purchase, and whether it fits every budget of the owner's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seedance_mcp.core.errors import BudgetExceededError, ConfigError, PriceTooHighError, UnacceptableOfferError
from seedance_mcp.core.limits import CHEAPER, Approval, Bound, Cap, Cost, Limits, OpenCap, Spend
from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import Argument, Call, NextStep, OwnerOnly, Repeat, Report, Setting
from seedance_mcp.core.wire.offers import Rail

UPLOAD_APPROVAL = Approval(10_000, "one image upload may cost", NextStep("Do not retry; {0}.", Report()))
"""An upload costs $0.01. Source: contract section 4."""


def agree_price(
    limits: Limits,
    *,
    max_price_micro_usdc: int | None,
    quoted_micro_usdc: int | None,
    agreed_micro_usdc: int = 0,
    uploads_micro_usdc: int = 0,
) -> Approval:
    """Return the most that may be signed for one generation.

    The cap, the caller's own limit and, above `ask_above`, the cost that a person agreed to in this very call bound
    the whole call: the price, the uploads that it buys and the network's fees. The quote bounds the price.

    Args:
        limits: What the owner allows.
        max_price_micro_usdc: The caller's own limit, or None.
        quoted_micro_usdc: The price that was quoted a moment ago, or None.
        agreed_micro_usdc: The cost that a person agreed to; 0 where no one was asked.
        uploads_micro_usdc: What the image uploads of this call cost, their fees included.
    """
    bounds = _list_bounds(limits, max_price_micro_usdc, agreed_micro_usdc)
    quoted = [] if quoted_micro_usdc is None else [_bind_quote(quoted_micro_usdc)]
    lowest = min([*bounds, *quoted], key=lambda bound: bound.max_micro_usdc)
    return Approval(
        lowest.max_micro_usdc,
        lowest.reason,
        lowest.next_step,
        cost_bounds=tuple(bounds),
        uploads_micro_usdc=uploads_micro_usdc,
    )


def _list_bounds(limits: Limits, max_price_micro_usdc: int | None, agreed_micro_usdc: int) -> list[Bound]:
    """Return what the owner, the caller and a person each allow for the whole call."""
    cap = limits.max_price_per_video_micro_usdc
    bounds = [Bound(cap, "is allowed for one video (SEEDANCE_MAX_PRICE_PER_VIDEO)", CHEAPER)]
    if max_price_micro_usdc is not None:
        higher = NextStep(
            "If it is worth more, {0} with a higher {1}.", Repeat(changed=True), Argument("max_price_usd")
        )
        bounds.append(Bound(max_price_micro_usdc, "this request allows", higher))
    if limits.ask_above_micro_usdc is not None:
        bounds.append(
            Bound(
                max(limits.ask_above_micro_usdc, agreed_micro_usdc),
                "a person was asked about, or that needs no question (SEEDANCE_ASK_ABOVE)",
                NextStep("{0}: the new price is then asked about.", Repeat(changed=True)),
            )
        )
    return bounds


def check_settings(limits: Limits) -> None:
    """Raise while something in the owner's settings is not understood; called before anything is bought or signed.

    Raises:
        ConfigError: A setting is unknown, empty or wrong.
    """
    if limits.problem is not None:
        raise ConfigError(limits.problem.what, limits.problem.next_step)


def _bind_quote(quoted_micro_usdc: int) -> Bound:
    next_step = NextStep("The price has risen since. If the new one is all right, {0}.", Repeat(changed=True))
    return Bound(quoted_micro_usdc, "was quoted for it a moment ago", next_step)


def check_price(
    price_micro_usdc: int, limits: Limits, *, spend: Spend, approval: Approval, fee_micro_usdc: int = 0
) -> None:
    """Raise unless this price fits the approval and every budget; called inside the ledger's write transaction.

    Args:
        price_micro_usdc: What the studio asks: what is quoted and agreed.
        limits: What the owner allows. The network's fee counts here: no more leaves the wallet than the owner said.
        spend: What was spent, image uploads included.
        approval: The most that was agreed for the price, and for the whole call.
        fee_micro_usdc: The most that the network may keep in addition.

    Raises:
        ConfigError: The owner's settings are not understood.
        UnacceptableOfferError: Not a price at all.
        PriceTooHighError: Above the approved price, or the whole call above what is allowed for it.
        BudgetExceededError: No room in the budget of a day, a week or a month, or in the total one.
    """
    check_settings(limits)
    if price_micro_usdc <= 0:
        raise UnacceptableOfferError(f"The price is ${format_usdc(price_micro_usdc)}, which is not above zero.")
    if price_micro_usdc > approval.max_price_micro_usdc:
        raise PriceTooHighError(
            f"The price is ${format_usdc(price_micro_usdc)}, above the "
            f"${format_usdc(approval.max_price_micro_usdc)} that {approval.reason}.",
            approval.next_step,
        )
    cost = price_micro_usdc + fee_micro_usdc
    whole = cost + approval.uploads_micro_usdc
    lowest = min(approval.cost_bounds, key=lambda bound: bound.max_micro_usdc, default=None)
    if lowest is not None and whole > lowest.max_micro_usdc:
        raise PriceTooHighError(
            f"The price is {_describe_parts(price_micro_usdc, approval.uploads_micro_usdc, fee_micro_usdc)}, together "
            f"${format_usdc(whole)}, above the ${format_usdc(lowest.max_micro_usdc)} that {lowest.reason}.",
            lowest.next_step,
        )
    for remaining, name, setting in find_remaining_budget(limits, spend):
        if cost > remaining:
            raise BudgetExceededError(
                _describe_excess(cost, remaining, name, is_private=spend.is_private),
                NextStep(
                    "{0} ({1}). Unfinished payments count as well: {2} to see them.",
                    OwnerOnly("raise it", stop=True),
                    Setting(setting),
                    Call("wallet_status"),
                ),
            )


def check_caps(cost_micro_usdc: int, caps: Sequence[Cap]) -> None:
    """Raise unless a cost fits every cap that the ledger keeps; called inside its write transaction.

    Args:
        cost_micro_usdc: Price and network fee.
        caps: A caller's, or the wallet's, with what counts against each.

    Raises:
        BudgetExceededError: No room in one of them.
    """
    for cap in caps:
        if isinstance(cap, OpenCap):
            _check_open(cap)
            continue
        remaining = cap.left_micro_usdc
        if cost_micro_usdc > remaining:
            raise BudgetExceededError(
                _describe_excess(cost_micro_usdc, remaining, cap.name, is_private=cap.is_private),
                NextStep(
                    "{0}. Unfinished payments count as well: {1} to see them.",
                    OwnerOnly("raise a limit", stop=True),
                    Call("wallet_status"),
                ),
            )


def _check_open(cap: OpenCap) -> None:
    if cap.open >= cap.max_open:
        counted = (
            "As many purchases as allowed are open"
            if cap.is_private
            else f"{cap.open} of {cap.max_open} purchases are open"
        )
        raise BudgetExceededError(
            f"{counted}, so that no other can begin ({cap.name}).",
            NextStep("Wait until a job has ended, then {0}. {1} shows them.", Repeat(), Call("list_jobs")),
        )


def _describe_excess(cost: int, remaining: int, name: str, *, is_private: bool = False) -> str:
    """Name what is left, unless it would tell what others have spent."""
    left = "is left" if is_private else f"the ${format_usdc(remaining)} left"
    return f"${format_usdc(cost)} is more than {left} of the {name}."


def check_upload_price(price_micro_usdc: int) -> None:
    """Raise unless an image upload costs what an upload may cost.

    Raises:
        UnacceptableOfferError, PriceTooHighError: It does not.
    """
    wide = Limits(max_per_day_micro_usdc=UPLOAD_APPROVAL.max_price_micro_usdc)
    check_price(price_micro_usdc, wide, spend=Spend(), approval=UPLOAD_APPROVAL)


def needs_approval(limits: Limits, cost: Cost) -> bool:
    """Return True where a person must agree to what a call costs."""
    return limits.ask_above_micro_usdc is not None and cost.total_micro_usdc > limits.ask_above_micro_usdc


def unasked_error(limits: Limits, cost: Cost) -> PriceTooHighError:
    """Build the refusal of a cost above `ask_above` where no person can be asked."""
    cost_usd, threshold_usd = format_usdc(cost.total_micro_usdc), format_usdc(limits.ask_above_micro_usdc or 0)
    return PriceTooHighError(
        f"A cost of ${cost_usd}, above ${threshold_usd}, needs a person's approval, and no person can be asked here.",
        NextStep(
            "{0}: {1}, or a host that shows questions (elicitation).", OwnerOnly("change that"), Setting("ASK_ABOVE")
        ),
    )


def _describe_parts(price: int, uploads: int, fee: int) -> str:
    """Name what a call pays for, in micro-USDC each."""
    parts = [f"${format_usdc(price)}"]
    parts += [f"the image uploads ${format_usdc(uploads)}"] if uploads else []
    parts += [f"the network's fee up to ${format_usdc(fee)}"] if fee else []
    return " and ".join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}"


def is_still_allowed(
    limits: Limits,
    spend: Spend,
    *,
    rail: Rail,
    pay_to: str,
    model: str | None,
    cost_micro_usdc: int,
    caps: Sequence[Cap] = (),
) -> bool:
    """Whether a payment that was signed, and that `spend` counts, may be sent again: limits may be tighter by now.

    Args:
        limits: What the owner allows now.
        spend: What was spent, this payment included.
        rail: How it pays.
        pay_to: Whom.
        model: Of what kind the video is; None for an upload.
        cost_micro_usdc: Its price and fee.
        caps: Those that the ledger keeps for its caller; this payment counts against them.
    """
    bounds = [
        (cost_micro_usdc if model is not None else 0, limits.max_price_per_video_micro_usdc),
        (spend.last_day_micro_usdc, limits.max_per_day_micro_usdc),
        (spend.last_week_micro_usdc, limits.max_per_week_micro_usdc),
        (spend.last_month_micro_usdc, limits.max_per_month_micro_usdc),
        (spend.total_micro_usdc, limits.max_total_micro_usdc),
    ]
    return (
        limits.problem is None
        and rail in limits.rails
        and (not limits.recipients or pay_to.lower() in limits.recipients)
        and (model is None or not limits.models or model in limits.models)
        and all(most is None or amount <= most for amount, most in bounds)
        and all(_is_kept(cap) for cap in caps)
    )


def _is_kept(cap: Cap) -> bool:
    return cap.open <= cap.max_open if isinstance(cap, OpenCap) else cap.spent_micro_usdc <= cap.max_micro_usdc


def find_day_left(limits: Limits, spend: Spend, caps: Sequence[Cap]) -> int:
    """Return what may still be spent now, in micro-USDC, as far as a caller may know it.

    Args:
        limits: The owner's.
        spend: The sums that the caller may see.
        caps: Those that the ledger keeps; private ones are left out.
    """
    left = [remaining.micro_usdc for remaining in find_remaining_budget(limits, spend)]
    return min([*left, *(cap.left_micro_usdc for cap in caps if not isinstance(cap, OpenCap) and not cap.is_private)])


class RemainingBudget(NamedTuple):
    """What is left of a budget.

    Attributes:
        micro_usdc: What may still be spent, never below zero.
        name: The budget's name, with its setting.
        setting: The name of the setting, without its prefix.
    """

    micro_usdc: int
    name: str
    setting: str


def find_remaining_budget(limits: Limits, spend: Spend) -> list[RemainingBudget]:
    """Return what is left of each budget that the owner has set."""
    budgets = (
        ("budget for 24 hours", "MAX_PER_DAY", limits.max_per_day_micro_usdc, spend.last_day_micro_usdc),
        ("budget for 7 days", "MAX_PER_WEEK", limits.max_per_week_micro_usdc, spend.last_week_micro_usdc),
        ("budget for 30 days", "MAX_PER_MONTH", limits.max_per_month_micro_usdc, spend.last_month_micro_usdc),
        ("total budget", "MAX_TOTAL", limits.max_total_micro_usdc, spend.total_micro_usdc),
    )
    return [
        RemainingBudget(max(0, most - spent), f"{name} (SEEDANCE_{setting})", setting)
        for name, setting, most, spent in budgets
        if most is not None
    ]
