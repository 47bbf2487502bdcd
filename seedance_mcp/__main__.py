"""`python -m seedance_mcp` and the `seedance-mcp` command.

Without arguments it serves MCP on stdio; that path loads nothing of the command line for people. The greeter answers
the host while the server loads.
"""

import os
import signal
import sys

COMPLETING = "_SEEDANCE_MCP_COMPLETE"
"""Set by a shell that asks how a half-typed command may go on; it gives no arguments either."""

INTERRUPTED = 130
WAITING = """\
seedance-mcp is an MCP server: it waits for a host's messages on standard input.
A host starts it by itself; seedance-mcp install tells one. Ctrl-C ends it.
Commands for people: seedance-mcp --help"""
"""What a person reads who types the program's name alone."""


def main() -> None:
    """Serve, say the version, or run a command.

    While it loads, Ctrl-C ends the process at once and without a word: a library that is interrupted while it loads
    turns `KeyboardInterrupt` into errors of its own. The server and each command then handle Ctrl-C themselves.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, _end)
    if len(sys.argv) == 1 and COMPLETING not in os.environ:
        if sys.stdin is not None and sys.stdin.isatty():
            sys.stderr.write(f"{WAITING}\n")
        from seedance_mcp.server.greeter import start_greeter

        greeter = start_greeter()
        from seedance_mcp.server.stdio import serve  # each path loads only its own face

        serve(greeter)
    elif sys.argv[1:] == ["--version"]:
        from seedance_mcp import __version__

        sys.stdout.write(f"{__version__}\n")
    else:
        from seedance_mcp.cli.main import run

        run()


def _end(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
