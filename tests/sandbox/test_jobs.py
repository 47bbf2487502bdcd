"""Who may see a job, and how long its result URLs are valid."""

from collections.abc import Callable

import anyio
import pytest
from eth_account import Account

from seedance_mcp.sandbox import Sandbox
from seedance_mcp.sandbox.api.contract import GenerateRequest
from seedance_mcp.sandbox.faults import FaultSwitches
from seedance_mcp.sandbox.jobs import Job, JobStore

from .bodies import SEEDANCE, write_current
from .client import SandboxClient, draw_image


async def make_jobs(client: SandboxClient, count: int) -> list[str]:
    url = await client.upload(draw_image())
    answers = [await client.buy(SEEDANCE, write_current(url, prompt=f"take {n}")) for n in range(count)]
    return [answer.json()["jobId"] for answer in answers]


async def test_job_is_shown_only_to_the_wallet_that_paid(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    sandbox = open_sandbox(faults=("stuck_job",))
    client, other = open_client(sandbox), open_client(sandbox, Account.create())
    [job_id] = await make_jobs(client, 1)

    refused = await other.ask("GET", f"/api/jobs/{job_id}")
    unknown = await client.ask("GET", "/api/jobs/cm0")
    listed = await other.ask("GET", "/api/jobs")

    assert (refused.status_code, refused.json()) == (403, {"success": False, "error": "Job belongs to another wallet"})
    assert (unknown.status_code, unknown.json()) == (404, {"success": False, "error": "Job not found"})
    assert listed.json() == {"items": [], "nextCursor": None}


async def test_list_is_paged_newest_first(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox(faults=("stuck_job",)))
    made = await make_jobs(client, 5)

    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.ask("GET", "/api/jobs", params=query)).json()
        seen += [job["id"] for job in page["items"]]
        cursor = page["nextCursor"]

    assert seen == list(reversed(made))
    assert cursor is None


async def test_list_is_filtered_by_status(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox(job_seconds=0.01, faults=("failed_job:1", "stuck_job")))
    made = await make_jobs(client, 2)

    with anyio.fail_after(60):
        await client.wait_for(made[0], "failed")
        failed = (await client.ask("GET", "/api/jobs", params={"status": "failed"})).json()
        complete = (await client.ask("GET", "/api/jobs", params={"status": "complete"})).json()

    assert [job["id"] for job in failed["items"]] == [made[0]]
    assert complete["items"] == []


@pytest.mark.parametrize(("kind", "status"), [("ignored", 200), ("refused", 400)])
async def test_list_may_not_heed_its_filter(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], kind: str, status: int
) -> None:
    client = open_client(open_sandbox(faults=("stuck_job", f"list_filter={kind}")))
    made = await make_jobs(client, 1)

    filtered = await client.ask("GET", "/api/jobs", params={"status": "failed"})
    plain = await client.ask("GET", "/api/jobs")

    assert filtered.status_code == status
    assert filtered.json().get("items", made) != []
    assert [job["id"] for job in plain.json()["items"]] == made


