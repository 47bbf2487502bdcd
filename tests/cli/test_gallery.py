"""The gallery: shows what is in the ledger, to its owner alone, and whatever an untrusted party wrote stays text."""

import io
import json
import os
import re
import socket
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageStat
from starlette.testclient import TestClient, WebSocketDenialResponse

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.app.web.gallery.changes import ShowReader, stream_changes
from seedance_mcp.app.web.gallery.data import Known, Viewer, build_show
from seedance_mcp.app.web.gallery.page import render_page
from seedance_mcp.app.web.gallery.server import build_app
from seedance_mcp.app.web.parts import encode_data
from seedance_mcp.cli.gallery.export import export_gallery
from seedance_mcp.config.settings import Settings, read_settings
from seedance_mcp.core.films import Film, Shot
from seedance_mcp.core.wire.jobs import JobStatus
from seedance_mcp.core.wire.responses import PaidRequest, Receipt, Settled
from tests.adapters.ledger.rows import STUDIO, WALLET, sign, write_offer
from tests.cli.conftest import Person
from tests.ledgers import work_on

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028 @@SCRIPT@@"
EVENT_SECONDS = 20
ORIGIN = "http://127.0.0.1:8477"
CLIP = b"\0\0\0\x18ftypmp42" + b"v" * 5000


@pytest.fixture
def settings() -> Settings:
    return read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": "data"})


async def write_history(videos_dir: Path, ledger: SQLiteLedger) -> None:
    now = time.time()
    for job_id, prompt in (("job-1", HOSTILE), ("job-2", "Waves"), ("", "Lost")):
        arguments: dict[str, object] = {"prompt": prompt, "model": "seedance-fast", "duration": 4, "resolution": "480p"}
        request = PaidRequest(purpose="generation", idempotency_key=prompt, url=STUDIO, body=b"{}", arguments=arguments)
        async with ledger.lock_budget() as transaction:
            payment = await transaction.reserve(
                request, write_offer(320_000), wallet=WALLET, hold_until=int(now) + 60, now=now
            )
        payment = await sign(ledger, payment, now=now)
        if job_id:
            receipt = Receipt(rail="x402", network="eip155:402402", transaction='"><b>x')
            payment = await ledger.conclude(payment, Settled(receipt=receipt, answer=b"{}"), now=now)
            await ledger.add_job(payment, job_id, studio=STUDIO, status="pending", now=now)
    video = videos_dir / "one.mp4"
    video.write_bytes(CLIP)
    complete = JobStatus(
        job_id="job-1", status="complete", progress=100, error=HOSTILE, video_url="https://x/y", thumbnail_url=None,
        created_at=None, input=None, type=None,
    )  # fmt: skip
    await ledger.update_job(complete, now=now)
    await ledger.finish_job("job-1", file=str(video), thumbnail=None)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Settings:
    """Two videos, one of them hostile and saved, and a payment without an answer."""
    monkeypatch.chdir(tmp_path)
    settings.videos_dir.mkdir(parents=True)
    work_on(settings.ledger_file, partial(write_history, settings.videos_dir))
    return settings


@pytest.fixture
def client(history: Settings) -> Generator[TestClient]:
    with TestClient(build_app(history, origin=ORIGIN, token="t0ken"), base_url=ORIGIN) as client:
        yield client


def test_it_shows_videos_money_and_what_is_open(client: TestClient) -> None:
    show = client.get("/t0ken/data.json").json()
    assert [(video["job_id"], video["status"]) for video in show["clips"]] == [
        ("job-2", "pending"),
        ("job-1", "complete"),
    ]
    assert show["money"]["days"][-1]["micro_usdc"] == 640_000
    assert show["money"]["spent_last_day_micro_usdc"] == 960_000
    held = show["open"][0]
    assert (held["payment_id"], held["amount_micro_usdc"], held["prompt"], held["state"]) == (
        3,
        320_000,
        "Lost",
        "signed",
    )


def test_sums_are_by_day_month_and_model(client: TestClient) -> None:
    money = client.get("/t0ken/data.json").json()["money"]
    today = datetime.now().astimezone().date().isoformat()
    sums = {"micro_usdc": 640_000, "videos": 2, "models": {"seedance-fast": 640_000}}
    assert (len(money["days"]), money["days"][-1]) == (30, {"name": today, **sums})
    assert (len(money["months"]), money["months"][-1]) == (12, {"name": today[:7], **sums})
    assert money["months"][0]["micro_usdc"] == 0


