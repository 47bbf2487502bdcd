"""First step of the set-up: our entry in the files of the hosts that are found here."""

from collections.abc import Sequence

from seedance_mcp.cli.console import words
from seedance_mcp.cli.install.command import ask_for_each, check_start, find_places, install, list_commands
from seedance_mcp.cli.words import name_command


def install_hosts(names: Sequence[str], *, sandbox: bool, asks: bool) -> None:
    """Install for the named hosts; without names, ask for each that is found here.

    Args:
        names: Of hosts.
        sandbox: True for an entry with play money.
        asks: True if a person is at the terminal.

    Raises:
        ConfigError: It cannot be done for one of them.
    """
    for name in names:
        install(name, sandbox=sandbox)
    if names:
        return
    places = find_places()
    if not places:
        words.print("No known MCP host was found here. The commands work without one.")
        words.print(f"To connect one later: {name_command('install HOST')}")
    elif asks:
        check_start(sandbox=sandbox)
        ask_for_each(places, sandbox=sandbox)
    else:
        words.print("Skipped: there is no terminal to ask at. Name hosts with --host, or run:")
        list_commands(places, sandbox=sandbox)
