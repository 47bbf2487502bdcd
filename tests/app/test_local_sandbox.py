"""What a sandbox leaves when its process ends: jobs that no one will make, ended honestly; and no others."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client, StdioServerParameters

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.app.local_sandbox import ENDED, end_orphans, resolve_sandbox
from seedance_mcp.app.rendering import show_job
from seedance_mcp.app.runtime import Runtime
from seedance_mcp.app.web.gallery.data import Viewer, build_show
from seedance_mcp.config.profiles import LIVE
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.records import Job
from seedance_mcp.core.texts import quote_text
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.sandbox import Sandbox
from seedance_mcp.server import build_server
from tests.adapters.ledger.rows import reserve, sign
from tests.adapters.ledger.rows import settle as settle_payment
from tests.cli.conftest import Person
from tests.forks import build_command
from tests.integration.host import Host, draw, run_in_thread

SHOWN = quote_text(ENDED)
BEGIN_SECONDS = 40
BUY = ("animate", "boat.png", "--prompt", "It sails", "--sandbox", "--json")


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A person whose command with an embedded sandbox was killed as soon as its job had begun."""
    folder = tmp_path_factory.mktemp("broken-off")
    draw(folder / "boat.png")
    data = folder / "data"
    settings = read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(data)})
    command = build_command("seedance_mcp", *BUY)
    environ = {**os.environ, "SEEDANCE_DATA_DIR": str(data)}
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + BEGIN_SECONDS
        while not anyio.run(read_jobs, settings) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.kill()
    [job] = anyio.run(read_jobs, settings)
    while is_listening(job.studio) and time.monotonic() < end:  # what was forked ends a moment later
        time.sleep(0.02)
    return Person(folder=folder, environ={})


@pytest.fixture
def person(tmp_path: Path) -> Person:
    draw(tmp_path / "boat.png")
    return Person(folder=tmp_path, environ={})


@pytest.fixture
def dead(broken_off: Person, settings: Settings) -> Job:
    """The job of the killed command, in this test's own copy of what it left."""
    shutil.copytree(broken_off.folder / "data", os.environ["SEEDANCE_DATA_DIR"])
    [job] = anyio.run(read_jobs, settings)
    assert not job.finished
    return job


@pytest.fixture
def settings() -> Settings:
    """Those of a server or command that would bring its own sandbox."""
    return read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": os.environ["SEEDANCE_DATA_DIR"]})


async def read_jobs(settings: Settings) -> list[Job]:
    if not settings.ledger_file.exists():
        return []
    ledger = await SQLiteLedger.open(settings.ledger_file)
    try:
        return await ledger.recent_jobs(10)
    finally:
        await ledger.close()


async def write_job(settings: Settings, studio: str, *, complete: bool = False) -> str:
    """A paid job of a studio that is still to be made, or made and not saved; its id."""
    ledger = await SQLiteLedger.open(settings.ledger_file)
    try:
        payment = await settle_payment(ledger, await sign(ledger, await reserve(ledger)))
        job_id = f"job-{payment.id}"
        await ledger.add_job(payment, job_id, studio=studio, status="pending", now=time.time())
        if complete:
            seen = JobStatus(
                job_id=job_id, type=None, status="complete", progress=100, error=None, video_url=f"{studio}/video",
                thumbnail_url=f"{studio}/thumbnail", input=None, created_at=None,
            )  # fmt: skip
            await ledger.update_job(seen, now=time.time())
    finally:
        await ledger.close()
    return job_id


def is_listening(studio: str) -> bool:
    """Return True if a process listens at an address of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(studio).port or 0)) == 0


def find_dead_studio() -> str:
    """An address of this machine at which no one is."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return f"http://127.0.0.1:{door.getsockname()[1]}"


@pytest.mark.slow
def test_a_killed_command_s_job_fails_honestly_and_the_same_command_makes_a_new_video(
    broken_off: Person, dead: Job
) -> None:
    person = broken_off
    [listed] = person.run("jobs", "--sandbox", "--json").json
    got = person.run("get", dead.job_id, "--sandbox", "--json")
    again = person.run(*BUY)

    assert (listed["job_id"], listed["status"], listed["error"]) == (dead.job_id, "failed", SHOWN)
    assert "no real money was spent" in listed["error"]
    assert "Call animate_image again with the same arguments" in listed["next_step"]
    assert (got.code, got.json["status"], got.json["error"]) == (1, "failed", SHOWN)
    assert again.code == 0, again.err
    assert again.json["job_id"] != dead.job_id
    assert Path(again.json["file"]).is_file()
    assert [job["status"] for job in person.run("jobs", "--sandbox", "--json").json] == ["complete", "failed"]


