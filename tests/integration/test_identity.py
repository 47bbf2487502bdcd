"""What is one purchase: requests that reach the studio as the same bytes, in any dialect, version and month."""

import hashlib
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from seedance_mcp.sandbox import Sandbox, SandboxSettings
from tests.integration.host import Bench, Host, draw, run_in_thread

MakeBench = Callable[..., Awaitable[Bench]]

DAY_SECONDS = 24 * 3600


def change_ledger(bench: Bench, statement: str, parameters: Mapping[str, object]) -> None:
    """Write into the ledger's file what another version, or another day, would have left there."""
    with sqlite3.connect(bench.folder / "data/sandbox/ledger.sqlite3") as db:
        assert db.execute(statement, parameters).rowcount


def age_ledger(bench: Bench, days: int) -> None:
    """Let days pass, as far as the ledger can tell."""
    seconds = days * DAY_SECONDS
    change_ledger(bench, "UPDATE payments SET created_at = created_at - :s, signed_at = signed_at - :s", {"s": seconds})
    change_ledger(bench, "UPDATE jobs SET created_at = created_at - :s, ended_at = ended_at - :s", {"s": seconds})


async def animate_all(host: Host, variants: list[dict[str, object]]) -> list[str]:
    """Animate each variant to its end; the ids of the jobs."""
    return [(await host.animate_to_the_end(**variant))["job_id"] for variant in variants]


@pytest.mark.parametrize("contract", ["current", "classic"])
async def test_requests_with_the_same_body_are_bought_once(make_bench: MakeBench, picture: Path, contract: str) -> None:
    bench = await make_bench(contract=contract)
    plain: dict[str, object] = {"image": str(picture), "prompt": "The bars sway"}
    variants = [
        plain,
        plain | {"prompt": "  The bars sway\n"},
        plain | {"camera_fixed": False},
        plain | {"generate_audio": False},
        plain | {"camera_fixed": False, "generate_audio": contract == "current"},
    ]
    if contract == "classic":
        variants[-1]["generate_audio"] = False
    async with bench.host() as host:
        jobs = await animate_all(host, variants)

    assert len(set(jobs)) == 1
    assert len(await bench.paid()) == 2
    assert len((await bench.state())["jobs"]) == 1


@pytest.mark.parametrize(("before", "after"), [("classic", "current"), ("current", "classic")])
async def test_a_studio_that_changes_its_dialect_is_not_paid_twice(
    make_bench: MakeBench, picture: Path, before: str, after: str
) -> None:
    bench = await make_bench(contract=before)
    request: dict[str, object] = {"image": str(picture), "prompt": "x", "generate_audio": True}
    async with bench.host() as host:
        first = await host.animate_to_the_end(**request)
        await run_in_thread(bench.sandbox.stop)
        port = int(bench.sandbox.url.rpartition(":")[2])
        settings = SandboxSettings(contract=after, funded={bench.address: 5_000_000}, job_seconds=0.5)  # type: ignore[arg-type]  # a parameter
        with Sandbox(settings, port=port) as changed:
            again = await host.animate_to_the_end(**request)
            async with bench.host() as other:
                later = await other.animate_to_the_end(**request)
            assert (changed.chain.settlements(), changed.tempo.settlements()) == ((), ())

    assert first["file"]
    assert again["job_id"] == later["job_id"] == first["job_id"]


async def test_a_ledger_of_an_earlier_version_is_recognised(bench: Bench, picture: Path) -> None:
    request: dict[str, object] = {"image": str(picture), "prompt": 'It\'s "old" \n', "generate_audio": True}
    async with bench.host() as host:
        first = await host.animate_to_the_end(**request)
    sha256 = hashlib.sha256(picture.read_bytes()).hexdigest()
    whose = f"'{bench.sandbox.url}', '{bench.address.lower()}'"
    old = {
        "generation": (
            f"('generation', {whose}, GenerationRequest(model='seedance-fast', prompt='It\\'s \"old\" \\n', "
            f"image='{sha256}', last_image=None, duration_seconds=4, resolution='480p', aspect_ratio='16:9', "
            "camera_fixed=None, generate_audio=True, seed=None, take=1))"
        ),
        "upload": f"('upload', {whose}, '{sha256}')",
    }
    for purpose, text in old.items():
        key = hashlib.sha256(text.encode()).hexdigest()
        change_ledger(
            bench, "UPDATE payments SET fingerprint = :key WHERE purpose = :purpose", {"key": key, "purpose": purpose}
        )
    change_ledger(bench, "DELETE FROM uploads WHERE :all", {"all": 1})  # the paid ticket alone says that it was bought

    async with bench.host() as host:
        again = await host.animate_to_the_end(**request)
        upload = await host.call("upload_image", image=str(picture))

    assert again["job_id"] == first["job_id"]
    assert upload["price_usd"] == "0.01"  # the earlier payment's place, not another payment
    assert await bench.paid() == [10_000, 320_000]


@pytest.mark.parametrize("fault", [(), ("failed_job",)], ids=["finished", "failed"])
async def test_an_ended_job_answers_the_same_request_for_good(
    bench: Bench, picture: Path, fault: tuple[str, ...]
) -> None:
    request: dict[str, object] = {"image": str(picture), "prompt": "x"}
    await bench.break_with(*fault)
    async with bench.host() as host:
        first = await host.animate_to_the_end(**request)
    await bench.break_with()
    age_ledger(bench, days=400)
    async with bench.host() as host:
        again = await host.call("animate_image", **request)
        other = await host.animate_to_the_end(**request, take=2)

    assert (again["job_id"], again["status"]) == (first["job_id"], first["status"])
    assert other["job_id"] != first["job_id"]
    assert await bench.paid() == [10_000, 320_000, 320_000]


async def test_the_same_photo_with_other_metadata_is_another_picture(bench: Bench, tmp_path: Path) -> None:
    from PIL import Image

    plain = draw(tmp_path / "plain.jpg")
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    tagged = tmp_path / "tagged.jpg"
    Image.open(plain).save(tagged, exif=exif)
    async with bench.host() as host:
        jobs = await animate_all(host, [{"image": str(file), "prompt": "x"} for file in (plain, tagged)])

    assert len(set(jobs)) == 2
