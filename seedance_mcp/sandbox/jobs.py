"""The studio's jobs: started by a paid request, rendered in a worker thread, finished by the clock.

A job's status is a function of its age: pending, then loading with growing progress, then complete or failed.
The rendering starts with the job, so the video is normally ready in time; otherwise the job stays in loading until it
is. This module keeps jobs, their videos and their result URLs. It takes no money.

Source: job fields of the studio's published OpenAPI document; statuses and URL lifetime as observed.
"""

import math
import random
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from seedance_mcp.sandbox.api.contract import GenerateRequest
from seedance_mcp.sandbox.api.job_shapes import write_result, write_word
from seedance_mcp.sandbox.api.sign_in import format_time
from seedance_mcp.sandbox.faults import FaultSwitches
from seedance_mcp.sandbox.scenes import draw_scene
from seedance_mcp.sandbox.video import ENCODINGS, RenderedVideo, RenderError, RenderPlan, render_cached

SLOW_FACTOR = 10
PENDING_SHARE = 0.15
WORKERS = 2
JOBS_MAX = 10_000
VIDEOS_MAX = 200
PAGE_MAX = 100
SMALL_SCALE = Fraction(1, 8)
"""The share of the requested size that small videos have."""
MODERATION_TEXT = "Generation failed: the prompt or image was rejected by content moderation"
FAILURE_TEXTS = {"failed": MODERATION_TEXT, "crashed": "Generation failed: server error, safe to retry"}
"""Error text of a failed job, by its outcome."""

_CHANCE = random.Random()  # noqa: S311 - durations are no secret
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True, kw_only=True)
class ResultLink:
    """One issued pair of result URLs; `expires_ms` is its key and its time of expiry."""

    expires_ms: int
    dead: bool


@dataclass(slots=True, kw_only=True)
class Job:
    """One unit of work; `outcome` is its predetermined final state, and a `stuck` job never ends."""

    id: str
    kind: str
    path: str
    owner: str
    request: GenerateRequest
    created_at: float
    seconds: float
    outcome: str
    rendering: Future[RenderedVideo] | None = field(repr=False, default=None)
    links: list[ResultLink] = field(default_factory=list[ResultLink])
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job's state, computed from its age."""

    status: str
    progress: int
    error: str | None
    updated_at: float


