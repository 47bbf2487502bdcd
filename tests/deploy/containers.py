"""Containers without an engine: their commands as processes of this machine, with paths, ports and names mapped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.hosted.deployment import find_free_port
from tests.postgres import find_programs

ROOT = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 0.1
OF_TESTS = Path(sys.executable).parent
"""Where programs that stand in for those of other images may be."""
READY_SECONDS = 120
RUN_SECONDS = 900
_PORT = re.compile(
    r"(?<![\w.])(8080|8081|8082|8333|8402|8888|9100|9101|9102|9333|9340|18333|18888|19333|19340)(?!\w|\.\d)"
)


def read_documents(name: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML file of this repository."""
    documents: Any = YAML(typ="safe").load_all(  # pyright: ignore[reportUnknownMemberType]  # the library has no types
        (ROOT / name).read_text()
    )
    return list(documents)


class ContainerError(Exception):
    """A container ended, or is not healthy in time."""


@dataclass
class Machine:
    """What the names in files of a deployment are here.

    Attributes:
        folder: Where volumes are.
        programs: Folder of `seedance-mcp` and `python`, as in the image.
        hosts: Addresses by the names of services.
        ports: Ports of this machine by the ports of containers.
    """

    folder: Path
    programs: Path
    hosts: dict[str, str] = field(default_factory=dict[str, str])
    ports: dict[str, int] = field(default_factory=dict[str, int])

    def map_text(self, text: str, volumes: Mapping[str, Path]) -> str:
        """Return an argument or a value as it must be here."""
        for name, address in self.hosts.items():
            text = re.sub(rf"(?:(?<=[@ ])|(?<=//)){re.escape(name)}(?=[:/])", address, text)
        text = _PORT.sub(lambda found: str(self.find_port(found[1])), text.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104 - no bind
        if not volumes:
            return text
        paths = "|".join(map(re.escape, sorted(volumes, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.-])({paths})(?![\w-])", lambda found: str(volumes[found[1]]), text)

    def find_port(self, inside: str | int) -> int:
        """Return the port of this machine for a port of a container."""
        return self.ports.setdefault(str(inside), find_free_port())

    def start(
        self, name: str, words: Sequence[str], environ: Mapping[str, str], volumes: Mapping[str, Path]
    ) -> Running:
        """Start a command; it ends with the process that called this."""
        log = self.folder / f"{name}.log"
        mapped = [self.map_text(word, volumes) for word in words]
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *mapped],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.build_environ(environ, volumes),
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        return Running(name, process, log)

    def run(self, name: str, words: Sequence[str], environ: Mapping[str, str], volumes: Mapping[str, Path]) -> str:
        """Run a command to its end; returns its stdout.

        Raises:
            ContainerError: It failed.
        """
        done = subprocess.run(
            [self.map_text(word, volumes) for word in words], env=self.build_environ(environ, volumes), cwd=self.folder,
            capture_output=True, text=True, check=False, timeout=RUN_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise ContainerError(f"{name} ended with {done.returncode}: {done.stderr[-3000:]}")
        return done.stdout

    def build_environ(self, environ: Mapping[str, str], volumes: Mapping[str, Path]) -> dict[str, str]:
        """Return a container's environment: only what the files say, and where programs are."""
        database = find_programs()
        paths = [str(self.programs), *([str(database)] if database else []), os.environ["PATH"], str(OF_TESTS)]
        mapped = {name: self.map_text(value, volumes) for name, value in environ.items()}
        return {"HOME": str(self.folder), **mapped, "PATH": os.pathsep.join(paths)}


@dataclass
class Running:
    """A container that runs."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, seconds: float) -> int:
        """Ask it to end, as an engine does; returns its exit code.

        Raises:
            ContainerError: It would be killed.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as exc:
            raise ContainerError(f"{self.name} still runs {seconds} seconds after SIGTERM: {self.tail()}") from exc

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_until(self, check: Sequence[str], environ: Mapping[str, str]) -> None:
        """Wait until a command of a health check succeeds.

        Raises:
            ContainerError: It ended, or is not healthy in time.
        """
        give_up = time.monotonic() + READY_SECONDS
        while subprocess.run(check, env=environ, capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise ContainerError(f"{self.name} is not healthy: {self.tail()}")
            time.sleep(LOOK_SECONDS)  # another process, which sets no event of ours

    def tail(self) -> str:
        """Return the last that it said."""
        return self.log.read_text(errors="replace")[-3000:]
