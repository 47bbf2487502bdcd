"""Wallet rendering: the wallet's status as the interfaces show it."""

from typing import TYPE_CHECKING

from seedance_mcp.core.money import format_usdc
from seedance_mcp.core.next_steps import NextStep, OwnerDo, OwnerOnly, join_steps

if TYPE_CHECKING:  # these load with the first call
    from seedance_mcp.core.error_base import SeedanceError
    from seedance_mcp.core.limits import Cap, Limits
    from seedance_mcp.core.records import Payment
    from seedance_mcp.payments.wallet_status import WalletStatus
from seedance_mcp.app.rendering import format_amount
from seedance_mcp.app.results import BalanceResult, UnfinishedResult, WalletResult
from seedance_mcp.core.texts import write_time


def show_wallet(status: "WalletStatus", *, problem: NextStep | None = None) -> WalletResult:
    """Return the wallet's status as the interfaces show it.

    Args:
        status: What was found.
        problem: Why there is no wallet, and what to do; None where there is one.
    """
    limits, pins = status.limits, status.profile.pins
    return WalletResult(
        profile=status.profile.name,
        address=None if problem else status.address or None,
        balances=[]
        if problem
        else [
            BalanceResult(
                rail=balance.rail,
                network=balance.network,
                token=balance.token,
                token_name=pins.find_token_name(balance.network, balance.token),
                balance_usd=format_amount(balance.amount_micro_usdc),
                balance_micro_usdc=balance.amount_micro_usdc,
            )
            for balance in status.balances
        ],
        max_price_per_video_usd=format_usdc(limits.max_price_per_video_micro_usdc),
        max_per_day_usd=format_usdc(limits.max_per_day_micro_usdc),
        max_per_week_usd=format_amount(limits.max_per_week_micro_usdc),
        max_per_month_usd=format_amount(limits.max_per_month_micro_usdc),
        max_total_usd=format_amount(limits.max_total_micro_usdc),
        ask_above_usd=format_amount(limits.ask_above_micro_usdc),
        unlimited=list(limits.unlimited),
        spent_24h_usd=format_usdc(status.spend.last_day_micro_usdc),
        spent_7d_usd=format_usdc(status.spend.last_week_micro_usdc),
        spent_30d_usd=format_usdc(status.spend.last_month_micro_usdc),
        spent_total_usd=format_usdc(status.spend.total_micro_usdc),
        left_today_usd=format_usdc(status.day_left_micro_usdc),
        unfinished_payments=[_show_unfinished(payment) for payment in status.unfinished],
        caps=[
            *(describe_cap(cap) for cap in status.caps),
            *(
                f"reserved for {one.reason}: ${format_usdc(one.left_micro_usdc)} of "
                f"${format_usdc(one.amount_micro_usdc)} until {write_time(one.until)}"
                for one in status.reservations
            ),
        ],
        more_unfinished=status.more_unfinished,
        held_usd=format_usdc(status.held_micro_usdc),
        frozen_since=None if status.freeze is None else status.freeze.since,
        next_step=_find_wallet_step(status, problem),
    )


def _show_unfinished(payment: "Payment") -> UnfinishedResult:
    return UnfinishedResult(
        payment_id=payment.id,
        purpose=payment.purpose,
        state=payment.state,
        amount_usd=format_usdc(payment.amount_micro_usdc),
        fee_usd=format_usdc(payment.fee_micro_usdc),
        held_until=write_time(payment.hold_until),
    )


def describe_cap(cap: "Cap") -> str:
    """Return a cap of the ledger as a person reads it, with what is left."""
    from seedance_mcp.core.limits import OpenCap  # loaded by now

    if isinstance(cap, OpenCap):
        return f"{cap.name}: {cap.open} of {cap.max_open}"
    return f"{cap.name}: ${format_usdc(cap.max_micro_usdc)}, ${format_usdc(cap.left_micro_usdc)} left"


def _find_wallet_step(status: "WalletStatus", problem: NextStep | None) -> NextStep:
    problem = _describe_problem(status.limits) or problem
    if status.freeze is None:
        return problem or _say_how_to_fund(status)
    ending = NextStep("{0}: {1}", OwnerOnly("end it"), status.profile.name_command("unfreeze"))
    return join_steps(status.freeze.describe(), ending, problem or "")


def _describe_problem(limits: "Limits") -> NextStep | None:
    """Return what is wrong in the owner's settings and what to do, or None."""
    if limits.problem is None:
        return None
    return explain_no_purchase(limits.problem)


def explain_no_purchase(problem: "SeedanceError") -> NextStep:
    """Return why nothing can be bought, what to do about it, and what works until then."""
    until = "Until then prices can be asked for, and nothing can be bought."
    return join_steps(problem.what, problem.next_step, until)


def _say_how_to_fund(status: "WalletStatus") -> NextStep:
    if status.is_own:
        return NextStep("These are your own payments and caps. {0}.", OwnerOnly("fund the wallet"))
    if status.profile.name == "sandbox":
        return NextStep("This is play money of the sandbox; there is nothing to fund.")
    pins = status.profile.pins
    tokens = " or ".join(
        f"{pins.find_token_name(one.network, one.token) or 'USDC'} ({one.network}, token {one.token})"
        for one in status.balances
    )
    return NextStep("To fund it, {0}. It needs no other coin.", OwnerDo(f"send {tokens} to {status.address}"))