class JobStore:
    """All jobs of one studio."""

    def __init__(
        self,
        faults: FaultSwitches,
        *,
        job_seconds: float,
        result_seconds: float,
        small_videos: bool = False,
        keeps_sound: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._faults = faults
        self._job_seconds = job_seconds
        self._result_seconds = result_seconds
        self._scale = SMALL_SCALE if small_videos else Fraction(1)
        self._has_sound = keeps_sound or not small_videos
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._stopped = threading.Event()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="sandbox-video")

    def start(self, request: GenerateRequest, pictures: list[bytes], *, owner: str, kind: str, path: str) -> Job:
        """Create a job and start to render its video."""
        slow, varied = self._faults.take("slow_job"), self._faults.take("varied_jobs")
        outcome = "complete"
        for name, ending in (("stuck_job", "stuck"), ("failed_job", "failed"), ("crashed_job", "crashed")):
            if self._faults.take(name):
                outcome = ending
        job = Job(
            id=build_job_id(self._clock(), numeric=self._faults.take("numeric_job_id") is not None),
            kind=kind,
            path=path,
            owner=owner,
            request=request,
            created_at=self._clock(),
            seconds=draw_seconds(self._job_seconds, sigma=float(varied.argument or 0) if varied else 0)
            * (SLOW_FACTOR if slow else 1),
            outcome=outcome,
        )
        if outcome == "complete":
            plan = RenderPlan(
                duration_seconds=request.duration_seconds,
                short_side=request.short_side,
                aspect_ratio=request.aspect_ratio,
                size=request.size,
                audio=request.audio and self._has_sound,
                encoding=len(self._jobs) % len(ENCODINGS) if self._faults.take("varied_videos") else 0,
                scale=self._scale,
            )
            job.rendering = self._workers.submit(_render, request, pictures, plan, self._stopped.is_set)
        self._jobs[job.id] = job
        self._forget_old_videos()
        if len(self._jobs) > JOBS_MAX:
            del self._jobs[next(iter(self._jobs))]
        return job

    def _forget_old_videos(self) -> None:
        """Keep only the latest videos in memory; the URLs of the others answer 404."""
        for job in list(self._jobs.values())[-VIDEOS_MAX - WORKERS : -VIDEOS_MAX]:
            if job.rendering is not None and job.rendering.done() and job.rendering.exception() is None:
                job.rendering = None

    def stop(self) -> None:
        """Cancel the running renderings and wait for them to end."""
        self._stopped.set()
        self._workers.shutdown(cancel_futures=True)

    def find(self, job_id: str) -> Job | None:
        """Return a job, or None if there is none or it was deleted."""
        job = self._jobs.get(job_id)
        return None if job is None or job.deleted else job

    def jobs(self) -> list[Job]:
        """Return all jobs, including deleted ones, oldest first."""
        return list(self._jobs.values())

    def page(
        self, owner: str, *, limit: int, status: str | None = None, cursor: str | None = None
    ) -> tuple[list[Job], str | None]:
        """Return a page of a wallet's jobs, newest first, and the cursor of the next page, if any."""
        mine = [
            job
            for job in reversed(self._jobs.values())
            if job.owner.lower() == owner.lower()
            and not job.deleted
            and (status is None or self.read_state(job).status == status)
        ]
        if self._faults.take("list_order") is not None:
            mine.sort(key=lambda job: -self.read_state(job).updated_at)
        if cursor is not None:
            mine = mine[next((index + 1 for index, job in enumerate(mine) if job.id == cursor), len(mine)) :]
        page = mine[: min(limit, PAGE_MAX)]
        return page, page[-1].id if len(mine) > len(page) else None

    def read_state(self, job: Job) -> JobState:
        """Return a job's current state."""
        age_seconds = self._clock() - job.created_at
        share = age_seconds / job.seconds
        if share < PENDING_SHARE:
            return JobState(status="pending", progress=0, error=None, updated_at=job.created_at)
        ended_at = job.created_at + job.seconds
        if share >= 1 and job.outcome in FAILURE_TEXTS:
            return JobState(status="failed", progress=100, error=FAILURE_TEXTS[job.outcome], updated_at=ended_at)
        is_rendered = job.rendering is None or job.rendering.done()
        if share >= 1 and job.outcome == "complete" and is_rendered:
            is_lost = job.rendering is None or job.rendering.cancelled()
            error = None if is_lost or job.rendering is None else job.rendering.exception()
            if isinstance(error, RenderError):
                text = f"Generation failed: {error}"
                return JobState(status="failed", progress=100, error=text, updated_at=ended_at)
            if error is not None:
                raise error
            return JobState(status="complete", progress=100, error=None, updated_at=ended_at)
        progress = min(99, int(100 * (share - PENDING_SHARE) / (1 - PENDING_SHARE)))
        return JobState(status="loading", progress=progress, error=None, updated_at=self._clock())

    def build_document(self, job: Job, origin: str) -> dict[str, Any]:
        """Build the job's JSON document."""
        state = self.read_state(job)
        document: dict[str, Any] = {
            "id": format_job_id(job.id),
            "jobId": format_job_id(job.id),
            "type": job.kind,
            "input": None if self._faults.take("hidden_input") else dict(job.request.body),
            "status": state.status,
            "progress": state.progress,
            "result": self._build_result(job, origin) if state.status == "complete" else None,
            "error": state.error,
            "createdAt": format_time(job.created_at),
            "updatedAt": format_time(state.updated_at),
        }
        shape, word = self._faults.take("result_shape"), self._faults.take("status_word")
        if shape is not None:
            document = write_result(document, str(shape.argument))
        return document if word is None else write_word(document, str(word.argument))

    def find_video(self, job_id: str, expires: str) -> tuple[RenderedVideo | None, int]:
        """Return the video of a result URL, or the HTTP status of the refusal.

        Returns:
            The video and 200, or None and 403 (expired, or never issued) or 404 (dead, or no such job).
        """
        job = self.find(job_id)
        if job is None or job.rendering is None:
            return None, 404
        if self._faults.take("expired_result") is not None:
            return None, 403
        link = next((link for link in job.links if str(link.expires_ms) == expires), None)
        if link is None or link.expires_ms <= self._clock() * 1000:
            return None, 403
        return (None, 404) if link.dead else (job.rendering.result(timeout=0), 200)

    def _build_result(self, job: Job, origin: str) -> dict[str, str]:
        """Return valid result URLs: the latest ones until they expire, then new ones."""
        now_ms = int(self._clock() * 1000)
        if self._faults.take("short_result_url") is not None:
            job.links.clear()
        link = job.links[-1] if job.links else None
        if link is None or link.dead or link.expires_ms <= now_ms:
            expires_ms = now_ms + int(self._result_seconds * 1000)
            first = link is None
            link = ResultLink(
                expires_ms=max(expires_ms, 1 + (link.expires_ms if link else 0)),
                dead=first and self._faults.take("dead_result_url") is not None,
            )
            job.links.append(link)
        base = f"{origin}/videos/{job.id}"
        return {
            "videoUrl": f"{base}/output.mp4?expires={link.expires_ms}",
            "thumbnailUrl": f"{base}/thumbnail.jpg?expires={link.expires_ms}",
        }


def draw_seconds(median: float, *, sigma: float, chance: random.Random = _CHANCE) -> float:
    """Return how long a job takes: log-normal around a median, with this standard deviation of the logarithm."""
    return median * math.exp(chance.gauss(0, sigma))


def _render(
    request: GenerateRequest, pictures: list[bytes], plan: RenderPlan, cancelled: Callable[[], bool]
) -> RenderedVideo:
    """Render a video from its frames, or from a scene of its references or its prompt."""
    if request.is_scene and request.body:
        pictures = [draw_scene(pictures, str(request.body["prompt"]))]
    return render_cached(pictures, plan, cancelled=cancelled)


def format_job_id(job_id: str) -> str | int:
    """Return an id in its JSON form: an id of digits is a number."""
    return int(job_id) if job_id.isdigit() else job_id


def build_job_id(unix_seconds: float, *, numeric: bool = False) -> str:
    """Build an id in the format of a cuid: "cm", the time, and random characters; 25 characters of base 36.

    In real ids the "m" is a part of the time; here it is constant.
    """
    number = int(unix_seconds * 1000)
    if numeric:
        return str(number)
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _ALPHABET[digit] + digits
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return f"cm{digits[-7:]}{tail}"
