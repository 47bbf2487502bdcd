"""Start modules of ours as processes without loading Python's modules anew.

A process that has loaded them once forks the others: each is a process of its own with its own environment, folder,
standard files and exit status. What a test of starting, of the environment of Python itself or of encodings needs is
a real `python -m` instead.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from tests.decoders import fork_decoders, load_decoders
from tests.launch import PYTHON_VARIABLE, STATUS_BYTES

LAUNCHER = Path(__file__).parent / "launch.py"
LOADED = (
    "typer", "typer._adapters", "pydantic.main", "rich.console", "rich.progress", "rich.table", "typer.rich_utils",
    "seedance_mcp.server.stdio", "seedance_mcp.app.web.gallery.server", "seedance_mcp.sandbox",
    "seedance_mcp.app.services", "seedance_mcp.app.wallet_rendering", "seedance_mcp.cli.batch_budget",
    "seedance_mcp.cli.demo", "seedance_mcp.cli.install.hosts", "seedance_mcp.cli.main", "seedance_mcp.cli.words",
    "seedance_mcp.sandbox.payments.mpp", "eth_account", "sqlite3", "anyio._backends._asyncio", "httpcore",
    "seedance_mcp.cli.serve", "rich.logging", "uvicorn.lifespan.off", "seedance_mcp.adapters.ledger.sqlite",
    "typer._click.decorators", "encodings.ascii", "encodings.utf_16_le",
)  # fmt: skip
"""None of them may load `seedance_mcp.cli.console`, which looks at the standard files."""
LOADED_IF_HOSTED = (
    "psycopg_pool", "seedance_mcp.adapters.ledger.postgres", "seedance_mcp.server.hosted", "seedance_mcp.server.http",
    "seedance_mcp.server.metrics", "seedance_mcp.adapters.ledger.listening", "seedance_mcp.app.caller_parts",
    "seedance_mcp.app.hosted_picker", "seedance_mcp.app.replica", "seedance_mcp.generation.reopening",
    "seedance_mcp.generation.shared_quotes",
)  # fmt: skip
"""Where the extra `hosted` is installed."""
LOADED_IF_THERE = ("coincurve",)
DECODERS_SUFFIX = "-decoders"
"""What follows the address, for decoders of pictures and videos."""
ADDRESS_VARIABLE = "SEEDANCETEST_FORKS"
"""The environment variable with the address of the process that forks for all workers of pytest-xdist."""
NOT_THERE = ("sniffio",)
"""What httpcore looks for dozens of times in each request, if it is not installed."""
END_SECONDS = 10
WAKE_BYTES = 4096


def build_command(program: str, *arguments: str, afresh: bool = False) -> list[str]:
    """Return a command that does what `python -m module arguments` or `python file.py arguments` does.

    Args:
        program: The module, or the file.
        arguments: Its arguments.
        afresh: Whether a new Python is started.
    """
    if afresh or os.name != "posix":
        return [sys.executable, *([] if program.endswith(".py") else ["-m"]), program, *arguments]
    return [*_build_launch(), program, *arguments]


def write_commands(folder: Path) -> None:
    """Write `seedance-mcp` and `python` for a `PATH`: what they run is forked, but for a `python` with other options.

    Elsewhere than on POSIX it writes none, and those behind them on the `PATH` are run.
    """
    folder.mkdir()
    if os.name != "posix":
        return
    launch = shlex.join(_build_launch())
    options = f'case "$1" in -m) shift;; -*) exec {shlex.quote(sys.executable)} "$@";; esac'
    for name, script in (
        ("seedance-mcp", f'exec {launch} seedance_mcp "$@"'),
        ("python", f'{options}\nexec {launch} "$@"'),
    ):
        file = folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


def _build_launch() -> list[str]:
    return [sys.executable, "-I", "-S", str(LAUNCHER), start_forks()]


def share_forks() -> None:
    """Start the process that forks here, for the processes that this one starts: the workers of pytest-xdist."""
    os.environ[ADDRESS_VARIABLE] = start_forks()


def find_decoders() -> str | None:
    """Return the address for decoders, if the process that forks was started."""
    is_there = ADDRESS_VARIABLE in os.environ or start_forks.cache_info().currsize
    return start_forks() + DECODERS_SUFFIX if is_there else None


@functools.cache
def start_forks() -> str:
    """Start the process that forks, once for this one and its workers; the address of its socket."""
    return os.environ.get(ADDRESS_VARIABLE) or start_server([sys.executable, "-m", "tests.forks"])


def start_server(command: Sequence[str], arguments: Sequence[str] = (), *, folder: Path = LAUNCHER.parents[1]) -> str:
    """Start a process that serves until this one ends.

    Args:
        command: Its program, which takes the address of a socket, listens there, writes a byte, serves, and
        arguments: takes these behind it,
        folder: in this folder.

    Returns:
        The address.
    """
    temporary = tempfile.TemporaryDirectory(prefix="forks-")
    address = str(Path(temporary.name) / "socket")
    process = subprocess.Popen(
        [*command, address, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(1) == b"."  # it listens

    def end() -> None:
        process.communicate(timeout=END_SECONDS)  # closes its stdin, at which it ends
        temporary.cleanup()

    atexit.register(end)
    return address


def listen(address: str) -> socket.socket:
    """Return a socket for requests at an address."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    return listening


