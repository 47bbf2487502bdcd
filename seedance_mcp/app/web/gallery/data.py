"""What the page shows: jobs, spending per day, and payments that are not over, as plain data."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.adapters.media.thumbnails import name_frame
from seedance_mcp.app.local_sandbox import end_orphans
from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.app.rendering import build_claim
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.kinds import is_url

CLIPS_MAX = 2000
PAYMENTS_MAX = 20_000
DAYS = 30
PROMPT_CHARACTERS_MAX = 4000

FRAMES = {"first": "image", "last": "last_image"}
"""The pictures that a video begins and ends with, and the arguments that name them by their hash."""

Locate = Callable[[Job, str, Path], str]
"""The address under which the page finds a saved file of a job: its video, its poster, its first or last frame."""

_SHA256 = re.compile("[0-9a-f]{64}")


async def build_show(settings: Settings, *, locate: Locate, live: bool, now: float | None = None) -> dict[str, object]:
    """Read everything the page shows.

    Args:
        settings: Whose ledger.
        locate: Names a file for the page.
        live: Whether the page may ask again.
        now: Unix seconds.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    now = time.time() if now is None else now
    videos: list[dict[str, object]] = []
    open_payments: list[dict[str, object]] = []
    spend, days = Spend(), _sum_days([], now)
    await end_orphans(settings)
    async with open_existing_ledger(settings) as ledger:
        if ledger is not None:
            spend = await ledger.spend(now)
            payments = await ledger.recent_payments(PAYMENTS_MAX)
            days = _sum_days(payments, now)
            open_payments = [_show_open(payment) for payment in await _find_open(payments, ledger, now)]
            jobs = await ledger.recent_jobs(CLIPS_MAX)
            places = await anyio.to_thread.run_sync(lambda: [_locate_media(job, settings, locate) for job in jobs])
            videos = [await _show_video(job, settings, ledger, found) for job, found in zip(jobs, places, strict=True)]
    return {
        "profile": settings.profile.name,
        "live": live,
        "made_at": now,
        "money": {
            "spent_last_day_micro_usdc": spend.last_day_micro_usdc,
            "spent_total_micro_usdc": spend.total_micro_usdc,
            "max_per_day_micro_usdc": settings.limits.max_per_day_micro_usdc,
            "max_total_micro_usdc": settings.limits.max_total_micro_usdc,
            "days": days,
        },
        "open": open_payments,
        "clips": videos,
    }


def find_media(job: Job, settings: Settings, kind: str) -> Path | None:
    """Return a saved file of a job, if it exists in the videos folder."""
    if kind in FRAMES:
        sha256 = job.arguments.get(FRAMES[kind])
        known = isinstance(sha256, str) and _SHA256.fullmatch(sha256)
        named = name_frame(str(sha256), settings.videos_dir) if known else None
    else:
        named = job.file if kind == "clip" else job.thumbnail if kind == "poster" else None
    if named is None:
        return None
    file = Path(named)
    inside = file.resolve().is_relative_to(settings.videos_dir.resolve())
    return file if inside and file.is_file() else None


def _locate_media(job: Job, settings: Settings, locate: Locate) -> dict[str, str | None]:
    found = {kind: find_media(job, settings, kind) for kind in ("clip", "poster", *FRAMES)}
    return {kind: None if file is None else locate(job, kind, file) for kind, file in found.items()}


async def _show_video(
    job: Job, settings: Settings, ledger: Ledger, places: Mapping[str, str | None]
) -> dict[str, object]:
    arguments = job.arguments
    explorer = settings.profile.explorer_of(job.rail, job.studio)
    transaction = job.receipt.transaction if job.receipt is not None else ""
    duration, resolution = arguments.get("duration"), arguments.get("resolution")
    size = " · ".join(([f"{duration} s"] if duration else []) + ([str(resolution)] if resolution else []))
    return {
        "job_id": job.job_id,
        "status": job.status,
        "progress": job.progress,
        "prompt": str(arguments.get("prompt") or "")[:PROMPT_CHARACTERS_MAX],
        "model": str(arguments.get("model") or ""),
        "size": size,
        "price_micro_usdc": job.price_micro_usdc if job.charged else 0,
        "created_at": job.created_at,
        "error": job.error if job.error is None or job.expired_at is not None else quote_text(job.error),
        "claim": None if job.expired_at is None else build_claim(job, settings.profile),
        "video_url": None if places["clip"] or job.status == "failed" else job.video_url,
        "url_seen_at": job.url_seen_at or job.ended_at,
        "video": places["clip"],
        "poster": places["poster"],
        "missing": job.file is not None and places["clip"] is None,
        "receipt": transaction or None,
        "receipt_url": explorer + transaction if explorer and transaction else None,
        "frames": [
            {
                "name": kind,
                "picture": places[kind],
                "url": None
                if places[kind] or not settings.profile.speaks_to(job.studio)
                else await _find_hosted(job, argument, ledger),
            }
            for kind, argument in FRAMES.items()
            if job.arguments.get(argument)
        ],
    }


async def _find_hosted(job: Job, argument: str, ledger: Ledger) -> str | None:
    """Where the studio hosts a picture of which nothing small was kept, if we uploaded it."""
    sha256 = job.arguments.get(argument)
    if not isinstance(sha256, str):
        return None
    upload = await ledger.find_upload(sha256, studio=job.studio, wallet=job.wallet)
    return None if upload is None or not is_url(upload.image_url) else upload.image_url


async def _find_open(payments: list[Payment], ledger: Ledger, now: float) -> list[Payment]:
    """Return payments that may still settle or have no job yet, newest first."""
    open_payments = {payment.id: payment for payment in await ledger.held_payments(now)}
    for wallet in {payment.wallet for payment in payments}:
        open_payments |= {payment.id: payment for payment in await ledger.settled_without_result(wallet)}
    return [open_payments[number] for number in sorted(open_payments, reverse=True)]


def _show_open(payment: Payment) -> dict[str, object]:
    return {
        "payment_id": payment.id,
        "amount_micro_usdc": payment.cost_micro_usdc,
        "purpose": payment.purpose,
        "prompt": str(payment.arguments.get("prompt") or "")[:PROMPT_CHARACTERS_MAX],
        "state": payment.state,
        "hold_until": payment.hold_until,
    }


def _sum_days(payments: list[Payment], now: float) -> list[dict[str, object]]:
    """Sum what settled on each of the last days, fees included, by this machine's calendar, oldest first."""
    today = datetime.fromtimestamp(now).astimezone().date()
    sums = {today - timedelta(days=back): 0 for back in range(DAYS - 1, -1, -1)}
    for payment in payments:
        day = datetime.fromtimestamp(payment.created_at).astimezone().date()
        if payment.state == "settled" and day in sums:
            sums[day] += payment.cost_micro_usdc
    return [{"name": f"{day:%b} {day.day}", "micro_usdc": amount} for day, amount in sums.items()]
