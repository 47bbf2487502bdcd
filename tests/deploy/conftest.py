"""What the deployments of these tests share: the image's programs, and the tools that are needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.deploy.image import build_image, link_environment
from tests.hosted.deployment import temporary_folder
from tests.postgres import VERSION_MIN, find_programs

BUILDS_IMAGE = os.environ.get("SEEDANCETEST_HOSTS") == "1"  # read at import: a fixture takes our variables away


@pytest.fixture(scope="session")
def programs() -> Generator[Path]:
    """The folder of programs of the image; with `SEEDANCETEST_HOSTS=1` it is built, which downloads libraries."""
    with temporary_folder() as folder:
        yield build_image(folder / "image", "hosted") if BUILDS_IMAGE else link_environment(folder / "bin")


@pytest.fixture(scope="session")
def needed_programs() -> None:
    """Skip without PostgreSQL, psycopg or Caddy."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (extra `hosted`)")
    if find_programs() is None:
        pytest.skip(f"no PostgreSQL {VERSION_MIN} or newer on this machine (Debian: postgresql)")
    if shutil.which("caddy") is None:
        pytest.skip("no Caddy on this machine (Debian: caddy)")
