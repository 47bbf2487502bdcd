"""Films: each is one entry of the page, with the shots that it is joined of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from seedance_mcp.adapters.media.videos import name_download
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.films import Film
from seedance_mcp.core.texts import quote_text

STATUS = {"running": "loading", "complete": "complete", "stopped": "failed", "cancelled": "failed"}
"""The status of a job that a film's state is shown as."""
AGAIN = "Order the film again with the same shots: what was bought is used, and only the rest is bought."

Videos = Mapping[str, dict[str, object]]
"""What the page shows of each job, by its id."""


def find_film_file(film: Film, settings: Settings) -> Path | None:
    """Return the joined film, if it exists in the videos folder."""
    if film.file is None:
        return None
    file = Path(film.file)
    return file if file.is_file() and file.resolve().is_relative_to(settings.videos_dir.resolve()) else None


def show_film(film: Film, videos: Videos, *, place: str | None, live: bool) -> dict[str, object]:
    """Return a film as an entry like that of a video.

    Args:
        film: What is known of it.
        videos: Those of its shots.
        place: The address of the joined film, or None.
        live: True if the page is served to the owner.
    """
    asked = cast("list[dict[str, Any]]", film.definition.get("shots", []))
    options = cast("dict[str, Any]", film.definition.get("options", {}))
    prompts = [str(one.get("prompt") or "") for one in asked]
    shots = [
        _show_shot(videos.get(shot.job_id or ""), prompt, shot.error)
        for shot, prompt in zip(film.shots, prompts, strict=False)
    ]
    done = sum(shot["status"] == "complete" for shot in shots)
    problem = film.problem if film.state == "stopped" else "It was cancelled." if film.state == "cancelled" else None
    return {
        "job_id": film.film_id,
        "status": STATUS[film.state],
        "progress": round(100 * done / max(len(shots), 1)),
        "prompt": " · ".join(prompts),
        "model": str(options.get("model") or ""),
        "size": f"{len(shots)} shots",
        "options": {},
        "price_micro_usdc": film.price_micro_usdc,
        "created_at": film.created_at,
        "error": None if problem is None else quote_text(problem),
        "claim": None,
        "next_step": AGAIN if film.state == "stopped" and live else None,
        "video_url": None,
        "url_seen_at": None,
        "video": place,
        "poster": next((shot["poster"] for shot in shots if shot["poster"]), None),
        "missing": film.state == "complete" and place is None,
        "file": film.file if live and place else None,
        "download": name_download(film.film_id, " ".join(prompts), Path(film.file or "film.mp4").suffix.lstrip(".")),
        "receipt": None,
        "receipt_url": None,
        "frames": [],
        "shots": shots,
    }


def _show_shot(video: Mapping[str, object] | None, prompt: str, error: str | None) -> dict[str, object]:
    frames = cast("list[dict[str, object]]", [] if video is None else video["frames"])
    first = next((frame["picture"] for frame in frames if frame["name"] == "first"), None)
    return {
        "job_id": None if video is None else video["job_id"],
        "status": ("failed" if error else "waiting") if video is None else video["status"],
        "prompt": prompt,
        "poster": first if video is None else video["poster"] or first,
    }
