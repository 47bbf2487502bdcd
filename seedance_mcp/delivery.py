"""Delivery: bringing a finished clip home before its address dies, and keeping the pictures that it was made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from seedance_mcp import media
from seedance_mcp.errors import SeedanceError, StudioError, VideoUnsavedError
from seedance_mcp.flights import Start
from seedance_mcp.hosting import Picture
from seedance_mcp.ledger import Job, Ledger
from seedance_mcp.pictures.images import IMAGE_BYTES_MAX
from seedance_mcp.pictures.thumbnails import keep_frame, save_thumbnail
from seedance_mcp.studio import Studio

SAVE_ATTEMPTS_MAX = 3
THUMBNAIL_SECONDS = 2
"""How long a caller who is told of a saved clip waits for its thumbnail to come along."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Saves finished clips.

    Attributes:
        studio: Where they are.
        ledger: Is told where they went.
        folder: Where they go.
        pause_seconds: The first pause before another attempt.
        start: Starts a background task.
        now: Unix seconds.
    """

    studio: Studio
    ledger: Ledger
    folder: Path
    pause_seconds: float
    start: Start
    now: Callable[[], float]
    _thumbnails: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])
    """Those that are being made, by their job."""

    async def deliver(self, job: Job) -> Job:
        """Download a complete job's clip and write down where it is; its thumbnail follows.

        Raises:
            VideoUnsavedError: Not this time; the job stays unfinished and is tried again.
        """
        saved = await self._save(job)
        file = str(saved.file)
        done = self.ledger.finish_job(job.job_id, file=file, thumbnail=None, note=saved.note)

        def record(thumbnail: str) -> None:
            self.ledger.finish_job(job.job_id, file=file, thumbnail=thumbnail, note=saved.note)

        self._begin_thumbnail(saved, record)
        return done

    async def save_foreign(self, job: Job) -> Job:
        """Download the clip of a job that is not in the ledger; its thumbnail follows.

        Raises:
            VideoUnsavedError: Not this time.
        """
        saved = await self._save(job)
        self._begin_thumbnail(saved, lambda _: None)
        return saved

    async def wait_thumbnail(self, job: Job) -> Job:
        """The job with its thumbnail, where that is done in a moment: a saved clip does not wait for its picture."""
        making = self._thumbnails.get(job.job_id)
        if making is None or job.file is None:
            return job
        with anyio.move_on_after(THUMBNAIL_SECONDS):
            await making.wait()
        return replace(job, thumbnail=self.find_saved(job).thumbnail)

    def find_saved(self, job: Job) -> Job:
        """A foreign job with the files that were saved of it before."""
        file, thumbnail = media.find_video(self.folder, _name(job))
        return replace(job, file=file, thumbnail=thumbnail)

    async def _save(self, job: Job) -> Job:
        """Bring the clip home; the job with its file, and with the addresses that were good.

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
                    saved = await media.save_video(chunks, self.folder, name)
            except (StudioError, VideoUnsavedError) as exc:
                reason = exc.what
                continue
            return replace(job, file=str(saved.file), note=saved.note)
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
                with contextlib.suppress(SeedanceError, OSError):
                    await keep_frame(picture.image, self.folder)

    async def _renew(self, job: Job) -> Job:
        try:
            seen = await self.studio.fetch_job(job.job_id)
        except StudioError:
            return job
        known = self.ledger.update_job(seen, now=self.now())
        return known or replace(job, video_url=seen.video_url, thumbnail_url=seen.thumbnail_url)

    def _begin_thumbnail(self, job: Job, record: Callable[[str], None]) -> None:
        """Make a thumbnail in the background: a nicety, which must not hold up or lose what was paid for."""
        if job.thumbnail_url is None:
            return
        self._thumbnails[job.job_id] = made = anyio.Event()

        async def make() -> None:
            try:
                with contextlib.suppress(SeedanceError, OSError):
                    record(str(await self._save_thumbnail(job, str(job.thumbnail_url))))
            finally:
                self._thumbnails.pop(job.job_id, None)
                made.set()

        self.start(make)

    async def _save_thumbnail(self, job: Job, url: str) -> Path:
        data = await self.studio.fetch_image(url, bytes_max=IMAGE_BYTES_MAX)
        return await save_thumbnail(data, self.folder, _name(job))


def _name(job: Job) -> str:
    return media.name_video(job.payment_id, job.job_id, str(job.arguments.get("prompt", "")))
