"""Viewing: open a saved video with the machine's own program, where a person and a screen are there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import typer

from seedance_mcp.cli.console import ask_yes_no, is_person_there

COMMAND = "seedance-mcp"


def offer_to_open(file: Path) -> None:
    """Ask the person at the terminal whether to open a file; ask nothing where no screen is."""
    if can_open() and ask_yes_no("Open it now?", default=True):
        open_file(str(file))


def open_file(file: str) -> bool:
    """Open a file in this machine's own program for it, without what that program prints.

    Returns:
        False if no program opens it.
    """
    opener = shutil.which("xdg-open") if sys.platform == "linux" else None
    if opener is None:
        return typer.launch(file, wait=True) == 0
    done = subprocess.run(  # noqa: S603 - the program that this desktop has for it
        [opener, file],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.returncode == 0


def can_open() -> bool:
    """Return True if a person is at the terminal of a machine with a screen."""
    has_screen = sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return is_person_there() and sys.stderr.isatty() and has_screen


def name_program() -> str:
    """Return how a person starts this program here: its name, or its path where the name is not found."""
    here = Path(sys.argv[0])
    if here.stem != COMMAND or not here.is_file() or shutil.which(COMMAND) is not None:
        return COMMAND
    path = here.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
