"""A server that is killed at any point of a film: the next one makes the rest, and buys nothing twice.

The short form of `benchmarks/kill_matrix.py --films`, at named points instead of random moments. In most cases the
agent repeats its call; after `RESUMED_POINTS` the next server goes on by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from seedance_mcp.adapters.media.films import film_support
from seedance_mcp.sandbox import EXAMPLE_IMAGE, Sandbox
from tests.crash.crash_points import FILM_POINTS
from tests.crash.scenario import Answer, Stage, call
from tests.films import watch

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.skipif(not film_support(), reason="the extra `film` is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="the crash points read /proc"),
]

CASE_SECONDS = 120
SHOTS: list[dict[str, Any]] = [{"prompt": "The boat sails on", "image": str(EXAMPLE_IMAGE)}, {"prompt": "It lands"}]
RESUMED_POINTS = ("after_sum_is_reserved", "after_joining")
"""After these the agent does not call again."""


@pytest.mark.parametrize(("point", "loses_jobs"), [(point, False) for point in FILM_POINTS] + [("between_shots", True)])
async def test_a_killed_film_is_finished_and_no_shot_is_bought_twice(
    prompt_studio: Sandbox, tmp_path: Path, point: str, *, loses_jobs: bool
) -> None:
    """A power failure takes also the rows of the jobs that were not on disk yet."""
    stage = await Stage.set(prompt_studio, tmp_path / "stage", "x402")
    with anyio.fail_after(CASE_SECONDS):
        async with stage.server(point, "film") as client:
            answer = await call(client, "animate_storyboard", shots=SHOTS)
            while answer is not None:  # a busy machine may take longer to get there than one call waits
                assert not answer.is_error, answer.text
                answer = await call(client, "get_job", job_id=answer.fields["job_id"])
        stage.let_leases_lapse()
        if loses_jobs:
            stage.lose_jobs()
        film = await _finish(stage, repeated=point not in RESUMED_POINTS)
        async with stage.server_in_process() as client:
            wallet = await call(client, "wallet_status")

    audit = await stage.audit(generations_max=len(SHOTS), uploads_max=2)
    assert audit.problems == []
    assert (audit.generations, audit.uploads, audit.held_micro_usdc) == (2, 2, 0)
    assert wallet is not None
    assert wallet.fields["caps"] == []
    seen = await anyio.to_thread.run_sync(watch, Path(film.fields["file"]))
    assert ([title for _, title in seen.chapters], round(seen.duration)) == ([shot["prompt"] for shot in SHOTS], 8)


async def _finish(stage: Stage, *, repeated: bool) -> Answer:
    """Return the film that the next server has made, after the same call or by itself."""
    async with stage.server_in_process() as client:
        if repeated:
            answer = await call(client, "animate_storyboard", shots=SHOTS)
        else:
            listed = await call(client, "list_jobs")
            assert listed is not None
            [job_id] = [one["job_id"] for one in listed.fields["jobs"] if one["job_id"].startswith("film_")]
            while (answer := await call(client, "list_jobs")) is not None:
                [film] = [one for one in answer.fields["jobs"] if one["job_id"] == job_id]
                if film["status"] not in ("pending", "loading"):
                    break
                await anyio.sleep(0.2)
            answer = await call(client, "get_job", job_id=job_id)
        while answer is not None and not answer.is_error and answer.fields["status"] in ("pending", "loading"):
            answer = await call(client, "get_job", job_id=answer.fields["job_id"])
    assert answer is not None
    assert answer.fields["status"] == "complete", answer.text
    return answer
