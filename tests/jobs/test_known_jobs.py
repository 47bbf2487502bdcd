"""Jobs that a ledger learns of late, or that another machine has saved: no video is saved twice."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx

from seedance_mcp.core.records import Job, UntrackedJob
from seedance_mcp.core.wire.responses import PaidRequest
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox
from tests.payments.test_purchase import services_on, settings_for, soon
from tests.servers import NO_TLS

Draw = Callable[..., Path]
MakeSandbox = Callable[..., Sandbox]


async def buy(sandbox: Sandbox, key: str, folder: Path, picture: Path) -> Job:
    async with services_on(settings_for(sandbox, key, folder)) as services:
        result = await services.generation.generate(VideoRequest(image=str(picture), prompt="x"), deadline=soon())
    assert result.job is not None
    return result.job


async def count_downloads(sandbox: Sandbox) -> int:
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        requests = (await http.get(f"{sandbox.url}/_sandbox/state")).json()["requests"]
    return sum(number for route, number in requests.items() if route.endswith("output.mp4"))


async def test_a_job_whose_payment_is_found_while_it_is_saved_is_saved_once(
    make_sandbox: MakeSandbox, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    bought = await buy(sandbox, funded_key, tmp_path / "a", make_picture())
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "b")) as services:
        assert services.jobs.untracked is not None
        untracked = await services.jobs.untracked.fetch_job(bought.job_id, answer_until=soon())
        adopted = await services.ledger.adopt_job(
            UntrackedJob(
                job_id=bought.job_id, type=None, status="complete", input=None, created_at=time.time(),
                amount_micro_usdc=320_000,
            ),
            PaidRequest(purpose="generation", idempotency_key="k", url="https://s/api", body=b"{}", arguments={}),
            wallet=services.wallet.address, studio=sandbox.url, now=time.time(),
        )  # fmt: skip
        assert adopted is not None
        before = await count_downloads(sandbox)
        saved = await services.jobs.downloads.download(untracked)
        again = await services.jobs.get(bought.job_id, deadline=soon())
    assert (saved.payment_id, saved.status) == (adopted.payment_id, "complete")
    assert (again.file, again.status) == (saved.file, "complete")
    assert await count_downloads(sandbox) == before + 1
    assert len(list((tmp_path / "b").rglob("*.mp4"))) == 1


async def test_a_video_that_another_machine_has_saved_is_read_from_our_own_folder(
    make_sandbox: MakeSandbox, make_picture: Draw, funded_key: str, tmp_path: Path
) -> None:
    sandbox = make_sandbox()
    bought = await buy(sandbox, funded_key, tmp_path / "a", make_picture())
    async with services_on(settings_for(sandbox, funded_key, tmp_path / "a")) as services:
        elsewhere = await services.ledger.finish_job(bought.job_id, file="/another/machine/v.mp4", thumbnail=None)
        before = await count_downloads(sandbox)
        found = await services.jobs.get(bought.job_id, deadline=soon())
    assert found == replace(elsewhere, file=bought.file, thumbnail=found.thumbnail)
    assert await count_downloads(sandbox) == before
