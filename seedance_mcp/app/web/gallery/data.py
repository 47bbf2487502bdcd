"""What the page shows: jobs, spending, and payments that are not over, as plain data."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from seedance_mcp.adapters.media.videos import name_download
from seedance_mcp.app.local_sandbox import end_orphans
from seedance_mcp.app.opening import open_existing_ledger
from seedance_mcp.app.rendering import build_claim, show_job
from seedance_mcp.app.web.gallery.films import find_film_file, show_film
from seedance_mcp.app.web.gallery.media import FRAMES, find_all_media
from seedance_mcp.app.web.gallery.money import PROMPT_CHARACTERS_MAX, list_open, show_money
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.limits import Spend
from seedance_mcp.core.next_steps import TOOL_WORDS, Words
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.core.wire.kinds import is_url
from seedance_mcp.generation.request import VIDEO_ARGUMENTS

CLIPS_MAX = 2000
FILMS_MAX = 200
PAYMENTS_MAX = 20_000

Places = Mapping[str, "str | None"]
"""The addresses of a job's files by their kind; None for one that does not exist."""
Known = dict[str, tuple[Job, Places, dict[str, object]]]
"""What earlier readings made of each job: it is used again while the job and its files are the same."""

Locate = Callable[[str, str, Path], str]
"""The address under which the page finds a saved file of a job or film, by id and kind: its video, poster or frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks at the page, and how it finds files.

    Attributes:
        locate: Names a file for the page.
        live: True if the page is served to the owner; False if it is a file, for anyone.
        words: The words of next steps.
    """

    locate: Locate
    live: bool
    words: Words = TOOL_WORDS


@dataclass(slots=True)
class _Reading:
    """One reading of the ledger.

    Attributes:
        known: What earlier readings made of the jobs.
        hosted: Where the studio has a picture that was uploaded, by hash, studio and wallet.
    """

    settings: Settings
    ledger: Ledger
    viewer: Viewer
    known: Known
    hosted: dict[tuple[str, str, str], str | None] = field(default_factory=dict[tuple[str, str, str], "str | None"])


