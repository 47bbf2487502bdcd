"""Pictures and videos of a hosted server, over HTTP at two replicas: given, bought, linked, and no one else's."""

import base64
import json
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import MCPError
from mcp.types import BlobResourceContents, ElicitResult, ImageContent, ResourceLink

from seedance_mcp.app.local_sandbox import prepare_wallet
from tests.hosting import (
    Server,
    build_modern_call,
    hand_out_tokens,
    open_http,
    start_server,
    wait_for_readiness,
    write_keys,
)
from tests.integration.host import draw
from tests.integration.test_references import write_sound
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

BOTH_ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture(scope="module")
def database() -> Generator[str]:
    with require_postgres(durable=True).database() as url:
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosted")


@pytest.fixture(scope="module")
def settings(standing_sandbox: "Sandbox", folder: Path, database: str) -> dict[str, str]:
    address = prepare_wallet(None, folder / "wallet.json")
    standing_sandbox.chain.mint(address, 50_000_000)
    return {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": standing_sandbox.url,
        "SEEDANCE_WALLET_FILE": str(folder / "wallet.json"),
        "SEEDANCE_STATE_KEYS_FILE": str(write_keys(folder)),
        "SEEDANCE_DATABASE_URL": database,
        "SEEDANCE_OBJECTS_URL": (folder / "objects").as_uri(),
        "SEEDANCE_MAX_PER_DAY": "50",
    }


@pytest.fixture(scope="module")
def replicas(settings: dict[str, str], folder: Path) -> Generator[tuple[Server, Server]]:
    """Two servers that are ready, for all tests of this module; none of them ends or breaks one."""
    with (
        start_server(settings, SEEDANCE_DATA_DIR=str(folder / "one")) as one,
        start_server(settings, SEEDANCE_DATA_DIR=str(folder / "other")) as other,
    ):
        for replica in (one, other):
            anyio.run(wait_for_readiness, replica)
        yield one, other


@pytest.fixture(scope="module")
def tokens(database: str) -> Generator[str]:
    return hand_out_tokens(database, "ann")


@pytest.fixture
def token(tokens: Generator[str]) -> str:
    """The token of a caller of this test."""
    return next(tokens)


@pytest.fixture
def other_token(tokens: Generator[str]) -> str:
    """The token of another caller."""
    return next(tokens)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return draw(tmp_path / "cat.png", colour=(secrets.randbelow(200), secrets.randbelow(200), 9))


def at(url: str, replica: Server) -> str:
    """Return the same URL at another replica."""
    parts = urlsplit(url)
    return f"{replica.url}{parts.path}" + (f"?{parts.query}" if parts.query else "")


@BOTH_ERAS
async def test_given_picture_becomes_a_linked_video_over_both_replicas(
    replicas: tuple[Server, Server], token: str, other_token: str, picture: Path, folder: Path, mode: str
) -> None:
    one, other = replicas
    async with one.connect(token, mode=mode) as host, open_http() as http:
        link = await host.call("upload_image")
        given = await http.put(at(link["upload_url"], other), content=picture.read_bytes())
        video = await host.animate_to_the_end(image=link["image"], prompt="x")
        resource = await host.client.read_resource(f"seedance://videos/{video['job_id']}")
        listed = await host.call("list_jobs")
    async with other.connect(token, mode=mode) as host, open_http(token) as http:
        again = await host.call("get_job", job_id=video["job_id"])
        sent = await http.get(f"{other.url}/clips/{video['job_id']}")
    async with open_http() as http:
        videos = [(await http.get(at(url, other))).content for url in (video["video_url"], again["video_url"])]
        part = await http.get(video["video_url"], headers={"range": "bytes=4-7"})
        unnamed = await http.get(f"{one.url}/clips/{video['job_id']}")
    async with other.connect(other_token, mode=mode) as host, open_http(other_token) as http:
        refused = await host.call("get_job", job_id=video["job_id"])
        quote = await host.call("quote_price", image=link["image"], prompt="x")
        with pytest.raises(MCPError):
            await host.client.read_resource(f"seedance://videos/{video['job_id']}")
        unknown = await http.get(f"{one.url}/clips/{video['job_id']}")

    assert link["upload_url"].startswith(f"{one.url}/uploads/")
    assert given.status_code == 201
    assert (video["status"], video["file"]) == ("complete", None)
    assert video["video_url"].startswith(f"{one.url}/clips/{video['job_id']}?expires=")
    assert again["video_url"].startswith(f"{other.url}/clips/")
    assert video["video_url_expires_at"] is not None
    stored = (folder / "objects" / "videos" / f"{video['job_id']}.mp4").read_bytes()
    assert videos == [stored, stored]
    assert (part.status_code, part.content) == (206, b"ftyp")
    [content] = resource.contents
    assert isinstance(content, BlobResourceContents)
    assert base64.b64decode(content.blob) == stored
    assert (sent.status_code, unnamed.status_code, unknown.status_code) == (302, 401, 404)
    assert refused.text.startswith("job_not_found: ")
    assert quote.text.startswith(f"image: There is no picture {link['image']}")
    assert [line["file"] for line in listed["jobs"]] == [None] * len(listed["jobs"])
    _, resource_link, thumbnail = again.result.content
    assert isinstance(resource_link, ResourceLink)
    assert str(resource_link.uri) == again["video_url"]
    assert resource_link.mime_type == "video/mp4"
    assert isinstance(thumbnail, ImageContent)


