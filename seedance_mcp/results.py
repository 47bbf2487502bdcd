"""Results: what a face shows of an upload, a quote or a job.

One set of field names for every tool and for `--json`; agents and scripts rely on them. Amounts are given twice: as a
decimal string for reading and as whole micro-USDC for arithmetic.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from seedance_mcp.errors import quote_text
from seedance_mcp.money import format_usdc

if TYPE_CHECKING:  # the rooms behind these load when first needed
    from seedance_mcp.animator import Animation
    from seedance_mcp.config import Profile
    from seedance_mcp.hosting import Hosted
    from seedance_mcp.ledger import Job
    from seedance_mcp.quoting import Quote
    from seedance_mcp.wire.exchange import Receipt


class ReceiptResult(BaseModel):
    """Proof of payment."""

    network: str
    transaction: str | None
    explorer_url: str | None


class UploadResult(BaseModel):
    """A hosted image."""

    image_url: str
    upload_id: str
    sha256: str
    media_type: str
    size_bytes: int
    price_usd: str = Field(description="Paid for it now; 0.00 if hosted before")
    price_micro_usdc: int
    notes: list[str]
    next_step: str


class OfferResult(BaseModel):
    """One way to pay."""

    rail: str
    network: str
    price_usd: str
    pay_to: str
    refused_because: str | None


class QuoteResult(BaseModel):
    """What a clip would cost."""

    exact: bool = Field(description="From the studio itself; else from a price table")
    price_usd: str | None
    price_micro_usdc: int | None
    upload_price_usd: str = Field(description="Added if the image must be uploaded")
    offers: list[OfferResult]
    allowed: bool
    refused_because: str | None
    warning: str | None
    notes: list[str]
    max_price_per_video_usd: str
    left_today_usd: str
    next_step: str


class JobResult(BaseModel):
    """A clip on its way or finished."""

    job_id: str | None
    status: Literal["pending", "loading", "complete", "failed"]
    progress: int = Field(description="0-100")
    video_url: str | None = Field(description="Dies after about 20 minutes")
    thumbnail_url: str | None
    file: str | None = Field(description="Saved MP4")
    price_usd: str | None
    price_micro_usdc: int | None
    rail: str | None
    receipt: ReceiptResult | None
    error: str | None
    notes: list[str]
    next_step: str


def show_upload(hosted: "Hosted") -> UploadResult:
    """An upload as a face shows it."""
    upload = hosted.upload
    return UploadResult(
        image_url=upload.image_url,
        upload_id=upload.upload_id,
        sha256=upload.sha256,
        media_type=upload.media_type,
        size_bytes=upload.size_bytes,
        price_usd=format_usdc(hosted.paid_micro_usdc),
        price_micro_usdc=hosted.paid_micro_usdc,
        notes=list(hosted.notes),
        next_step="Pass image_url (or the same file) as image to animate_image.",
    )


def show_quote(quote: "Quote") -> QuoteResult:
    """A quote as a face shows it."""
    price = quote.price_micro_usdc
    return QuoteResult(
        exact=quote.exact,
        price_usd=None if price is None else format_usdc(price),
        price_micro_usdc=price,
        upload_price_usd=format_usdc(quote.upload_micro_usdc),
        offers=[
            OfferResult(
                rail=judged.offer.rail,
                network=judged.offer.network,
                price_usd=format_usdc(judged.offer.amount_micro_usdc),
                pay_to=judged.offer.pay_to,
                refused_because=judged.objection,
            )
            for judged in quote.offers
        ],
        allowed=quote.refusal is None,
        refused_because=quote.refusal,
        warning=quote.warning,
        notes=list(quote.notes),
        max_price_per_video_usd=format_usdc(quote.max_price_per_video_micro_usdc),
        left_today_usd=format_usdc(quote.day_left_micro_usdc),
        next_step=(
            "Call animate_image with the same arguments to buy it."
            if quote.refusal is None
            else "Do not buy it as it is."
        ),
    )


def show_receipt(receipt: "Receipt | None", profile: "Profile") -> ReceiptResult | None:
    """A receipt with a link for people."""
    if receipt is None:
        return None
    link = profile.explorer_url + receipt.transaction if profile.explorer_url and receipt.transaction else None
    return ReceiptResult(network=receipt.network, transaction=receipt.transaction or None, explorer_url=link)


def show_animation(animation: "Animation", profile: "Profile") -> JobResult:
    """A clip that was asked for."""
    if animation.job is not None:
        return show_job(animation.job, profile, notes=animation.notes)
    return JobResult(
        job_id=None, status="pending", progress=0, video_url=None, thumbnail_url=None, file=None, price_usd=None,
        price_micro_usdc=None, rail=None, receipt=None, error=None, notes=list(animation.notes),
        next_step="Still being bought. Call animate_image again with the same arguments; it joins this purchase.",
    )  # fmt: skip


def show_job(job: "Job", profile: "Profile", *, notes: tuple[str, ...] = ()) -> JobResult:
    """A job as a face shows it."""
    if job.status == "failed":
        next_step = (
            "It failed at the studio and is not tried again by itself. To pay for another try, raise take by one."
        )
    elif job.file is not None:
        next_step = f"Done. Show the user {job.file}."
    elif job.status == "complete":
        next_step = f"Call get_job with job_id {job.job_id} to save the video; its URL dies soon."
    else:
        next_step = f"Still running. Call get_job with job_id {job.job_id}."
    paid = job.payment_id != 0
    return JobResult(
        job_id=job.job_id,
        status=job.status,
        progress=job.progress,
        video_url=job.video_url,
        thumbnail_url=job.thumbnail_url,
        file=job.file,
        price_usd=format_usdc(job.price_micro_usdc) if paid else None,
        price_micro_usdc=job.price_micro_usdc if paid else None,
        rail=job.rail if paid else None,
        receipt=show_receipt(job.receipt, profile),
        error=None if job.error is None else quote_text(job.error),
        notes=list(notes),
        next_step=next_step,
    )