async def build_show(
    settings: Settings, viewer: Viewer, *, known: Known | None = None, now: float | None = None
) -> dict[str, object]:
    """Read everything the page shows.

    Args:
        settings: Whose ledger.
        viewer: For whom.
        known: What earlier readings for the same viewer made; this one adds to it.
        now: Unix seconds.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    now = time.time() if now is None else now
    videos: list[dict[str, object]] = []
    open_payments: list[dict[str, object]] = []
    spend, payments = Spend(), list[Payment]()
    await end_orphans(settings)
    async with open_existing_ledger(settings) as ledger:
        if ledger is not None:
            spend = await ledger.spend(now)
            payments = await ledger.recent_payments(PAYMENTS_MAX)
            open_payments = await list_open(payments, ledger, now)
            videos = await _list_videos(_Reading(settings, ledger, viewer, {} if known is None else known))
    shown: dict[str, object] = {
        "profile": settings.profile.name,
        "live": viewer.live,
        "command": settings.profile.name_command("animate"),
        "money": show_money(settings.limits, spend, payments, now),
        "open": open_payments,
        "clips": videos,
        "has_older": sum("shots" not in video for video in videos) > CLIPS_MAX,
    }
    version = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]
    return {**shown, "version": version, "made_at": now}


async def _list_videos(reading: _Reading) -> list[dict[str, object]]:
    jobs = await reading.ledger.recent_jobs(CLIPS_MAX + 1)
    places = await anyio.to_thread.run_sync(_locate_all, jobs, reading.settings, reading.viewer.locate)
    videos = [await _find_video(job, reading, found) for job, found in zip(jobs, places, strict=True)]
    return await _add_films(videos, reading)


async def _add_films(videos: list[dict[str, object]], reading: _Reading) -> list[dict[str, object]]:
    """Return videos and films; a video that is a shot names its film."""
    films = await reading.ledger.recent_films(FILMS_MAX)
    by_job = {str(video["job_id"]): video for video in videos}
    owners = {shot.job_id: film.film_id for film in films for shot in film.shots if shot.job_id}
    shown: list[dict[str, object]] = []
    for film in films:
        file = await anyio.to_thread.run_sync(find_film_file, film, reading.settings)
        place = None if file is None else reading.viewer.locate(film.film_id, "film", file)
        shown.append(show_film(film, by_job, place=place, live=reading.viewer.live))
    return shown + [
        {**video, "film": owner} if (owner := owners.get(job_id)) else video for job_id, video in by_job.items()
    ]


def _locate_all(jobs: list[Job], settings: Settings, locate: Locate) -> list[dict[str, str | None]]:
    root = settings.videos_dir.resolve()
    return [
        {
            kind: None if file is None else locate(job.job_id, kind, file)
            for kind, file in find_all_media(job, settings, root).items()
        }
        for job in jobs
    ]


async def _find_video(job: Job, reading: _Reading, places: Places) -> dict[str, object]:
    before = reading.known.get(job.job_id)
    if before is not None and before[:2] == (job, places):
        return before[2]
    shown = await _show_video(job, reading, places)
    reading.known[job.job_id] = (job, places, shown)
    return shown


async def _show_video(job: Job, reading: _Reading, places: Places) -> dict[str, object]:
    arguments, settings, live = job.arguments, reading.settings, reading.viewer.live
    shown = show_job(job, settings.profile)
    receipt = shown["receipt"]
    duration, resolution = arguments.get("duration"), arguments.get("resolution")
    size = " · ".join(([f"{duration} s"] if duration else []) + ([str(resolution)] if resolution else []))
    prompt = str(arguments.get("prompt") or "")
    return {
        "job_id": job.job_id,
        "status": job.status,
        "progress": job.progress,
        "prompt": prompt[:PROMPT_CHARACTERS_MAX],
        "model": str(arguments.get("model") or ""),
        "size": size,
        "options": _list_options(arguments),
        "price_micro_usdc": job.price_micro_usdc if job.charged else 0,
        "created_at": job.created_at,
        "error": shown["error"],
        "claim": None if job.expired_at is None else build_claim(job, settings.profile),
        "next_step": shown["next_step"].render(reading.viewer.words) if job.status == "failed" and live else None,
        "video_url": None if places["clip"] or job.status == "failed" else job.video_url,
        "url_seen_at": job.url_seen_at or job.ended_at,
        "video": places["clip"],
        "poster": places["poster"],
        "missing": job.file is not None and places["clip"] is None,
        "file": job.file if live and places["clip"] else None,
        "download": name_download(job.job_id, prompt, Path(job.file or "video.mp4").suffix.removeprefix(".")),
        "receipt": receipt["transaction"] if receipt else None,
        "receipt_url": receipt["explorer_url"] if receipt else None,
        "frames": [
            {
                "name": kind,
                "picture": places[kind],
                "url": await _find_hosted(job, argument, reading) if live or not places[kind] else None,
            }
            for kind, argument in FRAMES.items()
            if arguments.get(argument)
        ],
    }


def _list_options(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments that are numbers, choices or switches and differ from their defaults."""
    left_out = {"prompt", *FRAMES.values()}
    return {
        one.name: value
        for one in VIDEO_ARGUMENTS
        if one.name not in left_out
        and isinstance(value := arguments.get(one.name), str | int | float | bool)
        and value != one.default
    }


async def _find_hosted(job: Job, argument: str, reading: _Reading) -> str | None:
    """Return where the studio has a picture that we uploaded; None if it is not ours or the studio is gone."""
    sha256 = job.arguments.get(argument)
    if not isinstance(sha256, str) or not reading.settings.profile.speaks_to(job.studio):
        return None
    key = (sha256, job.studio, job.wallet)
    if key not in reading.hosted:
        upload = await reading.ledger.find_upload(sha256, studio=job.studio, wallet=job.wallet)
        reading.hosted[key] = None if upload is None or not is_url(upload.image_url) else upload.image_url
    return reading.hosted[key]
