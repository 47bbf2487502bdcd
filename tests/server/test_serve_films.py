"""Films of a hosted server, at two replicas: taken over from a dead one, linked, ended, and no one else's."""

import secrets
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from mcp import MCPError
from mcp.types import ResourceLink

from seedance_mcp.adapters.media.films import film_support
from seedance_mcp.app.local_sandbox import prepare_wallet
from tests.films import watch
from tests.hosting import Server, add_caller, open_http, start_server, wait_for_readiness, work_on, write_keys
from tests.integration.host import Answer, Host, draw
from tests.postgres import require_postgres
from tests.servers import NO_TLS

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

pytestmark = pytest.mark.skipif(not film_support(), reason="the extra `film` is not installed")
SECONDS = 200


@pytest.fixture(scope="module")
def database() -> Generator[str]:
    with require_postgres(durable=True).database() as url:
        yield url


@pytest.fixture(scope="module")
def settings(standing_sandbox: "Sandbox", tmp_path_factory: pytest.TempPathFactory, database: str) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("hosted-films")
    standing_sandbox.chain.mint(prepare_wallet(None, folder / "wallet.json"), 50_000_000)
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
def replicas(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[Server, Server, Path]]:
    """Two servers, and the data folder of the second; the last test of this module kills the first."""
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    with (
        start_server(settings, SEEDANCE_DATA_DIR=str(one)) as first,
        start_server(settings, SEEDANCE_DATA_DIR=str(other)) as second,
    ):
        yield first, second, other


async def list_bought(sandbox: "Sandbox", marker: str) -> list[str]:
    """Return the prompts of the videos that were bought with a word in them."""
    async with httpx.AsyncClient(base_url=sandbox.url, verify=NO_TLS) as http:
        jobs = (await http.get("/_sandbox/state")).json()["jobs"]
    return sorted(job["input"]["prompt"] for job in jobs if marker in str(job["input"].get("prompt")))


async def give_picture(host: Host, folder: Path) -> str:
    """Give a picture over a link; returns its name."""
    link = await host.call("upload_image")
    colour = (secrets.randbelow(200), secrets.randbelow(200), 9)
    async with open_http() as http:
        assert (
            await http.put(link["upload_url"], content=draw(folder / "cat.png", colour=colour).read_bytes())
        ).is_success
    return link["image"]


async def wait_for(host: Host, film_id: str, happened: Callable[[Answer], Any]) -> Answer:
    """Read a film until something has happened to it."""
    with anyio.fail_after(SECONDS):
        while not happened(answer := await host.call("get_job", job_id=film_id, wait_seconds=1)):
            assert answer["status"] in ("pending", "loading"), answer.text
        return answer


async def check_unknown(server: Server, token: str, film_id: str) -> None:
    """Check that a caller learns nothing of another one's film, and cannot end it."""
    async with server.connect(token) as host, open_http(token) as http:
        for arguments in ({}, {"cancel": True}):
            refused = await host.call("get_job", job_id=film_id, **arguments)
            assert refused.failed
            assert "There is no film" in refused.text
        with pytest.raises(MCPError):
            await host.client.read_resource(f"seedance://videos/{film_id}")
        assert (await host.call("list_jobs"))["jobs"] == []
        assert (await http.get(f"{server.url}/clips/{film_id}")).status_code == 404


async def test_film_is_ended_at_another_replica_and_with_its_caller(
    standing_sandbox: "Sandbox", replicas: tuple[Server, Server, Path], database: str, tmp_path: Path
) -> None:
    one, other, _ = replicas
    marker = secrets.token_hex(4)
    shots: list[dict[str, str]] = [{"prompt": f"{marker} {number}"} for number in range(1, 6)]
    for replica in (one, other):
        await wait_for_readiness(replica)
    name = f"ann-{marker}"
    token = await add_caller(database, name)
    async with one.connect(token) as host, other.connect(token) as second:
        shots[0]["image"] = await give_picture(host, tmp_path)
        film_id = (await host.call("animate_storyboard", shots=shots, wait_seconds=0))["job_id"]
        reserved = (await second.call("wallet_status"))["caps"]
        await wait_for(second, film_id, lambda film: film["shots"][0]["job_id"])
        ended = await second.call("get_job", job_id=film_id, cancel=True)
        free = (await second.call("wallet_status"))["caps"]
        bought = await list_bought(standing_sandbox, marker)
        again = await second.call("animate_storyboard", shots=shots, wait_seconds=0)
    await work_on(database, lambda ledger: ledger.revoke_caller(name))
    films = await work_on(database, lambda ledger: ledger.recent_films(50))
    [film] = [one for one in films if one.film_id == film_id]
    sums = await work_on(database, lambda ledger: ledger.list_reservations(film.created_at))

    assert (ended.failed, ended["status"]) == (True, "failed")
    assert film_id in str(reserved)
    assert free == []
    assert len(bought) < len(shots)
    assert again["status"] in ("pending", "loading"), "what was ended can be ordered again"
    assert film.state == "cancelled", "nothing is bought for a caller that has ended"
    assert sums == []


@pytest.mark.chaos
async def test_another_replica_finishes_the_film_of_a_dead_one(
    standing_sandbox: "Sandbox", replicas: tuple[Server, Server, Path], database: str, tmp_path: Path
) -> None:
    one, other, folder = replicas
    marker = secrets.token_hex(4)
    for replica in (one, other):
        await wait_for_readiness(replica)
    ann, bob = await add_caller(database, f"ann-{marker}"), await add_caller(database, f"bob-{marker}")
    async with one.connect(ann) as host:
        shots = [{"prompt": f"{marker} 1", "image": await give_picture(host, tmp_path)}, {"prompt": f"{marker} 2"}]
        film_id = (await host.call("animate_storyboard", shots=shots, wait_seconds=0))["job_id"]
        await wait_for(host, film_id, lambda film: film["shots"][0]["job_id"])
        one.process.kill()
        one.process.wait()
    async with other.connect(ann) as host, open_http() as http:
        film = await wait_for(host, film_id, lambda film: film["status"] == "complete")
        resource = await host.client.read_resource(f"seedance://videos/{film_id}")
        listed = await host.call("list_jobs")
        again = await host.call("animate_storyboard", shots=shots)
        saved = (await http.get(film["video_url"])).content
    await check_unknown(other, bob, film_id)

    assert await list_bought(standing_sandbox, marker) == [f"{marker} 1", f"{marker} 2"]
    (tmp_path / "film.mp4").write_bytes(saved)
    assert [title for _, title in watch(tmp_path / "film.mp4").chapters] == [f"{marker} 1", f"{marker} 2"]
    assert getattr(resource.contents[0], "blob", "")
    assert [job["job_id"] for job in listed["jobs"]] == [film_id]
    assert (again["status"], again["job_id"]) == ("complete", film_id)
    assert (film["file"], film["error"]) == (None, None)
    [link] = [part for part in film.result.content if isinstance(part, ResourceLink)]
    assert str(link.uri) == film["video_url"]
    assert list(folder.rglob("film-*")) == [], "no temporary file is left"
