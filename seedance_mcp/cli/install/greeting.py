"""Greeting: store the answers with which a host has the tools at once, where those of the package do not apply.

They apply to some versions of Python and of two libraries. Another installation stores answers of its own, once.
"""

from seedance_mcp.cli.console import words
from seedance_mcp.server.greeter import OWN, read_answers


def store_answers() -> None:
    """Store them, unless there are some or they cannot be written; the server then works as well, and starts slower."""
    if has_answers():
        return
    from seedance_mcp.server import greeting  # loads the whole server

    try:
        is_stored = greeting.store_answers()
    except OSError as exc:
        words.print(f"Hosts wait until the server has loaded: {OWN} cannot be written ({exc.strerror}).", markup=False)
        return
    if is_stored:
        words.print(f"The server's first answers are stored, so that hosts need not wait: {OWN}", markup=False)


def has_answers() -> bool:
    """Return True if a host has the tools before the server has loaded."""
    return (read_answers() or read_answers(OWN)) is not None