def test_video_has_what_its_command_needs(client: TestClient, history: Settings) -> None:
    show = client.get("/t0ken/data.json").json()
    saved = show["clips"][1]
    assert show["command"] == "seedance-mcp animate --sandbox"
    assert saved["file"] == str(history.videos_dir / "one.mp4")
    assert saved["options"] == {}, "all of them are defaults"
    assert saved["download"].endswith(".mp4")


def test_exported_page_names_no_path_of_this_machine(history: Settings, tmp_path: Path) -> None:
    page = anyio.run(export_gallery, history, tmp_path / "out")
    assert str(tmp_path) not in page.read_text()


def test_untrusted_words_stay_data(client: TestClient) -> None:
    page = client.get("/t0ken/").text
    assert page.count("<script") == 2
    assert "import {" not in page
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


def test_a_video_is_streamed_in_parts(client: TestClient) -> None:
    part = client.get("/t0ken/media/job-1/clip", headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"ftyp", "video/mp4")


ELSEWHERE = (
    "/", "/data.json", "/wrong/", "/t0ken", "/t0ken/media/job-1/poster", "/t0ken/media/job-9/clip",
    "/t0ken/media/job-1/wallet", "/t0ken/media/job-1/first", "/t0ken/media/..%2f..%2fwallet.json/clip",
    "/t0ken/../wallet.json",
)  # fmt: skip


def test_nothing_else_is_there(client: TestClient) -> None:
    assert {path: client.get(path).status_code for path in ELSEWHERE} == dict.fromkeys(ELSEWHERE, 404)


def test_a_file_outside_the_videos_folder_is_not_served(client: TestClient, history: Settings) -> None:
    secret = history.data_dir / "wallet.json"
    secret.write_text("key")
    video = str(history.videos_dir / ".." / "wallet.json")
    work_on(history.ledger_file, lambda ledger: ledger.finish_job("job-1", file=video, thumbnail=str(secret)))
    assert client.get("/t0ken/media/job-1/clip").status_code == 404
    assert client.get("/t0ken/media/job-1/poster").status_code == 404


def test_another_name_for_this_machine_is_refused(client: TestClient) -> None:
    for host in ("evil.test:8477", "127.0.0.1", "localhost:8477", ""):
        assert client.get("/t0ken/", headers={"host": host}).status_code == 421, host


def test_refuses_a_page_of_another_origin(client: TestClient) -> None:
    for origin in ("https://evil.test", "null", "http://127.0.0.1", "http://localhost:8477"):
        assert client.get("/t0ken/data.json", headers={"origin": origin}).status_code == 403, origin
    assert client.get("/t0ken/data.json", headers={"origin": ORIGIN}).status_code == 200


def test_refuses_a_second_host_header(client: TestClient) -> None:
    hosts = [("host", "127.0.0.1:8477"), ("host", "evil.test")]
    assert client.get("/t0ken/", headers=hosts).status_code == 421


def test_refuses_a_websocket_of_another_origin(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/t0ken/", headers={"origin": "https://evil.test", "host": "127.0.0.1:8477"}),
    ):
        pass
    assert refused.value.status_code == 403


@pytest.mark.parametrize("path", ["/t0ken/", "/wrong/"])
def test_no_response_is_cached_or_names_its_referrer(path: str, client: TestClient) -> None:
    headers = client.get(path).headers
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")


def test_a_damaged_ledger_is_said_and_not_a_crash(client: TestClient, history: Settings) -> None:
    history.ledger_file.write_bytes(b"not a database" * 400)
    for suffix in ("-wal", "-shm"):
        history.ledger_file.with_name(history.ledger_file.name + suffix).unlink(missing_ok=True)
    assert client.get("/t0ken/data.json").status_code == 503


def test_an_empty_house_has_a_page_too(settings: Settings) -> None:
    def locate(name: str, kind: str, file: Path) -> str:
        raise AssertionError("there is nothing to name")

    assert '"clips": []' in render_page(anyio.run(partial(build_show, settings, Viewer(locate=locate, live=False))))