@pytest.mark.slow
async def test_the_next_server_tells_of_the_failure_and_buys_anew(broken_off: Person, dead: Job) -> None:
    async with Client(
        build_server({**os.environ, "SEEDANCE_PROFILE": "sandbox"}, resolve_sandbox=resolve_sandbox)
    ) as client:
        host = Host(client)
        got = await host.call("get_job", job_id=dead.job_id)
        again = await host.animate_to_the_end(image=str(broken_off.folder / "boat.png"), prompt="It sails")

    assert (got["status"], got["error"]) == ("failed", SHOWN)
    assert (got["video_url"], got["receipt"]["explorer_url"]) == (None, None)
    assert got["receipt"]["transaction"] == dead.receipt.transaction  # pyright: ignore[reportOptionalMemberAccess]  # it was paid
    assert again["status"] == "complete"
    assert again["job_id"] != dead.job_id


async def test_the_gallery_shows_it_as_failed_and_links_to_nothing_that_is_gone(dead: Job, settings: Settings) -> None:
    viewer = Viewer(locate=lambda name, kind, _: f"{name}/{kind}", live=False)
    show: Any = await build_show(settings, viewer)

    [video] = show["clips"]
    assert (video["job_id"], video["status"], video["error"]) == (dead.job_id, "failed", SHOWN)
    assert (video["receipt_url"], [frame["url"] for frame in video["frames"]]) == (None, [None])
    assert video["receipt"] is not None


@pytest.mark.slow
async def test_a_job_goes_on_while_its_process_lives(person: Person) -> None:
    command, *words = build_command("seedance_mcp")
    environ = {**os.environ, "SEEDANCE_PROFILE": "sandbox"}
    parameters = StdioServerParameters(command=command, args=words, env=environ)
    async with Client(parameters) as client:
        host = Host(client)
        begun = await host.call("animate_image", image=str(person.folder / "boat.png"), prompt="x", wait_seconds=0)
        while not begun["job_id"]:
            begun = await host.call("animate_image", image=str(person.folder / "boat.png"), prompt="x", wait_seconds=1)
        [seen] = (await run_in_thread(lambda: person.run("jobs", "--sandbox", "--json"))).json
        done = await host.call("get_job", job_id=begun["job_id"])
    assert (seen["job_id"], seen["error"]) == (begun["job_id"], None)
    assert seen["status"] != "failed"
    assert done["status"] == "complete"


async def test_a_job_of_a_standing_sandbox_is_ended_only_when_that_is_gone(
    settings: Settings, make_sandbox: Callable[..., Sandbox]
) -> None:
    standing = make_sandbox(job_seconds=60)
    await write_job(settings, standing.url)
    await end_orphans(settings)
    stood = await read_jobs(settings)
    standing.stop()
    await end_orphans(settings)

    assert [job.status for job in stood] == ["pending"]
    assert [(job.status, job.error) for job in await read_jobs(settings)] == [("failed", ENDED)]


async def test_a_real_studios_ledger_is_never_looked_at(settings: Settings) -> None:
    real = replace(settings, profile=LIVE, embedded=False)
    await write_job(real, find_dead_studio())

    await resolve_sandbox(real)

    assert [job.status for job in await read_jobs(real)] == ["pending"]


@pytest.mark.parametrize("studio", ["https://127.0.0.1:9", "http://127.0.0.1", "", "not an address"])
async def test_of_a_studio_elsewhere_no_one_can_say_that_it_is_gone(settings: Settings, studio: str) -> None:
    await write_job(settings, studio)

    await end_orphans(settings)

    assert [job.status for job in await read_jobs(settings)] == ["pending"]


async def test_a_video_that_was_made_and_not_saved_is_lost_too(settings: Settings) -> None:
    await write_job(settings, find_dead_studio(), complete=True)

    await end_orphans(settings)

    [job] = await read_jobs(settings)
    assert (job.status, job.error, job.video_url, job.thumbnail_url) == ("failed", ENDED, None, None)
    assert job.finished


async def test_calls_that_come_together_bring_up_one_sandbox(settings: Settings) -> None:
    runtime = Runtime(
        {"SEEDANCE_PROFILE": "sandbox", **os.environ}, resolve_sandbox=resolve_sandbox, start=lambda _: None
    )
    found: list[Settings] = []

    async def ask() -> None:
        found.append(await runtime.settings())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert len({one.profile.studio_url for one in found}) == 1


async def test_a_receipt_is_a_link_only_at_the_sandbox_that_gave_it(settings: Settings) -> None:
    studio = find_dead_studio()
    await write_job(settings, studio)
    [job] = await read_jobs(settings)

    here = show_job(job, settings.at_studio(studio).profile)["receipt"]
    elsewhere = show_job(job, settings.at_studio(find_dead_studio()).profile)["receipt"]
    live = show_job(job, LIVE)["receipt"]

    assert here is not None
    assert elsewhere is not None
    assert live is not None
    assert here["explorer_url"] == f"{studio}/_sandbox/tx/{here['transaction']}"
    assert elsewhere["explorer_url"] is None
    assert json.dumps(live["explorer_url"]).startswith('"https://basescan.org/tx/')
