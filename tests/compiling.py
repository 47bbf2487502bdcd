"""Let the workers of pytest-xdist share what Python, pytest and hypothesis keep of a file that is new or has changed.

Each worker collects all tests. Without this, each would compile all files, and look for constants in all of them.
"""

import contextlib
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

WAIT_SECONDS = 60
LOOK_SECONDS = 0.02
PACKAGE = "seedance_mcp."


def share_compiled(config: pytest.Config, tests: Path) -> None:
    """Import one share of the test files before all are collected, and wait until the other workers did so, too.

    Args:
        config: Of this worker.
        tests: The folder of all tests.
    """
    given = getattr(config, "workerinput", None)
    basetemp = config.option.basetemp
    if given is None or given["workercount"] < 2 or basetemp is None or not _has_all(config, tests):
        return
    number, count = int(given["workerid"].removeprefix("gw")), given["workercount"]
    if number >= count:  # it takes the place of one that crashed
        return
    for name in _list_modules(tests)[number::count]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # pytest tells of it when it collects the file
            importlib.import_module(name)
    _keep_constants(number, count)
    _meet(Path(basetemp).parent, number, count)


def _has_all(config: pytest.Config, tests: Path) -> bool:
    """Return True if all tests are to be collected."""
    return tests in {config.invocation_params.dir / argument for argument in config.args}


def _list_modules(tests: Path) -> list[str]:
    """Return the names by which pytest imports the test files."""
    return sorted(".".join(file.relative_to(tests).with_suffix("").parts) for file in tests.rglob("test_*.py"))


def _keep_constants(number: int, count: int) -> None:
    """Have hypothesis write down the constants of one share of our modules."""
    try:
        from hypothesis.internal.constants_ast import constants_from_module
    except ImportError:  # another version: each worker looks for all
        return
    for name in sorted(name for name in sys.modules if name.startswith(PACKAGE))[number::count]:
        constants_from_module(sys.modules[name])


def _meet(folder: Path, number: int, count: int) -> None:
    """Wait until all workers are here."""
    folder.mkdir(parents=True, exist_ok=True)
    marks: Sequence[Path] = [folder / f"compiled-{one}" for one in range(count)]
    marks[number].touch()
    give_up = time.monotonic() + WAIT_SECONDS
    while not all(mark.exists() for mark in marks) and time.monotonic() < give_up:
        time.sleep(LOOK_SECONDS)  # another process, which sets no event of ours
