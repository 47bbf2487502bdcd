"""Policy: whether the limits allow an offer. Arithmetic over offers, limits and what was spent.

Owns the decision whether an offer may be signed. Never signs, never asks, never remembers: everything it judges by is
handed to it. The payment SDKs judge none of this; a tampered price, recipient, token or lifetime is signed by them
without complaint, so everything is checked here and only here, before a signature exists.
"""

from seedance_mcp.core.freezes import FREEZE_REASON_CHARACTERS_MAX, Freeze, check_not_frozen
from seedance_mcp.core.limits import (
    DAY_SECONDS,
    NO_BALANCES,
    Approval,
    Bound,
    Cost,
    Limits,
    PinnedTerms,
    Recipient,
    Spend,
    WalletBalances,
)
from seedance_mcp.payments.policy.budget import (
    UPLOAD_APPROVAL,
    RemainingBudget,
    agree_price,
    check_caps,
    check_price,
    check_settings,
    check_upload_price,
    find_day_left,
    find_remaining_budget,
    is_still_allowed,
    needs_approval,
    unasked_error,
)
from seedance_mcp.payments.policy.lifetimes import (
    AUTHORIZATION_SECONDS_MAX,
    AUTHORIZATION_SECONDS_MIN,
    CHARGE_SECONDS_MAX,
    CHARGE_SECONDS_MIN,
    CLOCK_SKEW_SECONDS_MAX,
    OFFERED_SECONDS_MAX,
    authorization_window,
    charge_valid_before,
    check_clock,
    credential_hold_until,
    hold_until,
)
from seedance_mcp.payments.policy.recipients import SHOWN_MAX, check_recipient, recipient_changed_error
from seedance_mcp.payments.policy.selection import (
    assume_price,
    choose_offer,
    insufficient_error,
    list_ways,
    pay_in_turn,
    plan_payments,
)
from seedance_mcp.payments.policy.terms import NETWORK_FEE_MICRO_USDC_MAX, check_resource, find_rejection_reason

__all__ = [
    "AUTHORIZATION_SECONDS_MAX",
    "AUTHORIZATION_SECONDS_MIN",
    "CHARGE_SECONDS_MAX",
    "CHARGE_SECONDS_MIN",
    "CLOCK_SKEW_SECONDS_MAX",
    "DAY_SECONDS",
    "FREEZE_REASON_CHARACTERS_MAX",
    "NETWORK_FEE_MICRO_USDC_MAX",
    "NO_BALANCES",
    "OFFERED_SECONDS_MAX",
    "SHOWN_MAX",
    "UPLOAD_APPROVAL",
    "Approval",
    "Bound",
    "Cost",
    "Freeze",
    "Limits",
    "PinnedTerms",
    "Recipient",
    "RemainingBudget",
    "Spend",
    "WalletBalances",
    "agree_price",
    "assume_price",
    "authorization_window",
    "charge_valid_before",
    "check_caps",
    "check_clock",
    "check_not_frozen",
    "check_price",
    "check_recipient",
    "check_resource",
    "check_settings",
    "check_upload_price",
    "choose_offer",
    "credential_hold_until",
    "find_day_left",
    "find_rejection_reason",
    "find_remaining_budget",
    "hold_until",
    "insufficient_error",
    "is_still_allowed",
    "list_ways",
    "needs_approval",
    "pay_in_turn",
    "plan_payments",
    "recipient_changed_error",
    "unasked_error",
]  # fmt: skip
