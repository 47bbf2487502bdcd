"""Downloads: save finished videos before their URLs expire, and keep the pictures that they were made of.

Every further attempt asks the studio for the job once more, because it may name a fresh URL, and continues the partial
file of the one before. A paid result that cannot be had any more ends the job as expired; one that the studio has again
revives it. Must not buy anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

import anyio

from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX, Image
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.concurrency import Start
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import (
    LedgerError,
    StorageError,
    StudioError,
    StudioRejectedError,
    StudioUnreachableError,
    VideoUnsavedError,
)
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.records import Job
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.core.wire.ranges import Resume, VideoStream
from seedance_mcp.jobs.archive import VideoArchive
from seedance_mcp.jobs.store import JobStore
from seedance_mcp.jobs.undelivered import Failure, describe_expiry, gone_error, is_expired, unsaved_error

SAVE_ATTEMPTS_MAX = 3
RESUMES_MAX = 20
"""How many more attempts there may be, of those that continue after one that brought something."""
NO_URL = "The studio's result names no video."
THUMBNAIL_SECONDS = 2
"""How long a caller who is told of a saved video waits for its thumbnail to come along."""


@dataclass(slots=True)
class _Making:
    """A thumbnail that is being made, and the job with it once that is done."""

    job: Job
    made: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True, slots=True)
class VideoDownloader:
    """Saves finished videos.

    Attributes:
        studio: Where they are.
        ledger: Is told where they went.
        store: Keeps what the studio reports of a job.
        archive: Where they go.
        pause_seconds: The first pause before another attempt.
        start: Starts a background task.
        now: Unix seconds.
    """

    studio: Studio
    ledger: Ledger
    store: JobStore
    archive: VideoArchive
    pause_seconds: float
    start: Start
    now: Callable[[], float]
    _thumbnails: dict[str, _Making] = field(default_factory=dict[str, _Making])
    """Those that are being made, by their job."""

    async def download(self, job: Job) -> Job:
        """Download a complete job's video and write down where it is; its thumbnail follows.

        Returns:
            The job: saved, or failed because its result has expired.

        Raises:
            VideoGoneError: The job is untracked, and the studio does not have its video any more.
            VideoUnsavedError: Not this time; the job stays unfinished and is tried again.
        """
        outcome = await self._save(job)
        if isinstance(outcome, Job):
            return await self._finish(outcome)
        if not is_expired(outcome, self.now()):
            raise unsaved_error(outcome, self.now())
        if outcome.job.payment_id is None:
            raise gone_error(outcome)
        return await self.ledger.expire_job(job.job_id, error=describe_expiry(outcome), now=self.now())

    async def fetch_again(self, job: Job) -> Job:
        """Ask the studio once more for a result that expired, or for a saved video whose file is missing.

        Returns:
            The job: saved, complete again because the studio named a new URL, or expired as before.

        Raises:
            VideoGoneError: The file is missing, and the studio does not have the video any more.
            VideoUnsavedError: The file is missing, and cannot be had now.
        """
        outcome = await self._save(job, attempts=1, renew_first=True)
        if isinstance(outcome, Job):
            return await self._finish(outcome)
        if job.expired_at is not None:
            return await self._revive(job, outcome)
        raise gone_error(outcome) if outcome.is_dead and outcome.was_renewed else unsaved_error(outcome, self.now())

    async def wait_thumbnail(self, job: Job) -> Job:
        """Return the job with its thumbnail if that is ready in a moment; a saved video does not wait for it."""
        making = self._thumbnails.get(job.job_id)
        if making is None or not job.saved:
            return job
        with anyio.move_on_after(THUMBNAIL_SECONDS):
            await making.made.wait()
        return replace(job, thumbnail=making.job.thumbnail, thumbnail_key=making.job.thumbnail_key)

    async def keep_frames(self, *images: Image | None) -> None:
        """Keep what a video was made of, for people to look at: a nicety, without it the video is as good."""
        for image in images:
            if image is not None:
                with contextlib.suppress(SeedanceError, OSError):
                    await self.archive.keep_frame(image)

    async def _save(self, job: Job, *, attempts: int = SAVE_ATTEMPTS_MAX, renew_first: bool = False) -> Job | Failure:
        """Download a video; every attempt but the first asks the studio for the job before it.

        An attempt that continues further on than the one before does not count.

        Returns:
            The job with its file and with the URLs that were good, or why there is none.
        """
        failure, counted = Failure(job=job, reason=NO_URL), 0
        for attempt in range(attempts + RESUMES_MAX):
            if attempt:
                await anyio.sleep(self.pause_seconds * 2**counted)
            if attempt or renew_first:
                failure = await self._renew(failure)
            outcome = await self._download(failure)
            if isinstance(outcome, Job):
                return outcome
            counted += outcome.resumed_at <= failure.resumed_at
            failure = outcome
            if counted == attempts:
                break
        return failure

    async def _download(self, before: Failure) -> Job | Failure:
        """Try once; a failure keeps what was known before."""
        job, resumed_at = before.job, before.resumed_at
        if job.video_url is None:
            return before

        @contextlib.asynccontextmanager
        async def open_stream(resume: Resume | None) -> AsyncGenerator[VideoStream]:
            nonlocal resumed_at
            async with self.studio.stream_video(str(job.video_url), resume) as stream:
                resumed_at = stream.start
                yield stream

        try:
            return await self.archive.save(job, open_stream)
        except StudioError as exc:
            is_dead = not isinstance(exc, StudioUnreachableError)
            return replace(
                before, reason=exc.what, next_step=None, is_dead=is_dead, is_local=False, resumed_at=resumed_at
            )
        except VideoUnsavedError as exc:
            is_local = isinstance(exc.__cause__, OSError | StorageError | LedgerError)
            next_step = exc.next_step if is_local else None
            return replace(before, reason=exc.what, next_step=next_step, is_dead=not is_local, is_local=is_local)

    async def _renew(self, before: Failure) -> Failure:
        """Ask for the job once more; a studio that does not know it any more has answered, too."""
        job = before.job
        try:
            seen = await self.studio.fetch_job(job.job_id)
        except StudioRejectedError as exc:
            return replace(before, was_renewed=exc.status in (403, 404))
        except StudioError:
            return before
        fresh = await self.store.update(job, seen)
        reason = before.reason
        if fresh.video_url is None and seen.result_text is not None:
            reason = f"The studio's result names no one video: {seen.result_text}."
        return replace(before, job=fresh, reason=reason, was_renewed=True)

    async def _finish(self, saved: Job) -> Job:
        """Write down where a video is; its thumbnail follows."""
        if saved.payment_id is None:
            paid = await self._find_payment_of(saved)
            if paid is None or paid.finished:
                self.store.keep_saved(saved)
                self._begin_thumbnail(saved)
                return paid or saved
            saved = replace(saved, payment_id=paid.payment_id)
        done = await self._record(replace(saved, thumbnail=None, thumbnail_key=None))
        self._begin_thumbnail(saved)
        return done

    async def _find_payment_of(self, saved: Job) -> Job | None:
        """Return an untracked job as the ledger has it by now, complete; None if it still lacks it.

        Else a job whose payment was found while its video was being saved would be saved once more.
        """
        seen = JobStatus(
            job_id=saved.job_id,
            type=None,
            status=saved.status,
            progress=saved.progress,
            error=saved.error,
            video_url=saved.video_url,
            thumbnail_url=saved.thumbnail_url,
            input=None,
            created_at=None,
        )
        return await self.ledger.update_job(seen, now=self.now())

    async def _record(self, saved: Job) -> Job:
        """Write down where the video of a job and its thumbnail are."""
        return await self.ledger.finish_job(
            saved.job_id,
            file=saved.file,
            thumbnail=saved.thumbnail,
            video_key=saved.video_key,
            thumbnail_key=saved.thumbnail_key,
            note=saved.note,
        )

    async def _revive(self, expired: Job, failure: Failure) -> Job:
        """Bring an expired job back to work where the studio named a new URL that may still be good."""
        latest = await self.ledger.find_job(expired.job_id) or expired
        is_new = latest.video_url is not None and latest.video_url != expired.video_url
        return await self.ledger.revive_job(expired.job_id) if is_new and not failure.is_dead else latest

    def _begin_thumbnail(self, job: Job) -> None:
        """Make a thumbnail in the background: a nicety, which must not hold up or lose what was paid for."""
        if job.thumbnail_url is None:
            return
        self._thumbnails[job.job_id] = making = _Making(job)

        async def make() -> None:
            try:
                with contextlib.suppress(SeedanceError, OSError):
                    data = await self.studio.fetch_image(str(job.thumbnail_url), bytes_max=IMAGE_BYTES_MAX)
                    making.job = await self.archive.save_thumbnail(job, data)
                    await self._record_thumbnail(making.job)
            finally:
                self._thumbnails.pop(job.job_id, None)
                making.made.set()

        self.start(make)

    async def _record_thumbnail(self, job: Job) -> None:
        if job.payment_id is None:
            self.store.keep_saved(job)
        else:
            await self._record(job)
