"""Skips what needs programs that this machine does not have."""

import os
import shutil
from importlib.util import find_spec

import pytest

from tests.postgres import VERSION_MIN, find_programs


@pytest.fixture(scope="session", autouse=True)
def _needed_programs() -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    """Skip without PostgreSQL, PgBouncer or psycopg."""
    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        pytest.skip("psycopg is not installed (extra `hosted`)")
    if find_programs() is None:
        pytest.skip(f"no PostgreSQL {VERSION_MIN} or newer on this machine (Debian: postgresql)")
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") is None:
        pytest.skip("no PgBouncer on this machine (Debian: pgbouncer)")
