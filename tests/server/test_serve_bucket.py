"""A hosted server with a bucket says when the bucket is away, goes on, and is ready once it is back."""

from collections.abc import Generator
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest

from seedance_mcp.app.local_sandbox import prepare_wallet
from tests.hosting import start_server, wait_for_readiness
from tests.postgres import require_postgres
from tests.seaweed import BUCKET, KEY, Relay, require_bucket, start_bucket

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox


@pytest.fixture
def database() -> Generator[str]:
    with require_postgres(durable=True).database() as url:
        yield url


@pytest.fixture
def wallet(tmp_path: Path) -> Path:
    prepare_wallet(None, tmp_path / "wallet.json")
    return tmp_path / "wallet.json"


@pytest.mark.slow
async def test_server_is_not_ready_while_its_bucket_is_away(
    standing_sandbox: "Sandbox", tmp_path: Path, database: str, wallet: Path
) -> None:
    require_bucket()
    prefix = f"tests/{token_hex(8)}"
    async with Relay(start_bucket().port).running() as relay:
        settings = {
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": standing_sandbox.url,
            "SEEDANCE_WALLET_FILE": str(wallet),
            "SEEDANCE_DATA_DIR": str(tmp_path / "data"),
            "SEEDANCE_DATABASE_URL": database,
            "SEEDANCE_OBJECTS_URL": f"s3://{BUCKET}/{prefix}",
            **start_bucket().build_environ(),
            "AWS_ENDPOINT_URL": relay.url,
        }
        with start_server(settings) as server:
            await wait_for_readiness(server)
            for is_silent in (False, True):
                relay.is_away, relay.is_silent = not is_silent, is_silent
                relay.cut()
                [problem] = await wait_for_readiness(server, ready=False)
                assert f"the bucket s3://{BUCKET}/{prefix}" in problem.lower()
                assert "does not answer" in problem
                relay.is_away = relay.is_silent = False
                relay.cut()
                await wait_for_readiness(server)
            assert KEY.secret not in server.log
            assert server.end() == 0
