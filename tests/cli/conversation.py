"""A whole conversation at a real pseudo-terminal: the command asks, and the person answers each question."""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from select import select

from tests.cli.conftest import Person
from tests.forks import build_command

COLUMNS = 80
END_SECONDS = 120
PRESS_AGAIN_SECONDS = 5
CTRL_C = "\x03"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def converse(person: Person, *words: str, answers: Sequence[tuple[str, str]], **settings: str) -> tuple[int, str]:
    """Run a command at a terminal of 80 columns; its exit code, and all that it showed, without colours.

    Args:
        person: Who runs it.
        words: The command.
        answers: In order: the end of each question, and what the person types at it, without the newline,
            or `CTRL_C`.
        settings: Variables of the environment.
    """
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environ = {**os.environ, **person.environ, **settings, "TERM": "xterm"}
    shown, begin = "", 0
    with subprocess.Popen(
        build_command("seedance_mcp", *words),
        stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=person.folder, start_new_session=True,
    ) as it:  # fmt: skip
        os.close(theirs)
        left, presses = list(answers), False
        with suppress(OSError):  # the other end was closed: it has ended
            while True:
                while presses and not select([ours], [], [], PRESS_AGAIN_SECONDS)[0]:
                    it.send_signal(signal.SIGINT)  # again, as a person does: one just before a read goes unheard
                if not select([ours], [], [], END_SECONDS)[0]:
                    it.kill()  # it waits for an answer that no one gives
                    break
                shown += os.read(ours, 4096).decode(errors="replace")
                if left and left[0][0] in shown[begin:]:
                    begin = len(shown)
                    typed = left.pop(0)[1]
                    presses = typed == CTRL_C
                    if presses:
                        it.send_signal(signal.SIGINT)
                    else:
                        os.write(ours, (typed + "\n").encode())
        code = it.wait(END_SECONDS)
    os.close(ours)
    assert not left, f"never asked: {left}\n{shown}"
    return code, _STYLE.sub("", shown).replace("\r\n", "\n")
