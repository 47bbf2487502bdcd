"""Videos in an object store that replicas share: saved once under their key, and found by all."""

import hashlib
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from seedance_mcp.adapters.media import partial_files
from seedance_mcp.app.rendering import ELSEWHERE, ON_ANOTHER_MACHINE, show_job, show_jobs
from seedance_mcp.app.services import Services
from seedance_mcp.app.video_links import VideoLinks
from seedance_mcp.config.settings import Settings
from seedance_mcp.core.errors import VideoUnsavedError
from seedance_mcp.core.records import Job
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.jobs.archive import SharedArchive
from seedance_mcp.jobs.history import JobList
from tests.postgres import require_postgres
from tests.replicas import KEYS, PUBLIC_URL, open_replica, read_replica_settings
from tests.servers import NO_TLS
from tests.shelves import Shelf

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

SECONDS = 30
NOW = 1_800_000_000.0


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


def list_files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


async def buy(services: Services, picture: Path, **arguments: Any) -> Job:
    until = anyio.current_time() + SECONDS
    request = VideoRequest(image=str(picture), prompt="x", **arguments)
    generated = await services.generation.generate(request, prepare_until=until, deadline=until)
    assert generated.job is not None
    return generated.job


async def get(services: Services, job_id: str) -> Job:
    return await services.jobs.get(job_id, deadline=anyio.current_time() + SECONDS)


async def test_video_is_saved_under_its_key_and_found_by_another_replica(
    make_sandbox: "Callable[..., Sandbox]", make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    url: str, shelf: Shelf,
) -> None:  # fmt: skip
    sandbox = make_sandbox()
    one, other = (read_replica_settings(sandbox, funded_key, tmp_path / name, url) for name in ("one", "other"))
    async with open_replica(one, shelf) as services:
        job = await buy(services, make_picture())
    async with open_replica(other, shelf) as services:
        found = await get(services, job.job_id)
        again = await buy(services, make_picture())
        archive = services.jobs.downloads.archive
        assert isinstance(archive, SharedArchive)
        stored = await archive.ledger.find_object(str(job.video_key))

    assert job.status == "complete"
    assert job.finished
    assert (job.file, job.video_key) == (None, f"videos/{job.job_id}.mp4")
    assert await shelf.list_keys() == [f"thumbnails/{job.job_id}.jpg", f"videos/{job.job_id}.mp4"]
    assert (found.video_key, found.thumbnail_key) == (job.video_key, f"thumbnails/{job.job_id}.jpg")
    assert again.job_id == job.job_id
    assert stored is not None
    data = await shelf.read(str(job.video_key))
    assert (stored.sha256, stored.size_bytes, stored.media_type) == (
        hashlib.sha256(data).hexdigest(), len(data), "video/mp4",
    )  # fmt: skip
    for settings in (one, other):
        assert not settings.videos_dir.exists()
        assert [file for file in list_files(settings.data_dir) if file.startswith("downloads/")] == []


