"""Delivery: bringing a finished clip home before its address dies, and keeping the pictures that it was made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from seedance_mcp import media
from seedance_mcp.errors import ImageError, StudioError, VideoUnsavedError
from seedance_mcp.hosting import Picture
from seedance_mcp.ledger import Job, Ledger
from seedance_mcp.studio import Studio

SAVE_ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Delivery:
    """Saves finished clips.

    Attributes:
        studio: Where they are.
        ledger: Is told where they went.
        folder: Where they go.
        pause_seconds: The first pause before another attempt.
        now: Unix seconds.
    """

    studio: Studio
    ledger: Ledger
    folder: Path
    pause_seconds: float
    now: Callable[[], float]

    async def deliver(self, job: Job) -> Job:
        """Download a complete job's clip and thumbnail, and write down where they are.

        Raises:
            VideoUnsavedError: Not this time; the job stays unfinished and is tried again.
        """
        file, thumbnail = await self._save(job)
        return self.ledger.finish_job(job.job_id, file=file, thumbnail=thumbnail)

    async def save_foreign(self, job: Job) -> Job:
        """Download the clip and thumbnail of a job that is not in the ledger.

        Raises:
            VideoUnsavedError: Not this time.
        """
        file, thumbnail = await self._save(job)
        return replace(job, file=file, thumbnail=thumbnail)

    def find_saved(self, job: Job) -> Job:
        """A foreign job with the files that were saved of it before."""
        file, thumbnail = media.find_video(self.folder, _name(job))
        return replace(job, file=file, thumbnail=thumbnail)

    async def _save(self, job: Job) -> tuple[str, str | None]:
        """Bring the clip and its thumbnail home; where they are.

        A studio may give a fresh address for a dead one, so every further attempt asks for the job once more.
        """
        name = _name(job)
        reason = "The studio named no video."
        for attempt in range(SAVE_ATTEMPTS_MAX):
            if attempt:
                await anyio.sleep(self.pause_seconds * 2**attempt)
                job = await self._renew(job)
            if job.video_url is None:
                continue
            try:
                async with self.studio.stream_video(job.video_url) as chunks:
                    file = await media.save_video(chunks, self.folder, name)
            except (StudioError, VideoUnsavedError) as exc:
                reason = exc.what
                continue
            thumbnail = await self._save_thumbnail(job, name)
            return str(file), None if thumbnail is None else str(thumbnail)
        raise VideoUnsavedError(
            f"The clip is finished but not saved yet. {reason}",
            f"Call get_job with {job.job_id} again soon: its address dies about 20 minutes after completion.",
            charge="settled" if job.payment_id else "none",
            amount_micro_usdc=job.price_micro_usdc,
            payment_id=job.payment_id or None,
        )

    async def keep_frames(self, *pictures: Picture) -> None:
        """Keep what a clip was made of, for people to look at: a nicety, without it the clip is as good."""
        for picture in pictures:
            if picture.image is not None:
                with contextlib.suppress(ImageError, OSError):
                    await media.keep_frame(picture.image, self.folder)

    async def _renew(self, job: Job) -> Job:
        try:
            seen = await self.studio.fetch_job(job.job_id)
        except StudioError:
            return job
        known = self.ledger.update_job(seen, now=self.now())
        return known or replace(job, video_url=seen.video_url, thumbnail_url=seen.thumbnail_url)

    async def _save_thumbnail(self, job: Job, name: str) -> Path | None:
        """A thumbnail is a nicety: without it the clip is as good."""
        if job.thumbnail_url is None:
            return None
        try:
            data = await self.studio.fetch_image(job.thumbnail_url, bytes_max=media.IMAGE_BYTES_MAX)
            return await media.save_thumbnail(data, self.folder, name)
        except (StudioError, ImageError, OSError):
            return None


def _name(job: Job) -> str:
    return media.name_video(job.payment_id, job.job_id, str(job.arguments.get("prompt", "")))
