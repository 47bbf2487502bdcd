"""Servers on several machines with one ledger in a PostgreSQL database: one purchase, one budget."""

from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from tests.integration.host import Answer, Bench
from tests.postgres import require_postgres


@pytest.fixture
def url() -> Generator[str]:
    with require_postgres().database() as made:
        yield made


async def test_servers_with_one_database_buy_the_same_video_once(bench: Bench, picture: Path, url: str) -> None:
    answers: list[Answer] = []

    async def order(machine: str) -> None:
        data_dir = str(bench.folder / machine)
        async with bench.host(SEEDANCE_DATABASE_URL=url, SEEDANCE_DATA_DIR=data_dir) as host:
            answers.append(await host.animate_to_the_end(image=str(picture), prompt="x"))

    async with anyio.create_task_group() as tasks:
        for machine in ("one", "two", "three"):
            tasks.start_soon(order, machine)

    done = [answer for answer in answers if not answer.failed]
    assert len({answer["job_id"] for answer in done}) == 1
    assert sorted(await bench.paid()) == [10_000, 320_000]


async def test_servers_with_one_database_have_one_budget(bench: Bench, picture: Path, url: str) -> None:
    environ = {"SEEDANCE_DATABASE_URL": url, "SEEDANCE_MAX_TOTAL": "0.65"}
    async with bench.host(**environ) as host:
        await host.call("upload_image", image=str(picture))

    async def order(take: int) -> None:
        async with bench.host(**environ, SEEDANCE_DATA_DIR=str(bench.folder / str(take))) as host:
            await host.call("animate_image", image=str(picture), prompt="x", take=take)

    async with anyio.create_task_group() as tasks:
        for take in (1, 2, 3):
            tasks.start_soon(order, take)

    assert sorted(await bench.paid()) == [10_000, 320_000, 320_000]
