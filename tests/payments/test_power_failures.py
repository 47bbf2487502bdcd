"""A power failure takes the latest rows, if they were not synced: they are found again, and nothing is paid twice."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from seedance_mcp.config.settings import Settings
from seedance_mcp.core.records import Job
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.payments.test_purchase import CLIP, UPLOAD, services_on, settings_for, soon
from tests.payments.test_refused_payments import paid

LOOK_SECONDS = 0.02
LOSSES = {
    "the-job": "DELETE FROM jobs",
    "its-end": """UPDATE jobs SET status = 'pending', progress = 0, video_url = NULL, thumbnail_url = NULL,
                                  url_seen_at = NULL, ended_at = NULL, file = NULL, thumbnail = NULL""",
    "its-thumbnail": "UPDATE jobs SET thumbnail = NULL",
}


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox()


@pytest.fixture
def settings(sandbox: Sandbox, funded_key: str, tmp_path: Path) -> Settings:
    return settings_for(sandbox, funded_key, tmp_path / "data")


async def buy(settings: Settings, request: VideoRequest) -> Job:
    async with services_on(settings) as services:
        job = (await services.generation.generate(request, deadline=soon())).job
    assert job is not None
    assert job.file is not None
    return job


def lose(settings: Settings, statement: str) -> None:
    with closing(sqlite3.connect(settings.ledger_file)) as db, db:
        assert db.execute(statement).rowcount == 1


async def test_the_same_call_has_the_video_again_without_paying(
    sandbox: Sandbox, settings: Settings, make_picture: Callable[..., Path]
) -> None:
    request = VideoRequest(image=str(make_picture()), prompt="x")
    before = await buy(settings, request)
    for loss, statement in LOSSES.items():
        lose(settings, statement)

        assert (await buy(settings, request)).job_id == before.job_id, loss
        assert paid(sandbox) == [UPLOAD, CLIP], loss


async def test_the_next_start_has_the_video_again_without_a_call(
    sandbox: Sandbox, settings: Settings, make_picture: Callable[..., Path]
) -> None:
    before = await buy(settings, VideoRequest(image=str(make_picture()), prompt="x"))
    for loss in ("the-job", "its-end"):
        lose(settings, LOSSES[loss])

        found: list[Job] = []
        async with services_on(settings) as services, anyio.create_task_group() as tasks:
            tasks.start_soon(services.generation.resume)
            while not (found and found[0].file):
                await anyio.sleep(LOOK_SECONDS)
                found = await services.ledger.recent_jobs(1)
            tasks.cancel_scope.cancel()
        assert found[0].job_id == before.job_id, loss
        assert paid(sandbox) == [UPLOAD, CLIP], loss
