"""Fixtures of the face for people: the real command in a process of its own, in an empty home."""

import contextvars
import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from seedance_mcp.cli import console, main
from tests.forks import build_command
from tests.integration.host import draw

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

COMMAND_SECONDS = 60
KEYSTORE_ITERATIONS = 1024


class Terminal(io.StringIO):
    """What a person types at a terminal, or sees there."""

    def isatty(self) -> bool:
        return True


def write_keystore(file: Path, key: str, password: str) -> Path:
    """Write a keystore as any wallet does, but one that opens a hundred times as fast as ours."""
    from eth_account import Account  # heavy: only for tests that ask

    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(0o600)
    file.write_text(
        json.dumps(Account.encrypt(bytes.fromhex(key.removeprefix("0x")), password, iterations=KEYSTORE_ITERATIONS))
    )
    return file


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON; of a command with several results, their list."""
        printed: Any = json.loads(self.out)
        return printed["results"] if self.out.startswith('{"results": ') else printed

    @property
    def one_line(self) -> str:
        """Its last words on stderr: a failure with its hint, as one line; no traceback."""
        assert "Traceback" not in self.err
        lines = re.sub(r"\x1b\[[0-9;]*m", "", self.err).strip().splitlines()
        failed = [number for number, line in enumerate(lines) if line.startswith("seedance-mcp: ")]
        return " ".join(lines[failed[-1] :]) if failed else lines[-1]


@dataclass
class Person:
    """A person at a terminal."""

    folder: Path
    environ: dict[str, str]
    drawn: dict[str, int] = field(default_factory=dict[str, int])
    """Pictures by name, in the order in which they were drawn first."""

    @property
    def data_dir(self) -> Path:
        return Path(os.environ["SEEDANCE_DATA_DIR"])

    def start(
        self, *words: str, afresh: bool = False, stdin: int = subprocess.DEVNULL, program: str = "", **environ: str
    ) -> "subprocess.Popen[str]":
        """Start a command in a process of its own; a `program` runs it its own way."""
        return subprocess.Popen(
            build_command(program or "seedance_mcp", *words, afresh=afresh),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
        )

    def run(self, *words: str, typed: str = "", **environ: str) -> Ended:
        """Run a command to its end, in this process: starting one takes longer than most commands do."""
        return self._run(words, io.StringIO(typed), environ)

    def run_at_terminal(self, *words: str, typed: str, **environ: str) -> Ended:
        """The same, with a person there who types."""
        return self._run(words, Terminal(typed), environ)

    def run_on_screen(self, *words: str, typed: str = "", columns: int = 200, **environ: str) -> Ended:
        """The same at a terminal of so many columns, which also shows what the command prints."""
        seen = {"TERM": "xterm", "COLUMNS": str(columns)}
        return self._run(words, Terminal(typed), {**seen, **environ}, Terminal(), Terminal())

    def _run(
        self,
        words: tuple[str, ...],
        stdin: io.StringIO,
        environ: dict[str, str],
        out: io.StringIO | None = None,
        err: io.StringIO | None = None,
    ) -> Ended:
        out, err, code = out or io.StringIO(), err or io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr("sys.argv", ["seedance-mcp", *words])
            patch.setattr("__main__.__package__", None, raising=False)  # else `python -m pytest` is the program's name
            patch.setattr("sys.stdin", stdin)
            patch.chdir(self.folder)
            for name, value in {**self.environ, **environ}.items():
                patch.setenv(name, value)
            try:
                contextvars.copy_context().run(main.run)  # what it was asked for ends with it
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 1
            finally:
                for messages in (console.words, console.shown):  # a console knows for good whether it is a terminal
                    vars(messages).pop("rich", None)
        return Ended(code, out.getvalue(), err.getvalue())

    def run_apart(
        self, *words: str, afresh: bool = False, typed: str | None = None, program: str = "", **environ: str
    ) -> Ended:
        """Run a command to its end in a process of its own; `afresh` in one that a new Python starts."""
        stdin = subprocess.DEVNULL if typed is None else subprocess.PIPE
        with self.start(*words, afresh=afresh, stdin=stdin, program=program, **environ) as process:
            out, err = process.communicate(typed, COMMAND_SECONDS)
            return Ended(process.returncode, out, err)

    def interrupt(self, *words: str, when: Callable[[], bool]) -> Ended:
        """Run a command and press Ctrl-C as soon as `when` says so."""
        with self.start(*words) as process:
            end = time.monotonic() + COMMAND_SECONDS
            while not when() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=COMMAND_SECONDS)
            return Ended(process.returncode, out, err)

    def draw(self, name: str) -> Path:
        """Draw the picture of this name: another one for every name, but the first is the same in every test.

        The sandbox of the tests renders the same picture once.
        """
        number = self.drawn.setdefault(name, len(self.drawn))
        return draw(self.folder / name, colour=(40, 90 + 10 * number, 160))


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """A person without any settings but an empty data folder."""
    return Person(folder=tmp_path, environ={})


@pytest.fixture
def customer(tmp_path: Path, studio_server: "Sandbox", funded_key: str) -> Person:
    """A person with a funded wallet at a persistent sandbox."""
    return Person(
        folder=tmp_path,
        environ={
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": studio_server.url,
            "SEEDANCE_WALLET_KEY": funded_key,
        },
    )


PROMPT = "Gulls circle"


@pytest.fixture(scope="module")
def owner_of_a_video(
    tmp_path_factory: pytest.TempPathFactory, standing_sandbox: "Sandbox", authority_file: Path
) -> Person:
    """A customer who bought one video of `a.png` with `PROMPT`, for all tests of a module that buy nothing."""
    from eth_account import Account  # heavy: only for tests that ask

    folder, key = tmp_path_factory.mktemp("owner"), "0x" + os.urandom(32).hex()
    standing_sandbox.chain.mint(Account.from_key(key).address, 1_000_000)
    owner = Person(
        folder=folder,
        environ={
            "HOME": str(folder / "home"),
            "SSL_CERT_FILE": str(authority_file),
            "SEEDANCE_DATA_DIR": str(folder / "seedance"),
            "SEEDANCE_PROFILE": "sandbox",
            "SEEDANCE_STUDIO_URL": standing_sandbox.url,
            "SEEDANCE_WALLET_KEY": key,
        },
    )
    owner.draw("a.png")
    bought = owner.run("animate", "a.png", "-p", PROMPT)
    assert bought.code == 0, bought.err
    return owner
