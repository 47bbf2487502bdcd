"""Untracked jobs: find what this wallet bought at the studio and its ledger lacks, such as after a lost data folder.

Before a process buys for the first time, it reads the studio's list of jobs against the ledger. A request whose job is
among the untracked ones gets that job, and nothing is paid. Where it only may be among them, the request is refused,
and the error names the jobs. It must not guess: a picture is the same only by its bytes or its URL.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import anyio

from seedance_mcp.adapters.media.comparing import look_alike
from seedance_mcp.adapters.media.images import IMAGE_BYTES_MAX
from seedance_mcp.adapters.studio.client import Studio
from seedance_mcp.core.errors import (
    ImageError,
    PossiblyBoughtError,
    StudioError,
    StudioProtocolError,
    StudioRejectedError,
    StudioUnreachableError,
)
from seedance_mcp.core.idempotency import generation_keys
from seedance_mcp.core.ledger import Ledger
from seedance_mcp.core.next_steps import Argument, Call, NextStep, RaiseTake, Repeat
from seedance_mcp.core.records import Job, Payment, UntrackedJob
from seedance_mcp.core.wire.generation import same_body
from seedance_mcp.core.wire.inputs import JobInput, estimate_cost, is_alike, read_job_input, read_route
from seedance_mcp.core.wire.jobs import JobPage, JobStatus
from seedance_mcp.core.wire.json import encode_json
from seedance_mcp.core.wire.responses import PaidRequest
from seedance_mcp.generation.preparation import PreparedRequest
from seedance_mcp.generation.source_images import Picture
from seedance_mcp.payments.untracked import hidden_purchase_error

log = logging.getLogger("seedance_mcp")

READING_SECONDS = 900
"""How long another process's reading of the list is relied on: a ledger restored from a backup has old readings."""
LIST_PAGES_MAX = 10
ALL_PAGES_MAX = 1_000
"""How many pages of the list are read where all of it counts."""
ATTEMPTS_MAX = 3
"""How often one page of the list is asked for."""
PAUSE_SECONDS_MAX = 5
WITHOUT_INPUT_SECONDS = 24 * 3600
"""How long a job whose document does not repeat its request is held against requests for the same model."""
VERDICTS_MAX = 200
"""How many comparisons of pictures one process makes; each may read a hosted picture."""
CANDIDATES_MAX = 5
"""How many jobs an error names."""