def serve(listening: socket.socket, load: Callable[[], object]) -> list[str] | None:
    """Load modules, then fork a process per request until stdin ends; who asks earlier waits.

    Args:
        listening: The socket that takes the requests.
        load: What loads the modules.

    Returns:
        In a forked process, the words to run there; None in the first process, at the end.
    """
    awake, wakes = socket.socketpair()
    with listening, awake, wakes:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; the end of stdin follows
        load()
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _notice)
        connections = _Connections()
        while True:
            readable, _, _ = select.select([0, listening, awake, *connections.list_open()], [], [])
            if awake in readable:
                awake.recv(WAKE_BYTES)
                connections.tell_ends()
            if 0 in readable:
                signal.set_wakeup_fd(-1)
                connections.end_all()
                return None
            words = connections.read(readable)
            if words is not None:
                return words
            if listening in readable:
                connections.add(listening.accept()[0])


def _notice(_: int, __: object) -> None:
    """Do nothing: Python has written to the file of `set_wakeup_fd`."""


class _Connections:
    """Who asks for processes, and the processes that run for them."""

    def __init__(self) -> None:
        self._asking: set[socket.socket] = set()
        self._running: dict[int, socket.socket | None] = {}  # None if who asked was killed

    def add(self, connection: socket.socket) -> None:
        """Add one that has not sent its request yet."""
        self._asking.add(connection)

    def list_open(self) -> list[socket.socket]:
        """Return all of them."""
        return [*self._asking, *(one for one in self._running.values() if one is not None)]

    def read(self, readable: Sequence[object]) -> list[str] | None:
        """Fork a process for each request that has come, and kill those whose asker was killed.

        Returns:
            In a forked process, the words to run there; None in the first one.
        """
        for process_id, connection in list(self._running.items()):
            if connection is not None and connection in readable:  # its end: nothing else comes after a request
                connection.close()
                self._running[process_id] = None
                os.kill(process_id, signal.SIGKILL)
        for connection in self._asking.intersection(readable):
            self._asking.remove(connection)
            words = self._fork(connection)
            if words is not None:
                return words
        return None

    def _fork(self, connection: socket.socket) -> list[str] | None:
        """Fork the process that was asked for, and tell its id."""
        size, files, _, _ = socket.recv_fds(connection, 4, 3)
        length = int.from_bytes(size, "big")
        request = connection.recv(length, socket.MSG_WAITALL)
        if not length or len(request) < length:  # who asked was killed
            for number in files:
                os.close(number)
            connection.close()
            return None
        folder, count, *fields = request.decode(errors="surrogateescape").split("\0")
        process_id = os.fork()
        if process_id == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (connection, *self.list_open()):
                one.close()
            _become(folder, fields[int(count) :], files)
            return fields[: int(count)]
        for number in files:  # the reader of a pipe must see its end
            os.close(number)
        self._running[process_id] = connection
        _tell(connection, process_id)
        return None

    def tell_ends(self) -> None:
        """Tell the exit codes of the processes that have ended."""
        with contextlib.suppress(ChildProcessError):  # there is none
            while True:
                process_id, status = os.waitpid(-1, os.WNOHANG)
                if process_id == 0:
                    return
                connection = self._running.pop(process_id, None)
                if connection is not None:
                    _tell(connection, os.waitstatus_to_exitcode(status))
                    connection.close()

    def end_all(self) -> None:
        """Kill what still runs."""
        for process_id in self._running:
            os.kill(process_id, signal.SIGKILL)


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked was killed
        connection.sendall(b"%*d" % (STATUS_BYTES, number))