def test_a_video_is_shown_with_the_pictures_it_was_made_of(customer: Person) -> None:
    first, last = customer.draw("first.png"), customer.draw("last.png")
    hosted = customer.run("upload", str(last)).out.strip()
    done = customer.run("animate", str(first), "--last-image", hosted, "--prompt", "x", "--json")
    assert done.code == 0
    settings = read_settings({**os.environ, **customer.environ})
    with TestClient(build_app(settings, origin=ORIGIN, token="t0ken"), base_url=ORIGIN) as client:
        frames = client.get("/t0ken/data.json").json()["clips"][0]["frames"]
        assert [(frame["name"], bool(frame["url"])) for frame in frames] == [("first", True), ("last", True)]
        shown = [client.get(f"/t0ken/{frame['picture']}") for frame in frames]
    assert [answer.headers["content-type"] for answer in shown] == ["image/jpeg", "image/jpeg"]
    for answer, drawn in zip(shown, (first, last), strict=True):
        with Image.open(io.BytesIO(answer.content)) as small, Image.open(drawn) as whole:
            assert small.size == (512, 288)
            pairs = zip(ImageStat.Stat(small).mean, ImageStat.Stat(whole).mean, strict=True)
            assert all(abs(one - other) < 4 for one, other in pairs)


def test_a_video_is_bought_also_where_its_pictures_cannot_be_kept(customer: Person) -> None:
    videos = customer.data_dir / "sandbox" / "videos"
    videos.mkdir(parents=True)
    (videos / "frames").write_text("in the way")
    done = customer.run("animate", str(customer.draw("a.png")), "--prompt", "x", "--json")
    assert (done.code, done.json["status"]) == (0, "complete")
    page = Path(customer.run("gallery", "--export", "out").out.strip())
    (frame,) = read_show(page)["clips"][0]["frames"]
    assert frame["picture"] is None
    assert frame["url"].startswith("http://127.0.0.1:")  # where the studio hosts it: a link, not a picture


def test_a_payment_that_settled_without_a_job_is_still_open(client: TestClient, history: Settings) -> None:
    async def settle(ledger: SQLiteLedger) -> None:
        lost = await ledger.find_payment(3)
        assert lost is not None
        receipt = Receipt(rail="x402", network="eip155:402402", transaction="0x3")
        await ledger.conclude(lost, Settled(receipt=receipt, answer=b"?"), now=time.time())

    work_on(history.ledger_file, settle)
    assert [(one["payment_id"], one["state"]) for one in client.get("/t0ken/data.json").json()["open"]] == [
        (3, "settled")
    ]


def read_show(page: Path) -> Any:
    """What an exported page shows."""
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert data is not None
    return json.loads(data[1])


def test_it_is_written_as_files_and_again_over_itself(person: Person) -> None:
    done = person.run("gallery", "--export", "out", "--sandbox")
    assert done.code == 0
    assert Path(done.out.strip()).read_text().startswith("<!doctype html>")
    assert person.run("gallery", "--export", "out", "--sandbox").code == 0
    assert read_show(Path(done.out.strip()))["clips"] == []


def test_what_is_exported_is_whole_and_nothing_half_written_is_left(history: Settings, tmp_path: Path) -> None:
    page = anyio.run(export_gallery, history, tmp_path / "out")
    assert sorted(str(one.relative_to(page.parent)) for one in page.parent.rglob("*")) == [
        "index.html", "media", "media/one.mp4"
    ]  # fmt: skip
    assert (page.parent / "media" / "one.mp4").read_bytes() == CLIP
    page.unlink()  # an export that was broken off before its page goes on
    assert anyio.run(export_gallery, history, tmp_path / "out") == page
    assert read_show(page)["clips"][1]["video"] == "media/one.mp4"


