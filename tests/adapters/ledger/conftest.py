"""Every test of what the ledger promises runs on each database."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from seedance_mcp.core.ledger import Ledger
from tests.ledgers import PostgresStore, SQLiteStore, Store
from tests.postgres import require_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Store]:
    """An empty ledger, on each database in turn."""
    if request.param == "sqlite":
        yield SQLiteStore(tmp_path / "data" / "ledger.sqlite3")
        return
    with require_postgres().database() as url:
        yield PostgresStore(url)


@pytest.fixture
async def ledger(store: Store) -> AsyncGenerator[Ledger]:
    """The ledger, opened."""
    opened = await store.open()
    yield opened
    await opened.close()
