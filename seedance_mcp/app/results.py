"""Results: the models of what a tool or a command returns."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from seedance_mcp.core.next_steps import NextStep, make_step

Step = Annotated[
    InstanceOf[NextStep],
    BeforeValidator(make_step),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""What to do next: in JSON in the words of the tools, for people in those of the command line."""


class ReceiptResult(BaseModel):
    """Proof of payment."""

    network: str
    transaction: str | None
    explorer_url: str | None
    fee_usd: str
    verified: bool | None = Field(description="By the chain")


class UploadResult(BaseModel):
    """A hosted image."""

    image_url: str
    upload_id: str
    sha256: str
    media_type: str
    size_bytes: int
    price_usd: str = Field(description="Paid now")
    price_micro_usdc: int
    notes: list[str]
    next_step: Step


class OfferResult(BaseModel):
    """One way to pay."""

    rail: str
    network: str
    token_name: str | None
    price_usd: str
    fee_usd: str = Field(description="Network's, at most")
    balance_usd: str | None = Field(description="In the wallet")
    pay_to: str
    refused_because: str | None


class QuoteResult(BaseModel):
    """What a video would cost."""

    exact: bool = Field(description="Else from a table")
    price_usd: str | None
    price_micro_usdc: int | None
    upload_price_usd: str = Field(description="Comes on top")
    cost_usd: str | None = Field(description="Most, with upload and fees")
    offers: list[OfferResult]
    allowed: bool
    needs_approval: bool
    refused_because: Step | None
    warning: str | None
    notes: list[str]
    max_price_per_video_usd: str
    left_today_usd: str
    job_id: str | None
    next_step: Step


class JobResult(BaseModel):
    """A video on its way or finished."""

    job_id: str | None
    status: Literal["pending", "loading", "complete", "failed"]
    progress: int
    video_url: str | None = Field(description="Expires in 20 minutes")
    video_url_age_seconds: int | None = None
    thumbnail_url: str | None
    file: str | None = Field(description="Saved video")
    price_usd: str | None
    price_micro_usdc: int | None
    rail: str | None
    receipt: ReceiptResult | None
    error: str | None
    notes: list[str]
    next_step: Step


class JobLine(BaseModel):
    """One job of a list."""

    job_id: str
    status: Literal["pending", "loading", "complete", "failed"]
    progress: int
    file: str | None
    price_usd: str | None
    prompt: str
    created_at: str


class JobsResult(BaseModel):
    """Recent jobs."""

    jobs: list[JobLine]
    notes: list[str]
    next_step: Step


class BalanceResult(BaseModel):
    """What the wallet holds on one rail."""

    rail: str
    network: str
    token: str
    token_name: str | None
    balance_usd: str | None
    balance_micro_usdc: int | None


class UnfinishedResult(BaseModel):
    """A payment that may still settle."""

    payment_id: int
    purpose: str
    state: str
    amount_usd: str
    fee_usd: str
    held_until: str


class WalletResult(BaseModel):
    """How the account stands."""

    profile: str
    address: str | None
    balances: list[BalanceResult]
    max_price_per_video_usd: str
    max_per_day_usd: str
    max_total_usd: str | None
    ask_above_usd: str | None
    unlimited: list[str] = Field(description="Unset limits")
    spent_24h_usd: str = Field(description="With holds")
    spent_total_usd: str
    left_today_usd: str
    unfinished_payments: list[UnfinishedResult]
    frozen_since: str | None
    more_unfinished: int
    held_usd: str = Field(description="All unfinished, fees too")
    next_step: Step
