"""Webhook sender: tells callers that their jobs are over. Any replica sends a message, at least once, with a stable id.

It is not in the way of payments and jobs: the database has the message, and this process sends it when it can. A
receiver that is slow or away takes few of the places, so that the messages of other callers go on.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import anyio

from seedance_mcp.core.concurrency import Wakeup
from seedance_mcp.core.error_base import SeedanceError
from seedance_mcp.core.errors import LedgerError
from seedance_mcp.core.webhooks import GONE, PAUSES_SECONDS, Outcome, WebhookMessage, build_body, build_headers

if TYPE_CHECKING:  # it loads psycopg
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

LOOK_SECONDS = 5
"""Pause between two looks for messages that are due; a new one ends it."""
SENDS_MAX = 32
"""How many messages this process sends at a time."""
SENDS_PER_CALLER_MAX = 2
JITTER = 0.2
"""By which part a pause may be longer, so that messages that failed together do not come again together."""
UNOPENED_SECONDS = 60
"""Pause of a message whose secret no state key opens."""
TIDY_SECONDS = 3600
DELIVERED = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
"""Sends a body with headers to a URL within a bounded time; returns the status, or raises `SeedanceError`."""

log = logging.getLogger("seedance_mcp")


class Secrets(Protocol):
    """Opens sealed secrets; see `app.webhook_secrets`."""

    def open(self, sealed: str, caller: str) -> bytes | None:
        """Return the secret of a caller; None if none of the keys sealed it."""
        ...

    def reseal(self, sealed: str, caller: str) -> str | None:
        """Return the secret as the first key seals it; None if there is nothing to do."""
        ...


def _ignore(_: Outcome) -> None: ...


@dataclass
class WebhookSender:
    """Sends the messages that are due, up to `SENDS_MAX` at a time.

    Attributes:
        ledger: Has them.
        secrets: Opens the secrets that sign them.
        post: See `Post`.
        now: Unix seconds.
        watch: Told what came of each attempt.
    """

    ledger: PostgresLedger
    secrets: Secrets
    post: Post
    now: Callable[[], float]
    watch: Callable[[Outcome], None] = _ignore
    _sending: Counter[str] = field(default_factory=Counter[str])
    _wakeup: Wakeup = field(default_factory=Wakeup)

    def hear(self) -> None:
        """Look for messages at once."""
        self._wakeup.set()

    async def run(self) -> None:
        """Claim and send until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tidy)
            while True:
                try:
                    while (message := await self._claim()) is not None:
                        self._sending[message.caller] += 1
                        tasks.start_soon(self._send, message)
                except LedgerError as exc:  # claimed in a moment, here or elsewhere
                    log.warning("Webhook messages cannot be read now: %s", exc.what)
                await self._wakeup.wait(LOOK_SECONDS)

    async def _claim(self) -> WebhookMessage | None:
        if self._sending.total() >= SENDS_MAX:
            return None
        busy = [caller for caller, sending in self._sending.items() if sending >= SENDS_PER_CALLER_MAX]
        return await self.ledger.claim_message(self.ledger.owner, busy=busy)

    async def _send(self, message: WebhookMessage) -> None:
        try:
            with suppress(LedgerError):  # the claim lapses, and the message is sent again
                await self._try(message)
        except Exception:  # the claim lapses
            log.exception("Sending the message %s broke", message.id)
        finally:
            self._sending[message.caller] -= 1
            if not self._sending[message.caller]:
                del self._sending[message.caller]
            self._wakeup.set()

    async def _try(self, message: WebhookMessage) -> None:
        secret = self.secrets.open(message.sealed_secret, message.caller)
        if secret is None:
            log.warning("The message on job %s waits: no state key opens its webhook's secret.", message.job_id)
            await self.ledger.postpone_message(
                message.id, self.ledger.owner, seconds=UNOPENED_SECONDS, problem="no state key opens it", was_sent=False
            )
            return
        body = build_body(message)
        headers = build_headers(message.id, body, secret, now=int(self.now()))
        try:
            status = await self.post(message.url, body, headers)
        except SeedanceError as exc:
            await self._fail(message, exc.what)
        else:
            await self._record(message, status)

    async def _record(self, message: WebhookMessage, status: int) -> None:
        if status in DELIVERED:
            await self.ledger.end_message(message.id, self.ledger.owner, is_delivered=True, problem=None)
            self.watch("delivered")
        elif status == GONE:
            await self._give_up(message, "its receiver wants no more messages (410)")
            await self.ledger.end_webhook(message.caller, url=message.url)
        else:
            await self._fail(message, f"its receiver answered {status}")

    async def _fail(self, message: WebhookMessage, problem: str) -> None:
        if message.attempts > len(PAUSES_SECONDS):
            await self._give_up(message, problem)
            return
        pause = PAUSES_SECONDS[message.attempts - 1] * (1 + random.random() * JITTER)  # noqa: S311 - no secret
        await self.ledger.postpone_message(message.id, self.ledger.owner, seconds=pause, problem=problem)
        self.watch("failed")

    async def _give_up(self, message: WebhookMessage, problem: str) -> None:
        await self.ledger.end_message(message.id, self.ledger.owner, is_delivered=False, problem=problem)
        log.warning("The message on job %s is given up: %s", message.job_id, problem)
        self.watch("given_up")

    async def _tidy(self) -> None:
        """Delete old messages, write missing ones, and seal secrets with the first key, now and every hour."""
        while True:
            try:
                await self.ledger.tidy_messages()
                for caller, sealed in (await self.ledger.list_sealed_secrets()).items():
                    resealed = self.secrets.reseal(sealed, caller)
                    if resealed is not None:
                        await self.ledger.replace_sealed_secret(caller, sealed, resealed)
            except LedgerError as exc:
                log.warning("Webhook messages cannot be tidied now: %s", exc.what)
            await anyio.sleep(TIDY_SECONDS)
