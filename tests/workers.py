"""Load all tests once for the workers of pytest-xdist: a process that has imported them forks each worker.

A worker of its own would compile the tests with their assertions, and import them and all of ours, as the other does.
What hypothesis reads from our modules is read once, too.
"""

import contextlib
import gc
import io
import os
import shlex
import signal
import sys
from collections.abc import Sequence

import pytest

from tests.forks import LAUNCHER, listen, serve, start_forks, start_server


def share_workers(config: pytest.Config) -> None:
    """Have the workers that pytest-xdist will start on this machine forked from a process that has loaded the tests."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    address = start_server(
        [*launcher, start_forks(), "tests.workers"], config.args, folder=config.invocation_params.dir
    )
    command = f"popen//python={shlex.join([*launcher, address])}"
    config.option.tx = [command if one == "popen" else one for one in config.option.tx]


class _OnlyModules:
    """Let pytest import what it collects, and make no tests of it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self) -> list[pytest.Item]:
        return []


def _load(places: Sequence[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # a worker says what is wrong
        pytest.main(["--collect-only", "-n0", "-p", "no:cacheprovider", *places], plugins=[_OnlyModules()])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; conftest.py lets it through
    _read_constants()
    gc.freeze()  # what is loaded stays shared


def _read_constants() -> None:
    """Draw numbers: hypothesis takes some from the modules that are loaded, which it reads first."""
    from hypothesis import given, settings, strategies

    @settings(max_examples=50, database=None, derandomize=True)
    @given(strategies.integers())
    def draw(_: int) -> None: ...

    draw()


def main() -> None:
    """Serve; in a forked process, run the program that pytest-xdist passes behind `-c`."""
    address, *places = sys.argv[1:]
    listening = listen(address)
    os.write(1, b".")
    words = serve(listening, lambda: _load(places))
    if words is not None:
        exec(words[-1], {"__name__": "__main__"})  # noqa: S102 - as Python does


if __name__ == "__main__":
    main()
