"""The film process: joins videos, reads their last frame, and draws animations; answers one request and ends.

`films` runs it as `python -m seedance_mcp.adapters.media.film_worker`. It bounds its own memory and time, because the
files are a studio's and may be hostile. It writes only the file that the request names, opens no connection, and ends
as soon as the program that started it does.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av.logging

from seedance_mcp.adapters.media.bounds import Result, limit_memory, limit_seconds, take_stdout
from seedance_mcp.adapters.media.film_drawing import draw_animation
from seedance_mcp.adapters.media.film_joining import join_shots
from seedance_mcp.adapters.media.film_reading import RefusedError
from seedance_mcp.adapters.media.film_stills import read_last_frame
from seedance_mcp.adapters.media.messages import Header, read_message, write_message

MEMORY_BYTES_MAX = 4 * 1024 * 1024 * 1024
"""Address space of this process, if the platform bounds it: enough to encode 4K."""
SECONDS_MAX = 120.0
"""Processor time of an operation that sets no bound of its own."""


def join(header: Header) -> Result:
    """Join shots to a film."""
    files = [Path(file) for file in header["files"]]
    return join_shots(files, Path(header["output"]), header["titles"], Fraction(header["crossfade"])), b""


def last_frame(header: Header) -> Result:
    """Return the last frame of a video as a PNG."""
    return {}, read_last_frame(Path(header["file"]))


def draw(header: Header) -> Result:
    """Draw an animation of a video."""
    drawn = draw_animation(
        Path(header["file"]),
        Path(header["output"]),
        width_max=header["width_max"],
        rate=Fraction(header["rate"]),
        bytes_max=header["bytes_max"],
    )
    return drawn, b""


OPERATIONS: dict[str, Callable[[Header], Result]] = {"join": join, "last_frame": last_frame, "draw": draw}
"""What may be asked for."""


def answer(header: Header) -> Result:
    """Return the answer to one request."""
    try:
        limit_seconds(SECONDS_MAX)
        return OPERATIONS[header["operation"]](header)
    except RefusedError as exc:
        return {"refused": exc.refusal, "detail": exc.detail, "shot": exc.shot}, b""
    except MemoryError:
        return {"refused": "memory", "detail": "", "shot": None}, b""


def _end_with_parent() -> None:
    """End this process when its stdin ends: no one waits for the answer any more."""
    sys.stdin.buffer.read(1)
    os._exit(0)


def main() -> None:
    """Answer one request."""
    answers = take_stdout()  # a library that prints must not write before the answer
    av.logging.set_level(None)
    limit_memory(MEMORY_BYTES_MAX)
    with suppress(OSError, EOFError):  # the program has ended
        write_message(answers, {"ready": True})
        header, _ = read_message(sys.stdin.buffer)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        write_message(answers, *answer(header))
    os._exit(0)  # the thread is in a read that does not end


if __name__ == "__main__":
    main()
