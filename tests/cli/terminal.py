"""A real pseudo-terminal with a person who reads a question and answers it."""

import os
import signal
import subprocess
from contextlib import suppress
from select import select

from tests.cli.conftest import COMMAND_SECONDS, Person
from tests.forks import build_command

THINKING_SECONDS = 1
PRESS_AGAIN_SECONDS = 15


def answer(person: Person, *words: str, typed: str | None, columns: int = 200, **settings: str) -> tuple[int, str]:
    """Run a command at a terminal, and type at its question, or press Ctrl-C; its exit code, and all that it showed."""
    import pty

    ours, theirs = pty.openpty()
    environ = {**os.environ, **person.environ, **settings, "TERM": "xterm", "COLUMNS": str(columns)}
    command, shown = build_command("seedance_mcp", *words), b""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=person.folder, start_new_session=True
    ) as it:
        os.close(theirs)
        while b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        if typed is not None:
            os.write(ours, typed.encode())
        patience = THINKING_SECONDS
        with suppress(OSError):  # the other end was closed: it has ended
            while it.poll() is None or select([ours], [], [], 0)[0]:
                if select([ours], [], [], patience)[0]:
                    shown += os.read(ours, 4096)
                elif typed is None:  # again, as a person does: a signal just before the line is read goes unheard
                    it.send_signal(signal.SIGINT)
                    patience = PRESS_AGAIN_SECONDS
        code = it.wait(COMMAND_SECONDS)
    os.close(ours)
    return code, shown.decode()
