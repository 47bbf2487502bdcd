"""Second step of the set-up: a wallet of its own for this program. It never prints a key and never replaces one."""

from collections.abc import Mapping
from pathlib import Path

import typer

from seedance_mcp.adapters.wallet import list_sources
from seedance_mcp.adapters.wallet.key_files import create_key_file, read_key
from seedance_mcp.cli.console import words
from seedance_mcp.cli.wallet.keys import read_source
from seedance_mcp.config.settings import read_settings

NEW = "new"
"""The source that creates a key; any other one is a file."""


def prepare_wallet(environ: Mapping[str, str], source: str | None, *, asks: bool) -> None:
    """Keep the wallet that is set; otherwise create or import one.

    Args:
        environ: The environment of the command.
        source: `NEW`, or a key file to import; None to ask.
        asks: True if a person is at the terminal.

    Raises:
        ConfigError: The key cannot be read, or the file not be written.
    """
    settings = read_settings(environ)
    used = next((one for one in list_sources(*settings.key_places) if one.used), None)
    if used is not None:
        words.print(f"It is kept: {used.name}")
        return
    if source is None and asks:
        words.print("It is a key only for this program, in a file that only you can read.")
        words.print("Put no more into it than you want to spend on videos.")
        source = _ask()
    if source is None:
        how = "no wallet was made" if asks else "there is no terminal to ask at. Name --wallet new or --wallet FILE"
        words.print(f"Skipped: {how}.")
        return
    if source == NEW:
        create_key_file(settings.wallet_file)
    else:
        key = read_key(read_source(Path(source), None))
        create_key_file(settings.wallet_file, f'{{"private_key": "{key}"}}')
    words.print(f"{'Made' if source == NEW else 'Imported'}: {settings.wallet_file}")
    words.print("Keep a copy of that file: anyone who has it has the money, and without it the money is lost.")
    words.print("To encrypt it or to use the keychain instead, see the page Wallet of the documentation.")


def _ask() -> str | None:
    chosen = typer.prompt("Create one, import a key, or skip", default="create", value_proc=_parse_choice, err=True)
    if chosen == "import":
        return typer.prompt("File with the key (- to type it)", value_proc=_find_file, err=True)
    return NEW if chosen == "create" else None


def _find_file(text: str) -> str:
    """Return the name of a file that is there, or `-`."""
    if text.strip() != "-" and not Path(text.strip()).expanduser().is_file():
        raise typer.BadParameter(f"there is no file {Path(text.strip()).expanduser()}.")
    return text.strip()


def _parse_choice(text: str) -> str:
    """Return the choice that a word, or its beginning, means."""
    found = [one for one in ("create", "import", "skip") if text.strip() and one.startswith(text.strip().lower())]
    if not found:
        raise typer.BadParameter("type create, import or skip.")
    return found[0]