Verdict = Literal["same", "other", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrackedJobs:
    """Finds the untracked job of a request.

    Attributes:
        wallet: The paying address.
        now: Unix seconds.
        caller: Whose purchases they are; see `generation_keys`.
        names_jobs: False for a caller who may not see the jobs of others: its errors name none.
    """

    studio: Studio
    ledger: Ledger
    wallet: str
    now: Callable[[], float]
    caller: str = ""
    names_jobs: bool = True
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _read: set[str] = field(default_factory=set[str])
    _verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict[tuple[str, str], Verdict])

    async def find_job(self, prepared: PreparedRequest, key: str) -> Job | None:
        """Return the untracked job that a request bought, written to the ledger under the request's key.

        Args:
            prepared: A request that the ledger has no purchase of.
            key: Its idempotency key.

        Raises:
            PossiblyBoughtError: It may be one of several jobs; nothing is paid.
            StudioUnreachableError: The ledger was never read against the studio's list, and cannot be now.
        """
        await self._read_list()
        same: list[UntrackedJob] = []
        unknown: list[UntrackedJob] = []
        for job in await self.ledger.list_untracked(wallet=self.wallet, studio=self.studio.origin):
            verdict = await self._compare(prepared, job)
            if verdict != "other":
                (same if verdict == "same" else unknown).append(job)
        if not same and not unknown:
            return None
        place = await self.count_unbought_takes(prepared)
        if place < len(same):
            return await self._adopt(prepared, same[place], key)
        if place < len(same) + len(unknown):
            take = prepared.request.take + len(same) + len(unknown) - place
            raise _possibly_bought_error(unknown, take) if self.names_jobs else hidden_purchase_error(take)
        return None

    async def _adopt(self, prepared: PreparedRequest, job: UntrackedJob, key: str) -> Job | None:
        request = PaidRequest(
            purpose="generation",
            idempotency_key=key,
            url=self.studio.origin + prepared.request.route.path,
            body=encode_json(job.input or {}),
            arguments=prepared.request.arguments(),
        )
        return await self.ledger.adopt_job(job, request, wallet=self.wallet, studio=self.studio.origin, now=self.now())

    async def count_unbought_takes(self, prepared: PreparedRequest) -> int:
        """Return how many lower takes of a request the ledger has no purchase of: each may own an untracked job."""
        arguments = prepared.request.arguments()
        missing = 0
        for take in range(1, prepared.request.take):
            keys = generation_keys(
                {**arguments, "take": take}, wallet=self.wallet, studio=self.studio.origin, caller=self.caller
            )
            missing += await self.ledger.find_latest_payment(keys.all) is None
        return missing

    # ── reading the list ─────────────────────────────────────────────────────────────────────────────────────────

    async def _read_list(self) -> None:
        async with self._lock:  # one reading, however many requests come first
            if self._read:
                return
            last = await self.ledger.find_reading(wallet=self.wallet, studio=self.studio.origin)
            if last is None or abs(self.now() - last) > READING_SECONDS:
                try:
                    jobs = await self._list_unknown(everything=last is None)
                except StudioError as exc:
                    if last is None:
                        raise _unread_error(exc) from exc
                    log.warning("The studio's list cannot be read against the ledger now: %s", exc.what)
                    return
                await self.ledger.record_reading(jobs, wallet=self.wallet, studio=self.studio.origin, now=self.now())
            self._read.add(self.studio.origin)

    async def read_all(self, *, since: float) -> None:
        """Read the studio's list against the ledger, back to a moment, for a ledger that is closed.

        Args:
            since: Unix seconds.

        Raises:
            StudioError: The list cannot be read, or not completely.
        """
        jobs = await self._list_unknown(everything=True, since=since)
        await self.ledger.record_reading(jobs, wallet=self.wallet, studio=self.studio.origin, now=self.now())

    async def _list_unknown(self, *, everything: bool, since: float | None = None) -> list[UntrackedJob]:
        """Read the list for jobs without a row in the ledger; not further than the first page without any.

        Args:
            everything: Read all of it: the ledger is new.
            since: Read back to this moment, or fail; None for at most `LIST_PAGES_MAX` pages.
        """
        found: list[UntrackedJob] = []
        cursor: str | None = None
        for _ in range(LIST_PAGES_MAX if since is None else ALL_PAGES_MAX):
            try:
                page = await self._read_page(cursor)
            except StudioRejectedError as exc:
                if exc.status in (404, 405, 501) and cursor is None:
                    return []  # a studio without a list has nothing to read
                raise
            pending = await self._list_pending()
            unknown = [job for job in page.jobs if await self._is_unknown(job, pending)]
            found += [self._describe(job) for job in unknown]
            cursor = page.next_cursor
            if cursor is None or not page.jobs or not (unknown or everything) or _ends_before(page, since):
                return found
        if since is not None:
            raise StudioProtocolError(f"The studio's list has more than {ALL_PAGES_MAX} pages.")
        return found

    async def _read_page(self, cursor: str | None) -> JobPage:
        """Read one page of the list; ask again where the studio is overloaded or out of order."""
        for attempt in range(ATTEMPTS_MAX - 1):
            try:
                return await self.studio.list_jobs(cursor=cursor)
            except StudioUnreachableError as exc:
                if not exc.answered:
                    raise
                await anyio.sleep(min(exc.retry_after_seconds or 0.5 * 2**attempt, PAUSE_SECONDS_MAX))
        return await self.studio.list_jobs(cursor=cursor)

    async def _list_pending(self) -> list[Payment]:
        """Return the payments of the ledger whose job may still be found in the list: see `reconciler`."""
        return await self.ledger.awaited_payments(self.wallet, self.now())

    async def _is_unknown(self, job: JobStatus, pending: list[Payment]) -> bool:
        if await self.ledger.has_job(job.job_id):
            return False
        return not any(job.input is None or same_body(payment.body, job.input) for payment in pending)

    def _describe(self, job: JobStatus) -> UntrackedJob:
        found = read_job_input(job.type, job.input)
        return UntrackedJob(
            job_id=job.job_id,
            type=job.type,
            status=job.status,
            input=job.input,
            created_at=job.created_at or self.now(),
            amount_micro_usdc=estimate_cost(found),
        )

    # ── comparing ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _compare(self, prepared: PreparedRequest, job: UntrackedJob) -> Verdict:
        """Return whether a job was made from a request."""
        found = read_job_input(job.type, job.input)
        if found is None:
            is_recent = job.created_at > self.now() - WITHOUT_INPUT_SECONDS
            is_possible = not job.input and read_route(job.type) == prepared.request.route and is_recent
            return "unknown" if is_possible else "other"
        if not is_alike(found, prepared.request):
            return "other"
        return await self._compare_pictures(prepared.pictures, found)

    async def _compare_pictures(self, pictures: tuple[Picture, ...], found: JobInput) -> Verdict:
        verdicts: list[Verdict] = []
        for picture, url in zip(pictures, found.image_urls, strict=True):
            verdicts.append(await self._compare_picture(picture, url))
        if "other" in verdicts:
            return "other"
        return "unknown" if "unknown" in verdicts else "same"

    async def _compare_picture(self, picture: Picture, url: str) -> Verdict:
        """Return whether a hosted picture is this one: by its URL, by the ledger's word, or by its bytes."""
        if url == picture.url:
            return "same"
        upload = await self.ledger.find_upload_by_url(url, studio=self.studio.origin)
        if upload is not None:
            return "same" if upload.sha256 == picture.sha256 else "other"
        known = self._verdicts.get((url, picture.sha256))
        if known is None and len(self._verdicts) < VERDICTS_MAX:
            known = self._verdicts[url, picture.sha256] = await self._compare_bytes(picture, url)
        return known or "unknown"

    async def _compare_bytes(self, picture: Picture, url: str) -> Verdict:
        """Return "other" only for a picture that looks otherwise: another version of us may have written it anew."""
        try:
            data = await self.studio.fetch_image(url, bytes_max=IMAGE_BYTES_MAX)
            if hashlib.sha256(data).hexdigest() == picture.sha256:
                return "same"
            if picture.image is None:
                return "unknown"
            if data == picture.image.data:
                return "same"
            if picture.kind != "image":
                return "other"  # a video or a sound is never written anew
            return "unknown" if await look_alike(data, picture.image.data) else "other"
        except (StudioError, ImageError):
            return "unknown"


