"""The image: `Dockerfile` read, and its commands run in a folder of this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.deploy.containers import ROOT, RUN_SECONDS
from tests.forks import write_commands

PROGRAM = "/opt/seedance"
OWNER = "-o 10001 -g 10001 "


@dataclass(frozen=True, slots=True)
class Image:
    """What the last stage says of a container.

    Attributes:
        instructions: All instructions of all stages.
        environ: Of each container.
        entrypoint, command: What a container runs.
        health: The command of its health check.
        user: Who runs it.
    """

    instructions: tuple[tuple[str, str], ...]
    environ: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    health: list[str]
    user: str


@cache
def read_image() -> Image:
    """Read `Dockerfile`."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    instructions = tuple((word, rest) for word, _, rest in (line.partition(" ") for line in lines if line))
    start = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    last = instructions[start:]
    found = dict(last)
    environ = dict(
        pair.split("=", 1) for word, rest in last if word == "ENV" for pair in shlex.split(rest) if "PATH=" not in pair
    )
    return Image(
        instructions=instructions,
        environ=environ,
        entrypoint=json.loads(found["ENTRYPOINT"]),
        command=json.loads(found["CMD"]),
        health=json.loads(found["HEALTHCHECK"].partition(" CMD ")[2]),
        user=found["USER"],
    )


def build_image(folder: Path, kind: str) -> Path:
    """Do what `docker build` does, with nothing but what is copied; returns the folder of the programs."""
    target, source = folder / "opt", folder / "src"
    source.mkdir(parents=True)
    for word, rest in read_image().instructions:
        text = rest.replace("${KIND}", kind)
        if word == "COPY" and not text.startswith("--from"):
            *names, place = text.split()
            for name in names:
                _copy(ROOT / name, source / place)
        if word == "RUN":
            owned = text if os.getuid() == 0 else text.replace(OWNER, "")
            script = re.sub(r"/(data|keys|objects)\b", rf"{folder}/\1", owned.replace(PROGRAM, str(target)))
            script = script.replace("--no-cache-dir ", "")  # the same wheels were downloaded for these tests
            script = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", script)
            done = subprocess.run(
                ["sh", "-euc", script], cwd=source, capture_output=True, text=True, timeout=RUN_SECONDS
            )
            assert done.returncode == 0, f"{text}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return target / "bin"


def _copy(name: Path, place: Path) -> None:
    if name.is_dir():
        shutil.copytree(name, place, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        (place if place.name != name.name else place.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, place)


def link_environment(folder: Path) -> Path:
    """Make a folder with the programs of this environment, in the place of an image's; our own is forked."""
    write_commands(folder)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder
