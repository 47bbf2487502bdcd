"""Results: what a tool or a command returns, and how it becomes JSON.

An `Annotated` field has its description for a model. These are dictionaries, because a server that starts should not
wait for the building of classes that it may not need.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict, cast

from seedance_mcp.core.next_steps import NextStep


class ReceiptResult(TypedDict):
    """Proof of payment."""

    network: str
    transaction: str | None
    explorer_url: str | None
    fee_usd: str
    verified: Annotated[bool | None, "By the chain"]


class UploadResult(TypedDict):
    """A hosted image, or a link where a person can give one."""

    image: str | None
    upload_url: str | None
    expires_at: str | None
    curl: str | None
    image_url: str | None
    upload_id: str | None
    sha256: str | None
    media_type: str | None
    size_bytes: int
    price_usd: str
    price_micro_usdc: int
    notes: list[str]
    next_step: NextStep


class OfferResult(TypedDict):
    """One way to pay."""

    rail: str
    network: str
    token_name: str | None
    price_usd: str
    fee_usd: Annotated[str, "Network's, at most"]
    balance_usd: Annotated[str | None, "In the wallet"]
    pay_to: str
    refused_because: str | None


class QuoteResult(TypedDict):
    """What a video would cost."""

    exact: Annotated[bool, "Else from a table"]
    price_usd: str | None
    price_micro_usdc: int | None
    upload_price_usd: str
    cost_usd: Annotated[str | None, "Most, with upload and fees"]
    offers: list[OfferResult]
    allowed: bool
    needs_approval: bool
    refused_because: NextStep | None
    warning: str | None
    notes: list[str]
    max_price_per_video_usd: str
    left_today_usd: str
    job_id: str | None
    next_step: NextStep


class JobResult(TypedDict):
    """A video on its way or finished."""

    job_id: str | None
    status: Literal["pending", "loading", "complete", "failed"]
    progress: int
    video_url: str | None
    video_url_expires_at: str | None
    video_url_age_seconds: int | None
    thumbnail_url: str | None
    file: str | None
    price_usd: str | None
    price_micro_usdc: int | None
    rail: str | None
    receipt: ReceiptResult | None
    error: str | None
    notes: list[str]
    next_step: NextStep


class ShotResult(TypedDict):
    """One shot of a film."""

    job_id: str | None
    price_usd: str | None
    error: str | None


class FilmResult(TypedDict):
    """A film on its way or finished."""

    job_id: str
    status: Literal["pending", "loading", "complete", "failed"]
    progress: int
    file: str | None
    video_url: str | None
    video_url_expires_at: str | None
    price_usd: str | None
    price_micro_usdc: int
    shots: list[ShotResult]
    error: str | None
    notes: list[str]
    next_step: NextStep


class JobLine(TypedDict):
    """One job of a list."""

    job_id: str
    status: Literal["pending", "loading", "complete", "failed"]
    progress: int
    file: str | None
    price_usd: str | None
    prompt: str
    created_at: str


class JobsResult(TypedDict):
    """Recent jobs."""

    jobs: list[JobLine]
    notes: list[str]
    next_step: NextStep


class BalanceResult(TypedDict):
    """What the wallet holds on one rail."""

    rail: str
    network: str
    token: str
    token_name: str | None
    balance_usd: str | None
    balance_micro_usdc: int | None


class UnfinishedResult(TypedDict):
    """A payment that may still settle."""

    payment_id: int
    purpose: str
    state: str
    amount_usd: str
    fee_usd: str
    held_until: str


class WalletResult(TypedDict):
    """How the account stands."""

    profile: str
    address: str | None
    balances: list[BalanceResult]
    max_price_per_video_usd: str
    max_per_day_usd: str
    max_per_week_usd: str | None
    max_per_month_usd: str | None
    max_total_usd: str | None
    ask_above_usd: str | None
    unlimited: list[str]
    spent_24h_usd: str
    spent_7d_usd: str
    spent_30d_usd: str
    spent_total_usd: str
    left_today_usd: str
    unfinished_payments: list[UnfinishedResult]
    caps: list[str]
    frozen_since: str | None
    more_unfinished: int
    held_usd: str
    next_step: NextStep


def to_json(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as JSON data. Its next steps are in the words of the tools."""
    return {name: _to_json(value) for name, value in result.items()}


def _to_json(value: object) -> object:
    if isinstance(value, NextStep):
        return str(value)
    if isinstance(value, list):
        return [_to_json(one) for one in cast("list[object]", value)]
    return to_json(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
