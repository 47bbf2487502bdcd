"""Greeting: store the answers with which a host has the tools at once, where those of the package do not apply.

They apply to some versions of Python and of two libraries. Another installation stores answers of its own, once.
"""

from pathlib import Path

from seedance_mcp.cli.console import words
from seedance_mcp.server.greeter import DOCUMENT, OWN, read_answers


def store_answers(packaged: Path = DOCUMENT, own: Path = OWN) -> None:
    """Store them, unless there are some. Where they cannot be stored, the server works as well, and starts slower."""
    if has_answers(packaged, own):
        return
    from seedance_mcp.server import greeting  # loads the whole server

    try:
        is_stored = greeting.store_answers(packaged, own)
    except (OSError, ValueError) as exc:
        words.print(f"Hosts wait until the server has loaded, because its first answers could not be stored: {exc}")
        return
    if is_stored:
        words.print(f"The server's first answers are stored, so that hosts need not wait: {own}")


def has_answers(packaged: Path = DOCUMENT, own: Path = OWN) -> bool:
    """Return True if a host has the tools before the server has loaded."""
    return (read_answers(packaged) or read_answers(own)) is not None