FILES = (
    "/etc/passwd", "cat.png", "./cat.png", "~/cat.png", "file:///etc/passwd", "C:\\cat.png", "../cat.png",
    "attachment:cat.png", "/mnt/user-data/uploads/cat.png",
)  # fmt: skip


async def test_file_of_a_caller_is_refused_with_the_way_to_give_it(replicas: tuple[Server, Server], token: str) -> None:
    async with replicas[0].connect(token) as host:
        answers = [
            (image, await host.call(tool, **arguments))
            for image in FILES
            for tool, arguments in (
                ("quote_price", {"image": image, "prompt": "x"}),
                ("upload_image", {"image": image}),
                ("animate_image", {"image": image, "prompt": "x"}),
                ("animate_image", {"references": [image], "prompt": "x"}),
            )
        ]
    for image, answer in answers:
        assert answer.failed, image
        assert "is not on this server, which reads no files of its callers. Nothing was paid." in answer.text, image
        assert "Call upload_image without image" in answer.text, image


URLS = (
    "http://127.0.0.1/cat.png", "https://127.0.0.1/cat.png", "https://localhost/cat.png", "https://[::1]/cat.png",
    "https://10.0.0.1/cat.png", "https://192.168.1.1/x", "https://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/", "https://[fe80::1]/x", "https://[::ffff:127.0.0.1]/x",
    "https://2130706433/x", "https://0x7f.1/x", "https://0/x", "https://[64:ff9b::7f00:1]/x", "https://100.64.0.1/x",
    "https://localhost.localdomain/x", "https://user:secret@127.0.0.1/x",
)  # fmt: skip
WHY = ("public address", "plain http", "user's name", "looked up", "No answer")


async def test_url_of_this_machine_or_its_network_is_not_fetched(replicas: tuple[Server, Server], token: str) -> None:
    async with replicas[0].connect(token) as host:
        answers = [(image, await host.call("quote_price", image=image, prompt="x")) for image in URLS]

    for image, answer in answers:
        assert answer.failed, image
        assert "Nothing was paid." in answer.text or "cannot be looked up" in answer.text, image
        assert any(why in answer.text for why in WHY), image
        assert "secret" not in answer.text, image


async def test_loopback_studio_is_no_way_to_this_machine(
    replicas: tuple[Server, Server], token: str, standing_sandbox: "Sandbox"
) -> None:
    """The sandbox studio is on loopback, and serves its state to all processes of this machine."""
    async with replicas[0].connect(token) as host:
        answer = await host.call("quote_price", image=f"{standing_sandbox.url}/_sandbox/state", prompt="x")
    assert answer.failed
    assert "is plain http" in answer.text


async def test_hosted_image_of_ours_and_a_data_uri_are_used(
    replicas: tuple[Server, Server], token: str, picture: Path
) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    async with replicas[0].connect(token) as host:
        hosted = await host.call("upload_image", image=uri)
        quotes = [await host.call("quote_price", image=image, prompt="x") for image in (uri, hosted["image_url"])]

    assert not hosted.failed, hosted.text
    assert [quote["allowed"] for quote in quotes] == [True, True]


async def test_references_of_a_caller_make_one_video_at_both_replicas(
    replicas: tuple[Server, Server], token: str, other_token: str, picture: Path
) -> None:
    """A picture over a link, and one picture and a sound as data: URIs; another caller's link is none of ours."""
    one, other = replicas
    second = draw(picture.with_name("dog.png"), colour=(9, secrets.randbelow(200), secrets.randbelow(200)))
    sound = write_sound(picture.with_name("waves.wav"))
    async with one.connect(token) as host, open_http() as http:
        link = await host.call("upload_image")
        assert (await http.put(at(link["upload_url"], other), content=picture.read_bytes())).status_code == 201
        references = [link["image"], write_uri(second, "image/png"), write_uri(sound, "audio/wav")]
        asked = {"references": references, "prompt": "@image1 meets @image2 to @audio1"}
        quote = await host.call("quote_price", **asked)
        video = await host.animate_to_the_end(**asked)
        spent = (await host.call("wallet_status"))["left_today_usd"]
    async with other.connect(token) as host:
        again = await host.call("animate_image", **asked)
        left = (await host.call("wallet_status"))["left_today_usd"]
    async with one.connect(other_token) as host:
        stolen = await host.call("quote_price", **asked)

    assert (quote["price_usd"], quote["upload_price_usd"], quote["allowed"]) == ("0.32", "0.03", True)
    assert video["status"] == "complete", video.text
    assert (again["job_id"], left) == (video["job_id"], spent)
    assert stolen.text.startswith(f"image: There is no picture {link['image']}"), stolen.text