@pytest.mark.parametrize("theirs", [("thesis.txt",), ("index.html",), ("index.html", "media/photo.jpg")])
def test_a_folder_of_something_else_is_left_alone(person: Person, theirs: tuple[str, ...]) -> None:
    for name in theirs:
        (person.folder / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (person.folder / "mine" / name).write_text("my own")
    refused = person.run("gallery", "--export", "mine", "--sandbox")
    assert refused.code == 2
    assert "mine has other files in it." in refused.one_line
    assert sorted(file for file in (person.folder / "mine").rglob("*") if file.is_file()) == sorted(
        person.folder / "mine" / name for name in theirs
    )
    assert all((person.folder / "mine" / name).read_text() == "my own" for name in theirs)


@pytest.mark.parametrize(
    ("target", "says"),
    [("note.txt", "note.txt is a file."), ("note.txt/out", "cannot be written: Not a directory."),
     ("/proc/seedance/out", "cannot be written: No such file or directory.")],
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_said_in_one_line(person: Person, target: str, says: str) -> None:
    (person.folder / "note.txt").write_text("keep me")
    refused = person.run("gallery", "--export", target, "--sandbox")
    assert refused.code == 2
    assert says in refused.one_line
    assert (person.folder / "note.txt").read_text() == "keep me"


def test_an_earlier_export_stays_where_the_ledger_cannot_be_read_any_more(
    history: Settings, tmp_path: Path, person: Person
) -> None:
    page = anyio.run(export_gallery, history, tmp_path / "out")
    before = page.read_bytes()
    history.ledger_file.write_bytes(b"not a database" * 400)
    for suffix in ("-wal", "-shm"):
        history.ledger_file.with_name(history.ledger_file.name + suffix).unlink(missing_ok=True)
    refused = person.run("gallery", "--export", "out", "--sandbox", SEEDANCE_DATA_DIR="data")
    assert refused.code == 2
    assert "cannot be used: file is not a database" in refused.one_line
    assert page.read_bytes() == before


def test_a_port_that_is_taken_is_said_in_one_line(person: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = person.run("gallery", "--port", str(port), "--no-open", "--sandbox")
    assert refused.code == 2
    assert f"The gallery cannot use port {port}: Address already in use." in refused.one_line
    assert refused.one_line.endswith("Choose another --port.")


async def read_event(changes: AsyncGenerator[str]) -> tuple[str, Any]:
    """Return the next event's name and data."""
    with anyio.fail_after(EVENT_SECONDS):
        name, data, _ = (await anext(changes)).split("\n", 2)
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def open_reader(settings: Settings) -> ShowReader:
    viewer = Viewer(locate=lambda name, kind, _: f"{name}/{kind}", live=True)
    return ShowReader(settings, partial(build_show, settings, viewer))


async def test_page_is_told_everything_once_and_then_what_changed(history: Settings) -> None:
    changes = stream_changes(open_reader(history), "of yesterday")
    assert (await anext(changes)).startswith(":"), "the browser sees that the stream is open"
    name, first = await read_event(changes)
    assert name == "change"
    assert [video["job_id"] for video in first["clips"]] == ["job-2", "job-1"]
    assert first["show"]["money"]["spent_last_day_micro_usdc"] == 960_000
    ledger = await SQLiteLedger.open(history.ledger_file)
    running = JobStatus(
        job_id="job-2", status="loading", progress=40, error=None, video_url=None, thumbnail_url=None,
        created_at=None, input=None, type=None,
    )  # fmt: skip
    await ledger.update_job(running, now=time.time())
    _, change = await read_event(changes)
    await ledger.close()
    await changes.aclose()
    assert [(video["job_id"], video["progress"]) for video in change["clips"]] == [("job-2", 40)]
    assert (change["show"], change["gone"]) == (None, [])
    assert change["version"] != first["version"]


async def test_page_is_told_of_a_ledger_that_cannot_be_read(history: Settings) -> None:
    reader = open_reader(history)
    shown: Any = await reader.read()
    changes = stream_changes(reader, shown["version"])
    await anext(changes)
    history.ledger_file.write_bytes(b"not a database" * 400)
    assert await read_event(changes) == ("trouble", "The gallery cannot read the ledger now.")
    await changes.aclose()


async def test_ledger_is_read_again_only_if_it_changed(history: Settings) -> None:
    reader = open_reader(history)
    first = await reader.read()
    assert await reader.read() is first
    ledger = await SQLiteLedger.open(history.ledger_file)
    await ledger.finish_job("job-1", note="seen")
    await ledger.close()
    assert await reader.read() is not first


async def test_file_that_was_deleted_is_missed_by_the_next_reading(history: Settings) -> None:
    viewer = Viewer(locate=lambda name, kind, _: f"{name}/{kind}", live=True)
    known: Known = {}
    first: Any = await build_show(history, viewer, known=known)
    (history.videos_dir / "one.mp4").unlink()
    second: Any = await build_show(history, viewer, known=known)
    assert [video["missing"] for video in first["clips"]] == [False, False]
    assert [video["missing"] for video in second["clips"]] == [False, True]
    assert second["clips"][0] is first["clips"][0], "a job that did not change is not shown anew"


async def open_film(ledger: SQLiteLedger, file: str | None = None) -> None:
    """Write a film of three shots, of which one is saved, one runs and one is not bought."""
    now = time.time()
    shots = (Shot(job_id="job-1", price_micro_usdc=320_000), Shot(job_id="job-2"), Shot(share_micro_usdc=330_000))
    film = Film(
        film_id="film_1",
        studio=STUDIO,
        wallet=WALLET,
        definition={"v": 1, "shots": [{"prompt": HOSTILE}, {"prompt": "Waves"}, {"prompt": "Night"}], "options": {}},
        shots=shots,
        created_at=now,
        file=file,
    )
    async with ledger.lock_budget() as budget:
        film = await budget.open_film(film, amount_micro_usdc=330_000, now=now, lease_until=now + 60)
    if file is not None:
        await ledger.record_film(replace(film, state="complete", file=file), now=now)


def test_film_is_one_entry_with_its_shots(client: TestClient, history: Settings) -> None:
    work_on(history.ledger_file, open_film)
    show = client.get("/t0ken/data.json").json()
    film, *others = show["clips"]
    assert (film["job_id"], film["status"], film["progress"], film["size"]) == ("film_1", "loading", 33, "3 shots")
    assert [(shot["job_id"], shot["status"], shot["prompt"]) for shot in film["shots"]] == [
        ("job-1", "complete", HOSTILE),
        ("job-2", "pending", "Waves"),
        (None, "waiting", "Night"),
    ]
    assert film["price_micro_usdc"] == 320_000
    assert [(video["job_id"], video["film"]) for video in others] == [("job-2", "film_1"), ("job-1", "film_1")]
    assert show["open"][0]["amount_micro_usdc"] == 330_000, "what is reserved for its last shot"


def test_joined_film_is_streamed(client: TestClient, history: Settings) -> None:
    file = history.videos_dir / "film.mp4"
    file.write_bytes(CLIP)
    work_on(history.ledger_file, partial(open_film, file=str(file)))
    film = client.get("/t0ken/data.json").json()["clips"][0]
    sent = client.get(f"/t0ken/{film['video']}")
    assert (sent.content, sent.headers["content-type"], film["status"]) == (CLIP, "video/mp4", "complete")
    assert client.get("/t0ken/media/film_2/film").status_code == 404


def test_balance_before_the_first_payment_names_the_command(settings: Settings) -> None:
    with TestClient(build_app(settings, origin=ORIGIN, token="t0ken"), base_url=ORIGIN) as client:
        told = client.get("/t0ken/balances.json").json()
    assert told["balances"] == []
    assert "seedance-mcp wallet fund --sandbox" in told["note"]


def test_balance_is_what_the_chain_says(customer: Person) -> None:
    assert customer.run("animate", str(customer.draw("a.png")), "--prompt", "x", "--json").code == 0
    settings = read_settings({**os.environ, **customer.environ})
    with TestClient(build_app(settings, origin=ORIGIN, token="t0ken"), base_url=ORIGIN) as client:
        told = client.get("/t0ken/balances.json").json()
    assert told["note"] == ""
    assert told["balances"][0]["name"] == "Sandbox USDC"
    assert told["balances"][0]["micro_usdc"] > 0


def draw_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (640, 360), (40, 90, 160)).save(buffer, "PNG")
    return buffer.getvalue()


def test_picture_that_is_given_gets_a_name_for_the_tools(client: TestClient, history: Settings) -> None:
    data = draw_png()
    given = client.put("/t0ken/pictures", content=data)
    [file] = history.pictures_dir.iterdir()

    assert given.status_code == 201
    assert given.json()["image"] == f"upload:{file.name.partition('.')[0]}"
    assert file.read_bytes() == data


def test_picture_from_elsewhere_is_refused(client: TestClient, history: Settings) -> None:
    refused: list[tuple[str, dict[str, str], int]] = [
        ("/t0ken/pictures", {"origin": "https://evil.test"}, 403),
        ("/t0ken/pictures", {"host": "evil.test"}, 421),
        ("/0ther/pictures", {}, 404),
        ("/t0ken/pictures", {"content-type": "multipart/form-data; boundary=x"}, 415),
        ("/t0ken/", {}, 405),
    ]
    for path, headers, status in refused:
        assert client.put(path, content=draw_png(), headers=headers).status_code == status, headers
        assert not history.pictures_dir.exists()


def test_what_is_no_picture_is_refused_in_words(client: TestClient, history: Settings) -> None:
    refused = client.post("/t0ken/pictures", content=b"words")

    assert (refused.status_code, refused.json()) == (
        422,
        {"error": "The picture is a text, not a picture. Nothing was paid. Give the picture itself."},
    )
    assert not history.pictures_dir.exists()
