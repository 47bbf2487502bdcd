"""A copy that uvx runs from its cache is entered by its source, not by a path in the cache."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.core.installation import NAME, build_requirement
from tests.cli.conftest import Ended, Person
from tests.cli.installed import add_host, drop_variables

ROOT = Path(__file__).parents[2]
PACKAGE = NAME.replace("-", "_")
GIT: dict[str, object] = {
    "url": "https://user:t0ken@example.org/seedance.git",
    "vcs_info": {"vcs": "git", "commit_id": "abc123"},
}


@pytest.fixture(autouse=True)
def _no_host_variables(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # autouse
    drop_variables(monkeypatch)
    monkeypatch.delenv("UV", raising=False)
    add_host("cursor")


def build_environment(folder: Path, direct_url: dict[str, object] | None) -> Path:
    """Build an environment with this copy of ours in it, and return its Python."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    shutil.copytree(ROOT / PACKAGE, packages / PACKAGE)  # with what is compiled
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    describe(packages, direct_url)
    return python


def describe(packages: Path, direct_url: dict[str, object] | None) -> None:
    """Write what an installer leaves about this copy."""
    about = packages / f"{PACKAGE}-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.1.0\n")
    if direct_url is not None:
        (about / "direct_url.json").write_text(json.dumps(direct_url))


def build_cached(tmp_path: Path, direct_url: dict[str, object] | None) -> Path:
    """Build an environment inside a cache as uv has it."""
    return build_environment(make_cache(tmp_path), direct_url)


def make_cache(tmp_path: Path) -> Path:
    """Make a cache of uv, and return the path of an environment in it that is not there yet."""
    cache = tmp_path / "cache" / "uv"
    (cache / "archive-v0").mkdir(parents=True)
    (cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    return cache / "archive-v0" / "Xy12"


def add_uvx(folder: Path) -> Path:
    """Write an executable `uvx`."""
    folder.mkdir(parents=True)
    (folder / "uvx").write_text("#!/bin/sh\n")
    (folder / "uvx").chmod(0o755)
    return folder / "uvx"


def install(python: Path, path: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run `install cursor` with an environment's Python, and a `PATH` that is also the current folder."""
    return subprocess.run(
        [python, "-m", PACKAGE, "install", "cursor"],
        env={**os.environ, "PATH": str(path), **environ},
        capture_output=True,
        text=True,
        check=False,
        cwd=path,
        timeout=60,
    )


@pytest.fixture
def run_cached(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run `install cursor` in this process, as if its environment were in a cache: `run_cached(direct_url, PATH=…)`."""

    def run(direct_url: dict[str, object] | None, **environ: str) -> Ended:
        folder = make_cache(tmp_path)
        describe(folder, direct_url)
        monkeypatch.setattr(
            "seedance_mcp.core.installation.__file__", str(folder / PACKAGE / "core" / "installation.py")
        )
        monkeypatch.setattr("sys.prefix", str(folder))
        monkeypatch.setattr("sys.path", [str(folder), *sys.path])
        return person.run("install", "cursor", **environ)

    return run


def read_entry() -> dict[str, object]:
    return json.loads(HOSTS["cursor"].find_file().read_text())["mcpServers"]["seedance"]


def test_a_copy_in_a_cache_is_started_by_uvx_from_its_source(tmp_path: Path) -> None:
    uvx = add_uvx(tmp_path / "bin")
    done = install(build_cached(tmp_path, GIT), uvx.parent)
    assert done.returncode == 0, done.stderr
    entry = read_entry()
    source = f"{NAME}[film,hosted,keychain,sandbox,tempo] @ git+https://example.org/seedance.git@abc123"
    assert (entry["command"], entry["args"]) == (str(uvx), ["--from", source, NAME])
    assert str(tmp_path / "cache") not in json.dumps(entry)
    assert source in done.stdout
    assert "t0ken" not in done.stdout + done.stderr + json.dumps(entry)


def test_the_uvx_beside_uv_is_taken(run_cached: Callable[..., Ended], tmp_path: Path) -> None:
    uvx = add_uvx(tmp_path / "uv's own")
    done = run_cached(GIT, PATH=str(tmp_path), UV=str(uvx.with_name("uv")))
    assert done.code == 0, done.err
    assert read_entry()["command"] == str(uvx)


def test_a_folder_is_a_source(run_cached: Callable[..., Ended], tmp_path: Path) -> None:
    uvx = add_uvx(tmp_path / "bin")
    done = run_cached({"url": ROOT.as_uri(), "dir_info": {}}, PATH=str(uvx.parent))
    assert done.code == 0, done.err
    assert f"@ {ROOT.as_uri()}" in str(read_entry()["args"])


def test_an_unknown_source_is_refused(run_cached: Callable[..., Ended], tmp_path: Path) -> None:
    """A name alone would be looked up in an index, where it may be anybody's."""
    uvx = add_uvx(tmp_path / "bin")
    done = run_cached(None, PATH=str(uvx.parent))
    assert done.code == 2
    assert "runs from a cache" in done.err
    assert "its source is unknown. Nothing was written." in " ".join(done.err.split())
    assert not HOSTS["cursor"].find_file().exists()


def test_a_cache_without_uvx_is_refused(run_cached: Callable[..., Ended], tmp_path: Path) -> None:
    done = run_cached(GIT, PATH=str(tmp_path))
    assert done.code == 2
    assert "there is no uvx to start it again" in done.err
    assert not HOSTS["cursor"].find_file().exists()


def test_an_environment_of_its_own_is_started_by_its_path(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`uv tool` and `uv venv` put the tag of a cache into the environment itself."""
    folder = tmp_path / "tools" / "ours"
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    monkeypatch.setattr("sys.prefix", str(folder))
    monkeypatch.setattr("sys.executable", str(python))
    done = person.run("install", "cursor")
    assert done.code == 0, done.err
    assert (read_entry()["command"], read_entry()["args"]) == (str(python), ["-m", PACKAGE])


@pytest.mark.parametrize("direct_url", ["", "[]", '{"url": "file:///does/not/exist"}', '{"url": "no url"}'])
def test_what_is_no_source_gives_no_requirement(direct_url: str) -> None:
    assert build_requirement(direct_url, []) is None