@pytest.mark.parametrize(
    "query", [{"limit": "abc"}, {"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"status": "lost"}]
)
async def test_bad_query_is_refused_with_issues(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient], query: dict[str, str]
) -> None:
    client = open_client(open_sandbox())

    answer = await client.ask("GET", "/api/jobs", params=query)

    assert answer.status_code == 400
    assert answer.json()["error"] == "Validation failed"
    assert answer.json()["issues"][0]["path"] == [next(iter(query))]


async def test_only_a_failed_job_can_be_hidden(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox(faults=("failed_job:1", "stuck_job")))
    failed_id, running_id = await make_jobs(client, 2)
    with anyio.fail_after(60):
        await client.wait_for(failed_id, "failed")

    hidden = await client.ask("DELETE", f"/api/jobs/{failed_id}")
    refused = await client.ask("DELETE", f"/api/jobs/{running_id}")
    gone = await client.ask("GET", f"/api/jobs/{failed_id}")
    listed = await client.ask("GET", "/api/jobs")

    assert [answer.status_code for answer in (hidden, refused, gone)] == [200, 409, 404]
    assert [job["id"] for job in listed.json()["items"]] == [running_id]


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def start_small_job(clock: Clock, *faults: str) -> tuple[JobStore, Job]:
    """Start a job of a hundred seconds whose video is rendered at once."""
    store = JobStore(FaultSwitches(faults), job_seconds=100, result_seconds=1200, clock=clock)
    request = GenerateRequest(
        body={},
        image_urls=(),
        duration_seconds=4,
        short_side=480,
        aspect_ratio=None,
        size=(64, 64),
        audio=False,
        price_micro_usdc=1,
    )
    job = store.start(request, [draw_image()], owner="0x" + "11" * 20, kind="seedance-i2v", path=SEEDANCE)
    if job.rendering is not None:
        job.rendering.result(timeout=10)
    return store, job


def start_stuck_jobs(clock: Clock, *faults: str, count: int) -> tuple[JobStore, list[Job]]:
    """Start jobs of a hundred seconds without videos, a second apart."""
    store, first = start_small_job(clock, "stuck_job", *faults)
    jobs = [first]
    while len(jobs) < count:
        clock.now += 1
        jobs.append(store.start(first.request, [], owner=first.owner, kind=first.kind, path=first.path))
    return store, jobs


@pytest.mark.parametrize(("faults", "order"), [((), [2, 1, 0]), (("list_order=updated",), [0, 2, 1])])
def test_list_may_have_the_latest_change_first(faults: tuple[str, ...], order: list[int]) -> None:
    clock = Clock()
    store, jobs = start_stuck_jobs(clock, *faults, count=3)
    jobs[0].seconds /= 10  # it is loading by now, and so changes all the time
    clock.now += 5

    page, _ = store.page(jobs[0].owner, limit=3)

    assert [jobs.index(job) for job in page] == order


def test_jobs_may_take_different_times() -> None:
    _, jobs = start_stuck_jobs(Clock(), "varied_jobs=0.4", count=5)

    assert len({job.seconds for job in jobs}) == 5


def test_job_goes_from_pending_through_loading_to_complete() -> None:
    clock = Clock()
    store, job = start_small_job(clock)
    seen: list[tuple[str, int]] = []
    for _ in range(5):
        state = store.read_state(job)
        seen.append((state.status, state.progress))
        clock.now += 25

    assert seen == [("pending", 0), ("loading", 11), ("loading", 41), ("loading", 70), ("complete", 100)]


def test_expired_result_url_is_replaced_by_a_later_poll() -> None:
    clock = Clock()
    store, job = start_small_job(clock)

    def mint() -> str:
        return store.build_document(job, "http://studio")["result"]["videoUrl"].partition("expires=")[2]

    clock.now += 100
    first = mint()
    clock.now += 1199
    assert mint() == first
    assert store.find_video(job.id, first)[1] == 200
    clock.now += 1
    assert store.find_video(job.id, first) == (None, 403)
    second = mint()
    assert second != first
    assert store.find_video(job.id, second)[1] == 200
    assert store.find_video(job.id, first) == (None, 403)


async def test_invented_result_url_is_refused(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    [job_id] = await make_jobs(client, 1)
    with anyio.fail_after(60):
        await client.wait_for(job_id, "complete")

    forged = await client.http.get(f"/videos/{job_id}/output.mp4?expires=99999999999999")
    unknown = await client.http.get("/videos/cm0/output.mp4?expires=1")

    assert (forged.status_code, unknown.status_code) == (403, 404)


async def test_undecodable_picture_fails_the_job(
    open_sandbox: Callable[..., Sandbox], open_client: Callable[..., SandboxClient]
) -> None:
    client = open_client(open_sandbox())
    with anyio.fail_after(60):
        url = await client.upload(b"\x89PNG\r\n\x1a\n" + b"rubbish" * 9)
        job_id = (await client.buy(SEEDANCE, write_current(url))).json()["jobId"]
        job = await client.wait_for(job_id, "complete", "failed")

    assert job["status"] == "failed"
    assert "decoded" in job["error"]
