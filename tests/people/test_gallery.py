"""The gallery: shows what is in the ledger, to its owner alone, and whatever a stranger wrote stays text."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from seedance_mcp.config import Settings, read_settings
from seedance_mcp.gallery.exporting import export_gallery
from seedance_mcp.gallery.rendering import encode_data, render_page
from seedance_mcp.gallery.serving import build_app
from seedance_mcp.gallery.showing import build_show
from seedance_mcp.ledger import Job
from seedance_mcp.ledger.sqlite import SQLiteLedger
from seedance_mcp.wire.exchange import PaidRequest, Receipt, Settled
from seedance_mcp.wire.jobs import JobStatus
from tests.ledger.rows import STUDIO, WALLET, sign, write_offer
from tests.people.conftest import Person

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028 @@SCRIPT@@"
ORIGIN = "http://127.0.0.1:8477"
CLIP = b"\0\0\0\x18ftypmp42" + b"v" * 5000


@pytest.fixture
def settings() -> Settings:
    return read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": "data"})


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Settings:
    """Two clips, one of them hostile and saved, and a payment without an answer."""
    monkeypatch.chdir(tmp_path)
    settings.videos_dir.mkdir(parents=True)
    ledger = SQLiteLedger(settings.ledger_file)
    now = time.time()
    for job_id, prompt in (("job-1", HOSTILE), ("job-2", "Waves"), ("", "Lost")):
        arguments: dict[str, object] = {"prompt": prompt, "model": "seedance-fast", "duration": 4, "resolution": "480p"}
        request = PaidRequest(purpose="generation", fingerprint=prompt, url=STUDIO, body=b"{}", arguments=arguments)
        with ledger.writing() as books:
            payment = books.reserve(request, write_offer(320_000), wallet=WALLET, hold_until=int(now) + 60, now=now)
        payment = sign(ledger, payment, now=now)
        if job_id:
            receipt = Receipt(rail="x402", network="eip155:402402", transaction='"><b>x')
            payment = ledger.conclude(payment, Settled(receipt=receipt, answer=b"{}"), now=now)
            ledger.add_job(payment, job_id, studio=STUDIO, status="pending", now=now)
    clip = settings.videos_dir / "one.mp4"
    clip.write_bytes(CLIP)
    complete = JobStatus(
        job_id="job-1", status="complete", progress=100, error=HOSTILE, video_url="https://x/y", thumbnail_url=None,
        created_at=None, input=None, type=None,
    )  # fmt: skip
    ledger.update_job(complete, now=now)
    ledger.finish_job("job-1", file=str(clip), thumbnail=None)
    ledger.close()
    return settings


@pytest.fixture
def client(history: Settings) -> Generator[TestClient]:
    with TestClient(build_app(history, origin=ORIGIN, token="t0ken"), base_url=ORIGIN) as client:
        yield client


def test_it_shows_clips_money_and_what_is_open(client: TestClient) -> None:
    show = client.get("/t0ken/data.json").json()
    assert [(clip["job_id"], clip["status"]) for clip in show["clips"]] == [("job-2", "pending"), ("job-1", "complete")]
    assert show["money"]["days"][-1]["micro_usdc"] == 640_000
    assert show["money"]["spent_last_day_micro_usdc"] == 960_000
    assert show["open"][0]["text"].startswith("Payment 3: $0.32 for a clip has no answer yet")


def test_a_strangers_words_stay_data(client: TestClient) -> None:
    page = client.get("/t0ken/").text
    assert page.count("<script") == 2
    assert "<img src=x" not in page
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["clips"][1]["prompt"] == HOSTILE
    assert "innerHTML" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)  # nothing is loaded from elsewhere
    assert "default-src 'none'" in page
    assert "unsafe" not in page


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
)
def test_no_text_can_end_the_element_it_stands_in(value: object) -> None:
    text = encode_data({"value": value})
    assert not re.search("[<>&]", text)
    assert text.isascii()
    assert json.loads(text) == {"value": value}


def test_a_clip_is_streamed_in_parts(client: TestClient) -> None:
    part = client.get("/t0ken/media/job-1/clip", headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"ftyp", "video/mp4")


@pytest.mark.parametrize(
    "path",
    ["/", "/data.json", "/wrong/", "/t0ken", "/t0ken/media/job-1/poster", "/t0ken/media/job-9/clip",
     "/t0ken/media/job-1/wallet", "/t0ken/media/..%2f..%2fwallet.json/clip", "/t0ken/../wallet.json"],
)  # fmt: skip
def test_nothing_else_is_there(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


def test_a_file_outside_the_videos_folder_is_not_served(client: TestClient, history: Settings) -> None:
    secret = history.data_dir / "wallet.json"
    secret.write_text("key")
    ledger = SQLiteLedger(history.ledger_file)
    ledger.finish_job("job-1", file=str(history.videos_dir / ".." / "wallet.json"), thumbnail=str(secret))
    ledger.close()
    assert client.get("/t0ken/media/job-1/clip").status_code == 404
    assert client.get("/t0ken/media/job-1/poster").status_code == 404


@pytest.mark.parametrize("host", ["evil.test:8477", "127.0.0.1", "localhost:8477", ""])
def test_another_name_for_this_machine_is_refused(host: str, client: TestClient) -> None:
    assert client.get("/t0ken/", headers={"host": host}).status_code == 421


def test_answers_are_kept_by_nobody(client: TestClient) -> None:
    headers = client.get("/t0ken/").headers
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")


def test_a_damaged_ledger_is_said_and_not_a_crash(client: TestClient, history: Settings) -> None:
    history.ledger_file.write_bytes(b"not a database" * 400)
    for suffix in ("-wal", "-shm"):
        history.ledger_file.with_name(history.ledger_file.name + suffix).unlink(missing_ok=True)
    assert client.get("/t0ken/data.json").status_code == 503


def test_an_empty_house_has_a_page_too(settings: Settings) -> None:
    def locate(job: Job, file: Path) -> str:
        raise AssertionError("there is nothing to name")

    assert '"clips": []' in render_page(build_show(settings, locate=locate, live=False))


def test_it_is_written_as_files_and_a_folder_of_others_is_left_alone(person: Person) -> None:
    done = person.run("gallery", "--export", "out", "--sandbox")
    assert done.code == 0
    assert Path(done.out.strip()).read_text().startswith("<!doctype html>")
    assert person.run("gallery", "--export", "out", "--sandbox").code == 0
    (person.folder / "mine").mkdir()
    (person.folder / "mine" / "thesis.txt").write_text("x")
    refused = person.run("gallery", "--export", "mine", "--sandbox")
    assert refused.code == 2
    assert "holds something else" in refused.one_line


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--virtual-time-budget=3000",
)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_cards_and_runs_nothing_of_a_strangers(
    history: Settings, tmp_path: Path, width: int
) -> None:
    page = export_gallery(history, tmp_path / "out")
    shown = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert shown.count('<article class="clip"') == 2
    assert shown.count("<script") == 2
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in shown
    assert "onerror" not in re.sub(
        r"<script.*?</script>|<p class=.(?:prompt|problem).*?</p>", "", shown, flags=re.DOTALL
    )
    assert "2 clips" in shown
    assert "limit $5.00" in shown
