"""Fixtures of a hosted server: one process, its database and its studio for all tests of this folder.

They end with the folder's tests: an idle server takes 2 % of a processor, with its database.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from seedance_mcp.app.local_sandbox import prepare_wallet
from tests.hosting import Server, hand_out_tokens, start_server, write_keys
from tests.postgres import require_postgres

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox


@pytest.fixture(scope="package")
def database() -> Generator[str]:
    with require_postgres(durable=True).database() as url:
        yield url


@pytest.fixture(scope="package")
def settings(standing_sandbox: "Sandbox", tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a server at the sandbox, with a wallet of its own."""
    folder = tmp_path_factory.mktemp("hosted")
    address = prepare_wallet(None, folder / "wallet.json")
    standing_sandbox.chain.mint(address, 50_000_000)
    return {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": standing_sandbox.url,
        "SEEDANCE_WALLET_FILE": str(folder / "wallet.json"),
        "SEEDANCE_DATA_DIR": str(folder / "data"),
        "SEEDANCE_STATE_KEYS_FILE": str(write_keys(folder)),
    }


@pytest.fixture(scope="package")
def server(settings: dict[str, str], database: str) -> Generator[Server]:
    """One server for all tests of this folder; none of them ends or breaks it."""
    with start_server(settings, SEEDANCE_DATABASE_URL=database) as started:
        yield started


@pytest.fixture(scope="package")
def asking(settings: dict[str, str], database: str) -> Generator[Server]:
    """Another server for all tests of this folder, which asks before it buys."""
    with start_server(settings, SEEDANCE_DATABASE_URL=database, SEEDANCE_ASK_ABOVE="0.01") as started:
        yield started


@pytest.fixture(scope="package")
def tokens(database: str) -> Generator[str]:
    return hand_out_tokens(database, "ann")


@pytest.fixture
def token(tokens: Generator[str]) -> str:
    """The token of a caller of this test."""
    return next(tokens)
