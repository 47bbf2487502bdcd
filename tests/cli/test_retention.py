"""What is kept for how long: old videos and pictures go, the ledger's rows stay, and nothing else is touched."""

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client

from seedance_mcp.server import build_server
from tests.cli.conftest import Person

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

DAY = 24 * 3600
PICTURE = "ab" * 32 + ".jpg"


def age(file: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(file, (then, then), follow_symlinks=False)


def make(file: Path, *, days: float = 100) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 1000)
    age(file, days)
    return file


def buy(customer: Person, name: str) -> dict[str, Any]:
    customer.draw(name)
    done = customer.run("animate", name, "--prompt", f"It moves {name}", "--json")
    assert done.code == 0, done.err
    return done.json


def test_old_video_is_pruned_and_its_job_says_so(customer: Person) -> None:
    old, new = buy(customer, "old.png"), buy(customer, "new.png")
    file = Path(old["file"])
    age(file, 31)

    dry = customer.run("prune", "--older-than", "30", "--dry-run", "--json").json
    assert dry["files"] == [str(file)]
    assert file.exists()
    done = customer.run("prune", "--older-than", "30", "--json")
    assert (done.code, done.json["files"], done.json["dry_run"]) == (0, [str(file)], False)
    assert not file.exists()
    assert Path(new["file"]).exists()

    got = customer.run("get", old["job_id"], "--json")
    assert (got.code, got.json["status"], got.json["file"]) == (0, "complete", None)
    assert "deleted later because of its age" in got.json["next_step"]
    assert not file.exists(), "it is not fetched again"
    jobs = {job["job_id"]: job for job in customer.run("jobs", "--json", "--limit", "100").json}
    assert jobs[old["job_id"]]["price_usd"] == old["price_usd"]
    assert customer.run("prune", "--older-than", "30", "--json").json["files"] == []


def test_nothing_but_our_own_old_files_is_pruned(person: Person) -> None:
    videos = person.data_dir / "sandbox" / "videos"
    outside = make(person.folder / "0001-outside-abcdef.mp4")
    ours = [
        make(videos / "0001-a-cat-abcdef.mp4"),
        make(videos / "0001-a-cat-abcdef.jpg"),
        make(videos / "0012-猫が跳ぶ-012345.webm"),
        make(videos / "frames" / PICTURE),
        make(videos / "prepared" / PICTURE),
    ]
    theirs = [
        make(videos / "holiday.mp4"),
        make(videos / "0001-a-cat-abcdef.txt"),
        make(videos / "0001-a-cat-ABCDEF.mp4"),
        make(videos / PICTURE),
        make(videos / "frames" / "cat.jpg"),
        make(videos / "sub" / "0001-a-cat-abcdef.mp4"),
        make(videos / "0002-young-abcdef.mp4", days=10),
        make(person.data_dir / "sandbox" / "0001-a-cat-abcdef.mp4"),
        make(person.data_dir / "sandbox" / "wallet.json"),
    ]
    link = videos / "0003-link-abcdef.mp4"
    link.symlink_to(outside)
    age(link, 100)

    done = person.run("prune", "--older-than", "30", "--sandbox", "--json")

    assert done.code == 0, done.err
    assert sorted(done.json["files"]) == sorted(map(str, ours))
    assert done.json["size_bytes"] == 5000
    assert not any(file.exists() for file in ours)
    assert all(file.exists() for file in (*theirs, outside))
    assert link.is_symlink()


@pytest.mark.parametrize("linked", ["videos", "frames"])
def test_linked_folder_is_not_followed(person: Person, linked: str) -> None:
    elsewhere = person.folder / "elsewhere"
    kept = [make(elsewhere / "0001-a-cat-abcdef.mp4"), make(elsewhere / PICTURE)]
    videos = person.data_dir / "sandbox" / "videos"
    place = videos if linked == "videos" else videos / "frames"
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere, target_is_directory=True)

    done = person.run("prune", "--older-than", "1", "--sandbox")

    assert done.code == (2 if linked == "videos" else 0)
    assert all(file.exists() for file in kept)


def test_keep_days_is_the_age_and_without_one_nothing_is_pruned(person: Person) -> None:
    old = make(person.data_dir / "sandbox" / "videos" / "0001-a-cat-abcdef.mp4", days=8)
    unset = person.run("prune", "--sandbox")
    assert unset.code == 2
    assert "SEEDANCE_KEEP_DAYS" in unset.one_line
    for wrong in ("0", "-1", "soon", "1.5"):
        assert "SEEDANCE_KEEP_DAYS" in person.run("prune", "--sandbox", SEEDANCE_KEEP_DAYS=wrong).one_line
    assert old.exists()
    assert person.run("prune", "--sandbox", "--json", SEEDANCE_KEEP_DAYS="9").json["files"] == []
    assert person.run("prune", "--sandbox", SEEDANCE_KEEP_DAYS="7").out == f"{old}\n"
    assert not old.exists()


async def test_server_prunes_by_itself_and_serves_the_pruned_job(
    studio_server: "Sandbox", funded_key: str, make_picture: Any, tmp_path: Path
) -> None:
    environ = {
        "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio_server.url, "SEEDANCE_WALLET_KEY": funded_key,
        "SEEDANCE_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip
    video = {"image": str(make_picture()), "prompt": "pruned by the server"}
    async with Client(build_server(environ)) as client:
        bought: dict[str, Any] = (await client.call_tool("animate_image", video)).structured_content or {}
    file = Path(bought["file"])
    age(file, 3)
    async with Client(build_server({**environ, "SEEDANCE_KEEP_DAYS": "2"})) as client:
        with anyio.fail_after(60):
            while file.exists():
                job = await client.call_tool("get_job", {"job_id": bought["job_id"]})
        job = await client.call_tool("get_job", {"job_id": bought["job_id"]})
        again = await client.call_tool("animate_image", video)
        listed = await client.call_tool("list_jobs", {})

    for answer in (job, again):
        assert not answer.is_error
        told: dict[str, Any] = answer.structured_content or {}
        assert (told["job_id"], told["file"], told["price_usd"]) == (bought["job_id"], None, bought["price_usd"])
        assert "deleted later because of its age" in told["next_step"]
    assert "Call get_job" not in json.dumps(listed.structured_content)
    assert not file.exists()


def test_unused_received_pictures_go_after_a_day_and_used_ones_with_their_age(person: Person) -> None:
    pictures, videos = person.data_dir / "sandbox" / "pictures", person.data_dir / "sandbox" / "videos"
    one, other, upload_id = "ab" * 32, "cd" * 32, "0" * 31
    make(videos / "frames" / f"{one}.jpg", days=3)
    old = [
        make(pictures / f"{upload_id}1.{one}", days=31),
        make(pictures / f"{upload_id}2.{other}", days=1.1),
        make(pictures / f"{upload_id}3.waiting", days=1.1),
        make(pictures / f".{upload_id}4.{other}.part", days=1.1),
    ]
    kept = [
        make(pictures / f"{upload_id}5.{one}", days=29),
        make(pictures / f"{upload_id}6.{other}", days=0.9),
        make(pictures / f"{upload_id}7.waiting", days=0.1),
        make(pictures / "holiday.png"),
        make(pictures / f"{upload_id}.{other}"),
    ]
    dry = person.run("prune", "--older-than", "30", "--dry-run", "--sandbox", "--json").json
    assert sorted(dry["files"]) == sorted(map(str, old))
    assert person.run("prune", "--older-than", "30", "--sandbox", "--json").json["files"] == dry["files"]
    assert not any(file.exists() for file in old)
    assert all(file.exists() for file in kept)
