"""Delivery: bringing a finished clip home before its address dies, and keeping the pictures that it was made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
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
        """Download a complete job's clip and thumbnail.

        A studio may give a fresh address for a dead one, so every further attempt asks for the job once more.

        Raises:
            VideoUnsavedError: Not this time; the job stays unfinished and is tried again.
        """
        name = media.name_video(job.payment_id, job.job_id, str(job.arguments.get("prompt", "")))
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
            return self.ledger.finish_job(
                job.job_id, file=str(file), thumbnail=None if thumbnail is None else str(thumbnail)
            )
        raise VideoUnsavedError(
            f"The clip is finished but not saved yet. {reason}",
            f"Call get_job with {job.job_id} again soon: its address dies about 20 minutes after completion.",
            charge="settled",
            amount_micro_usdc=job.price_micro_usdc,
            payment_id=job.payment_id,
        )

    async def keep_frames(self, *pictures: Picture) -> None:
        """Keep what a clip was made of, for people to look at: a nicety, without it the clip is as good."""
        for picture in pictures:
            if picture.image is not None:
                with contextlib.suppress(ImageError, OSError):
                    await media.keep_frame(picture.image, self.folder)

    async def _renew(self, job: Job) -> Job:
        try:
            return self.ledger.update_job(await self.studio.fetch_job(job.job_id), now=self.now()) or job
        except StudioError:
            return job

    async def _save_thumbnail(self, job: Job, name: str) -> Path | None:
        """A thumbnail is a nicety: without it the clip is as good."""
        if job.thumbnail_url is None:
            return None
        try:
            data = await self.studio.fetch_image(job.thumbnail_url, bytes_max=media.IMAGE_BYTES_MAX)
            return await media.save_thumbnail(data, self.folder, name)
        except (StudioError, ImageError, OSError):
            return None