def write_uri(file: Path, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(file.read_bytes()).decode()}"


async def test_person_is_shown_a_link_and_the_call_ends_at_another_replica(
    replicas: tuple[Server, Server], token: str, picture: Path
) -> None:
    """The question and its answer are two requests, and each may reach another replica."""
    one, other = replicas
    asked: list[Any] = []

    async def visit(_: Any, params: Any) -> ElicitResult:
        asked.append(params)
        async with open_http() as http:
            assert (await http.put(at(params.url, other), content=picture.read_bytes())).status_code == 201
        return ElicitResult(action="accept")

    async with one.connect(token, elicitation=visit) as host:
        given = await host.call("upload_image")

    assert [question.mode for question in asked] == ["url"]
    assert asked[0].url.startswith(f"{one.url}/uploads/")
    assert given["notes"] == ["The picture has 640 x 360 pixels."]


async def call_raw(replica: Server, token: str, **params: object) -> dict[str, Any]:
    """Send one round of `upload_image` from a client that shows links; returns the answer."""
    headers, message = build_modern_call("upload_image", {}, shows="url", **params)
    async with open_http(token) as http:
        answer = await http.post(f"{replica.url}/mcp", headers=headers, json=message)
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return json.loads(lines[-1] if lines else answer.text)


async def test_second_round_reaches_another_replica_and_is_the_callers_alone(
    replicas: tuple[Server, Server], token: str, other_token: str, picture: Path
) -> None:
    one, other = replicas
    asked = (await call_raw(one, token))["result"]
    url = asked["inputRequests"]["picture"]["params"]["url"]
    answer = {"requestState": asked["requestState"], "inputResponses": {"picture": {"action": "accept"}}}
    stolen = await call_raw(other, other_token, **answer)
    async with open_http() as http:
        await http.put(url, content=picture.read_bytes())
    given = (await call_raw(other, token, **answer))["result"]["structuredContent"]

    assert stolen["error"]["message"] == "Invalid or expired requestState"
    assert url.rpartition("/")[2] not in asked["requestState"]
    assert given["notes"] == ["The picture has 640 x 360 pixels."]


async def test_person_who_declines_ends_the_link(replicas: tuple[Server, Server], token: str, picture: Path) -> None:
    asked: list[Any] = []

    async def decline(_: Any, params: Any) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="decline")

    async with replicas[0].connect(token, elicitation=decline) as host, open_http() as http:
        answer = await host.call("upload_image")
        late = await http.put(asked[0].url, content=picture.read_bytes())

    assert "did not want to open the page" in answer.text
    assert late.status_code == 404


async def test_client_of_the_old_era_gets_the_link_at_once(replicas: tuple[Server, Server], token: str) -> None:
    async def never(_: Any, params: Any) -> ElicitResult:
        raise AssertionError(params)

    async with replicas[0].connect(token, mode="legacy", elicitation=never) as host:
        link = await host.call("upload_image")
    assert link["upload_url"] is not None


async def test_page_of_another_site_gives_no_picture(
    replicas: tuple[Server, Server], token: str, picture: Path
) -> None:
    one, _ = replicas
    async with one.connect(token) as host, open_http() as http:
        link = await host.call("upload_image")
        refused = [
            await http.put(link["upload_url"], content=picture.read_bytes(), headers=headers)
            for headers in ({"origin": "https://evil.test"}, {"origin": "null"}, {"host": "evil.test"})
        ]
        given = await http.put(link["upload_url"], content=picture.read_bytes(), headers={"origin": one.url})

    assert [answer.status_code for answer in refused] == [403, 403, 421]
    assert given.status_code == 201


async def test_no_log_has_a_token_or_a_signature(replicas: tuple[Server, Server], token: str, picture: Path) -> None:
    one, _ = replicas
    async with one.connect(token) as host, open_http() as http:
        link = await host.call("upload_image")
        await http.put(link["upload_url"], content=b"no picture")
        await http.get(f"{one.url}/clips/x?expires=1&signature=not-ours")
    with anyio.move_on_after(1):
        await one.wait_for_record("/clips")

    assert link["upload_url"].rpartition("/")[2] not in one.log
    assert "not-ours" not in one.log