def _ends_before(page: JobPage, moment: float | None) -> bool:
    """Return True if the oldest job of a page was made before a moment; jobs of unknown age say nothing."""
    ages = [job.created_at for job in page.jobs if job.created_at is not None]
    return moment is not None and bool(ages) and min(ages) < moment


def _unread_error(exc: StudioError) -> StudioUnreachableError:
    return StudioUnreachableError(
        "This machine's ledger is new, and the studio's list of jobs cannot be read to see what the wallet bought "
        f"before: {exc.what}",
        NextStep("Nothing is bought before that, since it may have been bought already. {0} in a minute.", Repeat()),
    )


def _possibly_bought_error(jobs: list[UntrackedJob], take: int) -> PossiblyBoughtError:
    named = ", ".join(job.job_id for job in jobs[-CANDIDATES_MAX:])
    more = len(jobs) - CANDIDATES_MAX
    named += f" and {more} more" if more > 0 else ""
    return PossiblyBoughtError(
        f"This wallet may have bought this video before: {named} at the studio has the same prompt and settings. It is "
        "not in this machine's ledger, and its picture cannot be compared.",
        NextStep(
            "{0} with that {1} to see and save it. To buy another video all the same, {2}.",
            Call("get_job"),
            Argument("job_id"),
            RaiseTake(take),
        ),
    )
