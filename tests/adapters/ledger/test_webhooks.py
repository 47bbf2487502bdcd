"""Messages of webhooks in the database: a job's write never fails or waits for them, and none is lost."""

import time
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import psycopg
import pytest

from seedance_mcp.core.callers import NO_CAPS, SCOPES_DEFAULT
from tests.adapters.ledger.rows import STUDIO, reserve, settle, sign
from tests.ledgers import PostgresStore
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

LOCKED_SECONDS_MAX = 4
"""Longest a job's write may take while webhooks are locked; a server's lock timeout is longer."""


@pytest.fixture
def store() -> Generator[PostgresStore]:
    with require_postgres().database() as url:
        yield PostgresStore(url)


@pytest.fixture
async def ledger(store: PostgresStore) -> AsyncGenerator["PostgresLedger"]:
    """The ledger of a caller with a webhook."""
    from seedance_mcp.adapters.ledger.postgres import PostgresLedger

    opened = await PostgresLedger.open(store.address)
    token = await opened.add_caller("ada", SCOPES_DEFAULT, NO_CAPS)
    caller = await opened.find_caller(token.id, token.sha256)
    assert caller is not None
    await opened.set_webhook(caller.id, "https://app.example/hook", "sealed")
    yield opened.for_caller(caller.id)
    await opened.close()


async def begin_job(ledger: "PostgresLedger", job_id: str) -> None:
    now = time.time()
    payment = await settle(ledger, await sign(ledger, await reserve(ledger, now=now), now=now))
    await ledger.add_job(payment, job_id, studio=STUDIO, status="complete", now=now)


async def save(ledger: "PostgresLedger", job_id: str) -> None:
    await ledger.finish_job(job_id, video_key=f"videos/{job_id}.mp4", thumbnail_key=None, note=None)


def list_messages(store: PostgresStore) -> list[tuple[str, str]]:
    return store.fetch("SELECT job_id, event FROM webhook_messages ORDER BY job_id")


async def test_message_is_written_once_the_video_is_saved(ledger: "PostgresLedger", store: PostgresStore) -> None:
    await begin_job(ledger, "job1")
    assert list_messages(store) == []
    await save(ledger, "job1")
    await ledger.report_problem("job1", "another change")

    assert list_messages(store) == [("job1", "job.completed")]


async def test_locked_messages_hold_up_no_job(ledger: "PostgresLedger", store: PostgresStore) -> None:
    await begin_job(ledger, "job1")
    with psycopg.connect(store.address) as other:
        other.execute("LOCK TABLE webhook_messages, webhooks IN ACCESS EXCLUSIVE MODE")
        began_at = time.monotonic()
        await save(ledger, "job1")
        took = time.monotonic() - began_at

    job = await ledger.find_job("job1")
    assert job is not None
    assert job.video_key == "videos/job1.mp4"
    assert took < LOCKED_SECONDS_MAX
    assert list_messages(store) == []
    await ledger.tidy_messages()
    assert list_messages(store) == [("job1", "job.completed")]


async def test_message_that_cannot_be_written_fails_no_job(ledger: "PostgresLedger", store: PostgresStore) -> None:
    await begin_job(ledger, "job1")
    store.execute("ALTER TABLE webhook_messages ADD CONSTRAINT none CHECK (false)")
    await save(ledger, "job1")
    job = await ledger.find_job("job1")
    assert job is not None
    assert job.video_key == "videos/job1.mp4"
    store.execute("ALTER TABLE webhook_messages DROP CONSTRAINT none")
    await ledger.tidy_messages()

    assert list_messages(store) == [("job1", "job.completed")]


async def test_job_without_its_tables_is_still_written(ledger: "PostgresLedger", store: PostgresStore) -> None:
    await begin_job(ledger, "job1")
    store.execute("ALTER TABLE webhook_messages RENAME TO elsewhere")
    await save(ledger, "job1")

    job = await ledger.find_job("job1")
    assert job is not None
    assert job.video_key == "videos/job1.mp4"


async def test_tidying_keeps_new_messages_and_deletes_old_ones(ledger: "PostgresLedger", store: PostgresStore) -> None:
    for job_id in ("job1", "job2"):
        await begin_job(ledger, job_id)
        await save(ledger, job_id)
    store.execute("UPDATE webhook_messages SET created_at = created_at - 8 * 86400 WHERE job_id = 'job1'")
    store.execute("UPDATE jobs SET created_at = created_at - 8 * 86400 WHERE job_id = 'job1'")
    for _ in range(2):
        await ledger.tidy_messages()

    assert list_messages(store) == [("job2", "job.completed")]


async def test_jobs_before_the_webhook_are_not_told(ledger: "PostgresLedger", store: PostgresStore) -> None:
    store.execute("CREATE TABLE set_aside AS SELECT * FROM webhooks; DELETE FROM webhooks")
    await begin_job(ledger, "job1")
    await save(ledger, "job1")
    store.execute("INSERT INTO webhooks SELECT caller, url, sealed_secret, created_at + 60 FROM set_aside")
    await ledger.tidy_messages()

    assert list_messages(store) == []