def _become(folder: str, variables: Sequence[str], files: Sequence[int]) -> None:
    """Take on the folder, the environment and the standard files of who asked."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update((name, value) for name, _, value in (variable.partition("=") for variable in variables))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.executable = os.environ.get(PYTHON_VARIABLE, sys.executable)
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open as long as the process
    sys.stdout = open(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)  # noqa: SIM115 - they stay open for the life of the process
    sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115 - they stay open for the life of the process


def forget_missing() -> None:
    """Make the search for what is not installed as short as possible."""
    for name in NOT_THERE:
        if find_spec(name) is None:
            sys.modules[name] = cast("Any", None)


def _load() -> None:
    for name in (*LOADED, *(LOADED_IF_HOSTED if find_spec("psycopg_pool") else ())):
        importlib.import_module(name)
    for name in LOADED_IF_THERE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    forget_missing()
    _warm_up()
    gc.collect()
    gc.freeze()  # what is loaded stays shared


def _warm_up() -> None:
    """Build what every server and command builds once, such as the schemas of the tools."""
    from seedance_mcp.generation.validation import build_model
    from seedance_mcp.server import build_server
    from tests.schemas import build_templates_once

    build_templates_once()
    build_server({})
    build_model()


def _run(program: str, *arguments: str) -> None:
    """Run a module, or a file of Python, as `python` does."""
    if program.endswith(".py"):
        sys.argv = [program, *arguments]
        sys.path[0] = str(Path(program).resolve().parent)
        runpy.run_path(program, run_name="__main__")
    else:
        sys.argv = ["", *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def _leave(statuses: Sequence[object]) -> None:
    """End this process as its last act, without the rest of Python's end: it would copy all shared memory.

    Args:
        statuses: The exit status, if there is one. Where it is none that is known here, Python ends as always.
    """
    if statuses and isinstance(statuses[0], int):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(statuses[0])


def _serve_both(address: str) -> list[str] | None:
    """Serve, and serve in another process, which stays small, those who ask for decoders."""
    listening, listening_there = listen(address), listen(address + DECODERS_SUFFIX)
    os.write(1, b".")
    smaller = os.fork()
    if smaller == 0:
        listening.close()
        return serve(listening_there, load_decoders)
    listening_there.close()

    def load() -> None:
        _load()
        fork_decoders(lambda: address + DECODERS_SUFFIX)

    words = serve(listening, load)
    if words is None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(smaller, 0)
    return words


def main() -> None:
    """Serve; in a forked process, run what was asked for, at the outermost level, so that Python ends as always."""
    statuses: list[object] = []
    atexit.register(_leave, statuses)  # the first that is registered is the last that is called
    words = _serve_both(sys.argv[1])
    if words is None:
        return
    try:
        _run(*words)
    except SystemExit as end:
        statuses.append(end.code or 0)
        raise
    statuses.append(0)


if __name__ == "__main__":
    main()
