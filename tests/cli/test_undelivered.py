"""A paid video that is not on disk, as a person at a terminal and in the gallery sees it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.cli.conftest import Person
from tests.jobs.test_downloads import RESULT_SECONDS, let_pass

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

ANIMATE = ("animate", "boat.png", "--prompt", "It sails")


@pytest.fixture
def sandbox(make_sandbox: Callable[..., "Sandbox"]) -> "Sandbox":
    return make_sandbox(faults=("expired_result",))


@pytest.fixture
def buyer(tmp_path: Path, sandbox: "Sandbox", funded_key: str) -> Person:
    """A person who has just tried to buy a video whose URLs are all dead."""
    environ = {
        "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": sandbox.url, "SEEDANCE_WALLET_KEY": funded_key,
    }  # fmt: skip
    person = Person(folder=tmp_path, environ=environ)
    person.draw("boat.png")
    return person


def read_gallery(person: Person) -> dict[str, Any]:
    """The one video of an exported gallery."""
    assert person.run("gallery", "--export", "page").code == 0
    page = (person.folder / "page" / "index.html").read_text()
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    [video] = json.loads(data[1])["clips"]
    return video


def test_an_unsaved_video_shows_its_url_until_it_expires(buyer: Person, sandbox: "Sandbox") -> None:
    ended = buyer.run(*ANIMATE, "--json")
    error = ended.json["error"]
    assert (ended.code, error["code"], error["payment_state"]) == (5, "video_unsaved", "settled")
    assert error["job_id"] in error["video_url"]
    assert 0 <= error["video_url_age_seconds"] < 60
    assert f"«{error['video_url']}»" in buyer.run("get", error["job_id"]).err
    video = read_gallery(buyer)
    assert (video["video_url"], video["claim"], video["url_seen_at"] > 0) == (error["video_url"], None, True)

    let_pass(buyer.data_dir, RESULT_SECONDS + 60)
    expired = buyer.run("get", error["job_id"])
    assert expired.code == 1
    for text in ("Paid, result expired.", "Claim for the studio's support", error["job_id"], "0x"):
        assert text in expired.err
    assert "The studio says" not in expired.err
    again = buyer.run(*ANIMATE, "--json")
    assert (again.code, again.json["job_id"], again.json["status"]) == (1, error["job_id"], "failed")
    video = read_gallery(buyer)
    assert (video["video_url"], video["claim"].startswith("Claim")) == (None, True)

    httpx.post(f"{sandbox.url}/_sandbox/faults", json={"faults": []}).raise_for_status()
    revived = buyer.run("get", error["job_id"], "--json")
    assert (revived.code, Path(revived.json["file"]).exists()) == (0, True)
    assert len(sandbox.chain.settlements()) == 2
