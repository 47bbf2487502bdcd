"""Replica: what one process of several on a PostgreSQL database does in the background for all of them.

It renews its leases, listens, polls if it has the lease to, saves videos, takes over what a dead replica left unpaid,
and tells callers of their jobs. It has connections of its own, so that waiting calls do not hold up a renewal. Loaded
by hosted mode alone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from seedance_mcp.adapters.http.public_urls import PublicUrlFetcher
from seedance_mcp.adapters.ledger.claims import (
    CHANNELS,
    JOBS_CHANNEL,
    LEASES_CHANNEL,
    UNSAVED_CHANNEL,
    WANTED_CHANNEL,
    WEBHOOKS_CHANNEL,
)
from seedance_mcp.adapters.ledger.listening import listen
from seedance_mcp.adapters.ledger.postgres import PostgresLedger
from seedance_mcp.adapters.ledger.postgres_driver import PoolSettings
from seedance_mcp.app.parts import Parts
from seedance_mcp.app.polling import build_downloader, build_poller, expect_seconds
from seedance_mcp.app.webhooks import WebhookSecrets, post_to
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.records import Job, Payment
from seedance_mcp.jobs.dead_replicas import DeadReplicas
from seedance_mcp.jobs.leading import JobOwner, PollLeader
from seedance_mcp.jobs.leases import LeaseKeeper
from seedance_mcp.jobs.problems import write_problem
from seedance_mcp.jobs.saving import VideoSaver
from seedance_mcp.jobs.shared import JobBoard, SharedFollower
from seedance_mcp.jobs.webhooks import WebhookSender

if TYPE_CHECKING:
    from seedance_mcp.core.concurrency import Start
    from seedance_mcp.core.error_base import SeedanceError
    from seedance_mcp.jobs.follower import Changed
    from seedance_mcp.jobs.poller import JobPoller

POOL = PoolSettings(connections_max=4, wait_seconds=3)
"""Connections of the background tasks, beside those of the calls and the one that listens."""
LOOK_SECONDS = 1
"""Pause between two looks for what dead replicas left."""
FAULT_SECONDS = 5
"""Pause after a fault of our own in one of the tasks."""

FindKeys = Callable[[], tuple[bytes, ...]]
TakeOver = Callable[[Payment], Awaitable[None]]
"""Looks into an unfinished payment that another replica left."""

log = logging.getLogger("seedance_mcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """The background tasks of this process.

    Attributes:
        follower: Follows jobs for the callers of this process: `Parts.follower` of their services.
        ledger: The ledger on connections of its own.
        listen_url: The database, without a pooler in between.
        changed: Told the id of a job whenever any replica changed something about it.
        webhooks: Tells callers that their jobs are over; None without state keys.
    """

    follower: SharedFollower
    ledger: PostgresLedger
    keeper: LeaseKeeper
    saver: VideoSaver
    listen_url: str
    changed: Changed
    webhooks: WebhookSender | None

    @property
    def is_polling(self) -> bool:
        """Return True while this replica polls the jobs of the wallet."""
        return self.follower.leader.poller is not None

    async def run(self, take_over: TakeOver) -> None:
        """Run all tasks until cancelled, also after a fault of our own in one of them.

        Args:
            take_over: See `TakeOver`.
        """
        tasks: list[Callable[[], Awaitable[None]]] = [
            self.keeper.run,
            partial(listen, self.listen_url, CHANNELS, self._hear, owner=self.ledger.owner),
            self.follower.board.run,
            self.follower.leader.run,
            self.saver.run,
            partial(self._take_over_left, take_over),
        ]
        if self.webhooks is not None:
            tasks.append(self.webhooks.run)
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(_keep_running, task)

    async def release(self) -> None:
        """Give all leases back, after the last purchase: what this replica leaves is free for the others at once."""
        with suppress(LedgerError):  # they end by themselves
            await self.keeper.release_all()

    def _hear(self, channel: str, text: str) -> None:
        leader = self.follower.leader
        if channel == JOBS_CHANNEL:
            self.follower.board.hear(text)
            leader.hear_job(text)
            self.changed(text)
        elif channel == WANTED_CHANNEL:
            leader.hear_job(text, is_wanted=True)
        elif channel == UNSAVED_CHANNEL:
            self.saver.hear()
        elif channel == LEASES_CHANNEL:
            leader.hear_release(text)
        elif channel == WEBHOOKS_CHANNEL:
            self._hear_webhook()
        else:  # a new connection
            self.follower.board.hear_all()
            self.saver.hear()
            self._hear_webhook()

    def _hear_webhook(self) -> None:
        if self.webhooks is not None:
            self.webhooks.hear()

    async def _take_over_left(self, take_over: TakeOver) -> None:
        wallet, dead = self.follower.leader.owner.wallet, DeadReplicas(self.ledger)
        while True:
            with suppress(LedgerError):  # read again in a moment
                await dead.end_leases()
                for payment in await self.ledger.list_left_payments(wallet):
                    log.warning("Payment %d was left by another server.", payment.id)
                    await take_over(payment)
            await anyio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def open_replica(
    parts: Parts, wallet: str, *, owner: str, changed: Changed, find_keys: FindKeys | None = None
) -> AsyncGenerator[Replica]:
    """Open the connections of a replica, and give its leases back at the end; `Replica.run` starts it.

    Args:
        parts: What the services of the whole process are made of: on the ledger of all callers, without a follower.
        wallet: The address that pays.
        owner: The name of this process in leases: that of `parts.ledger`.
        changed: See `Replica.changed`.
        find_keys: Returns the state keys of now; None sends no webhook messages.

    Raises:
        LedgerError: The database cannot be reached.
    """
    settings = parts.settings
    ledger = await PostgresLedger.open(settings.database_url or "", clock=parts.now, pool=POOL, owner=owner)
    fetcher = PublicUrlFetcher()
    post = partial(post_to, fetcher, loopback_allowed=settings.profile.allow_loopback_http)
    webhooks = None if find_keys is None else WebhookSender(ledger, WebhookSecrets(find_keys), post, parts.now)
    replica = _build_replica(parts, wallet, ledger, changed, webhooks)
    try:
        yield replica
    finally:
        with anyio.CancelScope(shield=True):
            await replica.release()
            await fetcher.aclose()
            await ledger.close()


def _build_replica(
    parts: Parts, wallet: str, ledger: PostgresLedger, changed: Changed, webhooks: WebhookSender | None
) -> Replica:
    parts = replace(parts, ledger=ledger)
    jobs = JobOwner(studio=parts.studio.origin, wallet=wallet)
    downloads, keeper = build_downloader(parts, wallet), LeaseKeeper(ledger)

    def build_term(fenced: PostgresLedger, start: Start) -> JobPoller:
        async def tell(job: Job, problem: SeedanceError | None) -> None:
            await fenced.report_problem(job.job_id, None if problem is None else write_problem(problem))

        store = replace(downloads.store, ledger=fenced, tell_replicas=tell)
        return build_poller(replace(parts, start=start, changed=_ignore), store, save=None)

    async def save(claimed: PostgresLedger, job: Job) -> None:
        store = replace(downloads.store, ledger=claimed)
        await replace(downloads, ledger=claimed, store=store).download(job)

    async def save_untracked(job: Job) -> Job:
        """Leave a job that the ledger has by now to the replica that claims it."""
        return await ledger.find_job(job.job_id) or await downloads.download(job)

    leader = PollLeader(ledger=ledger, keeper=keeper, owner=jobs, build_poller=build_term)
    follower = SharedFollower(
        ledger=ledger,
        board=JobBoard(ledger),
        leader=leader,
        local=build_poller(parts, downloads.store, save=save_untracked),
        expected_seconds=partial(expect_seconds, parts),
        now=parts.now,
    )
    return Replica(
        follower=follower,
        ledger=ledger,
        keeper=keeper,
        saver=VideoSaver(ledger=ledger, owner=jobs, save=save, pause_seconds=parts.settings.profile.poll_seconds_min),
        listen_url=parts.settings.database_direct_url or parts.settings.database_url or "",
        changed=changed,
        webhooks=webhooks,
    )


def _ignore(_: str) -> None:
    """Hear of a job that this replica polls; the database tells all replicas of it."""


async def _keep_running(task: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await task()
        except Exception:  # the others, and this one in a moment, go on
            log.exception("A background task of this server broke")
        await anyio.sleep(FAULT_SECONDS)