async def test_a_replica_continues_a_download_that_keeps_breaking(
    make_sandbox: "Callable[..., Sandbox]", make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    url: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(partial_files, "OVERLAP_BYTES", 2000)
    sandbox = make_sandbox(faults=("video_ranges=honest", "broken_video=14000"), small_videos=False)
    settings = read_replica_settings(sandbox, funded_key, tmp_path / "one", url)
    async with open_replica(settings, shelf) as services:
        job = await buy(services, make_picture())
        video = await services.jobs.downloads.archive.read(job)
        archive = services.jobs.downloads.archive
        assert isinstance(archive, SharedArchive)
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        await http.post(f"{sandbox.url}/_sandbox/faults", json={"faults": []})
        assert video == (await http.get(str(job.video_url))).content
    assert list_files(archive.folder) == []


async def test_video_that_left_the_store_is_fetched_again(
    make_sandbox: "Callable[..., Sandbox]", make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    url: str, shelf: Shelf,
) -> None:  # fmt: skip
    settings = read_replica_settings(make_sandbox(), funded_key, tmp_path / "one", url)
    async with open_replica(settings, shelf) as services:
        job = await buy(services, make_picture())
        data = await shelf.read(str(job.video_key))
        await shelf.remove(str(job.video_key))
        again = await get(services, job.job_id)

    assert again.video_key == job.video_key
    assert await shelf.read(str(job.video_key)) == data


async def test_store_that_cannot_be_written_loses_no_video(
    make_sandbox: "Callable[..., Sandbox]", make_picture: Callable[..., Path], funded_key: str, tmp_path: Path,
    url: str, shelf: Shelf,
) -> None:  # fmt: skip
    settings = read_replica_settings(make_sandbox(), funded_key, tmp_path / "one", url)
    async with open_replica(settings, shelf) as services:
        shelf.take_away()
        with pytest.raises(VideoUnsavedError) as unsaved:
            await buy(services, make_picture())
        shelf.bring_back()
        job = await get(services, str(unsaved.value.job_id))

    assert re.match("The video is finished but not saved yet. The (object store|bucket)", str(unsaved.value))
    assert unsaved.value.payment_state == "settled"
    assert job.video_key is not None
    assert job.video_key in await shelf.list_keys()
    assert [file for file in list_files(settings.data_dir) if file.startswith("downloads/")] == []


# ── what a result says ───────────────────────────────────────────────────────────────────────────────────────────────


def finish(**changes: Any) -> Job:
    facts: dict[str, Any] = {
        "job_id": "job-1", "studio": "http://127.0.0.1:8402", "wallet": "0x", "payment_id": 1, "arguments": {},
        "status": "complete", "progress": 100, "created_at": NOW, "ended_at": NOW, "url_seen_at": NOW, "thumbnail_url": "https://studio.test/t.jpg",
        "video_url": "https://studio.test/v.mp4", "price_micro_usdc": 1,
    }  # fmt: skip
    return Job(**{**facts, **changes})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    from seedance_mcp.config.settings import read_settings

    return read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path)})


@pytest.fixture
def links() -> VideoLinks:
    return VideoLinks(public_url=PUBLIC_URL, keys=KEYS, seconds=900, now=lambda: NOW + 60)


def test_saved_video_has_a_link_of_ours_and_its_end(settings: Settings, links: VideoLinks) -> None:
    result = show_job(finish(video_key="videos/job-1.mp4"), settings.profile, links=links, now=NOW + 60)

    assert result["file"] is None
    assert str(result["video_url"]).startswith("http://videos.test/clips/job-1?expires=1800000960&signature=")
    assert result["video_url_expires_at"] == "2027-01-15T08:16:00Z"
    assert (result["video_url_age_seconds"], result["thumbnail_url"]) == (None, None)
    assert str(result["next_step"]) == "Done. Show the user video_url."


def test_unsaved_video_has_the_studios_url_and_its_expected_end(settings: Settings, links: VideoLinks) -> None:
    for shown in (links, None):
        result = show_job(finish(), settings.profile, links=shown, now=NOW + 60)

        assert result["video_url"] == "https://studio.test/v.mp4"
        assert result["video_url_expires_at"] == "2027-01-15T08:20:00Z"
        assert result["video_url_age_seconds"] == 60
        assert "save the video; its URL expires soon" in str(result["next_step"])


@pytest.mark.parametrize("job", [finish(video_key="k", pruned_at=NOW), finish(file="/gone.mp4")])
def test_video_that_no_link_reaches_has_no_url(settings: Settings, links: VideoLinks, job: Job) -> None:
    result = show_job(job, settings.profile, links=links, now=NOW)

    assert (result["video_url"], result["video_url_expires_at"], result["file"]) == (None, None, None)
    assert "deleted later" in str(result["next_step"]) or str(result["next_step"]) == ON_ANOTHER_MACHINE


def test_command_line_says_that_the_video_is_in_the_object_store(settings: Settings) -> None:
    result = show_job(finish(video_key="videos/job-1.mp4"), settings.profile, now=NOW)

    assert (result["video_url"], result["file"]) == (None, None)
    assert str(result["next_step"]) == ELSEWHERE


def test_list_of_a_hosted_server_names_no_file() -> None:
    jobs = JobList(jobs=(finish(file="/v.mp4"), finish(video_key="k")), notes=())
    result = show_jobs(jobs, has_files=False)

    assert [line["file"] for line in result["jobs"]] == [None, None]
    assert str(result["next_step"]) == "Nothing is running."
    running = show_jobs(JobList(jobs=(finish(),), notes=()), has_files=False)
    assert str(running["next_step"]) == "Call get_job with the job_id of one that is not complete."
